"""Webhook intake: checks a request, deduplicates and stores its event, and chooses the reply.

The inside of a `telecmi_async.events.receiver.Receiver`, of which users see the outside only.
The ASGI application and services work with it directly.
"""

from __future__ import annotations

import itertools
import json
import logging
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import attrs
from attrs import define, field, frozen

from telecmi_async._internal.event_loop import is_failure
from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async._internal.messages import shown_id
from telecmi_async.errors import ConfigurationError, StoreError, WebhookError
from telecmi_async.events import (
    CallRecord,
    DigitsEvent,
    Event,
    InboundRequest,
    dedupe_key,
    parse_event,
)
from telecmi_async.events.model import NO_QUERY
from telecmi_async.events.payload import MAX_PAYLOAD, split_payload
from telecmi_async.events.receiver.questions import Questions
from telecmi_async.events.receiver.tokens import VALUES, query_of
from telecmi_async.events.reference import (
    References,
    carries_reference,
    reference_in,
    trace_in,
)
from telecmi_async.events.store import EventStore, Listener, StoredEvent, event_ids
from telecmi_async.http_server import HttpResponse
from telecmi_async.observer import ObservedDelivery

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from telecmi_async.events.receiver.handler_runner import HandlerRunner
    from telecmi_async.events.receiver.handlers import Handlers
    from telecmi_async.events.receiver.tokens import Tokens
    from telecmi_async.observer.notifier import Notifier

logger = logging.getLogger("telecmi_async")


# 204: accepted; 200: a call flow; 4xx: refused; 503: to be sent again. No body says why.
_NOT_FOUND: Final = HttpResponse(404)
_WRONG_METHOD: Final = HttpResponse(405, (("Allow", "POST"),))
_TIMEOUT: Final = 408
_ACCEPTED: Final = HttpResponse(204)
_TRY_LATER: Final = HttpResponse(503, (("Retry-After", "5"),))

# TeleCMI waits for the answer to these.
_QUESTIONS: Final = (DigitsEvent, InboundRequest)

# How many questions wait for a store that fails, and the seconds between attempts.
_MOST_WAITING: Final = 10_000
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 5.0


@frozen(kw_only=True)
class Counts:
    """What a receiver was sent so far.

    Args:
        accepted: Events accepted, each counted once.
        duplicates: Repeated deliveries of accepted events, and of questions.
        unmatched: Accepted events whose ``request_id`` is of no known call: kept for ten
            minutes, and passed on if their call turns up.
        forged: Events with a reference whose code is wrong. They are dropped.
        questions: Pressed keys and inbound calls, which were answered with a call flow.
        refused: Requests without a valid token, or other than a POST.
        unreadable: Bodies that are not an event, or too large.
        deferred: Events the store could not keep, or for which too many others waited for
            handlers; TeleCMI was asked to send them again.
    """

    accepted: int = 0
    duplicates: int = 0
    unmatched: int = 0
    forged: int = 0
    questions: int = 0
    refused: int = 0
    unreadable: int = 0
    deferred: int = 0


@define(eq=False)
class WebhookRequest:
    """A request to an address of the receiver."""

    #: The name before the token in its path.
    name: str
    #: Its path, with the query.
    path: str
    #: The events to run the user's handlers for after the reply.
    unhandled: list[Event] = field(factory=list["Event"])
    #: Whether it is a question, to which a caller waits for the answer.
    asks: bool = False


class Intake:
    """Accepts webhook requests, and counts them by the names of `Counts`."""

    def __init__(
        self,
        tokens: Tokens,
        store: EventStore,
        handlers: Handlers,
        runner: HandlerRunner,
        counts: Counter[str],
        *,
        answer_timeout: float | None,
        body_timeout: float | None,
        notify: Notifier | None = None,
    ) -> None:
        self._tokens = tokens
        self.store = store
        self.handlers = handlers
        self.runner = runner
        self.body_timeout = body_timeout
        self._counts = counts
        self._notify = notify
        self._questions = Questions(
            handlers,
            store,
            runner,
            timeout=answer_timeout,
            repeated=partial(self._count, "duplicates"),
        )
        # Of one account there may be many services, one after the other.
        self._references: dict[References, None] = {}
        self._listeners: list[Listener] = []
        self._unique = map(
            "{}.{}".format, itertools.repeat(secrets.token_hex(8)), itertools.count()
        )
        self._waiting = 0
        self._was_full = False
        self._loaded = False

    # -- services

    def check_references(self, references: References) -> None:
        """Check an account's references from now on: its calls outlive its services."""
        self._references[references] = None

    def attach(self, references: References, listener: Listener) -> None:
        """Let a service listen; its calls carry references that ``references`` finds."""
        self.check_references(references)
        self._listeners.append(listener)

    def detach(self, listener: Listener) -> None:
        """Forget a service that was closed."""
        self._listeners = [other for other in self._listeners if other is not listener]

    def encrypt(self, values: Mapping[str, str | int]) -> str:
        """Return the values of an address, which only this account can read.

        Raises:
            ConfigurationError: The account's secret is not known here.
        """
        newest = next(reversed(self._references), None)
        if newest is None:
            raise ConfigurationError(
                "values in an address are encrypted with the account's secret, which this receiver "
                "does not know: give it to a service, CallService(…, events=receiver), or the "
                "secret to it, Receiver(token, secret=…)"
            )
        return newest.encrypt(json.dumps({key: str(value) for key, value in values.items()}))

    def _values_of(self, delivery: WebhookRequest, question: Event) -> Mapping[str, str]:
        """Return the values in a question's address, or else its query as it is."""
        query = query_of(delivery.path)
        if (given := query.get(VALUES)) is None:
            return query
        for references in self._references:
            if (text := references.decrypt(given)) is not None:
                return cast("Mapping[str, str]", JsonObject(json.loads(text)))
        logger.warning(
            "the values in an address cannot be read, because they were changed or encrypted with "
            "another secret: %r",
            question,
        )
        return NO_QUERY

    # -- a request

    def open(self, path: str) -> WebhookRequest | None:
        """Return a request by its path; ``None`` without a valid token."""
        name = self._tokens.match(path)
        return None if name is None else WebhookRequest(name, path)

    def check(
        self, delivery: WebhookRequest | None, method: str, content_length: str
    ) -> HttpResponse | None:
        """Return the refusal of a request by its head alone; ``None`` to read its body."""
        if delivery is None or method != "POST":
            self._count("refused")
            if delivery is None:
                return _NOT_FOUND
            # The token is right: the sender is TeleCMI, or a person who tries the address.
            logger.warning("a webhook was refused: it must be a POST")
            return _WRONG_METHOD
        # An unusual length, such as one too long for Python to read, is left to the body.
        length = content_length.strip()
        if length.isascii() and length.isdecimal() and len(length) < 20:
            return self.unreadable(delivery, 413) if int(length) > MAX_PAYLOAD else None
        return None

    def unreadable(self, delivery: WebhookRequest, status: int) -> HttpResponse:
        """Return the reply to a body that cannot be read: the fallback, where it may ask."""
        if status != _TIMEOUT:
            self._count("unreadable")
        if self.handlers.may_be_asked(delivery.name):
            return self.fallback()
        return HttpResponse(status)

    def fallback(self) -> HttpResponse:
        """Return the reply to a question that no handler answers."""
        return _flow(self.handlers.fallback)

    async def accept(self, delivery: WebhookRequest, body: bytes | bytearray) -> HttpResponse:
        """Accept the body of a request that passed `check`, and return the reply."""
        if not self._loaded:
            # anyio imports what a question's time limit needs, now rather than when a process is
            # out of files.
            anyio.current_effective_deadline()
            self._loaded = True
        if len(body) > MAX_PAYLOAD:
            return self.unreadable(delivery, 413)
        try:
            payloads = split_payload(body)
        except WebhookError as error:
            logger.warning("a webhook cannot be read: %s", error)
            return self.unreadable(delivery, 400)
        reply = await self._accept_one(delivery, payloads[0])
        for payload in payloads[1:]:
            asked = delivery.asks
            other = await self._accept_one(delivery, payload)
            # The answer to a question counts most, then the first refusal.
            if delivery.asks > asked or (not asked and reply is _ACCEPTED):
                reply = other
        return reply

    async def _accept_one(self, delivery: WebhookRequest, payload: Any) -> HttpResponse:
        try:
            event = parse_event(payload)
        except WebhookError as error:
            logger.warning("a webhook cannot be read: %s", error)
            return self.unreadable(delivery, 400)
        if not isinstance(payload, bytes):  # of an array
            payload = json.dumps(event.raw).encode()
        stored = self._match(event, payload)
        if isinstance(event, _QUESTIONS):
            return await self._answer(delivery, event, stored)
        if stored is None:
            return _ACCEPTED
        fresh = None if self._is_full() else await self._put(stored)
        if fresh is None:
            self._count("deferred", event)
            return _TRY_LATER
        if fresh and stored.matched:
            delivery.unhandled.append(event)
        return _ACCEPTED

    def _is_full(self) -> bool:
        """Return whether no event may be accepted, because too many wait for handlers."""
        full = self.runner.full
        if full and not self._was_full:
            logger.error(
                "too many events wait for the handler %s: TeleCMI must send others again",
                self.runner.slowest(),
            )
        self._was_full = full
        return full

    async def _answer(
        self,
        delivery: WebhookRequest,
        question: DigitsEvent | InboundRequest,
        stored: StoredEvent | None,
    ) -> HttpResponse:
        """Answer a question, which is an event of the call as well."""
        self._count("questions", question, stored)
        if stored is None:
            return self.fallback()
        delivery.asks = True
        question = attrs.evolve(question, query=self._values_of(delivery, question))
        flow = await self._questions.answer(
            question,
            delivery.name,
            delivery.path,
            keep=partial(self._keep, delivery, stored, question),
        )
        return _flow(flow)

    async def _keep(
        self,
        delivery: WebhookRequest,
        stored: StoredEvent,
        question: Event,
        beside: bool,  # noqa: FBT001  # bound by a partial
    ) -> None:
        """Store a question as an event, as soon as the store works, beside the reply or before."""
        if self._waiting >= _MOST_WAITING:
            logger.error("too many questions wait to be stored; lost: %r", question)
            return
        pause = _FIRST_PAUSE
        self._waiting += 1
        try:
            while (fresh := await self._put(stored)) is None:
                await anyio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        except anyio.get_cancelled_exc_class():
            logger.error("the receiver was closed before %r was stored", question)  # noqa: TRY400  # a cancellation has no message
            raise
        finally:
            self._waiting -= 1
        if not fresh or not stored.matched:
            return
        if self._is_full():
            logger.error("too many events wait for handlers; lost: %r", question)
        elif beside:
            await self.runner.run(question, inside=True)
        else:
            delivery.unhandled.append(question)

    async def _put(self, stored: StoredEvent) -> bool | None:
        """Store an event; return whether it is new, or None if the store failed."""
        try:
            fresh = await self.store.put(stored)
        except BaseException as error:
            if not is_failure(error):
                raise
            if not isinstance(error, StoreError):
                logger.exception("the event store raised an error other than StoreError")
            elif not self._questions.store_failed:
                logger.error("events cannot be stored, TeleCMI must send them again: %s", error)  # noqa: TRY400  # it is not a bug, and says it all
            self._questions.store_failed = True
            return None
        if self._questions.store_failed:
            logger.warning("events can be stored again")
        self._questions.store_failed = False
        self._counts["accepted" if fresh else "duplicates"] += 1
        if fresh and not stored.matched:
            self._counts["unmatched"] += 1
        if not isinstance(stored.event, _QUESTIONS):  # they were observed
            matched = "accepted" if stored.matched else "unmatched"
            self._show(matched if fresh else "duplicates", stored.event, stored)
        return fresh

    def _count(
        self, result: str, event: Event | None = None, stored: StoredEvent | None = None
    ) -> None:
        """Count what became of a request, or of an event in it."""
        self._counts[result] += 1
        self._show(result, event, stored)

    def _show(self, result: str, event: Event | None, stored: StoredEvent | None) -> None:
        """Show an observer what became of a request; of a forged event nothing is trusted."""
        if self._notify is not None:
            proven = stored is not None and bool(self._references)
            self._notify("delivered", delivery_of(result, event, proven=proven))

    def _match(self, event: Event, payload: bytes) -> StoredEvent | None:
        """Return an event as it is stored, or None if it is forged."""
        reference = None
        if carries_reference(event):
            known = self._references
            reference = next((found for each in known if (found := each.find(event))), None)
            if reference is None and known:
                if not self._counts["forged"]:
                    logger.warning("an event has a reference with a wrong code: %r", event)
                self._count("forged")
                return None
        ids = event_ids(event, reference)
        key = dedupe_key(event) or next(self._unique)
        # Without a reference the request_id must be known to a service. An event without a
        # request_id, such as an inbound call's, cannot be checked: the token must do.
        matched = (
            reference is not None
            or event.request_id is None
            or not self._listeners
            or any(listener.wants(ids) for listener in self._listeners)
        )
        return StoredEvent(event, key, ids, matched=matched, payload=payload)


def delivery_of(result: str, event: Event | None, *, proven: bool) -> ObservedDelivery:
    """Return what an observer sees of an event; its reference counts only if it is ``proven``."""
    if event is None:
        return ObservedDelivery(result=result)
    record = event if isinstance(event, CallRecord) else None
    lag = None if event.time is None else time.time() - event.time.timestamp()
    request_id = event.request_id
    reference = reference_in(event) if proven else None
    return ObservedDelivery(
        result=result,
        kind=type(event).__name__,
        reference=reference,
        request_id=shown_id(request_id) if request_id else None,
        trace=None if reference is None else trace_in(event),
        lag=None if lag is None else max(lag, 0.0),
        leg=event.leg if event.leg in {"a", "b"} else None,
        answered=None if record is None else record.answered,
        talk_seconds=None if record is None else record.talk_seconds,
        cost=None if record is None or record.call_rate is None else float(record.call_rate),
    )


def _flow(flow: bytes) -> HttpResponse:
    """Return the reply that contains a call flow."""
    return HttpResponse(200, (("Content-Type", "application/json"),), flow)

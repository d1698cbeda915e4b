"""Webhook intake: checks a request, deduplicates and stores its event, and chooses the reply.

The inside of a `telecmi_async.events.receiver.Receiver`, of which users see the outside only.
The ASGI application and services work with it directly.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from typing import TYPE_CHECKING, Final

import anyio
import attrs
from attrs import frozen

from telecmi_async.errors import StoreError, WebhookError
from telecmi_async.events import DigitsEvent, Event, InboundRequest, dedupe_key, parse_event
from telecmi_async.events.payload import MAX_PAYLOAD
from telecmi_async.events.receiver.handler_runner import HandlerRunner
from telecmi_async.events.receiver.tokens import query_of
from telecmi_async.events.reference import References, carries_reference
from telecmi_async.events.store import EventStore, Listener, StoredEvent, event_ids
from telecmi_async.http_server import HttpResponse

if TYPE_CHECKING:
    from collections import Counter

    from telecmi_async.events.receiver.handlers import Handlers
    from telecmi_async.events.receiver.tokens import Tokens

logger = logging.getLogger("telecmi_async")


# 204: accepted; 200: a call flow; 4xx: refused; 503: to be sent again. No body says why.
_NOT_FOUND: Final = HttpResponse(404)
_WRONG_METHOD: Final = HttpResponse(405, (("Allow", "POST"),))
_TOO_LARGE: Final = HttpResponse(413)
_NOT_JSON: Final = HttpResponse(415)
_UNREADABLE: Final = HttpResponse(400)
_ACCEPTED: Final = HttpResponse(204)
_TRY_LATER: Final = HttpResponse(503, (("Retry-After", "5"),))

# TeleCMI waits for the answer to these.
_QUESTIONS: Final = (DigitsEvent, InboundRequest)


@frozen(kw_only=True)
class Counts:
    """What a receiver was sent so far.

    Args:
        accepted: Events accepted, each counted once.
        duplicates: Repeated deliveries of accepted events.
        unmatched: Accepted events whose ``request_id`` is of no known call: kept for ten
            minutes, and passed on if their call turns up.
        forged: Events with a reference whose code is wrong. They are dropped.
        questions: Pressed keys and inbound calls, which were answered with a call flow.
        refused: Requests without a valid token, or other than a POST of JSON.
        unreadable: Bodies that are not an event, or too large.
        deferred: Events the store could not keep; TeleCMI was asked to send them again.
    """

    accepted: int = 0
    duplicates: int = 0
    unmatched: int = 0
    forged: int = 0
    questions: int = 0
    refused: int = 0
    unreadable: int = 0
    deferred: int = 0


class Intake:
    """Accepts webhook requests, and counts them by the names of `Counts`."""

    def __init__(
        self,
        tokens: Tokens,
        store: EventStore,
        handlers: Handlers,
        counts: Counter[str],
        *,
        body_timeout: float | None,
    ) -> None:
        self._tokens = tokens
        self.store = store
        self.handlers = handlers
        self.runner = HandlerRunner(handlers)
        self.body_timeout = body_timeout
        self._counts = counts
        # Of one account there may be many services, one after the other.
        self._references: dict[References, None] = {}
        self._listeners: list[Listener] = []
        self._unique = map(
            "{}.{}".format, itertools.repeat(secrets.token_hex(8)), itertools.count()
        )
        self._store_failed = False
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

    # -- a request

    def check(
        self, method: str, path: str, content_type: str, content_length: str
    ) -> HttpResponse | None:
        """Return the refusal of a request by its head alone; ``None`` to read its body."""
        if self._tokens.match(path) is None:
            self._counts["refused"] += 1
            return _NOT_FOUND
        kind = content_type.partition(";")[0].strip().lower()
        if method != "POST" or kind != "application/json":
            self._counts["refused"] += 1
            # The token is right: the sender is TeleCMI, or a person who tries the address.
            logger.warning("a webhook was refused: it must be a POST of application/json")
            return _WRONG_METHOD if method != "POST" else _NOT_JSON
        # An unusual length, such as one too long for Python to read, is left to the body.
        length = content_length.strip()
        if length.isascii() and length.isdecimal() and len(length) < 20:
            return self._too_large() if int(length) > MAX_PAYLOAD else None
        return None

    def _too_large(self) -> HttpResponse:
        """Return the refusal of a body of more than 64 KiB."""
        self._counts["unreadable"] += 1
        return _TOO_LARGE

    async def accept(
        self, path: str, body: bytes | bytearray
    ) -> tuple[HttpResponse, Event | None]:
        """Accept the body of a request that passed `check`.

        Returns:
            The reply, and the event to run the user's handlers for afterwards.
        """
        if not self._loaded:
            # anyio imports what a question's time limit needs, now rather than when a process is
            # out of files.
            anyio.current_effective_deadline()
            self._loaded = True
        if len(body) > MAX_PAYLOAD:
            return self._too_large(), None
        try:
            event = parse_event(body)
        except WebhookError as error:
            logger.warning("a webhook cannot be read: %s", error)
            self._counts["unreadable"] += 1
            return _UNREADABLE, None
        stored = self._match(event, bytes(body))
        if isinstance(event, _QUESTIONS):
            return await self._answer(event, stored, path)
        if stored is None:
            return _ACCEPTED, None
        fresh = await self._put(stored)
        if fresh is None:
            return _TRY_LATER, None
        return _ACCEPTED, event if fresh and stored.matched else None

    async def _answer(
        self, question: DigitsEvent | InboundRequest, stored: StoredEvent | None, path: str
    ) -> tuple[HttpResponse, Event | None]:
        """Answer a question, which is an event of the call as well."""
        self._counts["questions"] += 1
        flow, event = self.handlers.fallback, None
        if stored is not None:
            await self._put(stored)  # even if it cannot be kept, the caller gets an answer
            question = attrs.evolve(question, query=query_of(path))
            flow = await self.handlers.answer(question, self._tokens.match(path) or "")
            event = question if stored.matched else None
        return HttpResponse(200, (("Content-Type", "application/json"),), flow), event

    async def _put(self, stored: StoredEvent) -> bool | None:
        """Store an event; return whether it is new, or None if the store failed."""
        try:
            fresh = await self.store.put(stored)
        except Exception as error:
            if not isinstance(error, StoreError):
                logger.exception("the event store raised an error other than StoreError")
            elif not self._store_failed:
                logger.error("events cannot be stored, TeleCMI must send them again: %s", error)  # noqa: TRY400  # it is not a bug, and says it all
            self._store_failed = True
            self._counts["deferred"] += 1
            return None
        self._store_failed = False
        self._counts["accepted" if fresh else "duplicates"] += 1
        if fresh and not stored.matched:
            self._counts["unmatched"] += 1
        return fresh

    def _match(self, event: Event, payload: bytes) -> StoredEvent | None:
        """Return an event as it is stored, or None if it is forged."""
        reference = None
        if carries_reference(event):
            known = self._references
            reference = next((found for each in known if (found := each.find(event))), None)
            if reference is None and known:
                if not self._counts["forged"]:
                    logger.warning("an event has a reference with a wrong code: %r", event)
                self._counts["forged"] += 1
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

"""Webhook intake: checks a request, deduplicates and stores its event, and chooses the reply.

What a `telecmi_async.events.receiver.Receiver` does inside. Services and the ASGI application
use it directly; a user sees the receiver alone.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from typing import TYPE_CHECKING, Final

import attrs
from attrs import frozen

from telecmi_async.errors import StoreError, WebhookError
from telecmi_async.events import DigitsEvent, Event, InboundRequest, dedupe_key, parse_event
from telecmi_async.events.receiver.handler_runner import HandlerRunner
from telecmi_async.events.receiver.response import (
    MAX_BODY_BYTES,
    WebhookResponse,
    flow_response,
)
from telecmi_async.events.receiver.tokens import query_of
from telecmi_async.events.reference import References, brings_reference
from telecmi_async.events.store import EventStore, FiledEvent, Listener, names_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from telecmi_async.events.receiver.handlers import Handlers
    from telecmi_async.events.receiver.tokens import Tokens

__all__ = ["Counts", "Intake"]

logger = logging.getLogger("telecmi_async")

_QUESTIONS: Final = (DigitsEvent, InboundRequest)
_NOT_FOUND: Final = WebhookResponse(404)
_WRONG_METHOD: Final = WebhookResponse(405, (("Allow", "POST"),))
_TOO_LARGE: Final = WebhookResponse(413)
_NO_JSON: Final = WebhookResponse(415)
_UNREADABLE: Final = WebhookResponse(400)
_TAKEN: Final = WebhookResponse(204)
_NOT_NOW: Final = WebhookResponse(503, (("Retry-After", "5"),))


@frozen(kw_only=True)
class Counts:
    """What a receiver was sent so far.

    Args:
        taken: Events taken over, each counted once.
        repeated: Deliveries of what was taken over before.
        strays: Of those taken over, the ones whose ``request_id`` nobody here was known to
            have got: kept for ten minutes, and handed on if their call turns up.
        forged: Events that brought a reference back whose code is wrong. They are dropped.
        asked: Questions answered: pressed keys, and calls that came in.
        refused: Requests without a valid token, or that are no POST of JSON.
        unreadable: Bodies that are no event, or too large.
        put_off: Events the store could not take; TeleCMI was asked to send them again.
    """

    taken: int = 0
    repeated: int = 0
    strays: int = 0
    forged: int = 0
    asked: int = 0
    refused: int = 0
    unreadable: int = 0
    put_off: int = 0


class Intake:
    """Accepts webhook requests.

    Args:
        tokens: The tokens of its address.
        store: Where events are kept.
        handlers: The user's functions.
        counts: Counts what comes in, by the names of `Counts`.
        body_timeout: How many seconds to wait for a request's body; None for no limit.
    """

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
        self._attached: list[Listener] = []
        self._unique = map(
            "{}.{}".format, itertools.repeat(secrets.token_hex(8)), itertools.count()
        )
        self._store_failed = False

    # -- the services that listen

    def check_references(self, references: References) -> None:
        """Check the references of an account: for good, as its calls outlive its services."""
        self._references[references] = None

    def attach(self, references: References, listener: Listener) -> None:
        """Let a service listen; its calls carry references that ``references`` finds."""
        self.check_references(references)
        self._attached.append(listener)

    def detach(self, listener: Listener) -> None:
        """Forget a service that was closed."""
        self._attached = [other for other in self._attached if other is not listener]

    # -- a request

    def check(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> WebhookResponse | None:
        """Return the refusal of a request by its head alone; ``None`` to read its body."""
        if self._tokens.match(path) is None:
            self._counts["refused"] += 1
            return _NOT_FOUND
        kind = length = ""
        for name, value in headers.items():
            if len(name) == len("content-type") and name.lower() == "content-type":
                kind = value.partition(";")[0].strip().lower()
            elif len(name) == len("content-length") and name.lower() == "content-length":
                length = value.strip()
        if method != "POST" or kind != "application/json":
            self._counts["refused"] += 1
            # Whoever knows the token is TeleCMI, or somebody who tries the address out.
            logger.warning("a webhook was refused: it must be a POST of application/json")
            return _WRONG_METHOD if method != "POST" else _NO_JSON
        # What is no number, or one too long for Python to read, is for the body to show.
        if length.isascii() and length.isdecimal() and len(length) < 20:
            return self._too_large() if int(length) > MAX_BODY_BYTES else None
        return None

    def _too_large(self) -> WebhookResponse:
        """Return the refusal of a body of more than 64 KiB."""
        self._counts["unreadable"] += 1
        return _TOO_LARGE

    async def accept(
        self, path: str, body: bytes | bytearray
    ) -> tuple[WebhookResponse, Event | None]:
        """Take over a body whose request was not refused.

        Returns:
            What to answer, and the event to tell the user's handlers of afterwards.
        """
        if len(body) > MAX_BODY_BYTES:
            return self._too_large(), None
        try:
            event = parse_event(body)
        except WebhookError as error:
            logger.warning("a webhook brought what cannot be read: %s", error)
            self._counts["unreadable"] += 1
            return _UNREADABLE, None
        filed = self._file(event, len(body))
        if isinstance(event, _QUESTIONS):
            return await self._answer(event, filed, path)
        if filed is None:
            return _TAKEN, None
        fresh = await self._put(filed)
        if fresh is None:
            return _NOT_NOW, None
        return _TAKEN, event if fresh and filed.ours else None

    async def _answer(
        self, question: DigitsEvent | InboundRequest, filed: FiledEvent | None, path: str
    ) -> tuple[WebhookResponse, Event | None]:
        """Answer a question. That it was asked is an event of the call, too."""
        self._counts["asked"] += 1
        if filed is None:
            return flow_response(self.handlers.fallback), None
        await self._put(filed)  # if it cannot be kept, somebody waits on the line all the same
        question = attrs.evolve(question, query=query_of(path))
        flow = await self.handlers.answer(question, self._tokens.match(path) or "")
        return flow_response(flow), question if filed.ours else None

    async def _put(self, filed: FiledEvent) -> bool | None:
        """Put an event into the store; tell whether it is new. None if the store failed."""
        try:
            fresh = await self.store.put(filed)
        except Exception as error:
            if not isinstance(error, StoreError):
                logger.exception("the store failed with what is no StoreError")
            elif not self._store_failed:
                logger.error("events cannot be kept, TeleCMI is put off: %s", error)  # noqa: TRY400  # it is no bug, and says all there is
            self._store_failed = True
            self._counts["put_off"] += 1
            return None
        self._store_failed = False
        self._counts["taken" if fresh else "repeated"] += 1
        if fresh and not filed.ours:
            self._counts["strays"] += 1
        return fresh

    def _file(self, event: Event, size: int) -> FiledEvent | None:
        """Return an event as it is put into the store; None if it is forged."""
        reference = None
        if brings_reference(event):
            keys = self._references
            reference = next((found for key in keys if (found := key.find(event))), None)
            if reference is None and keys:
                if not self._counts["forged"]:
                    logger.warning("an event brought a reference that is not ours: %r", event)
                self._counts["forged"] += 1
                return None
        names = names_of(event, reference)
        return FiledEvent(
            event,
            dedupe_key(event) or next(self._unique),
            names,
            ours=reference is not None or self._is_ours(event, names),
            size=size,
        )

    def _is_ours(self, event: Event, names: tuple[str, ...]) -> bool:
        """Tell whether an event without a reference may be handed to the user.

        A ``request_id`` must be one that a call here was given. What has none, such as a
        call's that came in, can be known to nobody: the token must do.
        """
        return (
            event.request_id is None
            or not self._attached
            or any(listener.wants(names) for listener in self._attached)
        )

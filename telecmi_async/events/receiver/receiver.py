"""The receiver: a request comes in, an answer goes out. It opens no socket itself."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import sys
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Final, Self, TypeVar, overload

import attrs
from attrs import frozen

from telecmi_async._internal import validators
from telecmi_async._internal.secrets import Secret
from telecmi_async.errors import StoreError, WebhookError
from telecmi_async.events import DigitsEvent, Event, InboundRequest, dedupe_key, parse_event
from telecmi_async.events.receiver.asgi import ReceiverApp
from telecmi_async.events.receiver.handler_runner import HandlerRunner
from telecmi_async.events.receiver.handlers import (
    EventHandler,
    Handlers,
    InboundHandler,
    InputHandler,
)
from telecmi_async.events.receiver.response import (
    MAX_BODY_BYTES,
    WebhookResponse,
    flow_response,
)
from telecmi_async.events.receiver.tokens import Tokens, hide_tokens, query_of
from telecmi_async.events.receiver.worker_detection import several_workers
from telecmi_async.events.reference import References, brings_reference
from telecmi_async.events.store import EventStore, FiledEvent, Listener, MemoryStore, names_of
from telecmi_async.pcmo.actions import Hangup
from telecmi_async.wire.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from telecmi_async._internal.validators import Duration
    from telecmi_async.pcmo.flow import FlowLike

__all__ = ["Counts", "Receiver"]

logger = logging.getLogger("telecmi_async")

_HANG_UP: Final = (Hangup(),)
_QUESTIONS: Final = (DigitsEvent, InboundRequest)
_NOT_FOUND: Final = WebhookResponse(404)
_WRONG_METHOD: Final = WebhookResponse(405, (("Allow", "POST"),))
_TOO_LARGE: Final = WebhookResponse(413)
_NO_JSON: Final = WebhookResponse(415)
_UNREADABLE: Final = WebhookResponse(400)
_TAKEN: Final = WebhookResponse(204)
_NOT_NOW: Final = WebhookResponse(503, (("Retry-After", "5"),))

_E = TypeVar("_E", bound=EventHandler)
_I = TypeVar("_I", bound=InputHandler)
_C = TypeVar("_C", bound=InboundHandler)


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


class Receiver:
    """Takes TeleCMI's webhooks over: live events, records, pressed keys, calls that come in.

    Mount `asgi` in a web application, or call `handle` from a route of its own. Give the
    receiver to a service, and the service's handles know how their calls go::

        receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])
        app.mount("/telecmi", receiver.asgi)
        service = CallService(…, events=receiver)

    The address to enter in TeleCMI's dashboard ends in the token:
    ``https://example.com/telecmi/<token>``, the same for events, records and calls that come in.

    An event is answered with 204 as soon as the store has it. It reaches the functions
    registered by `on_event` once, however often it is delivered, and what they raise is logged.
    On asyncio they run as tasks of their own, started in the order of arrival. So they do on
    trio if the receiver is open (``async with receiver:``); else they run before the answer.

    Args:
        token: What the address ends in, from `new_token`; or several, the newest first, while
            an old one is being replaced.
        store: Where events wait for the calls they are about: in memory, or, for several
            worker processes, a `telecmi_async.events.store.redis.RedisStore`.
        fallback: The call flow that answers pressed keys and calls that come in when no
            handler does, or when it fails.
        secret: The account's secret, for a receiver in a process that places no calls: with
            it, references are checked. A service that is given the receiver brings its own.
        answer_timeout: How long `on_input` and `on_inbound` may take before ``fallback``
            answers, in seconds or as a `timedelta`: meanwhile the caller hears nothing.
        body_timeout: How long `asgi` waits for a request's body, likewise.

    Raises:
        ConfigurationError: A value that cannot work.
        InvalidCall: ``fallback`` is no call flow.
    """

    def __init__(
        self,
        token: str | Sequence[str],
        *,
        store: EventStore | None = None,
        fallback: FlowLike = _HANG_UP,
        secret: str | Secret | None = None,
        answer_timeout: Duration | None = 10.0,
        body_timeout: Duration | None = 10.0,
    ) -> None:
        # From here on neither shows in a traceback's locals.
        given, token = Secret(token), ""
        secret = None if secret is None else Secret(secret)
        self._counts: Counter[str] = Counter()
        self._tokens = Tokens(given)
        #: Where events wait.
        self.store: EventStore = MemoryStore() if store is None else store
        self.body_timeout = validators.seconds_or_none("body_timeout", body_timeout)
        self._handlers = Handlers(
            fallback, validators.seconds_or_none("answer_timeout", answer_timeout)
        )
        self._teller = HandlerRunner(self._handlers)
        # Of one account there may be many services, one after the other.
        self._references: dict[References, None] = {}
        if secret is not None:  # Credentials look whether it can be one
            self._references[References(Credentials(1, secret).secret)] = None
        self._attached: list[Listener] = []
        self._unique = map(
            "{}.{}".format, itertools.repeat(secrets.token_hex(8)), itertools.count()
        )
        self._store_failed = False
        #: A bare ASGI application that serves this receiver.
        self.asgi = ReceiverApp(self)
        if not self.store.shared and several_workers(sys.argv, os.environ):
            warnings.warn(
                "several worker processes keep events in memory, each its own: an event that "
                "reaches one is not heard of in another. Give the receiver a RedisStore, or "
                "run one worker",
                RuntimeWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return f"<Receiver {self._counts['taken']} events taken>"

    # -- what the user registers

    def on_event(self, handler: _E) -> _E:
        """Call a function with every event of this account's calls, once; a decorator.

        Args:
            handler: A plain or async function of one event.
        """
        return self._handlers.add_event(handler)

    @overload
    def on_input(self, handler: _I, /) -> _I: ...

    @overload
    def on_input(self, name: str, /) -> Callable[[_I], _I]: ...

    def on_input(self, handler: _I | str, /) -> _I | Callable[[_I], _I]:
        """Ask a function how a call goes on after keys were pressed; a decorator.

        Args:
            handler: A plain or async function of one `telecmi_async.events.DigitsEvent` that
                returns a call flow; or a name, to register one for an address of its own:
                ``@receiver.on_input("menu")`` is asked by the ``action_url``
                ``receiver.url("https://example.com/telecmi", "menu")``.

        Raises:
            ConfigurationError: There is one for that address already.
        """
        if isinstance(handler, str):
            name = handler
            return lambda function: self._handlers.add_input(name, function)
        return self._handlers.add_input("", handler)

    def on_inbound(self, handler: _C) -> _C:
        """Ask a function what becomes of a call that comes in; a decorator.

        Args:
            handler: A plain or async function of one `telecmi_async.events.InboundRequest`
                that returns a call flow.

        Raises:
            ConfigurationError: There is one already.
        """
        return self._handlers.add_inbound(handler)

    def url(self, base: str, name: str = "", /, **query: str | int | None) -> str:
        """Return the address of this receiver, with the newest token in it.

        Args:
            base: Where the receiver is mounted: ``"https://example.com/telecmi"``.
            name: Which `on_input` handler it is for.
            query: What the handler shall find in the event's ``query``: pressed keys bring
                neither ``request_id`` nor ``extra_params`` along. What is ``None`` is left
                out.

        Raises:
            ConfigurationError: ``name`` cannot be part of an address.
        """
        return self._tokens.address(base, name, query)

    def hide_in(self, *loggers: str) -> None:
        """Take the tokens out of what other loggers write, for web servers log every path.

        Args:
            loggers: Their names. Without any, those of the known servers and frameworks,
                which are listed in ``telecmi_async.events.receiver.WEB_LOGS``.
        """
        hide_tokens(self._tokens, loggers)

    @property
    def counts(self) -> Counts:
        """What came in so far."""
        return Counts(**self._counts)

    # -- a request

    async def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> WebhookResponse:
        """Take over one request and return what to answer.

        Args:
            method: ``"POST"``, if all is well.
            path: The path, whose last part is the token, with its query if there is one.
            headers: The headers, their names in any case.
            body: The body.
        """
        refusal = self.refuse(method, path, headers)
        if refusal is not None:
            return refusal
        reply, event = await self.take(path, body)
        if event is not None:
            await self.tell(event)
        return reply

    def refuse(
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

    async def take(
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
            return flow_response(self._handlers.fallback), None
        await self._put(filed)  # if it cannot be kept, somebody waits on the line all the same
        question = attrs.evolve(question, query=query_of(path))
        flow = await self._handlers.answer(question, self._tokens.match(path) or "")
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

    # -- the user's handlers

    async def tell(self, event: Event) -> None:
        """Call the handlers of events with one; wait for them where no task can be started."""
        await self._teller.tell(event)

    def dispatch(self, event: Event) -> None:
        """Call the handlers of events with one that turned out to be ours."""
        self._teller.dispatch(event)

    async def aclose(self) -> None:
        """Wait for the handlers that are under way, but no longer than 30 seconds.

        Events are taken over still. From now on their handlers run before the answer.
        """
        await self._teller.aclose()

    async def __aenter__(self) -> Self:
        await self._teller.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._teller.leave(error)

    # -- the services that listen

    def attach(self, references: References, listener: Listener) -> None:
        """Have a service listen, whose calls carry references that ``references`` finds."""
        self._references[references] = None  # for good: its calls go on when it is closed
        self._attached.append(listener)

    def detach(self, listener: Listener) -> None:
        """Let a service go that was closed."""
        self._attached = [other for other in self._attached if other is not listener]

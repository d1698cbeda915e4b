"""The receiver: a request comes in, an answer goes out. It opens no socket itself."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import sys
import warnings
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final, Self, TypeVar, overload

from attrs import frozen

from telecmi_async import _settings
from telecmi_async.errors import StoreError, WebhookError, WrongEventLoop
from telecmi_async.events import (
    DigitsEvent,
    Direction,
    Event,
    InboundRequest,
    StreamEvent,
    dedupe_key,
    parse_event,
)
from telecmi_async.host import Host
from telecmi_async.pcmo import Hangup
from telecmi_async.receiver.asgi import Application
from telecmi_async.receiver.handlers import EventHandler, Handlers, InboundHandler, InputHandler
from telecmi_async.receiver.reply import LARGEST, Reply, answer
from telecmi_async.receiver.tokens import TokenFilter, Tokens
from telecmi_async.receiver.workers import several_workers
from telecmi_async.store import EventStore, FiledEvent, Listener, MemoryStore, names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from telecmi_async._settings import Duration
    from telecmi_async.flow import FlowLike
    from telecmi_async.reference import References

__all__ = ["Counts", "Receiver"]

logger = logging.getLogger("telecmi_async")

_HANG_UP: Final = (Hangup(),)
_NOT_FOUND: Final = Reply(404)
_WRONG_METHOD: Final = Reply(405, (("Allow", "POST"),))
_TOO_LARGE: Final = Reply(413)
_NO_JSON: Final = Reply(415)
_UNREADABLE: Final = Reply(400)
_TAKEN: Final = Reply(204)
_NOT_NOW: Final = Reply(503, (("Retry-After", "5"),))
# Conversations that came in and may have more events.
_CONVERSATIONS: Final = 10_000

_E = TypeVar("_E", bound=EventHandler)
_I = TypeVar("_I", bound=InputHandler)
_C = TypeVar("_C", bound=InboundHandler)


@frozen(kw_only=True)
class Counts:
    """What a receiver was sent so far.

    Args:
        taken: Events taken over, each counted once.
        repeated: Deliveries of what was taken over before.
        strays: Of those taken over, the ones of a call that nobody here was known to have
            placed: kept for ten minutes, and handed on if their call turns up.
        asked: Questions answered: pressed keys, and calls that came in.
        refused: Requests without a valid token, or that are no POST of JSON.
        unreadable: Bodies that are no event, or too large.
        put_off: Events the store could not take; TeleCMI was asked to send them again.
    """

    taken: int = 0
    repeated: int = 0
    strays: int = 0
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
            worker processes, a `telecmi_async.store.redis.RedisStore`.
        fallback: The call flow that answers pressed keys and calls that come in when no
            handler does, or when it fails.
        body_timeout: How long `asgi` waits for a request's body, in seconds or as a
            `timedelta`.

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
        body_timeout: Duration = 10.0,
    ) -> None:
        self._tokens = Tokens(token)
        #: Where events wait.
        self.store: EventStore = MemoryStore() if store is None else store
        self.body_timeout = _settings.seconds_or_none("body_timeout", body_timeout)
        self._handlers = Handlers(fallback)
        self._attached: list[tuple[References, Listener]] = []
        self._conversations: OrderedDict[str, None] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._host = Host()
        self._unique = map(
            "{}.{}".format, itertools.repeat(secrets.token_hex(8)), itertools.count()
        )
        self._checked_workers = False
        self._store_failed = False
        #: A bare ASGI application that serves this receiver.
        self.asgi = Application(self)

    def __repr__(self) -> str:
        return f"<Receiver {self._counts['taken']} events taken>"

    # -- what the user registers

    def on_event(self, handler: _E) -> _E:
        """Call a function with every event of this account's calls, once; a decorator.

        Args:
            handler: A plain or async function of one `telecmi_async.events.Event`.
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

    def url(self, base: str, name: str = "") -> str:
        """Return the address of this receiver, with the newest token in it.

        Args:
            base: Where the receiver is mounted: ``"https://example.com/telecmi"``.
            name: Which `on_input` handler it is for.

        Raises:
            ConfigurationError: ``name`` cannot be part of an address.
        """
        return self._tokens.address(base, name)

    def hide_in(self, *loggers: str) -> None:
        """Take the tokens out of what other loggers write.

        Args:
            loggers: Their names, such as ``"uvicorn.access"`` or ``"aiohttp.access"``: web
                servers write down every path.
        """
        for name in loggers:
            logging.getLogger(name).addFilter(TokenFilter(self._tokens))

    @property
    def counts(self) -> Counts:
        """What came in so far."""
        return Counts(**self._counts)

    # -- a request

    async def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> Reply:
        """Take over one request and return what to answer.

        Args:
            method: ``"POST"``, if all is well.
            path: The path, whose last part is the token.
            headers: The headers, their names in any case.
            body: The body.
        """
        refusal = self.refuse(method, path, headers)
        if refusal is not None:
            return refusal
        reply, event = await self.take(path, body)
        await self.tell(event)
        return reply

    def refuse(self, method: str, path: str, headers: Mapping[str, str]) -> Reply | None:
        """Return the refusal of a request by its head alone; ``None`` to read its body."""
        if self._tokens.match(path) is None:
            return self._refused(_NOT_FOUND)
        if method != "POST":
            return self._refused(_WRONG_METHOD)
        lower = {name.lower(): value for name, value in headers.items()}
        kind = lower.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return self._refused(_NO_JSON)
        length = lower.get("content-length", "0")
        if (
            length.isascii()
            and length.isdecimal()
            and len(length) < 20
            and int(length) > LARGEST
        ):
            return self.too_large()
        return None

    def _refused(self, reply: Reply) -> Reply:
        self._counts["refused"] += 1
        return reply

    def too_large(self) -> Reply:
        """Return the refusal of a body of more than 64 KiB."""
        self._counts["unreadable"] += 1
        return _TOO_LARGE

    async def take(self, path: str, body: bytes) -> tuple[Reply, Event | None]:
        """Take over a body whose request was not refused.

        Returns:
            What to answer, and the event to tell the user's handlers of afterwards.
        """
        self._check_workers()
        if len(body) > LARGEST:
            return self.too_large(), None
        try:
            event = parse_event(body)
        except WebhookError as error:
            logger.warning("a webhook brought what cannot be read: %s", error)
            self._counts["unreadable"] += 1
            return _UNREADABLE, None
        if isinstance(event, DigitsEvent | InboundRequest):
            return await self._answer(event, self._tokens.match(path) or "", len(body)), None
        filed = self._file(event, len(body))
        if not await self._put(filed):
            return _NOT_NOW if self._store_failed else _TAKEN, None
        return _TAKEN, event if filed.ours else None

    async def _answer(
        self, question: DigitsEvent | InboundRequest, name: str, size: int
    ) -> Reply:
        """Answer a question. That it was asked is an event of the call, too."""
        if isinstance(question, InboundRequest) and question.cmiuuid:
            self._remember(question.cmiuuid)
        await self._put(self._file(question, size))
        self._counts["asked"] += 1
        return answer(await self._handlers.answer(question, name))

    async def _put(self, filed: FiledEvent) -> bool:
        """Put an event into the store; tell whether it is there and was not before."""
        try:
            fresh = await self.store.put(filed)
        except StoreError as error:
            if not self._store_failed:
                logger.error("events cannot be kept, TeleCMI is put off: %s", error)  # noqa: TRY400  # it is no bug, and says all there is
            self._store_failed = True
            self._counts["put_off"] += 1
            return False
        self._store_failed = False
        self._counts["taken" if fresh else "repeated"] += 1
        self._counts["strays"] += fresh and not filed.ours
        return fresh

    def _file(self, event: Event, size: int) -> FiledEvent:
        reference = next(
            (found for references, _ in self._attached if (found := references.find(event))),
            None,
        )
        names = names_of(event, reference)
        return FiledEvent(
            event,
            dedupe_key(event) or next(self._unique),
            names,
            ours=reference is not None or self._is_ours(event, names),
            size=size,
        )

    def _is_ours(self, event: Event, names: tuple[str, ...]) -> bool:
        """Tell whether an event without a reference is certainly about this account's calls."""
        if not self._attached or any(listener.wants(names) for _, listener in self._attached):
            return True
        if any(name in self._conversations for name in names):
            return True
        # What came in has no id that anybody here could know. The token must do.
        came_in = event.request_id is None and event.direction is not Direction.OUTBOUND
        if came_in and not isinstance(event, StreamEvent):
            if event.conversation_uuid:
                self._remember(event.conversation_uuid)
            return True
        return False

    def _remember(self, conversation: str) -> None:
        self._conversations[conversation] = None
        if len(self._conversations) > _CONVERSATIONS:
            self._conversations.popitem(last=False)

    def _check_workers(self) -> None:
        """Warn, once, of what cannot work."""
        if self._checked_workers or self.store.shared:
            return
        self._checked_workers = True
        if several_workers(sys.argv, os.environ):
            warnings.warn(
                "several worker processes keep events in memory, each its own: an event that "
                "reaches one is not heard of in another. Give the receiver a RedisStore, or "
                "run one worker",
                RuntimeWarning,
                stacklevel=2,
            )

    # -- the user's handlers

    async def tell(self, event: Event | None) -> None:
        """Call the handlers of events with one; wait for them where no task can be started."""
        if event is not None and not self._start(event):
            await self._handlers.tell(event)

    def dispatch(self, event: Event) -> None:
        """Call the handlers of events with one that turned out to be ours."""
        if not self._start(event):
            logger.error("on trio, open the receiver (async with receiver) to handle %r", event)

    def _start(self, event: Event) -> bool:
        """Start the handlers of an event; False if there is nowhere to start them."""
        if not self._handlers.of_events:
            return True
        try:
            self._host.bind()
            self._host.start(self._handlers.tell, event, _nothing)
        except WrongEventLoop:
            return False
        return True

    async def aclose(self) -> None:
        """Wait for the handlers that are under way."""
        await self._host.drain()

    async def __aenter__(self) -> Self:
        await self._host.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.aclose()
        finally:
            await self._host.close(error)

    # -- the services that listen

    def attach(self, references: References, listener: Listener) -> None:
        """Have a service listen, whose calls carry references that ``references`` finds."""
        self._attached.append((references, listener))

    def detach(self, listener: Listener) -> None:
        """Let a service go that was closed."""
        self._attached = [pair for pair in self._attached if pair[1] is not listener]


def _nothing(_: Event) -> None:
    """Nothing is to be done when handlers are over."""

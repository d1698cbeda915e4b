"""Webhook receiver: a request in, a reply out. It opens no socket itself."""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Final, Self, TypeVar, overload

from telecmi_async._internal import validators
from telecmi_async._internal.seams import check_implements
from telecmi_async._internal.secrets import Secret
from telecmi_async.events.receiver.asgi import ReceiverApp
from telecmi_async.events.receiver.handlers import (
    EventHandler,
    Handlers,
    InboundHandler,
    InputHandler,
)
from telecmi_async.events.receiver.intake import Counts, Intake
from telecmi_async.events.receiver.tokens import Tokens, hide_tokens
from telecmi_async.events.receiver.worker_detection import several_workers
from telecmi_async.events.reference import References
from telecmi_async.events.store import EventStore, MemoryStore
from telecmi_async.pcmo.actions import Hangup
from telecmi_async.wire.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telecmi_async._internal.validators import Duration
    from telecmi_async.http_server import HttpResponse
    from telecmi_async.pcmo.flow import FlowLike

_HANG_UP: Final = (Hangup(),)

_E = TypeVar("_E", bound=EventHandler)
_I = TypeVar("_I", bound=InputHandler)
_C = TypeVar("_C", bound=InboundHandler)


class Receiver:
    """Accepts TeleCMI's webhooks: live events, records, pressed keys, inbound calls.

    Mount `asgi` in a web application, or call `handle` from a route of its own. Give the
    receiver to a service, and the service's handles get their events::

        receiver = Receiver(os.environ["TELECMI_WEBHOOK_TOKEN"])
        app.mount("/telecmi", receiver.asgi)
        service = CallService(…, events=receiver)

    The address to enter in TeleCMI's dashboard ends in the token:
    ``https://example.com/telecmi/<token>``, the same for events, records and inbound calls.

    The reply to an event is 204 as soon as the event is stored. Functions registered by
    `on_event` are called with it once, however often it is delivered; their errors are logged.
    On asyncio they run as tasks of their own, started in the order of arrival; on trio, too, if
    the receiver is open (``async with receiver:``). Else they run before the reply.

    Args:
        token: The last part of the address, from `new_token`; or several, the newest first,
            while an old one is being replaced.
        store: Keeps events for their calls: in memory, or, for several worker processes, in a
            `telecmi_async.events.store.redis.RedisStore`.
        fallback: The call flow that answers pressed keys and inbound calls if no handler does,
            or if it fails.
        secret: The account's secret, for a receiver in a process that places no calls: with
            it, references are checked. A service that is given the receiver adds its own.
        answer_timeout: How long `on_input` and `on_inbound` may take before ``fallback``
            answers, in seconds or as a `timedelta`: meanwhile the caller hears nothing.
        body_timeout: How long `asgi` waits for a request's body, likewise.

    Raises:
        ConfigurationError: An invalid argument.
        InvalidCall: ``fallback`` is not a call flow.
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
        # From here on neither appears in a traceback's locals.
        given, token = Secret(token), ""
        if store is not None:
            wanted = "an event store, such as a RedisStore(url)"
            check_implements("store", store, EventStore, wanted)
        secret = None if secret is None else Secret(secret)
        self._counts: Counter[str] = Counter()
        self._tokens = Tokens(given)
        self._intake = Intake(
            self._tokens,
            MemoryStore() if store is None else store,
            Handlers(fallback, validators.seconds_or_none("answer_timeout", answer_timeout)),
            self._counts,
            body_timeout=validators.seconds_or_none("body_timeout", body_timeout),
        )
        if secret is not None:  # Credentials checks that it can be one
            self._intake.check_references(References(Credentials(1, secret).secret))
        #: A bare ASGI application that serves this receiver.
        self.asgi = ReceiverApp(self._intake)
        if not self.store.shared and several_workers(sys.argv, os.environ):
            warnings.warn(
                "several worker processes keep events in memory, each its own: an event that "
                "reaches one is not known in another. Give the receiver a RedisStore, or run "
                "one worker",
                RuntimeWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return f"<Receiver {self._counts['accepted']} events accepted>"

    def on_event(self, handler: _E) -> _E:
        """Register a function to call once with every event of this account's calls; a decorator.

        Args:
            handler: A plain or async function of one event.
        """
        return self._intake.handlers.add_event(handler)

    @overload
    def on_input(self, handler: _I, /) -> _I: ...

    @overload
    def on_input(self, name: str, /) -> Callable[[_I], _I]: ...

    def on_input(self, handler: _I | str, /) -> _I | Callable[[_I], _I]:
        """Register a function that returns how a call goes on after keys were pressed.

        Args:
            handler: A plain or async function of one `telecmi_async.events.DigitsEvent` that
                returns a call flow; or a name, to register one for an address of its own:
                ``@receiver.on_input("menu")`` answers the ``action_url``
                ``receiver.url("https://example.com/telecmi", "menu")``.

        Raises:
            ConfigurationError: That address has a handler already.
        """
        if isinstance(handler, str):
            name = handler
            return lambda function: self._intake.handlers.add_input(name, function)
        return self._intake.handlers.add_input("", handler)

    def on_inbound(self, handler: _C) -> _C:
        """Register a function that returns how an inbound call is answered; a decorator.

        Args:
            handler: A plain or async function of one `telecmi_async.events.InboundRequest`
                that returns a call flow.

        Raises:
            ConfigurationError: There is a handler already.
        """
        return self._intake.handlers.add_inbound(handler)

    def url(self, base: str, name: str = "", /, **query: str | int | None) -> str:
        """Return the address of this receiver, with the newest token in it.

        Args:
            base: Where the receiver is mounted: ``"https://example.com/telecmi"``.
            name: Which `on_input` handler it is for.
            query: For the event's ``query``, since pressed keys come without ``request_id``
                and ``extra_params``. Values that are ``None`` are left out.

        Raises:
            ConfigurationError: ``name`` cannot be part of an address.
        """
        return self._tokens.address(base, name, query)

    def hide_in(self, *loggers: str) -> None:
        """Hide the tokens in the records of other loggers, as web servers log every path.

        Args:
            loggers: Their names. Without any, those of the known servers and frameworks,
                which are listed in ``telecmi_async.events.receiver.WEB_LOGS``.
        """
        hide_tokens(self._tokens, loggers)

    @property
    def store(self) -> EventStore:
        """Where events wait for the calls they are about."""
        return self._intake.store

    @property
    def counts(self) -> Counts:
        """What was received so far."""
        return Counts(**self._counts)

    async def handle(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> HttpResponse:
        """Accept one request and return the reply.

        Args:
            method: ``"POST"`` is accepted.
            path: The path, whose last part is the token, with its query if there is one.
            headers: The headers, their names in any case.
            body: The body.

        Returns:
            The reply: 204 for an accepted event, 200 with the call flow that answers a question,
            4xx for a refusal, 503 if TeleCMI shall send the event again.
        """
        kind = length = ""
        for name, value in headers.items():
            if len(name) == len("content-type") and name.lower() == "content-type":
                kind = value
            elif len(name) == len("content-length") and name.lower() == "content-length":
                length = value
        refusal = self._intake.check(method, path, kind, length)
        if refusal is not None:
            return refusal
        reply, event = await self._intake.accept(path, body)
        if event is not None:
            await self._intake.runner.run(event)
        return reply

    async def aclose(self) -> None:
        """Wait for running handlers, but no longer than 30 seconds.

        Events are still accepted. From now on their handlers run before the reply.
        """
        await self._intake.runner.aclose()

    async def __aenter__(self) -> Self:
        await self._intake.runner.__aenter__()
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        await self._intake.runner.__aexit__(None, error, None)


def intake_of(receiver: Receiver) -> Intake:
    """Return the inside of a receiver, for services of this package."""
    return receiver._intake  # noqa: SLF001  # its own module

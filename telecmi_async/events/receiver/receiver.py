"""Webhook receiver: a request in, a reply out. It opens no socket itself."""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Final, Self, TypeVar, cast, overload

from telecmi_async._internal import validators
from telecmi_async._internal.seams import check_implements
from telecmi_async._internal.secrets import Secret
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.receiver.asgi import ReceiverApp
from telecmi_async.events.receiver.handler_runner import HandlerRunner
from telecmi_async.events.receiver.handlers import (
    EventHandler,
    Handlers,
    InboundHandler,
    InputHandler,
)
from telecmi_async.events.receiver.intake import Counts, Intake
from telecmi_async.events.receiver.token_filter import WEB_LOGS, filter_logs
from telecmi_async.events.receiver.tokens import Tokens
from telecmi_async.events.receiver.worker_detection import several_workers
from telecmi_async.events.reference import References
from telecmi_async.events.store import EventStore, MemoryStore
from telecmi_async.observer.notifier import notifier_of
from telecmi_async.pcmo.actions import Hangup
from telecmi_async.wire.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from telecmi_async._internal.validators import Duration
    from telecmi_async.http_server import HttpResponse
    from telecmi_async.observer import Observer
    from telecmi_async.pcmo.flow import FlowLike

_HANG_UP: Final = (Hangup(),)
_LONGEST_VALUES: Final = 1_000
_whole: Final = validators.whole(1)

_E = TypeVar("_E", bound=EventHandler)
_I = TypeVar("_I", bound=InputHandler)
_C = TypeVar("_C", bound=InboundHandler)


class Receiver:
    """Accepts TeleCMI's webhooks: live events, records, pressed keys, inbound calls.

    Mount `asgi` in a web application, or call `handle` in a route of yours. Give the receiver to a
    service, and the service's handles get their events.

    The address to enter in TeleCMI's dashboard ends in the token:
    ``https://example.com/telecmi/<token>``, the same for events, records and inbound calls.

    The reply to an event is 204 as soon as the event is stored. Functions registered by
    `on_event` are called with it once, however often it is delivered; their errors are logged.
    Each gets the events of one call one after the other, in the order of arrival, and those of up
    to 100 calls at the same time. On asyncio they run as tasks of their own; on trio, too, if the
    receiver is open (``async with receiver:``). Else they run before the reply.

    Example:
        Webhooks at ``/telecmi/<token>`` of a web application::

            from starlette.applications import Starlette

            from telecmi_async.events.receiver import new_token

            receiver = Receiver(new_token())  # keep the token: it is part of the address
            app = Starlette()
            app.mount("/telecmi", receiver.asgi)
            service = CallService(2222226, "your-secret", from_=19170000000, events=receiver)


            @receiver.on_event
            async def log(event):
                print(event)

    Args:
        token: The last part of the address, from `new_token`; or several, the newest first,
            while an old one is being replaced.
        store: Keeps events for their calls: in memory, or, for several worker processes, in a
            `telecmi_async.events.store.redis.RedisStore`.
        fallback: The call flow that answers pressed keys and inbound calls if no handler does,
            or if it fails.
        secret: The account's secret, for a receiver in a process that places no calls: with
            it, references are checked, and the values of `url` encrypted. A service that is given
            the receiver adds its own.
        answer_timeout: How long `on_input` and `on_inbound` may take, the store included, before
            ``fallback`` answers, in seconds or as a `timedelta`. Meanwhile the call is silent.
        body_timeout: How long `asgi` waits for a request's body, likewise.
        shutdown_timeout: How long `aclose` waits for running handlers, likewise. It should be
            less than what stops the process allows: Kubernetes and gunicorn 30 seconds, Docker 10.
        max_pending_events: How many events may wait for `on_event` functions, counted once for
            each function. Beyond that the reply is 503: TeleCMI delivers records again after 5,
            10 and 15 minutes; of live events it does not say so.
        observer: Is called with what became of each request, for metrics and traces; as for
            `CallService`.

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
        shutdown_timeout: Duration | None = 20.0,
        max_pending_events: int = 10_000,
        observer: Observer | None = None,
    ) -> None:
        # From here on neither appears in a traceback's locals.
        given, token = Secret(token), ""
        if store is not None:
            wanted = "an event store, such as a RedisStore(url)"
            check_implements("store", store, EventStore, wanted)
        secret = None if secret is None else Secret(secret)
        self._counts: Counter[str] = Counter()
        self._tokens = Tokens(given)
        handlers = Handlers(fallback)
        _whole(self, validators.Named("max_pending_events"), max_pending_events)
        self._intake = Intake(
            self._tokens,
            MemoryStore() if store is None else store,
            handlers,
            HandlerRunner(
                handlers,
                max_pending=max_pending_events,
                shutdown_timeout=validators.seconds_or_none(
                    "shutdown_timeout", shutdown_timeout
                ),
            ),
            self._counts,
            answer_timeout=validators.seconds_or_none("answer_timeout", answer_timeout),
            body_timeout=validators.seconds_or_none("body_timeout", body_timeout),
            notify=notifier_of(observer),
        )
        filter_logs(WEB_LOGS)
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
                stacklevel=3,  # the constructor is wrapped: see argument_errors
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
                returns a call flow; or a name, to register one for a separate address:
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

    def url(self, base: str, name: str = "", /, **values: str | int | None) -> str:
        """Return the address of this receiver, with the newest token in it.

        Web servers and proxies log addresses, so the values are encrypted with the account's
        secret: a phone number in them can be read by this account's receivers only.

        Args:
            base: Where the receiver is mounted: ``"https://example.com/telecmi"``.
            name: Which `on_input` handler it is for.
            values: For the event's ``query``, where they are text, since pressed keys come
                without ``request_id`` and ``extra_params``. Values that are ``None`` are left
                out.

        Raises:
            ConfigurationError: ``base`` or ``name`` cannot be part of an address; there are
                `on_input` handlers, and none has that name; a value is neither text nor an int;
                all together have more than 1,000 characters; or the account's secret is not known
                here.
        """
        self._intake.handlers.check_address(name)
        given = {key: value for key, value in values.items() if value is not None}
        for key, value in given.items():
            if isinstance(value, bool) or not isinstance(cast("object", value), str | int):
                raise ConfigurationError(
                    f"the value {key} of an address must be text, an int or None, not "
                    f"{type(value).__name__}"
                )
        if sum(len(key) + len(str(value)) for key, value in given.items()) > _LONGEST_VALUES:
            raise ConfigurationError(
                f"the values of an address have more than {_LONGEST_VALUES} characters: keep them "
                "yourself, under a key that goes into the address"
            )
        return self._tokens.address(base, name, self._intake.encrypt(given) if given else "")

    def hide_in(self, *loggers: str) -> None:
        """Hide the tokens of all receivers in the records of other loggers, however spelt.

        In the logs of known servers and frameworks, those in
        ``telecmi_async.events.receiver.WEB_LOGS``, they are hidden from the start.

        Args:
            loggers: Their names; without any, the known ones again.
        """
        filter_logs(loggers or WEB_LOGS)

    def change_token(self, token: str | Sequence[str]) -> None:
        """Replace the tokens while the receiver works; any thread may do so.

        Args:
            token: The new token, or several, the newest first: the old one should be valid
                until TeleCMI has the new address, and half an hour longer.

        Raises:
            ConfigurationError: An invalid token; those of before stay valid.
        """
        given, token = Secret(token), ""  # it appears in no traceback's locals
        self._tokens.change(given)

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
            body: The body, also as gzip packed it. What it is decides, not its content type.

        Returns:
            The reply: 204 for an accepted event, 200 with the call flow that answers a question,
            4xx for a refusal, 503 if TeleCMI shall send the event again.
        """
        length = ""
        for name, value in headers.items():
            if len(name) == len("content-length") and name.lower() == "content-length":
                length = value
        delivery = self._intake.open(path)
        refusal = self._intake.check(delivery, method, length)
        if refusal is not None or delivery is None:
            return cast("HttpResponse", refusal)
        reply = await self._intake.accept(delivery, body)
        for event in delivery.unhandled:
            await self._intake.runner.run(event)
        return reply

    async def aclose(self) -> None:
        """Wait for running handlers, but no longer than ``shutdown_timeout``; log what is lost.

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

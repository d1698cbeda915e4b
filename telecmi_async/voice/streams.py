"""Streams: the calls' audio, served to a function of yours."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Self, TypeAlias, TypedDict, TypeVar, Unpack, cast
from urllib.parse import quote, urlencode

import anyio

from telecmi_async._internal import validators
from telecmi_async._internal.event_loop import current_loop, is_failure
from telecmi_async._internal.seams import check_function, check_instance
from telecmi_async._internal.secrets import Secret, log_failure
from telecmi_async._internal.tasks import background_task_group
from telecmi_async._internal.telecmi import STREAM_PLACEHOLDER
from telecmi_async.calls.streamed_calls import StreamedCalls
from telecmi_async.errors import ConfigurationError, InvalidCall, StreamClosed
from telecmi_async.events.receiver.handlers import name_of
from telecmi_async.events.receiver.token_filter import WEB_LOGS, filter_logs
from telecmi_async.events.reference import References
from telecmi_async.pcmo.actions import Stream
from telecmi_async.pcmo.flow import Flow
from telecmi_async.voice.asgi import StreamsApp
from telecmi_async.voice.protocol import RATES
from telecmi_async.voice.reception import Reception, StreamCounts
from telecmi_async.voice.session import STALLED, StreamSession
from telecmi_async.voice.socket import SessionLimits
from telecmi_async.wire.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from telecmi_async._internal.validators import Duration
    from telecmi_async.events import Event
    from telecmi_async.pcmo.actions import ListenMode
    from telecmi_async.voice.socket import Admission, StreamSocket

#: An asynchronous function of one session.
StreamHandler: TypeAlias = "Callable[[StreamSession], Awaitable[object]]"

logger = logging.getLogger("telecmi_async")


class _StreamOptions(TypedDict, total=False):
    listen_mode: ListenMode
    stream_on_answer: bool | None


_H = TypeVar("_H", bound="StreamHandler")
# Web servers take twice as much in the first line of a request; columns may make it longer.
_LONGEST_QUERY: Final = 4_000
_whole: Final = validators.whole(1)


class Streams:
    """Serves the audio of calls whose flow has a ``stream`` action, one session for each call.

    Mount `asgi` in a web application. Give the streams to a service, and `flow` as a call's flow:
    TeleCMI connects to an address that only this call has, so each session knows its call.
    Connections to other addresses are refused.

    A session is served in the task of its connection. It ends when its function returns, and the
    call goes on with the action after ``stream``. When the WebSocket is closed, the function
    may finish its work for ``finish_timeout``.

    Example:
        A bot at ``wss://voice.example.com/talk`` of a web application::

            from starlette.applications import Starlette

            from telecmi_async.voice import Streams

            streams = Streams("wss://voice.example.com/talk")
            app = Starlette()
            app.mount("/talk", streams.asgi)
            service = CallService(2222226, "your-secret", from_=19170000000, streams=streams)


            @streams.on_stream
            async def talk(session):
                await session.play(greeting)
                async for pcm in session:
                    ...

    Args:
        url: Where `asgi` is mounted, as TeleCMI reaches it: ``"wss://…"``; ``"https://…"`` means the
            same.
        secret: The account's secret, for streams in a process that places no calls. A service
            that is given the streams adds its own.
        max_sessions: How many calls are served at the same time; others are refused.
        inbox: How much of a call's audio waits for the function, in seconds or as a `timedelta`.
            Beyond that the oldest is dropped.
        send_timeout: How long TeleCMI may take to read a message before the session is closed,
            likewise.
        idle_timeout: How long TeleCMI may send nothing before the session is closed, likewise; its
            frames come every 20 ms or so. ``None`` for any time, such as for a stream that is
            paused.
        finish_timeout: How long a function may work after its WebSocket was closed, likewise;
            then it is cancelled.
        shutdown_timeout: How long `aclose` waits for running functions, likewise.

    Raises:
        ConfigurationError: An invalid argument.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: str | Secret | None = None,
        max_sessions: int = 1_000,
        inbox: Duration = 10.0,
        send_timeout: Duration = 5.0,
        idle_timeout: Duration | None = 120.0,
        finish_timeout: Duration | None = 60.0,
        shutdown_timeout: Duration | None = 20.0,
    ) -> None:
        secret = None if secret is None else Secret(secret)  # a traceback may show locals
        self._url = _checked_url(url)
        _whole(self, validators.Named("max_sessions"), max_sessions)
        self._limits = SessionLimits(
            inbox=_seconds("inbox", inbox),
            send=_seconds("send_timeout", send_timeout),
            idle=validators.seconds_or_none("idle_timeout", idle_timeout),
        )
        self._finish_timeout = validators.seconds_or_none("finish_timeout", finish_timeout)
        self._shutdown_timeout = validators.seconds_or_none(
            "shutdown_timeout", shutdown_timeout
        )
        #: For `CallService`: the calls that these streams know.
        self.calls = StreamedCalls()
        if secret is not None:  # Credentials checks that it can be one
            self.calls.check_references(References(Credentials(1, secret).secret))
        self._reception = Reception(self.calls, max_sessions=max_sessions)
        self._handler: StreamHandler | None = None
        self._running: dict[StreamSession, _Run] = {}
        #: A bare ASGI application that serves these streams.
        self.asgi = StreamsApp(self)
        filter_logs(WEB_LOGS)

    def __repr__(self) -> str:
        return f"<Streams {len(self._reception.sessions)} sessions>"

    @property
    def counts(self) -> StreamCounts:
        """What became of the connections so far."""
        return StreamCounts(**self._reception.counts)

    def on_stream(self, handler: _H) -> _H:
        """Register the asynchronous function that is called with each session; a decorator.

        If it fails, the error is logged by its type and place, and the stream is closed.

        Raises:
            ConfigurationError: It is no asynchronous function, or there is one already.
        """
        if self._handler is not None:
            raise ConfigurationError("there is an on_stream handler already")
        check_function("the on_stream handler", handler, "one session")
        given = cast("object", handler)
        if inspect.isfunction(given) and not inspect.iscoroutinefunction(given):
            raise ConfigurationError("the on_stream handler must be an async def")
        self._handler = handler
        self._reception.ready = True
        return handler

    def flow(
        self,
        *,
        listen_mode: ListenMode = "caller",
        rate: int = 8_000,
        stream_on_answer: bool | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Flow:
        """Return a flow that streams a call to this place, for services that know the streams.

        It is the same for all calls, so that it fits a campaign. A service puts the call's own
        reference into the address when it places the call.

        Args:
            listen_mode: Which side you hear: ``"caller"``, ``"callee"`` or ``"both"``. With
                ``"both"`` you hear yourself. Which one the dialled phone is, is not documented;
                the vendor's examples have ``"caller"``.
            rate: Samples a second: 8,000, or 16,000.
            stream_on_answer: Whether to wait for the answer. TeleCMI's default is false.
            query: Values for the session of the call, `StreamSession.query`. They are part of the
                address, which TeleCMI and proxies may log: an id is better than a name. In the
                flow of a campaign they may be columns of the contact: ``{"order": "{order}"}``.

        Raises:
            InvalidCall: A value cannot be sent.
        """
        end = STREAM_PLACEHOLDER
        if query:
            end += f"?{_encoded(query)}"
        return self._flow(end, rate, listen_mode=listen_mode, stream_on_answer=stream_on_answer)

    def answer(
        self, event: Event, *, listen_mode: ListenMode = "caller", rate: int = 8_000
    ) -> Flow:
        """Return the flow that streams an inbound call to this place.

        Args:
            event: What ``on_inbound`` was called with. Its call's ``cmiuuid`` is in the address,
                encrypted, and so becomes the session's in every process.
            listen_mode: As for `flow`.
            rate: As for `flow`.

        Raises:
            ConfigurationError: The account's secret is not known here.
            InvalidCall: A value cannot be sent.
        """
        return self._flow(self._reception.address_for(event), rate, listen_mode=listen_mode)

    def _flow(self, end: str, rate: int, **options: Unpack[_StreamOptions]) -> Flow:
        if rate not in RATES:
            raise InvalidCall("must be 8000 or 16000", path="rate")
        return Flow(
            [
                Stream(
                    f"{self._url}/{rate}/{end}",
                    voice_quality="8000" if rate == RATES[0] else "16000",
                    **options,
                )
            ]
        )

    # -- for what serves WebSockets

    def admit(self, path: str) -> Admission | None:
        """Return the admission of a WebSocket's handshake; refuse it with HTTP 403 if None.

        Args:
            path: The path that it asks for, with or without a query. It must not be logged.
        """
        counts = self._reception.counts
        refused = counts["refused"]
        admission = self._reception.admit(path)
        if self._handler is None and counts["refused"] > refused:
            logger.error("a stream is refused: there is no handler (streams.on_stream)")
        return admission

    def identify(self, path: str) -> Admission | None:
        """Return which call a WebSocket is of that you serve without a session, as Pipecat does.

        Limits and counts are those of sessions; only a forged address is counted here.

        Args:
            path: The path that it asks for. Refuse it with HTTP 403 if this returns None.
        """
        return self._reception.identify(path)

    async def serve(self, admission: Admission, socket: StreamSocket) -> None:
        """Serve an accepted WebSocket, from its admission to its close.

        Args:
            admission: What `admit` returned for it.
            socket: The WebSocket.
        """
        reception = self._reception
        if not reception.may_enter(admission):  # others came between handshake and accept
            reception.counts["refused"] += 1
            with suppress(Exception):
                await socket.close(1013)
            return
        session = StreamSession(
            admission,
            socket,
            call=self.calls.handle_of(admission.reference),
            inbound=reception.inbound(admission.reference),
            limits=self._limits,
        )
        reception.enter(session)
        run = self._running[session] = _Run()
        outer = _run_here.set(run)
        try:
            async with background_task_group() as tasks:
                tasks.start_soon(self._receive, session, run)
                with run.handler:
                    await self._handle(session)
                session.end("the handler returned")
                await run.closed.wait()
        finally:
            _run_here.reset(outer)
            reception.leave(session)
            del self._running[session]
            run.closes.set()
            run.over.set()

    async def _receive(self, session: StreamSession, run: _Run) -> None:
        """Run a session, then give its handler some time to finish."""
        try:
            await session.run()
        finally:
            self._reception.leave(session)
            self._reception.counts["stalled"] += session.code == STALLED
            run.closed.set()
        if self._finish_timeout is not None:
            await anyio.sleep(self._finish_timeout)
            logger.warning(
                "%r: the handler was cancelled, %s s after the stream",
                session,
                self._finish_timeout,
            )
            run.handler.cancel()

    async def _handle(self, session: StreamSession) -> None:
        handler = cast("StreamHandler", self._handler)
        try:
            await handler(session)
        except BaseException as error:  # noqa: BLE001  # what is no failure is raised again
            failure, rest = _split(error)
            if failure is not None and not (session.closed and _is_close(failure)):
                self._reception.counts["failed"] += 1
                log_failure(
                    failure, f"the stream handler {name_of(handler)} failed on {session!r}"
                )
                session.end("the handler failed", code=1011)
            if rest is not None:
                raise rest from None

    # -- shutdown

    async def aclose(self) -> None:
        """Refuse new connections, wait ``shutdown_timeout`` for running functions, cancel the rest.

        A function that closes the streams, or a task of its, does not wait for itself, nor for
        others that do the same.
        """
        self._reception.closed = True
        here, loop = _run_here.get(), current_loop()
        is_inside = here in self._running.values()
        if here is not None and is_inside:
            here.closes.set()
        runs = {
            session: run
            for session, run in self._running.items()
            if session.loop is loop and not (is_inside and run.closes.is_set())
        }
        ends = [run.closes if is_inside else run.over for run in runs.values()]
        try:
            with anyio.move_on_after(self._shutdown_timeout):
                for end in ends:
                    await end.wait()
        finally:
            with anyio.CancelScope(shield=True):
                for (session, run), end in zip(runs.items(), ends, strict=True):
                    if not end.is_set():
                        run.handler.cancel()
                        session.end("the streams were closed", code=1001)
                for end in ends:
                    await end.wait()

    async def __aenter__(self) -> Self:
        self._reception.closed = False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class _Run:
    """A session that is served."""

    def __init__(self) -> None:
        self.handler = anyio.CancelScope()
        #: Set once the session is closed; once the handler closes the streams itself, or is over;
        #: once it is over.
        self.closed, self.closes, self.over = anyio.Event(), anyio.Event(), anyio.Event()


# The session that the running task, or the one that started it, serves.
_run_here: Final[ContextVar[_Run | None]] = ContextVar("_run_here", default=None)


def _split(
    error: BaseException,
) -> tuple[BaseException | None, BaseException | None]:
    """Return the failure in what a handler raised, and the cancellation or interrupt in it."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(Exception)
    return (error, None) if is_failure(error) else (None, error)


def _is_close(error: BaseException) -> bool:
    """Return whether an error, or each in a group, is that the stream was closed."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_close, cast("BaseExceptionGroup[BaseException]", error).exceptions))
    return isinstance(error, StreamClosed)


def _encoded(query: Mapping[str, str]) -> str:
    """Return values as the query of an address; braces stay, as they may name columns."""
    is_mapping = isinstance(cast("object", query), Mapping)
    texts: tuple[object, ...] = (*query, *query.values()) if is_mapping else (None,)
    if not all(isinstance(text, str) for text in texts):
        raise InvalidCall("must be a mapping of texts to texts", path="query")
    try:
        encoded = urlencode(query, safe="{|}", quote_via=quote)
    except UnicodeEncodeError:
        raise InvalidCall(
            "has half a surrogate pair, which cannot be sent", path="query"
        ) from None
    if len(encoded) > _LONGEST_QUERY:
        raise InvalidCall(
            f"may have {_LONGEST_QUERY} characters once encoded, not {len(encoded)}",
            path="query",
        )
    return encoded


def _seconds(name: str, value: Duration) -> float:
    seconds = validators.seconds_or_none(name, value)
    if seconds is None:
        raise ConfigurationError(f"{name} must be seconds or a timedelta, not None")
    return seconds


def _checked_url(url: str) -> str:
    """Return where the streams are mounted, without a slash at its end."""
    check_instance("url", url, str, 'where the streams are mounted, "wss://…"')
    base = url.rstrip("/")
    if base.startswith(("http://", "https://")):  # as for webhooks
        base = base.replace("http", "ws", 1)
    try:
        Stream(f"{base}/8000/{STREAM_PLACEHOLDER}")
    except InvalidCall as error:
        raise ConfigurationError(f"url {error.message}") from None
    if "?" in base or "#" in base:
        raise ConfigurationError("url must have neither a query nor a fragment")
    return base

"""Call service: opens, starts and closes; see `telecmi_async.calls.placement` for one call.

Lazy imports: the parts of a service are imported when the first service is made, so that a program
that only imports `CallService` starts faster. After that nothing is imported (see
`telecmi_async.service.parts.build_parts`): imports inside methods find their modules loaded.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Self, Unpack, cast

import anyio

from telecmi_async import errors
from telecmi_async._internal.secrets import Secret
from telecmi_async._internal.telecmi import BASE_URL
from telecmi_async.calls.handle import CallHandle, not_about_the_outcome
from telecmi_async.phone import Region

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    import httpx

    from telecmi_async._internal.validators import Duration
    from telecmi_async.calls.call import Call
    from telecmi_async.calls.request import CallRequest
    from telecmi_async.calls.retry import RetryPolicy
    from telecmi_async.calls.streamed_calls import CallStreams
    from telecmi_async.ledger import IdempotencyKeys, Ledger
    from telecmi_async.observer import Observer
    from telecmi_async.pacing.rate_limit import RateLimit
    from telecmi_async.pacing.shared import SharedLimits
    from telecmi_async.pcmo.flow import FlowLike
    from telecmi_async.service.lookup import CallCommand, CommandAnswer
    from telecmi_async.service.options import Number, Options
    from telecmi_async.service.sources import EventSource
    from telecmi_async.service.stream import CallStream, Item, Progress, StreamFeed
    from telecmi_async.wire.transport import Timeouts

# It takes longest: a service may be made in a running event loop, which should not wait for it.
import_module("httpx")


class CallService:
    """Places calls through TeleCMI's v2 API, many at a time over one shared HTTP client.

    Use it as ``async with CallService(…) as service:`` on asyncio or trio. On asyncio it also
    works as a plain object that any task may use, closed by ``await service.aclose()``.
    Leaving it waits for what was sent and cancels what is still queued.

    Example:
        One call, and the id that TeleCMI gave it::

            async with CallService(2222226, "your-secret", from_=19170000000) as service:
                call = await service.make_call(to=19170000001, pcmo=[Speak("Hello!"), Hangup()])
                print(call.request_id)

    Args:
        app_id: TeleCMI's number for your app.
        secret: The app's secret.
        from_: The default caller id: a number of your app.
        region: The default endpoint: ``"auto"`` (India if the callee is ``91`` and ten digits,
            else global), ``"india"`` or ``"global"``.
        base_url: The address of the API: https, or http on this machine.
        timeout: `Timeouts` of one attempt, or the longest wait for an answer alone, in
            seconds or as a `timedelta`.
        retry: Which attempts are repeated, and when.
        rate: How fast calls start and how many requests may be in flight.
        http_client: Your own `httpx.AsyncClient`; it is used, never closed. Without one,
            a client is made for the service and closed with it.
        ssl_context: TLS settings of that client, such as your own certificates. By default
            it trusts certifi's; ``ssl.create_default_context()`` trusts the system's.
        seed: Makes the jitter of retries the same in every run.
        events: Where events of accepted calls come from: a `Receiver` of webhooks, the store
            of a receiver in another process, a `CdrPoller`, or a list of these.
        reference: Whether each call carries an id in ``extra_params`` (``tcm_reference``), by
            which events find it even if TeleCMI's reply was lost. ``None``: if there is a
            receiver or a store.
        ledger: Where idempotency keys are on record, for all processes that use it: an open
            `SqliteLedger` or `PostgresLedger`, or other `IdempotencyKeys`. You close it, after
            the service.
        key_lifetime: How long a key is remembered after its call was sent, in seconds or as a
            `timedelta`.
        limits: Where ``rate`` is kept together with other processes: `RedisLimits`, an open ledger,
            or other `SharedLimits`. All services and campaigns that use the same place and the
            same ``RateLimit(shared=…)`` share ``calls_per_second`` and ``max_live_calls``. While
            the limits fail, calls end as `NotSent`. You close them, after the service.
        observer: Is called as calls go on, for metrics and traces:
            `telecmi_async.telemetry.OpenTelemetryObserver`, or one of yours.
        streams: `telecmi_async.voice.Streams`, which then know this account's calls.

    Raises:
        ConfigurationError: A value is invalid; the message names it.
    """

    def __init__(
        self,
        app_id: int | str,
        secret: str | Secret,
        *,
        from_: Number | None = None,
        region: Region | str = Region.AUTO,
        base_url: str = BASE_URL,
        timeout: Timeouts | Duration | None = None,
        retry: RetryPolicy | None = None,
        rate: RateLimit | None = None,
        http_client: httpx.AsyncClient | None = None,
        ssl_context: ssl.SSLContext | None = None,
        seed: int | str | None = None,
        events: EventSource | Sequence[EventSource] | None = None,
        reference: bool | None = None,
        ledger: Ledger | IdempotencyKeys | None = None,
        key_lifetime: Duration = 7 * 86_400.0,
        limits: SharedLimits | None = None,
        observer: Observer | None = None,
        streams: CallStreams | None = None,
    ) -> None:
        from telecmi_async.service.call_runner import CallRunner  # noqa: PLC0415  # see above
        from telecmi_async.service.options import ServiceSettings  # noqa: PLC0415  # see above
        from telecmi_async.service.parts import build_parts  # noqa: PLC0415  # see above
        from telecmi_async.wire.credentials import Credentials  # noqa: PLC0415  # see above

        secret = Secret(secret)  # from here on it does not show in a traceback's locals
        self._settings = ServiceSettings(
            credentials=Credentials(app_id, secret),
            base_url=base_url,
            from_=from_,
            region=region,
            timeouts=timeout,
            retry=retry,
            rate=rate,
            sources=events,
            reference=reference,
            seed=seed,
            keys=ledger,
            key_lifetime=key_lifetime,
            limits=limits,
            notify=observer,
            streams=streams,
        )
        self._parts = build_parts(self._settings, http_client, ssl_context)
        self._runner = CallRunner(self._settings, self._parts)
        self._feeds: set[StreamFeed] = set()

    @classmethod
    def from_env(
        cls,
        *,
        app_id: int | str | None = None,
        secret: str | Secret | None = None,
        from_: Number | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """Make a service from the environment.

        It needs ``TELECMI_APP_ID`` and ``TELECMI_SECRET``; ``TELECMI_FROM`` and
        ``TELECMI_BASE_URL`` may be set. Arguments win over the environment.

        Args:
            app_id: As for the constructor.
            secret: Likewise.
            from_: Likewise.
            options: The other arguments of the constructor.

        Raises:
            ConfigurationError: A variable is missing or invalid; the message names it.
        """
        from telecmi_async.service.options import (  # noqa: PLC0415  # see above
            account_from_environment,
            base_url_from_environment,
        )

        secret = None if secret is None else Secret(secret)  # a traceback may show locals
        account = account_from_environment(app_id, secret, from_)
        if "base_url" not in options:
            options["base_url"] = base_url_from_environment()
        return cls(app_id=account.app_id, secret=account.secret, from_=account.from_, **options)

    def __repr__(self) -> str:
        if not hasattr(self, "_runner"):  # a traceback may show a half-made one
            return "<CallService not opened>"
        return repr(self._runner)

    def __del__(self) -> None:
        if hasattr(self, "_runner"):
            self._runner.warn_if_open(self)

    def make_call(
        self,
        *,
        to: Number,
        pcmo: FlowLike,
        from_: Number | None = None,
        extra_params: Mapping[str, object] | None = None,
        duration: int | timedelta | None = None,
        region: Region | str | None = None,
        retry: RetryPolicy | None = None,
        timeout: Timeouts | Duration | None = None,
        idempotency_key: str | None = None,
    ) -> CallHandle:
        """Place a call; its request runs concurrently while you hold the handle.

        Args:
            to: The number to call, with its country code.
            pcmo: What happens when the callee answers: a sequence of actions, a `Flow`,
                or plain dicts as TeleCMI documents them.
            from_: The caller id, a number of your app; the service's if not given.
            extra_params: Your own data, which TeleCMI returns with every event of the call.
                Flat string values are the safe choice.
            duration: The longest the whole call may last, in seconds or as a `timedelta`.
                Sent only when given; TeleCMI's v2 pages do not mention it.
            region: Replaces the service's setting.
            retry: Replaces the service's setting, except for its ``budget`` and its
                ``at_most_once``, which always hold.
            timeout: Replaces the service's setting.
            idempotency_key: A text such as ``"order-42"``. At most one call is placed for each
                key, by all processes on the service's ledger, even if one of them is killed. If
                the key has a call, the handle is that call's: it waits while another process
                places it, and raises `CallOutcomeUnknown` while it may have rung. It is placed
                again only if it was certainly not placed. Of the attempts that may have rung a
                phone none is repeated. Keys are compared exactly.

        Returns:
            A handle to await.

        Raises:
            InvalidCall: A value cannot be sent; ``error.path`` names it.
            ConfigurationError: ``retry`` or ``timeout`` is invalid.
            NotSent: An unexpected failure before anything was sent. It is logged.
            ServiceClosed: The service takes no more calls.
            WrongEventLoop: Outside an event loop, or in another one than before.
        """
        from telecmi_async.calls.request import CallRequest  # noqa: PLC0415  # see above

        self._runner.check_open()
        request = CallRequest(
            to=to,
            pcmo=pcmo,
            from_=from_,
            extra_params=extra_params,
            duration=duration,
            region=region,
            idempotency_key=idempotency_key,
        )
        policy, timeouts = self._settings.for_call(retry, timeout)
        return CallHandle(self._runner.start(request, policy, timeouts, source=request))

    def make_calls(
        self,
        requests: Iterable[Item] | AsyncIterable[Item],
        *,
        retry: RetryPolicy | None = None,
        timeout: Timeouts | Duration | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> CallStream:
        """Place many calls and iterate over their handles in the order of completion.

        At most twice ``max_in_flight`` requests are pulled and not yet yielded, so that
        memory stays flat however many there are. A call that fails, or a request that cannot
        be sent, is yielded like any other: look at ``call.status`` or ``call.error``.

        Args:
            requests: `CallRequest`s, or mappings with the names of `make_call`'s arguments
                (from ``to`` to ``region``), from an iterable or async iterable.
            retry: As for `make_call`.
            timeout: As for `make_call`.
            on_progress: A plain function that is called with a `Progress` after every
                settled call. Its errors are logged and change nothing.

        Returns:
            An asynchronous iterator of settled handles.

        Raises:
            InvalidCall: ``requests`` is not an iterable of requests.
            ConfigurationError: ``retry``, ``timeout`` or ``on_progress`` is invalid.
            ServiceClosed: The service takes no more calls.
            WrongEventLoop: As for `make_call`.
        """
        from telecmi_async.service.stream import CallStream, StreamFeed, check_source  # noqa: PLC0415  # see above

        self._runner.check_open()
        check_source(requests, on_progress)
        policy, timeouts = self._settings.for_call(retry, timeout)

        def start(request: CallRequest, item: Item, on_settled: Callable[[Call], None]) -> Call:
            self._runner.check_open()
            return self._runner.start(
                request, policy, timeouts, source=item, on_settled=on_settled
            )

        window = 2 * self._settings.rate.max_in_flight
        feed = StreamFeed(requests, start, window=window, on_progress=on_progress)
        self._feeds.add(feed)
        try:
            self._parts.tasks.start(StreamFeed.run, feed, self._feed_ended)
        except errors.WrongEventLoop:
            self._feeds.discard(feed)
            raise
        return CallStream(feed)

    def handle_for(
        self, request_id: str | None = None, *, reference: str | None = None
    ) -> CallHandle:
        """Return a handle for a call that was made earlier, such as before a restart.

        Args:
            request_id: TeleCMI's id for the call.
            reference: Instead of it, the reference of a call that was made with an idempotency
                key on the service's ledger. The handle is settled by what is on record there.

        Returns:
            Its handle, which knows neither the request nor the reply.

        Raises:
            InvalidCall: ``request_id`` or ``reference`` cannot be such an id.
            ConfigurationError: Both are given, or the service has no source of
                events, or no ledger for a reference.
            ServiceClosed: The service is closed.
            WrongEventLoop: As for `make_call`.
        """
        with not_about_the_outcome():
            self._runner.check_open()
            if reference is not None:
                if request_id is not None:
                    raise errors.ConfigurationError(
                        "handle_for needs a request_id or a reference, and not both"
                    )
                return CallHandle(self._runner.follow(reference))
            if self._parts.tracker is None:
                raise errors.ConfigurationError("the service has no source of events (events=)")
            return CallHandle(self._parts.tracker.attach(cast("str", request_id)))

    async def channels(self) -> int:
        """Ask TeleCMI how many calls of the account are live.

        It is a good check of the credentials. TeleCMI does not say how many there may be.

        Raises:
            AuthenticationError: The app id or the secret is wrong.
            RequestFailed: There was no answer, or it cannot be read.
            TelecmiError: As for `make_call`.

        They say nothing about any call, so their ``safe_to_redial`` is False.
        """
        with not_about_the_outcome():
            self._runner.check_open()
            return await self._parts.lookup.channels()

    async def hangup(self, leg: str, *, region: Region | str | None = None) -> CommandAnswer:
        """End one leg of a live call (experimental).

        TeleCMI's SDKs send it to the older API. No page of v2 has it: whether it works for an
        account, and what TeleCMI answers, is not known.

        Args:
            leg: Its ``cmiuuid``, as in ``handle.result.legs[0].cmiuuid``.
            region: ``"india"`` or ``"global"``; by default the region of that leg's call, if it
                is known here, else the service's.

        Returns:
            TeleCMI's answer, decoded if it is JSON.

        Raises:
            TelecmiError: As for `channels`; `InvalidCall` for an invalid argument.
        """
        return await self._act("hangup", leg, region)

    async def hold(self, leg: str, *, region: Region | str | None = None) -> CommandAnswer:
        """Put one leg of a live call on hold (experimental); as `hangup`."""
        return await self._act("hold", leg, region)

    async def unhold(self, leg: str, *, region: Region | str | None = None) -> CommandAnswer:
        """Take one leg of a live call back from hold (experimental); as `hangup`."""
        return await self._act("unhold", leg, region)

    async def _act(
        self, action: CallCommand, leg: str, region: Region | str | None
    ) -> CommandAnswer:
        tracker = self._parts.tracker
        with not_about_the_outcome():
            self._runner.check_open()
            known = None if tracker is None else tracker.region_of(leg)
            return await self._parts.lookup.act(
                action, leg, region or known or self._settings.region
            )

    def _feed_ended(self, feed: StreamFeed) -> None:
        """Forget a stream whose task is over."""
        self._feeds.discard(feed)
        feed.end()

    async def aclose(self) -> None:
        """Close the service: cancel what is queued, wait for what was sent.

        No request that left is abandoned, even if the closing task is cancelled meanwhile.
        Closing twice does no harm.

        Raises:
            WrongEventLoop: The service was used in another event loop.
        """
        self._runner.close()
        for feed in tuple(self._feeds):
            feed.stop(errors.ServiceClosed("the service was closed before the stream's end"))
        with anyio.CancelScope(shield=True):
            try:
                await self._parts.tasks.drain(self._stop())
            finally:
                await self._parts.transport.aclose()

    def _stop(self) -> Iterator[None]:
        """Cancel what is queued, and end all waits for the ends of calls."""
        yield from self._runner.cancel_queued()
        if self._parts.tracker is not None:
            self._parts.tracker.stop()

    async def __aenter__(self) -> Self:
        if not self._runner.closed:
            await self._parts.tasks.open()
        self._runner.check_open()
        return self

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            await self.aclose()
        finally:
            await self._parts.tasks.close(error)

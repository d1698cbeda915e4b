"""Simulator: TeleCMI's API on this machine. It answers like TeleCMI and dials no phone.

It knows neither a network nor a clock: `Simulator.receive` is given a request and its time,
and returns the answer, the delay before it, and the call that was placed. The fronts bring
requests to it: see `telecmi_async.simulator.fronts`.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

import httpx
from attrs import define, field

from telecmi_async._internal.messages import mask
from telecmi_async._internal.seams import check_instance
from telecmi_async.events.receiver import Receiver
from telecmi_async.http_server import ConnectionLimits, serve_http
from telecmi_async.phone import parse_number
from telecmi_async.simulator import chance, replies
from telecmi_async.simulator.api import SimulatedApi
from telecmi_async.simulator.call import SimulatedCall
from telecmi_async.simulator.delivery import WebhookSender
from telecmi_async.simulator.fronts import (
    ServiceContext,
    SimulatorTransport,
    answer_on_port,
)
from telecmi_async.simulator.options import SimulatorOptions
from telecmi_async.simulator.page import Page
from telecmi_async.simulator.replies import Decision
from telecmi_async.simulator.request_log import MOST_OF_BODY, RequestLog, SimulatedRequest
from telecmi_async.simulator.world import World

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.http_server import HttpResponse
    from telecmi_async.service.service import CallService
    from telecmi_async.simulator.webhooks import Delivery

logger = logging.getLogger("telecmi_async.simulator")

_NAMED_AT_MOST: Final = 5


@define(kw_only=True, eq=False, repr=False)
class Simulator(SimulatorOptions):
    """TeleCMI's make-call API on this machine, with a log of what it dialled.

    Its answers follow from its seed, the number dialled and how often that number was
    tried. They are the same in every run and do not depend on the order of calls.

    Example:
        A service whose calls ring no phone::

            from telecmi_async.simulator import Simulator

            simulator = Simulator(error_502_share=0.1)
            async with simulator.service(from_=19170000000) as service:
                await service.make_call(to=19170000001, pcmo=[Hangup()])
            simulator.no_duplicates()

    Args:
        seed: Decides every random choice; an int or a str.
        app_id: The app id it accepts; another gets 420.
        secret: The secret that belongs to it.
        latency: Seconds before it answers, or the shortest and the longest.
        envelope: The shape of a success; see `Envelope`.
        refusals: Where it refuses: ``"status"`` in the HTTP status and the body, ``"body"``
            only in the body, with status 200. TeleCMI's users report both.
        codes: How codes in the body are spelt: ``"number"`` for 422, ``"cmi"`` for
            ``"cmi-422"``, as TeleCMI's older endpoints do.
        error_502_share: The share of attempts that get a 502, from 0 to 1.
        error_502_kind: ``"vendor"`` for TeleCMI's own body, and nothing is placed;
            ``"gateway"`` for a proxy's page, and the call may have been placed.
        gateway_placed_share: The share of a gateway's 502s after which the call was placed
            nevertheless.
        files: The names of the files that were uploaded; another name gets 404. ``None`` for
            any name.
        missing_code: The code for a missing property; TeleCMI documents 422, 501 and 502.
        calls_per_second: More calls than this in any one-second window get 429 and
            ``Retry-After: 1``; ``None`` for no limit.
        keep: How many of the newest calls stay in `calls`, and of the newest requests and
            deliveries, ``None`` for all. Counts are always complete.
        life: How time passes in calls: ``"timed"`` as in real calls, ``"immediate"`` all at
            once, ``"manual"`` by `SimulatedCall.answer` and similar methods. With ``None`` calls
            are accepted, and nothing more happens in them.
        ring: Seconds until a callee answers, or the shortest and the longest.
        talk: Seconds of talk, or the shortest and the longest.
        answered_share: The share of callees that answer, from 0 to 1.
        magic: Whether the last four digits of a number can choose what happens.
        callee: How those behave who answer, at numbers for which neither ``callees`` nor ``magic``
            has someone else.
        callees: How callees, or callers, at certain numbers behave, by number. It can be
            changed while calls are placed.
        webhooks: Where events and records go: a `Receiver`, a URL, or `Webhooks` for bad
            delivery. It can be changed at any time.
        speed: How many seconds pass in calls in one of the event loop's.
        starts_at: The date and time in calls when the simulator is created.
        reveal: Whether its page shows phone numbers and bodies of requests in full. The secret
            is never shown.
        streams: Who answers calls that a flow streams: an ASGI app in this process, such as
            ``streams.asgi``, or ``"dial"`` to connect to the flow's ``ws_url`` over the network,
            with the extra ``voice``. A stream then lasts until its socket is closed, and the flow
            goes on; arrays of actions that the bot sends are run by the call. The conversation
            takes the event loop's time, by ``speed``, also if ``life`` is ``"immediate"`` or
            ``"manual"``, and `advance` does not shorten it. With ``None`` a stream only lasts as
            long as ``talk`` says, and nothing is connected.
        keep_audio: Whether `SimulatedCall.heard` keeps the audio of streams, 32 kB for a second
            at 8 kHz. Time lines and measures are kept in any case.
        on_request: A function that is called with each `SimulatedRequest` before its reply is
            sent, also with refused ones. It can be changed at any time.

    Attributes:
        faults: Fault injection: rules that make requests fail, in addition to the options. They
            can be changed while calls are placed.

    Raises:
        ConfigurationError: An option is not valid; the message names it.
    """

    _log: RequestLog = field(init=False, repr=False)
    _world: World = field(init=False, repr=False)
    _api: SimulatedApi = field(init=False, repr=False)
    _page: Page = field(init=False, repr=False)
    _came_in: int = field(init=False, repr=False, default=0)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._log = RequestLog(self.keep)
        self._world = World(self)
        self._api = SimulatedApi(self, self._log, self._world)
        self._page = Page(self, self._log, self._world)

    # -- requests and calls

    @property
    def requests(self) -> int:
        """The number of requests that arrived, including refused ones."""
        return self._log.requests

    @property
    def recent_requests(self) -> tuple[SimulatedRequest, ...]:
        """The newest requests and their answers, oldest first, at most ``keep`` of them."""
        return tuple(self._log.recent)

    @property
    def calls(self) -> tuple[SimulatedCall, ...]:
        """The newest calls that were placed, oldest first, at most ``keep`` of them."""
        return tuple(self._world.calls.values())

    def call(self, request_id: str) -> SimulatedCall:
        """Return the call that has an id.

        Raises:
            LookupError: The call is over and no longer among the newest.
        """
        found = self._world.find(request_id)
        if found is None:
            raise LookupError("no call that is alive, or among the newest, has this id")
        return found

    @property
    def live(self) -> tuple[SimulatedCall, ...]:
        """The calls that are not over, or whose call detail records are still to come."""
        return tuple(self._world.live.values())

    @property
    def now(self) -> float:
        """The time in calls, in seconds, when something last happened."""
        return self._world.now

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The newest webhooks and questions, oldest first, at most ``keep`` of them."""
        return tuple(self._world.deliveries)

    @property
    def max_in_flight(self) -> int:
        """The highest number of requests in flight at the same time."""
        return self._log.max_in_flight

    def placed(self, to: SupportsIndex | str) -> int:
        """Return how often a number was dialled."""
        return self._log.placed[parse_number(to, "to")]

    def numbers(self) -> int:
        """Return how many different numbers were dialled."""
        return len(self._log.placed)

    def busiest_second(self) -> int:
        """Return the highest number of requests that arrived in any window of one second."""
        return self._log.arrivals.highest

    def duplicates(self) -> int:
        """Return how many numbers were dialled more than once."""
        return len(self._log.dialled_again)

    def no_duplicates(self) -> None:
        """Check that no number was dialled twice.

        Raises:
            AssertionError: Some were; it names them, masked.
        """
        again = self._log.dialled_again
        if again:
            shown = [f"{mask(to)} ({again[to]} times)" for to in sorted(again)[:_NAMED_AT_MOST]]
            rest = f" and {len(again) - len(shown)} more" if len(again) > len(shown) else ""
            raise AssertionError(f"dialled more than once: {', '.join(shown)}{rest}")

    # -- the fronts

    def transport(self) -> SimulatorTransport:
        """Return a transport for an `httpx.AsyncClient` that needs no network."""
        return SimulatorTransport(self)

    def serve(
        self, host: str = "127.0.0.1", port: int = 0, *, limits: ConnectionLimits | None = None
    ) -> AbstractAsyncContextManager[str]:
        """Listen on a port: ``async with simulator.serve() as base_url``.

        Args:
            host: The address to listen on. Only this machine reaches the default.
            port: The port, or 0 for any free one.
            limits: Sizes and times that clients are held to.

        Returns:
            A context manager that gives the ``base_url`` for a `CallService`. Leaving it
            answers what was asked and closes the port.
        """
        if limits is not None:
            check_instance("limits", limits, ConnectionLimits)
        return self._serve(host, port, limits)

    @asynccontextmanager
    async def _serve(
        self, host: str, port: int, limits: ConnectionLimits | None
    ) -> AsyncGenerator[str]:
        answer = partial(answer_on_port, self)
        async with (
            self.running(),
            serve_http(
                answer, host=host, port=port, limits=limits, refuse=self.refuse
            ) as found,
        ):
            yield f"http://{f'[{host}]' if ':' in host else host}:{found}/v2"

    def service(self, **options: Any) -> AbstractAsyncContextManager[CallService]:
        """Open a `CallService` whose calls all end here, in process.

        Open it with ``async with simulator.service(…) as service``, or in a notebook by
        ``await stack.enter_async_context(simulator.service(…))`` with a
        ``contextlib.AsyncExitStack``.

        Time passes in its calls. If it has a `Receiver` among its ``events``, and ``webhooks``
        has no target, events of its calls go to that receiver, and so do those of calls of
        closed services. Several services, each with its own receiver, may be open at once.
        If it has `telecmi_async.voice.Streams`, and the simulator has none, they get the
        calls that a flow streams while it is open.

        Args:
            options: The service's own, such as ``rate`` and ``retry``.
        """
        context = ServiceContext()
        context.opened = self._open_service(options, context)
        return context

    @asynccontextmanager
    async def _open_service(
        self, options: Mapping[str, Any], context: ServiceContext
    ) -> AsyncGenerator[CallService]:
        from telecmi_async.service.service import CallService  # noqa: PLC0415  # see below

        # The simulator is also used by itself, and the service is most of the package.
        events = options.get("events")
        given: list[Any] = [*events] if isinstance(events, list | tuple) else [events]
        home = next((source for source in given if isinstance(source, Receiver)), None)
        streams = self.streams
        async with (
            self.running(),
            httpx.AsyncClient(
                transport=SimulatorTransport(
                    self, partial(self._world.placed_for, home), context
                )
            ) as client,
            CallService(self.app_id, self.secret, http_client=client, **options) as service,
        ):
            if home is not None:
                self._world.receivers.append(home)
            if streams is None and (served := options.get("streams")) is not None:
                self.streams = served.asgi
            try:
                yield service
            finally:
                self.streams = streams
                if home is not None:
                    self._world.receivers.remove(home)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Let time pass and send webhooks while the context is open.

        `serve` and `service` do so by themselves. It is for a program that is given
        `transport`.
        """
        return WebhookSender(self._world).running()

    # -- time and manual control

    def call_in(self, *, from_: SupportsIndex | str, to: SupportsIndex | str) -> SimulatedCall:
        """Simulate an inbound call: your program is asked for a call flow.

        Args:
            from_: The caller's number.
            to: The number called, one of yours.

        Raises:
            InvalidCall: One of them is not a phone number.
            RuntimeError: The simulator only accepts calls (``life=None``), or services with
                several receivers are open and ``webhooks`` does not name one of them.
        """
        if self.life is None:
            raise RuntimeError("with life=None nothing happens in calls")
        if self.webhooks.to is None and len(set(self._world.receivers)) > 1:
            raise RuntimeError(
                "services with several receivers are open: which of them is called in? Say so "
                "with simulator.webhooks = Webhooks(receiver)"
            )
        self._came_in += 1
        number = parse_number(to, "to")
        call = SimulatedCall(
            to=number,
            from_=parse_number(from_, "from"),
            request_id=chance.cmiuuid(self.seed, number, -self._came_in, 1),
            at=self._world.now,
            region=None,
            attempt=self._came_in,
        )
        self._world.catch_up()
        self._world.begin(call, inbound=True)
        return call

    def advance(self, seconds: float) -> None:
        """Advance the time in all calls at once, without waiting."""
        self._world.skip(seconds)

    def send_again(self, delivery: Delivery) -> None:
        """Deliver a webhook once more, now."""
        self._world.send_again(delivery)

    # -- requests from the fronts

    def receive(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        at: float,
        local: bool = True,
    ) -> Decision:
        """Decide about one request and return the decision. It never raises.

        The caller must call `leave` exactly once: when the reply was sent, or when the client no
        longer waits for it.

        The path has its query, the headers have lower-case names, and ``at`` is when the request
        arrived, by the event loop's clock. Only clients on this machine (``local``) see the page.
        """
        self._world.advance(at)
        shown = self._page.answer(method, path, headers, body) if local else None
        if shown is not None:
            self._log.visit()
            return Decision(0.0, shown)
        self._log.arrive(at)
        bare = path.partition("?")[0]
        decision = self._api.answer(method, bare, headers, body, at)
        if decision is None:
            decision = Decision(self.latency[0], replies.refused(404, "not found"))
        self._note(decision, method, bare, headers.get("content-type", ""), body)
        return decision

    def refuse(self, status: int, message: str) -> HttpResponse:
        """Return the reply to bytes that are not an HTTP request, and note both."""
        answer = replies.refused(status, message)
        self._note(Decision(0.0, answer))
        return answer

    def _note(
        self,
        decision: Decision,
        method: str = "",
        path: str = "",
        content_type: str = "",
        body: bytes = b"",
    ) -> None:
        """Keep a request among the newest, and show it to the user's observer."""
        request = SimulatedRequest(
            number=next(self._log.numbers),
            at=self._world.now,
            method=method,
            path=path,
            content_type=content_type,
            body=body[:MOST_OF_BODY],
            size=len(body),
            answer=decision.answer,
            delay=decision.delay,
            breach=decision.breach,
            to=decision.to,
            attempt=decision.attempt,
            request_id=None if decision.call is None else decision.call.request_id,
        )
        self._log.recent.append(request)
        if self.on_request is not None:
            try:
                self.on_request(request)
            except Exception:
                logger.exception("on_request failed; the request is answered all the same")

    def leave(self) -> None:
        """Note that a request that was received is no longer under way."""
        self._log.leave()

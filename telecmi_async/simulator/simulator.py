"""TeleCMI on this machine: it answers like TeleCMI and dials nobody.

The rules are here and know neither a network nor a clock: `Simulator.receive` is told what
came in and when, and says what to answer, after how long, and which call was placed. The
fronts bring requests to it: `telecmi_async.simulator.transport` within the process,
`telecmi_async.simulator.server` on a port.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio
import attrs
import httpx
from attrs import define, field

from telecmi_async._internal.messages import mask
from telecmi_async._internal.validators import (
    flag,
    one_of,
    one_of_or_none,
    positive,
    share,
    whole_or_none,
)
from telecmi_async.phone import parse_number
from telecmi_async.simulator import dice, page, replies
from telecmi_async.simulator.call import SimulatedCall
from telecmi_async.simulator.callee import Callee, magic_for
from telecmi_async.simulator.clock import Clock
from telecmi_async.simulator.delivery import Carrier
from telecmi_async.simulator.exchange import Exchange
from telecmi_async.simulator.fault import Faults
from telecmi_async.simulator.fronts import SimulatorApp, SimulatorTransport, serve
from telecmi_async.simulator.life import Habits, Lifecycle
from telecmi_async.simulator.options import (
    check_aware,
    check_seed,
    check_span,
    parse_callees,
    parse_envelope,
    parse_files,
    receiver_in,
    to_span,
)
from telecmi_async.simulator.replies import Codes, Decision, Envelope
from telecmi_async.simulator.request_log import RequestLog
from telecmi_async.simulator.webhooks import Webhooks, parse_webhooks
from telecmi_async.simulator.window import Window
from telecmi_async.simulator.world import World
from telecmi_async.wire.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.http_server import ConnectionLimits
    from telecmi_async.service.service import CallService
    from telecmi_async.simulator.webhooks import Delivery

__all__ = ["Simulator"]

_NAMED_AT_MOST: Final = 5
_ANSWERS: Final = Callee()
_DOES_NOT: Final = Callee(ending="missed")


@define(kw_only=True, eq=False)
class Simulator:
    """TeleCMI's make-call API on this machine, with a memory of what it dialled.

    What it answers follows from its seed, the number dialled and how often that number was
    tried: in every run, in whatever order calls arrive.

    Args:
        seed: What all chance follows from, an int or a str.
        app_id: The app id it takes; another gets 420.
        secret: The secret that belongs to it.
        latency: Seconds before it answers, or the shortest and the longest.
        envelope: The shape of a success; see `Envelope`.
        refusals: Where it says no: ``"status"`` in the HTTP status and the body, ``"body"``
            in the body alone, under a status of 200. TeleCMI's users report both.
        codes: How codes in the body are spelt: ``"number"`` for 422, ``"cmi"`` for
            ``"cmi-422"``, as TeleCMI's older endpoints do.
        error_502_share: Which share of tries gets a 502, from 0 to 1.
        error_502_kind: ``"vendor"`` for TeleCMI's own words, and nothing is placed;
            ``"gateway"`` for a proxy's page, and the call may have been placed.
        gateway_placed_share: For which share of a gateway's 502s the call was placed.
        files: The names of the files that were uploaded; another name gets 404. ``None`` for
            any name.
        missing_code: The code for a missing property; TeleCMI documents 422, 501 and 502.
        calls_per_second: More calls than this in any one-second window get 429 and
            ``Retry-After: 1``; ``None`` for no limit.
        keep: How many of the newest calls stay in `calls`, and of the newest deliveries,
            ``None`` for all. Counts are always complete.
        life: How time passes in calls: ``"timed"`` as it would, ``"immediate"`` all at once,
            ``"manual"`` by `SimulatedCall.answer` and the like; ``None`` to accept calls and
            let nothing come of them.
        ring: Seconds until somebody answers, or the shortest and the longest.
        talk: Seconds that people talk, likewise.
        answered_share: Which share of the people called answers, from 0 to 1.
        magic: Whether the last four digits of a number can choose what happens.
        callees: What the people at certain numbers do, called or calling, by number. It can be
            changed while calls are placed.
        webhooks: Where events and records go: a `Receiver`, a URL, or `Webhooks` for how
            badly. It can be changed at any time.
        speed: How many seconds pass in calls in one of the event loop's.
        starts_at: What the time is in calls when the simulator is made.

    Raises:
        ConfigurationError: An option cannot be right; the message names it.
    """

    seed: int | str = field(default=0, validator=check_seed)
    app_id: int = 2222226
    secret: str = field(default="simulated-secret", repr=False)
    latency: tuple[float, float] = field(
        default=(0.0, 0.0), converter=to_span, validator=check_span
    )
    envelope: Envelope = field(default=Envelope.A, converter=parse_envelope)
    refusals: Literal["status", "body"] = field(
        default="status", validator=one_of("status", "body")
    )
    codes: Codes = field(default="number", validator=one_of("number", "cmi"))
    error_502_share: float = field(default=0.0, validator=share)
    error_502_kind: Literal["vendor", "gateway"] = field(
        default="vendor", validator=one_of("vendor", "gateway")
    )
    gateway_placed_share: float = field(default=0.5, validator=share)
    files: frozenset[str] | None = field(default=None, converter=parse_files)
    missing_code: int = field(default=422, validator=one_of(422, 501, 502))
    calls_per_second: int | None = field(default=None, validator=whole_or_none(1))
    keep: int | None = field(default=1_000, validator=whole_or_none(0))
    life: Lifecycle | None = field(
        default="timed", validator=one_of_or_none("timed", "immediate", "manual")
    )
    ring: tuple[float, float] = field(
        default=(2.0, 12.0), converter=to_span, validator=check_span
    )
    talk: tuple[float, float] = field(
        default=(5.0, 40.0), converter=to_span, validator=check_span
    )
    answered_share: float = field(default=1.0, validator=share)
    magic: bool = field(default=True, validator=flag)
    callees: dict[int, Callee] = field(factory=dict[int, Callee], converter=parse_callees)
    webhooks: Webhooks = field(factory=Webhooks, converter=parse_webhooks)
    speed: float = field(default=1.0, validator=positive)
    starts_at: datetime = field(default=datetime(2026, 1, 1, tzinfo=UTC), validator=check_aware)
    #: The rules by which requests go wrong, besides the options; they may change at any time.
    faults: Faults = field(init=False, factory=Faults)
    _ledger: RequestLog = field(init=False, repr=False, factory=RequestLog)
    _clock: Clock = field(init=False, repr=False)
    _world: World = field(init=False, repr=False)
    _exchange: Exchange = field(init=False, repr=False)
    _came_in: int = field(init=False, repr=False, default=0)

    def __attrs_post_init__(self) -> None:
        # What a service would refuse could only ever be answered with 420.
        credentials = Credentials(self.app_id, self.secret)
        self.app_id = credentials.app_id
        self.secret = credentials.secret.reveal()
        self._clock = Clock(self.speed)
        self._world = World(
            Habits(self.seed, self.life or "timed", self.ring, self.talk, self._callee),
            self._clock,
            webhooks=lambda: self.webhooks,
            epoch=int(self.starts_at.timestamp()),
            keep=self.keep,
        )
        self._world.catch_up = self._catch_up
        self._exchange = Exchange(self, self._ledger, self._world, Window())

    # -- what it was asked, and what it dialled

    @property
    def requests(self) -> int:
        """How many requests arrived, those that were refused included."""
        return self._ledger.requests

    @property
    def calls(self) -> tuple[SimulatedCall, ...]:
        """The newest calls that were placed, oldest first, at most ``keep`` of them."""
        return tuple(self._world.calls.values())

    def call(self, request_id: str) -> SimulatedCall:
        """Return the call that has an id.

        Raises:
            LookupError: It is neither alive nor among the newest.
        """
        found = self._world.find(request_id)
        if found is None:
            raise LookupError("no call that is alive, or among the newest, has this id")
        return found

    @property
    def live(self) -> tuple[SimulatedCall, ...]:
        """The calls that are not over yet, or wait for their records."""
        return tuple(self._world.live.values())

    @property
    def now(self) -> float:
        """How many seconds have passed in calls, when last something happened."""
        return self._clock.now

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        """The newest messages to your program, oldest first, at most ``keep`` of them."""
        return tuple(self._world.deliveries)

    def trace(self) -> str:
        """Return what stands for everything that happened in all calls so far: a hash.

        It is the same in every run with the same seed and calls, on either event loop, as long
        as nothing is done by hand.
        """
        return self._world.trace()

    @property
    def max_in_flight(self) -> int:
        """The most requests that ever waited for their answers at the same time."""
        return self._ledger.max_in_flight

    def placed(self, to: int | str) -> int:
        """Return how often a number was dialled."""
        return self._ledger.placed(parse_number(to, "to"))

    def numbers(self) -> int:
        """Return how many different numbers were dialled."""
        return self._ledger.numbers()

    def busiest_second(self) -> int:
        """Return the most requests that arrived in any window of one second."""
        return self._ledger.arrivals.highest

    def pace(self) -> float:
        """Return how many requests a second arrived while there was still a new number.

        Counted are first tries and retries alike, from the first request to the first try
        for the number that came last; what follows is only late retries. 0.0 before there
        is anything to measure.
        """
        return self._ledger.pace()

    def duplicates(self) -> int:
        """Return how many numbers were dialled more than once."""
        return len(self._ledger.dialled_again)

    def no_duplicates(self) -> None:
        """Check that no number was dialled twice.

        Raises:
            AssertionError: Some were; it names them, masked.
        """
        again = self._ledger.dialled_again
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
        return serve(self, host=host, port=port, limits=limits)

    @property
    def asgi(self) -> SimulatorApp:
        """A bare ASGI application, to be mounted in another or given to a server."""
        return SimulatorApp(self)

    @asynccontextmanager
    async def service(self, **options: Any) -> AsyncGenerator[CallService]:
        """Open a `CallService` whose calls all end here, in process.

        Time passes in its calls. If it has a `Receiver` among its ``events``, and ``webhooks``
        names nobody, what happens is told to that.

        Args:
            options: The service's own, such as ``rate`` and ``retry``.
        """
        from telecmi_async.service.service import CallService  # noqa: PLC0415  # see below

        # The simulator is also used by itself, and the service is most of the package.
        async with (
            self.running(),
            httpx.AsyncClient(transport=self.transport()) as client,
            CallService(self.app_id, self.secret, http_client=client, **options) as service,
        ):
            before = self.webhooks
            if before.to is None:
                self.webhooks = attrs.evolve(before, to=receiver_in(options.get("events")))
            try:
                yield service
            finally:
                self.webhooks = before

    def running(self) -> AbstractAsyncContextManager[None]:
        """Let time pass and send webhooks while the context is open.

        `serve`, `service` and `asgi` do so by themselves. It is for a program that is given
        `transport`.
        """
        return Carrier(self._world, self._clock).running()

    # -- by hand

    def call_in(self, *, from_: int | str, to: int | str) -> SimulatedCall:
        """Let somebody call one of your numbers: the webhooks' receiver is asked what to do.

        Args:
            from_: Who calls.
            to: Which number of yours.

        Raises:
            InvalidCall: One of them is no number.
            RuntimeError: The simulator only accepts calls (``life=None``).
        """
        if self.life is None:
            raise RuntimeError("with life=None nothing comes of calls")
        self._came_in += 1
        number = parse_number(to, "to")
        call = SimulatedCall(
            to=number,
            from_=parse_number(from_, "from"),
            request_id=dice.cmiuuid(self.seed, number, -self._came_in, 1),
            at=self._clock.now,
            region=None,
            attempt=self._came_in,
            pcmo=(),
            extra_params=None,
            duration=None,
        )
        self._catch_up()
        self._world.begin(call, appid=self.app_id, inbound=True)
        return call

    def advance(self, seconds: float) -> None:
        """Let time pass in all calls at once, on a clock that is not virtual.

        Args:
            seconds: How much.
        """
        self._catch_up()
        self._clock.skip(seconds)
        self._world.settle(self._clock.now)
        self._world.changed()

    def send_again(self, delivery: Delivery) -> None:
        """Send a message to your program once more, now."""
        self._world.send_again(delivery)

    # -- the rules

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
        """Take one request, and say what becomes of it.

        Whoever calls this must call `leave` exactly once, when the answer was sent or nobody
        waits for it any more, whatever happens in between. It never raises.

        Args:
            method: ``"POST"``, if all is well.
            path: The path asked for, with its query.
            headers: The headers, by lower-case name.
            body: The body.
            at: When it arrived, in seconds on the event loop's clock.
            local: Whether it came from this machine: nobody else is shown the page.
        """
        self._world.advance(at)
        shown = page.answer_page(self, method, path, headers, body) if local else None
        if shown is not None:
            self._ledger.visit()
            return Decision(0.0, shown)
        self._ledger.arrive(at)
        bare = path.partition("?")[0]
        decision = self._exchange.answer(method, bare, headers, body, at)
        return decision or Decision(self.latency[0], replies.refused(404, "not found"))

    def leave(self) -> None:
        """Note that a request that was received is no longer under way."""
        self._ledger.leave()

    def _callee(self, to: int, attempt: int) -> Callee:
        """Return who is called at a number: by script, by its last digits, or by chance."""
        if (scripted := self.callees.get(to)) is not None:
            return scripted
        if self.magic and (magic := magic_for(to)) is not None:
            return magic.callee
        answers = dice.draw(self.seed, "answers", to, attempt) < self.answered_share
        return _ANSWERS if answers else _DOES_NOT

    def _catch_up(self) -> None:
        """Let happen what is due; outside an event loop, time stands still."""
        with suppress(anyio.NoEventLoopError):
            self._world.advance(anyio.current_time())

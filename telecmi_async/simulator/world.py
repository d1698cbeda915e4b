"""Call simulation: the live calls, and the schedule of what is due.

::

    begin, command, hang_up, delivered  →  lifecycles go on  →  notes  →  outbox
                               advance  →  what is due       ↗

The sender calls `World.advance` after each `World.pause`, takes the messages in the outbox,
posts them, and reports each by `World.delivered`.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
from collections import OrderedDict, deque
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio
from attrs import define

from telecmi_async._internal.telecmi import RECORD_PAUSES
from telecmi_async.simulator import chance, payload
from telecmi_async.simulator.lifecycle import (
    ANSWER_SECONDS,
    CallLifecycle,
    Command,
    HungUp,
    Wait,
)
from telecmi_async.simulator.payload import DIALECTS, Subject
from telecmi_async.simulator.webhooks import Ask, Delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from telecmi_async.events.receiver import Receiver
    from telecmi_async.simulator.call import Leg, Note, SimulatedCall
    from telecmi_async.simulator.options import SimulatorOptions
    from telecmi_async.simulator.voice.line import StreamLine
    from telecmi_async.simulator.webhooks import WebhookTarget

logger = logging.getLogger("telecmi_async.simulator")

_BALANCE: Final = Decimal("1000.000000")
# A wait must move the event loop's clock. Rounding may leave 1e-16 s, which never passes on a
# virtual clock: added to 5 s it is 5 s again.
_SHORTEST: Final = 1e-6


class SimulatedClock:
    """Reads an event loop's clock as seconds since the simulator's beginning.

    On a virtual event loop it is virtual, too. It continues if the simulator is used in another
    event loop, whose clock starts at another time. ``speed`` is how many of its seconds pass in
    one of the event loop's.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        #: The time at which it was last read.
        self.now = 0.0
        self._anchor: float | None = None

    def read(self, at: float) -> float:
        """Return the time at a moment of the event loop's clock. It never goes back."""
        if self._anchor is not None and at > self._anchor:
            self.now += (at - self._anchor) * self._speed
        self._anchor = at
        return self.now

    def skip(self, seconds: float) -> None:
        """Advance the time without waiting."""
        self.now += seconds

    def until(self, when: float) -> float:
        """Return the event loop's seconds until a time; always more than 0."""
        return max(_SHORTEST, (when - self.now) / self._speed)


@define(eq=False)
class _LiveCall:
    """A live call's lifecycle, and the step that it waits in."""

    lifecycle: CallLifecycle
    subject: Subject
    step: int = 0
    wait: Wait | Ask | None = None


class World:
    """Runs the lifecycles of calls, and keeps the newest calls and deliveries.

    Some of the simulator's options may change at any time.
    """

    def __init__(self, options: SimulatorOptions) -> None:
        #: The messages to be delivered now.
        self.outbox: deque[Delivery] = deque()
        #: The lines to be connected now.
        self.lines: deque[StreamLine] = deque()
        #: The newest deliveries, sent or to be sent.
        self.deliveries: deque[Delivery] = deque(maxlen=options.keep)
        #: Called when the schedule may have changed; without one, no message is sent.
        self.wakers: list[Callable[[], object]] = []
        #: The receivers of open services, one for each of them that has one.
        self.receivers: list[Receiver] = []
        #: The receiver of the service whose request is being answered, if it has one.
        self.home: Receiver | None = None
        self._lost = False
        self.calls: OrderedDict[str, SimulatedCall] = OrderedDict()
        self.live: dict[str, SimulatedCall] = {}
        self._options = options
        self._clock = SimulatedClock(options.speed)
        self._epoch = int(options.starts_at.timestamp())
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._ordinals = itertools.count()
        self._runs: dict[SimulatedCall, _LiveCall] = {}
        self._balance = _BALANCE

    @property
    def _timed(self) -> bool:
        return self._options.life == "timed"

    @property
    def now(self) -> float:
        """The time in calls, in seconds, when something happened last."""
        return self._clock.now

    @contextmanager
    def placed_for(self, home: Receiver | None) -> Generator[None]:
        """Let calls that are placed inside belong to a receiver."""
        self.home = home
        try:
            yield
        finally:
            self.home = None

    def target_of(self, call: SimulatedCall) -> WebhookTarget | None:
        """Return where messages about a call go now.

        That is the target in the options; without one, the receiver of the service that placed
        the call, or else the receiver of the services that are open, if they have one.
        """
        target = self._options.webhooks.to
        if target is not None:
            return target
        opened = dict.fromkeys(self.receivers)
        for receiver in opened:
            if receiver is call.home or len(opened) == 1:
                return receiver
        if opened and not self._lost:
            self._lost = True
            logger.warning(
                "events of a call go nowhere: no service that is open placed it, and those have "
                "several receivers; give the simulator webhooks="
            )
        return None

    def changed(self) -> None:
        """Wake the senders, because the schedule may have changed."""
        for wake in self.wakers:
            wake()

    # -- time

    def pause(self) -> float | None:
        """Return the event loop's seconds until something is due; ``None`` if nothing is."""
        return self._clock.until(self._agenda[0][0]) if self._agenda else None

    def advance(self, at: float) -> None:
        """Run everything that is due at a moment of the event loop's clock."""
        self.settle(self._clock.read(at))

    def catch_up(self) -> None:
        """Run everything that is due now; outside an event loop, time stands still."""
        with suppress(anyio.NoEventLoopError):
            self.advance(anyio.current_time())

    def settle(self, now: float) -> None:
        """Run everything that is due, in the order in which it is due."""
        while self._agenda and self._agenda[0][0] <= now:
            _, _, happen, what = heapq.heappop(self._agenda)
            happen(*what)

    def skip(self, seconds: float) -> None:
        """Advance the time in all calls without waiting."""
        self.catch_up()
        self._clock.skip(seconds)
        self._settled()

    def _settled(self) -> None:
        """Run what is due now, and wake the senders."""
        self.settle(self._clock.now)
        self.changed()

    def _plan(self, when: float, happen: Callable[..., None], *what: Any) -> None:
        heapq.heappush(self._agenda, (when, next(self._ordinals), happen, what))

    # -- calls

    def begin(self, call: SimulatedCall, *, inbound: bool = False) -> None:
        """Start the lifecycle of a call, now."""
        now = self._clock.now
        lifecycle = CallLifecycle(
            call,
            at=now,
            options=self._options,
            observe=lambda note, leg: self._observe(call, note, leg),
            dial=partial(self._dial, call),
            inbound=inbound,
        )
        subject = Subject(
            self._options.app_id,
            None if inbound else call.request_id,
            call.from_,
            lifecycle.legs[0].cmiuuid,
            call.extra_params,
            self._epoch,
        )
        call.home = self.home
        call.begin(self, lifecycle.legs, now)
        self._runs[call] = _LiveCall(lifecycle, subject)
        self.live[call.request_id] = call
        self.remember(call)
        self._go(call, None)
        self._settled()  # what takes no time has happened when this returns

    def remember(self, call: SimulatedCall) -> None:
        """Keep a call among the newest."""
        self.calls[call.request_id] = call
        if self._options.keep is not None and len(self.calls) > self._options.keep:
            self.calls.popitem(last=False)

    def find(self, request_id: str) -> SimulatedCall | None:
        """Return the call that has an id, if it is alive or among the newest."""
        return self.live.get(request_id) or self.calls.get(request_id)

    def find_leg(self, cmiuuid: str) -> tuple[SimulatedCall, Leg] | None:
        """Return the leg that has an id, and its call, if it is alive or among the newest."""
        for call in itertools.chain(self.live.values(), self.calls.values()):
            for leg in call.legs:
                if leg.cmiuuid == cmiuuid:
                    return call, leg
        return None

    def look_up(self, leg: Leg) -> dict[str, Any] | None:
        """Return the record of a leg, if it was made."""
        if not leg.recorded:
            return None
        return payload.lookup_record(leg, epoch=self._epoch, balance=self._balance)

    def command(self, call: SimulatedCall, name: str, value: object = None) -> None:
        """Execute a manual command in a call that waits for it."""
        self.catch_up()
        if name not in self.commands(call):
            raise RuntimeError(f"{call!r} is {call.stage}: it does not wait for {name}()")
        self._go(call, Command(name, self._clock.now, value))
        self._settled()

    def commands(self, call: SimulatedCall) -> frozenset[str]:
        """Return the manual commands that a call waits for."""
        run = self._runs.get(call)
        return run.wait.commands if run and isinstance(run.wait, Wait) else frozenset()

    def hang_up(self, call: SimulatedCall, who: str) -> bool:
        """End a call that is alive; False if it is over."""
        self.catch_up()
        run = self._runs.get(call)
        if run is None or run.lifecycle.over:
            return False
        self._go(call, HungUp(who, self._clock.now))
        self._settled()
        return True

    def command_leg(self, call: SimulatedCall, leg: Leg, action: str) -> bool:
        """Execute a command of TeleCMI's older API on a leg; False if its call is over."""
        if action == "hangup":
            return self.hang_up(call, "a command")
        run = self._runs.get(call)
        if run is None or run.lifecycle.over:
            return False
        run.lifecycle.hold(leg, action)
        return True

    def in_use(self) -> int:
        """Return how many channels are in use."""
        return sum(not run.lifecycle.over for run in self._runs.values())

    def _go(self, call: SimulatedCall, sent: Command | HungUp | None) -> None:
        """Let a lifecycle go on, and plan its next step."""
        run = self._runs[call]
        run.step += 1
        try:
            steps = run.lifecycle.steps
            wait = steps.throw(sent) if isinstance(sent, HungUp) else steps.send(sent)
        except StopIteration:
            del self._runs[call], self.live[call.request_id]
            return
        run.wait = wait
        now = run.lifecycle.now if self._timed else self._clock.now
        if isinstance(wait, Ask):
            self._ask(call, run, wait)
            self._plan(now + ANSWER_SECONDS, self._next, call, run.step)
        elif wait.seconds is not None:
            self._plan(now + (wait.seconds if self._timed else 0), self._next, call, run.step)

    def _next(self, call: SimulatedCall, step: int) -> None:
        """Go on with a lifecycle, unless it went on meanwhile."""
        run = self._runs.get(call)
        if run is not None and run.step == step:
            self._go(call, None)

    # -- streams

    def _dial(self, call: SimulatedCall, line: StreamLine) -> None:
        if not self.wakers:
            line.refuse("the simulator does not run")
            return
        line.on_change = partial(self._line_changed, call, line)
        self.lines.append(line)

    def _line_changed(self, call: SimulatedCall, line: StreamLine) -> None:
        self.catch_up()
        run = self._runs.get(call)
        if run is not None and isinstance(run.wait, Wait) and run.wait.line is line:
            self._go(call, Command("line", self._clock.now))
            self._settled()

    # -- webhooks

    def _observe(self, call: SimulatedCall, note: Note, leg: Leg) -> None:
        call.timeline.append(note)
        if note.what == "record":
            self._balance -= leg.cost
        if self.target_of(call) is None:
            return
        subject, key = self._runs[call].subject, f"{note.what} {leg.cmiuuid}"
        dialect = self._dialect(call, key)
        body: dict[str, Any] | None
        if note.what == "record":
            body = payload.record_payload(subject, leg, dialect, balance=self._balance)
        else:
            body = payload.live_payload(subject, note, leg, dialect)
        if body is not None:
            delivery = Delivery(call, note.what, leg.name, key, _encode(body))
            self.deliveries.append(delivery)
            self._plan_try(delivery, note.at if self._timed else self._clock.now)

    def _dialect(self, call: SimulatedCall, purpose: str) -> str:
        if self._options.webhooks.dialect != "mixed":
            return self._options.webhooks.dialect
        return DIALECTS[int(len(DIALECTS) * self._draw(call, f"dialect {purpose}"))]

    def _draw(self, call: SimulatedCall, purpose: str) -> float:
        return chance.draw(self._options.seed, purpose, call.to, call.attempt)

    def _ask(self, call: SimulatedCall, run: _LiveCall, ask: Ask) -> None:
        """Put a question into the outbox. Questions are neither lost nor delayed."""
        leg = call.legs[0]
        if ask.keys is None:
            what, body = "inbound", payload.inbound_payload(run.subject, leg)
        else:
            what, body = "keys", payload.digits_payload(leg, ask.keys)
        key = f"{what} {run.step}"
        delivery = Delivery(call, what, leg.name, key, _encode(body), ask, run.step)
        self.deliveries.append(delivery)
        self._hand_out(delivery)

    def _plan_try(self, delivery: Delivery, when: float) -> None:
        delivery.next_at = when
        self._plan(when, self._try, delivery, when)

    def _try(self, delivery: Delivery, when: float) -> None:
        """Send a message, or lose it, and plan the next time it is sent."""
        delivery.next_at = None
        if self._options.webhooks.redeliver == "until_2xx" and delivery.taken:
            return
        hooks, call = self._options.webhooks, delivery.call
        delivery.tries += 1
        number, key = delivery.tries, f"{delivery.tries} {delivery.key}"
        last_chance = number == delivery.most_tries > 1 and not delivery.arrived
        lost = not last_chance and self._draw(call, f"drop {key}") < hooks.drop_share
        if not lost:
            delivery.arrived += 1
            self._post(delivery, when, f"delay {key}")
            if self._draw(call, f"double {key}") < hooks.double_share:
                self._post(delivery, when, f"delay again {key}")
        if number < delivery.most_tries:
            pause = RECORD_PAUSES[number - 1] if self._options.life != "immediate" else 0.0
            self._plan_try(delivery, when + pause)

    def _post(self, delivery: Delivery, when: float, purpose: str) -> None:
        if self._options.webhooks.delay[1] == 0:
            self._hand_out(delivery)
            return
        call = delivery.call
        delay = chance.draw_between(
            self._options.webhooks.delay, self._options.seed, purpose, call.to, call.attempt
        )
        self._plan(when + delay, self._hand_out, delivery)

    def _hand_out(self, delivery: Delivery) -> None:
        if self.wakers:
            delivery.failure = ""
            self.outbox.append(delivery)
        else:
            delivery.failure = "not sent: the simulator does not run"

    def drop_outbox(self) -> None:
        """Give up the messages that were to be sent now."""
        for delivery in self.outbox:
            delivery.failure = "not sent: the simulator was stopped"
        self.outbox.clear()

    def send_again(self, delivery: Delivery) -> None:
        """Send a message once more, at once."""
        delivery.arrived += 1
        self._hand_out(delivery)
        self.changed()

    def delivered(
        self, delivery: Delivery, status: int | None, reply: object = None, failure: str = ""
    ) -> None:
        """Record the answer to a message, and go on with the lifecycle if it was a question."""
        delivery.status, delivery.failure = status, failure
        run = self._runs.get(delivery.call)
        if delivery.ask is None or run is None or run.step != delivery.step:
            return
        flow = reply if delivery.taken else None
        self._go(delivery.call, Command("reply", self._clock.now, flow))
        self._settled()


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()

"""The calls that are alive, and what is due next. No network here, and no clock but a number.

::

    begin, command, hang_up, replied  →  stories go on  →  notes  →  outbox
                           advance    →  what is due      ↗

Whoever has a clock calls `World.advance` when `World.due` says so, takes what is in the outbox,
delivers it, and tells what became of it.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections import OrderedDict, deque
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from attrs import define

from telecmi_async._internal.telecmi import RECORD_PAUSES
from telecmi_async.simulator import dice, payload
from telecmi_async.simulator.life import ANSWER_SECONDS, Habits, Life
from telecmi_async.simulator.payload import DIALECTS, Subject
from telecmi_async.simulator.turn import Ask, Command, HungUp, Wait
from telecmi_async.simulator.webhooks import Delivery, Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.clock import Clock
    from telecmi_async.simulator.leg import Leg, Note

__all__ = ["World"]

_BALANCE: Final = Decimal("1000.000000")


@define(eq=False)
class _Run:
    """A call that is alive: its story, and where that stands."""

    life: Life
    subject: Subject
    turn: int = 0
    wait: Wait | Ask | None = None


class World:
    """Runs the stories of calls, and remembers how they went.

    Args:
        habits: How calls go.
        clock: Tells the time.
        webhooks: Returns where events go, which may change at any time.
        epoch: Seconds since 1970 at second 0 of the clock.
        keep: How many calls, and deliveries, are remembered when they are over; ``None`` for
            all of them.
    """

    def __init__(
        self,
        habits: Habits,
        clock: Clock,
        *,
        webhooks: Callable[[], Webhooks],
        epoch: int,
        keep: int | None,
    ) -> None:
        self._webhooks = webhooks
        #: What is to be delivered now.
        self.outbox: deque[Delivery] = deque()
        #: The newest deliveries, sent or to be sent.
        self.deliveries: deque[Delivery] = deque(maxlen=keep)
        #: Called before something is done from outside, to let happen what is due.
        self.catch_up: Callable[[], object] = _nothing
        #: Who carries off what is in the outbox: called when what is due may have changed.
        self.carriers: list[Callable[[], object]] = []
        self.calls: OrderedDict[str, SimulatedCall] = OrderedDict()
        self.live: dict[str, SimulatedCall] = {}
        self._habits = habits
        self._clock = clock
        self._epoch = epoch
        self._keep = keep
        self._agenda: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._ordinals = itertools.count()
        self._runs: dict[SimulatedCall, _Run] = {}
        self._balance = _BALANCE
        self._digest = 0

    @property
    def webhooks(self) -> Webhooks:
        """Where events go now."""
        return self._webhooks()

    def changed(self) -> None:
        """Tell those who deliver that there may be something to do."""
        for carrier in self.carriers:
            carrier()

    # -- time

    def due(self) -> float | None:
        """Return when something happens next, in seconds on the simulator's clock."""
        return self._agenda[0][0] if self._agenda else None

    def advance(self, at: float) -> None:
        """Let everything happen that is due at a moment of the event loop's clock."""
        self.settle(self._clock.read(at))

    def settle(self, now: float) -> None:
        """Let everything happen that is due, in the order in which it is due."""
        while self._agenda and self._agenda[0][0] <= now:
            _, _, happen, what = heapq.heappop(self._agenda)
            happen(*what)

    def _plan(self, when: float, happen: Callable[..., None], *what: Any) -> None:
        heapq.heappush(self._agenda, (when, next(self._ordinals), happen, what))

    # -- calls

    def begin(self, call: SimulatedCall, *, appid: int, inbound: bool = False) -> None:
        """Let the life of a call begin, now."""
        now = self._clock.now
        life = Life(
            to=call.to,
            from_=call.from_,
            # Calls that come in count by themselves, and draw by themselves.
            attempt=-call.attempt if inbound else call.attempt,
            at=now,
            pcmo=None if inbound else call.pcmo,
            duration=call.duration,
            habits=self._habits,
            told=lambda note, leg: self._observe(call, note, leg),
        )
        subject = Subject(
            appid,
            None if inbound else call.request_id,
            call.from_,
            life.legs[0].cmiuuid,
            call.extra_params,
            self._epoch,
        )
        call.begin(self, life, now)
        self._runs[call] = _Run(life, subject)
        self.live[call.request_id] = call
        self.remember(call)
        self._go(call, None)
        self.settle(now)  # what takes no time has happened when this returns
        self.changed()

    def remember(self, call: SimulatedCall) -> None:
        """Have a call among the newest."""
        self.calls[call.request_id] = call
        if self._keep is not None and len(self.calls) > self._keep:
            self.calls.popitem(last=False)

    def find(self, request_id: str) -> SimulatedCall | None:
        """Return the call that has an id, if it is alive or among the newest."""
        return self.live.get(request_id) or self.calls.get(request_id)

    def find_leg(self, cmiuuid: str) -> tuple[SimulatedCall, Leg] | None:
        """Return the leg that has an id, and its call, likewise."""
        for call in itertools.chain(self.live.values(), self.calls.values()):
            for leg in call.legs:
                if leg.cmiuuid == cmiuuid:
                    return call, leg
        return None

    def look_up(self, leg: Leg) -> dict[str, Any] | None:
        """Return the record of a leg, if it was made."""
        if not leg.recorded:
            return None
        return payload.looked_up(leg, epoch=self._epoch, balance=self._balance)

    def command(self, call: SimulatedCall, name: str, value: object = None) -> None:
        """Do something in a call by hand.

        Raises:
            RuntimeError: The call does not wait for it.
        """
        self.catch_up()
        if name not in self.commands(call):
            raise RuntimeError(f"{call!r} is {call.stage}: it does not wait for {name}()")
        self._go(call, Command(name, self._clock.now, value))
        self.settle(self._clock.now)
        self.changed()

    def commands(self, call: SimulatedCall) -> frozenset[str]:
        """Return what a call waits for."""
        run = self._runs.get(call)
        return run.wait.commands if run and isinstance(run.wait, Wait) else frozenset()

    def hang_up(self, call: SimulatedCall, who: str) -> bool:
        """End a call that is alive; False if it is over."""
        self.catch_up()
        run = self._runs.get(call)
        if run is None or run.life.over:
            return False
        self._go(call, HungUp(who, self._clock.now))
        self.settle(self._clock.now)
        self.changed()
        return True

    def command_leg(self, call: SimulatedCall, leg: Leg, action: str) -> bool:
        """Do to a leg what TeleCMI's older API can do; False if its call is over."""
        if action == "hangup":
            return self.hang_up(call, "a command")
        run = self._runs.get(call)
        if run is None or run.life.over:
            return False
        run.life.hold(leg, action)
        return True

    def in_use(self) -> int:
        """Return how many channels are in use."""
        return sum(not run.life.over for run in self._runs.values())

    def _go(self, call: SimulatedCall, sent: Command | HungUp | None) -> None:
        """Let a story go on, and plan its next turn."""
        run = self._runs[call]
        run.turn += 1
        try:
            story = run.life.story
            wait = story.throw(sent) if isinstance(sent, HungUp) else story.send(sent)
        except StopIteration:
            del self._runs[call], self.live[call.request_id]
            return
        run.wait = wait
        now = run.life.now if self._habits.pace == "timed" else self._clock.now
        if isinstance(wait, Ask):
            self._ask(call, run, wait)
            self._plan(now + ANSWER_SECONDS, self._next, call, run.turn)
        elif wait.seconds is not None:
            pause = wait.seconds if self._habits.pace == "timed" else 0.0
            self._plan(now + pause, self._next, call, run.turn)

    def _next(self, call: SimulatedCall, turn: int) -> None:
        """Go on with a story, unless it went on meanwhile."""
        run = self._runs.get(call)
        if run is not None and run.turn == turn:
            self._go(call, None)

    # -- what happens, and who is told

    def _observe(self, call: SimulatedCall, note: Note, leg: Leg) -> None:
        call.timeline.append(note)
        self._trace(call, note.at, note.what, leg.cmiuuid, note.detail)
        if note.what == "record":
            self._balance -= payload.cost_of(leg)
        if self.webhooks.to is None:
            return
        subject = self._runs[call].subject
        dialect = self._dialect(call, f"{note.what} {leg.cmiuuid}")
        body: dict[str, Any] | None
        if note.what == "record":
            body = payload.record_payload(subject, leg, dialect, balance=self._balance)
        else:
            body = payload.live_payload(subject, note, leg, dialect)
        if body is not None:
            key = f"{note.what} {leg.cmiuuid}"
            delivery = Delivery(call, note.what, leg.name, key, _encode(body))
            self.deliveries.append(delivery)
            when = note.at if self._habits.pace == "timed" else self._clock.now
            self._plan_try(delivery, when)

    def _dialect(self, call: SimulatedCall, purpose: str) -> str:
        if self.webhooks.dialect != "mixed":
            return self.webhooks.dialect
        return DIALECTS[int(len(DIALECTS) * self._draw(call, f"dialect {purpose}"))]

    def _draw(self, call: SimulatedCall, purpose: str) -> float:
        return dice.draw(self._habits.seed, purpose, call.to, call.attempt)

    def _ask(self, call: SimulatedCall, run: _Run, ask: Ask) -> None:
        """Put a question into the outbox; nothing is lost of these, or delayed."""
        leg = call.legs[0]
        if ask.keys is None:
            what, body = "inbound", payload.inbound_payload(run.subject, leg)
        else:
            what, body = "keys", payload.digits_payload(leg, ask.keys)
        key = f"{what} {run.turn}"
        delivery = Delivery(call, what, leg.name, key, _encode(body), ask, run.turn)
        self.deliveries.append(delivery)
        self._hand_out(delivery)

    def _plan_try(self, delivery: Delivery, when: float) -> None:
        delivery.next_at = when
        self._plan(when, self._try, delivery, when)

    def _try(self, delivery: Delivery, when: float) -> None:
        """Send a message, or lose it, and plan the next time it is sent."""
        delivery.next_at = None
        if self.webhooks.redeliver == "until_2xx" and 200 <= (delivery.status or 0) < 300:
            return
        hooks, call = self.webhooks, delivery.call
        delivery.tries += 1
        number, key = delivery.tries, f"{delivery.tries} {delivery.key}"
        last_chance = number == delivery.most_tries > 1 and not delivery.arrived
        lost = not last_chance and self._draw(call, f"drop {key}") < hooks.drop_share
        self._trace(call, when, "lost" if lost else "sent", key)
        if not lost:
            delivery.arrived += 1
            self._post(delivery, when, f"delay {key}")
            if self._draw(call, f"double {key}") < hooks.double_share:
                self._post(delivery, when, f"delay again {key}")
        if number < delivery.most_tries:
            pause = RECORD_PAUSES[number - 1] if self._habits.pace != "immediate" else 0.0
            self._plan_try(delivery, when + pause)

    def _post(self, delivery: Delivery, when: float, purpose: str) -> None:
        shortest, longest = self.webhooks.delay
        if longest == 0:
            self._hand_out(delivery)
            return
        delay = shortest + (longest - shortest) * self._draw(delivery.call, purpose)
        self._plan(when + delay, self._hand_out, delivery)

    def _hand_out(self, delivery: Delivery) -> None:
        if self.carriers:  # without them nothing ever leaves
            self.outbox.append(delivery)

    def send_again(self, delivery: Delivery) -> None:
        """Send a message once more, at once."""
        delivery.arrived += 1
        self._hand_out(delivery)
        self.changed()

    def delivered(self, delivery: Delivery, status: int | None, reply: object = None) -> None:
        """Note what became of a message, and go on with the story if it was a question.

        Args:
            delivery: The message.
            status: The answer's HTTP status; ``None`` if there was none.
            reply: The answer's JSON, decoded.
        """
        delivery.status = status
        run = self._runs.get(delivery.call)
        if delivery.ask is None or run is None or run.turn != delivery.turn:
            return
        flow = reply if status is not None and 200 <= status < 300 else None
        self._go(delivery.call, Command("reply", self._clock.now, flow))
        self.settle(self._clock.now)
        self.changed()

    # -- the trace

    def _trace(self, call: SimulatedCall, at: float, *what: str) -> None:
        """Add something that happened to the trace; in what order calls do it is no matter."""
        text = json.dumps([call.to, call.attempt, round(at - call.accepted, 6), *what])
        self._digest += int.from_bytes(blake2b(text.encode(), digest_size=16).digest())

    def trace(self) -> str:
        """Return what stands for all that happened in all calls, at which moment of each."""
        return f"{self._digest % (1 << 128):032x}"


def _encode(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _nothing() -> None:
    """Nobody has to know."""

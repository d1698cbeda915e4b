"""The life of one call, from TeleCMI's acceptance to its records.

::

    started → ringing → answered → the call flow, action by action → over → records
                      ↘ missed  ─────────────────────────────────↗

It reads as a story: a generator that says how long it waits, or what it asks, and is told when
that time has come, or what was answered. It knows no clock and no network. How long things take
follows from the seed, the number and the try, so a story can be told again.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

from attrs import frozen

from telecmi_async._internal.telecmi import LONGEST_CALL
from telecmi_async.events.model import Direction
from telecmi_async.simulator import dice
from telecmi_async.simulator.callee import Callee, Ending
from telecmi_async.simulator.leg import Leg, Note
from telecmi_async.simulator.turn import Ask, Command, HungUp, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["ANSWER_SECONDS", "Habits", "Life", "Lifecycle", "actions_of"]

#: How time passes in calls: as it would, all at once, or by hand.
Lifecycle: TypeAlias = Literal["timed", "immediate", "manual"]

Action: TypeAlias = Mapping[str, object]
Story: TypeAlias = "Generator[Wait | Ask, Command | None, None]"

# What a bridge may ring, and how often it is tried, by TeleCMI's page on forwarding.
_RING_TIMEOUT: Final = 40.0
#: Seconds that a program may take to say how a call goes on. TeleCMI documents no limit.
ANSWER_SECONDS: Final = 10.0
# A flow that asks itself round and round, and a bridge to a thousand numbers, come to an end.
_MOST_STEPS: Final = 1_000
_MOST_LEGS: Final = 50
_LETTERS_A_SECOND: Final = 15.0
_ON_THE_LINE: Final = 2.0


@frozen
class Habits:
    """How calls go, unless a callee's own script says otherwise.

    Args:
        seed: What all chance follows from.
        pace: How time passes.
        ring: Seconds until somebody answers, the shortest and the longest.
        talk: Seconds that people talk, likewise.
        callee: Returns who is called at a number.
    """

    seed: int | str
    pace: Lifecycle
    ring: tuple[float, float]
    talk: tuple[float, float]
    callee: Callable[[int, int], Callee]


class Life:
    """One call's story, and how far it has come.

    Args:
        to: The number dialled.
        from_: The caller id.
        attempt: Which try for that number it is, from 1.
        at: When it was accepted, in seconds on the simulator's clock.
        pcmo: What it does when answered; ``None`` for a call that comes in, which asks.
        duration: How long it may last, if that was said.
        habits: How calls go here.
        told: Told of all that happens, as it happens.
    """

    __slots__ = ("_attempt", "_dialled", "_duration", "_habits", "_left", "_pcmo", "_person",
                 "_presses", "_steps", "_told", "_who", "legs", "now", "over", "story",
                 "to")  # fmt: skip

    def __init__(
        self,
        *,
        to: int,
        from_: int,
        attempt: int,
        at: float,
        pcmo: Sequence[Action] | None,
        duration: float | None,
        habits: Habits,
        told: Callable[[Note, Leg], None],
    ) -> None:
        self.to = to
        self.now = at
        self.over = False
        self._attempt = attempt
        self._duration = duration
        self._habits = habits
        self._pcmo = pcmo
        self._told = told
        self._left: tuple[float, str] = (math.inf, "")
        inbound = pcmo is None
        self._person = from_ if inbound else to
        self._presses = iter(self._callee(self._person).digits)
        self._steps = 0
        self._who = ""
        self._dialled = 0
        first = self._leg("a", to, from_, Direction.INBOUND if inbound else Direction.OUTBOUND)
        self.legs: list[Leg] = [first]
        self.story: Story = self._come_in() if inbound else self._go_out()

    def hold(self, leg: Leg, action: str) -> None:
        """Note that a leg is held, or taken back: nothing else comes of it here."""
        self._say(action, leg)

    # -- the story

    def _go_out(self) -> Story:
        leg = self.legs[0]
        try:
            yield from self._wait(self._between("set up", (0.05, 0.8)))
            self._say("started", leg)
            answered = yield from self._ring([leg], 60.0)
            if answered is not None:
                self._pick_up(leg)
                yield from self._carry_out(self._pcmo or ())
        except HungUp as end:
            self._hang_up(end)
        yield from self._finish()

    def _come_in(self) -> Story:
        leg = self.legs[0]
        try:
            flow = yield from self._ask(None, None)
            # A hang-up that comes first rejects the call instead of answering it.
            if flow is not None and [action["action"] for action in flow[:1]] != ["hangup"]:
                self._pick_up(leg)
                yield from self._carry_out(flow)
        except HungUp as end:
            self._hang_up(end)
        yield from self._finish()

    def _pick_up(self, leg: Leg) -> None:
        leg.answered = self.now
        leg.ending = "answered"
        if self._habits.pace != "manual":
            longest = self.now + (self._duration or LONGEST_CALL)
            leaves = self.now + (self._callee(self._person).hangs_up_after or math.inf)
            self._left = min((longest, "the duration is over"), (leaves, "the callee"))
        self._say("answered", leg)

    def _hang_up(self, end: HungUp) -> None:
        self._left = (math.inf, "")
        if end.at is not None:
            self.now = end.at
        self._who = end.who

    def _finish(self) -> Story:
        """End what is not over yet, and write the records: those of later legs come first."""
        self.over = True
        for leg in reversed(self.legs):
            if leg.ended is None:
                self._end(leg, leg.ending or "missed", self._who)
        for leg in reversed(self.legs):
            if not leg.recorded:
                yield from self._record(leg)

    def _record(self, leg: Leg) -> Story:
        yield Wait(pause := self._between(f"record {leg.cmiuuid}", (0.2, 0.9)))
        self.now += pause
        leg.recorded = True
        self._say("record", leg, leg.ending or "")

    # -- the call flow

    def _carry_out(self, actions: Sequence[Action]) -> Story:
        todo = deque(actions)
        while todo:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise HungUp("the flow goes round and round")
            action = todo.popleft()
            name = str(action["action"])
            self._say("step", self.legs[0], name)
            match name:
                case "play":
                    yield from self._wait(self._between(f"play {self._steps}", (2.0, 8.0)))
                case "speak":
                    text = action.get("text")
                    length = len(text) if isinstance(text, str) else 0
                    yield from self._wait(1.0 + length / _LETTERS_A_SECOND)
                case "play_get_input" | "input":
                    flow = yield from self._input(action, prompted=name != "input")
                    if flow is not None:
                        todo = deque(flow)
                case "bridge" | "connect":
                    yield from self._bridge(action)
                case "stream":
                    yield from self._stream()
                case "hangup":
                    raise HungUp("the flow")
                case _:  # record, param, and what nobody documents, take no time
                    pass
        # What TeleCMI does at the end of a list is not documented; users say the line stays open.
        yield from self._wait(_ON_THE_LINE if self._habits.pace != "manual" else None)
        raise HungUp("the callee")

    def _input(
        self, action: Action, *, prompted: bool
    ) -> Generator[Wait | Ask, Command | None, Sequence[Action] | None]:
        tries = int(_number(action, "max_retry", 1)) if prompted else 1
        longest = int(_number(action, "max_digit", 1))
        timeout = _number(action, "timeout", 5)
        wanted = next(self._presses, "")
        keys = ""
        for n in range(max(1, min(tries, 10))):
            if prompted:
                yield from self._wait(self._between(f"prompt {self._steps}.{n}", (1.0, 4.0)))
            needed = 0.4 * len(wanted) if wanted else timeout
            manual = self._habits.pace == "manual"
            got = yield from self._wait(None if manual else needed, "press")
            keys = (wanted if got is None else str(got.value))[:longest]
            if keys:
                break
        self._say("keys", self.legs[0], f"{len(keys)} pressed")
        url = action.get("action_url")
        return (yield from self._ask(url, keys)) if isinstance(url, str) else None

    def _ask(
        self, url: str | None, keys: str | None
    ) -> Generator[Wait | Ask, Command | None, Sequence[Action] | None]:
        got = yield Ask(url, keys)
        if got is None:
            self.now += ANSWER_SECONDS if self._habits.pace == "timed" else 0.0
            self._say("no answer", self.legs[0], "from the program that was asked")
            return None
        self.now = max(self.now, got.at)
        flow = actions_of(got.value)
        self._say(
            "asked", self.legs[0], "no call flow" if flow is None else f"{len(flow)} actions"
        )
        return flow

    def _stream(self) -> Story:
        leg = self._leg("b", "stream", self.legs[0].from_, Direction.OUTBOUND)
        self._say("stream_connected", leg)
        yield from self._wait(self._talk(f"stream {self._steps}", None))
        self._say("stream_disconnected", leg)

    def _bridge(self, action: Action) -> Story:
        ends = [end for end in map(_number_of, _ends(action)) if end is not None]
        together = action.get("ring_type") == "group"
        timeout = _number(action, "timeout", _RING_TIMEOUT)
        shown = int(_number(action, "from", self.legs[0].from_))
        for _ in range(max(1, int(_number(action, "loop", 1)))):
            for batch in [ends] if together else [[end] for end in ends]:
                room = _MOST_LEGS - len(self.legs)
                legs = [self._leg("b", end, shown, Direction.OUTBOUND) for end in batch[:room]]
                if not legs:
                    return
                self.legs += legs
                leg = yield from self._ring(legs, timeout)
                if leg is not None:
                    yield from self._converse(leg, _number(action, "duration", LONGEST_CALL))
                    return

    def _ring(
        self, legs: Sequence[Leg], timeout: float
    ) -> Generator[Wait | Ask, Command | None, Leg | None]:
        """Let legs ring until one is answered, which is returned, or none is."""
        callees = [self._callee(leg.to) for leg in legs]
        rings = [
            callee.ring or self._between(f"ring {leg.cmiuuid}", self._habits.ring)
            for leg, callee in zip(legs, callees, strict=True)
        ]
        for leg in legs:
            if leg.name == "b":
                self._say("started", leg)
            self._say("ringing", leg)
        endings: list[Ending] = [callee.ending for callee in callees]
        first = min(
            (n for n, ending in enumerate(endings) if ending == "answered"),
            key=rings.__getitem__,
            default=None,
        )
        waits = [
            timeout if ending == "missed" else min(ring, timeout)
            for ring, ending in zip(rings, endings, strict=True)
        ]
        if first is not None and rings[first] > timeout:
            first = None
        longest = max(waits) if first is None else rings[first]
        manual = self._habits.pace == "manual"
        got = yield from self._wait(None if manual else longest, "answer", "miss")
        if got is not None:
            first = 0 if got.name == "answer" else None
        for n, leg in enumerate(legs):
            if n != first:
                gone = endings[n] != "answered" and waits[n] <= longest
                ending: Ending = endings[n] if gone else "missed"
                self._end(leg, ending, "not answered")
        return None if first is None else legs[first]

    def _converse(self, leg: Leg, longest: float) -> Story:
        leg.answered = self.now
        leg.ending = "answered"
        self._say("bridged", leg)
        callee = self._callee(leg.to)
        talk = min(self._talk(f"talk {leg.cmiuuid}", callee.talk), longest)
        if callee.hangs_up_after is not None:
            talk = min(talk, callee.hangs_up_after)
        yield from self._wait(None if self._habits.pace == "manual" else talk)
        self._end(leg, "answered", "the other side")
        yield from self._record(leg)

    # -- what it is made of

    def _wait(
        self, seconds: float | None, *commands: str
    ) -> Generator[Wait | Ask, Command | None, Command | None]:
        """Let time pass, until something is done by hand or the callee has left.

        By hand, only what asks for a command waits for anything.
        """
        if self._habits.pace == "manual" and seconds is not None:
            seconds = 0.0
        until = self.now + (math.inf if seconds is None else seconds)
        left, who = self._left
        if left < until:
            until = max(left, self.now)
            seconds = until - self.now
        got = yield Wait(seconds, frozenset(commands))
        if got is not None:
            self.now = max(self.now, got.at)
        elif self._habits.pace != "manual":
            self.now = until
        if got is None and left <= until:
            raise HungUp(who)
        return got

    def _leg(self, name: str, to: int | str, from_: int, direction: Direction) -> Leg:
        self._dialled += 1
        return Leg(
            name,
            to,
            from_,
            dice.cmiuuid(self._habits.seed, self.to, self._attempt, self._dialled),
            self.now,
            direction,
        )

    def _end(self, leg: Leg, ending: Ending, who: str) -> None:
        leg.ended = self.now
        leg.ending = ending
        self._say("hangup", leg, who)

    def _callee(self, to: int | str) -> Callee:
        return self._habits.callee(to, self._attempt) if isinstance(to, int) else Callee()

    def _between(self, purpose: str, limits: tuple[float, float]) -> float:
        shortest, longest = limits
        drawn = dice.draw(self._habits.seed, purpose, self.to, self._attempt)
        return shortest + (longest - shortest) * drawn

    def _talk(self, purpose: str, seconds: float | None) -> float:
        return seconds or self._between(purpose, self._habits.talk)

    def _say(self, what: str, leg: Leg, detail: str = "") -> None:
        self._told(Note(self.now, what, leg.name, detail), leg)


def actions_of(flow: object) -> list[Action] | None:
    """Return a call flow's actions; ``None`` if it is none: TeleCMI wants a bare array."""
    if not isinstance(flow, list):
        return None
    actions = cast("list[object]", flow)
    return cast("list[Action]", actions) if all(map(_is_action, actions)) else None


def _is_action(item: object) -> bool:
    return isinstance(item, dict) and isinstance(cast("Action", item).get("action"), str)


def _number(action: Action, name: str, default: float) -> float:
    """Return a number of an action's, if it is one that makes sense."""
    value = action.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value if 0 < value < 10**15 else default


def _ends(action: Action) -> Iterable[object]:
    # TeleCMI's page on `connect` has both names for the array.
    for name in ("connect", "call"):
        if isinstance(action.get(name), list):
            return cast("list[object]", action[name])
    return ()


def _number_of(end: object) -> int | str | None:
    """Return whom an element of ``connect`` is about: a number, or a SIP user."""
    if not isinstance(end, dict):
        return None
    fields = cast("dict[str, object]", end)
    found = fields.get("number", fields.get("user"))
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None

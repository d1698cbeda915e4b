"""Call lifecycle: one call from TeleCMI's acceptance to its records.

::

    started → ringing → answered → the call flow, action by action → over → records
                      ↘ missed  ─────────────────────────────────↗

It is a generator. It yields how long to wait or what to ask, and is sent manual commands and
answers. It uses no clock and no network. Durations follow from the seed, the number and the
attempt, so every run is the same.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from attrs import frozen

from telecmi_async._internal.telecmi import LONGEST_CALL
from telecmi_async.events.model import Direction
from telecmi_async.simulator import chance
from telecmi_async.simulator.call import Leg, Note
from telecmi_async.simulator.callee import Callee, Ending
from telecmi_async.simulator.options import callee_at
from telecmi_async.simulator.requests import flow_actions, flow_number, flow_targets
from telecmi_async.simulator.voice.line import StreamLine
from telecmi_async.simulator.voice.streaming import line_of
from telecmi_async.simulator.webhooks import Ask

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.options import SimulatorOptions
    from telecmi_async.simulator.requests import FlowAction
    from telecmi_async.simulator.voice.asgi_socket import StreamTarget

# Seconds that a bridge rings, by TeleCMI's page on forwarding.
_RING_TIMEOUT: Final = 40.0
#: Seconds that a program may take to say how a call goes on. TeleCMI documents no limit.
ANSWER_SECONDS: Final = 10.0
# Limits for flows that loop through their own questions, and for bridges to very many numbers.
_MOST_STEPS: Final = 1_000
_MOST_LEGS: Final = 50
# Actions that end a stream, and those that TeleCMI does not offer in one.
_HAND_OVER: Final = frozenset({"bridge", "connect", "stream"})
_NOT_HERE: Final = frozenset({"input", "play_get_input"})
_LETTERS_A_SECOND: Final = 15.0
_ON_THE_LINE: Final = 2.0


@frozen
class Wait:
    """Nothing happens for some seconds, or, with ``None``, until one of the commands comes.

    ``line`` is one whose changes end the wait as well.
    """

    seconds: float | None
    commands: frozenset[str] = frozenset()
    line: StreamLine | None = None


@frozen
class Command:
    """A manual command, an answer (``reply``) or a change of a line, and its time.

    The value is the keys, or the call flow.
    """

    name: str
    at: float
    value: object = None


class HungUp(Exception):  # not an error: it ends a call
    """One side hung up; ``at`` is the time if it was done from outside."""

    def __init__(self, who: str, at: float | None = None) -> None:
        super().__init__(who)
        self.who = who
        self.at = at


_T = TypeVar("_T")
_Steps: TypeAlias = "Generator[Wait | Ask, Command | None, _T]"


class CallLifecycle:
    """The steps of one call, and its present state. Everything that happens is observed.

    A call that comes in carries no call flow, and asks for one.
    """

    __slots__ = ("_attempt", "_call", "_dial", "_digits", "_end_at", "_ended_by",
                 "_leg_count", "_manual", "_observe", "_options", "_party", "_step_count", "legs", "now",
                 "over", "steps")  # fmt: skip

    def __init__(
        self,
        call: SimulatedCall,
        *,
        at: float,
        options: SimulatorOptions,
        observe: Callable[[Note, Leg], None],
        dial: Callable[[StreamLine], None],
        inbound: bool,
    ) -> None:
        self.now = at
        self.over = False
        self._call = call
        # Calls that come in count by themselves, and draw by themselves.
        self._attempt = -call.attempt if inbound else call.attempt
        self._options = options
        self._manual = options.life == "manual"
        self._observe = observe
        self._dial = dial
        self._end_at: tuple[float, str] = (math.inf, "")
        self._party = call.from_ if inbound else call.to
        self._digits = iter(self._callee(self._party).digits)
        self._step_count = 0
        self._ended_by = ""
        self._leg_count = 0
        direction = Direction.INBOUND if inbound else Direction.OUTBOUND
        self.legs: list[Leg] = [self._leg("a", call.to, call.from_, direction)]
        self.steps: _Steps[None] = self._inbound() if inbound else self._outbound()

    def hold(self, leg: Leg, action: str) -> None:
        """Note that a leg is put on hold, or taken off. It has no other effect here."""
        self._note(action, leg)

    # -- the steps

    def _outbound(self) -> _Steps[None]:
        leg = self.legs[0]
        try:
            yield from self._wait(self._between("set up", (0.05, 0.8)))
            self._note("started", leg)
            answered = yield from self._ring([leg], 60.0)
            if answered is not None:
                self._answered(leg)
                yield from self._run_flow(self._call.pcmo)
        except HungUp as end:
            self._hang_up(end)
        yield from self._finish()

    def _inbound(self) -> _Steps[None]:
        leg = self.legs[0]
        try:
            flow = yield from self._ask(None, None)
            # A hang-up that comes first rejects the call instead of answering it.
            if flow is not None and [action["action"] for action in flow[:1]] != ["hangup"]:
                self._answered(leg)
                yield from self._run_flow(flow)
        except HungUp as end:
            self._hang_up(end)
        yield from self._finish()

    def _answered(self, leg: Leg) -> None:
        leg.answered = self.now
        leg.ending = "answered"
        if not self._manual:
            longest = self.now + (self._call.duration or LONGEST_CALL)
            leaves = self.now + (self._callee(self._party).hangs_up_after or math.inf)
            self._end_at = min((longest, "the duration is over"), (leaves, "the callee"))
        self._note("answered", leg)

    def _hang_up(self, end: HungUp) -> None:
        self._end_at = (math.inf, "")
        if end.at is not None:
            self.now = end.at
        self._ended_by = end.who

    def _finish(self) -> _Steps[None]:
        """End all open legs, and write the records: those of later legs come first."""
        self.over = True
        for leg in reversed(self.legs):
            if leg.ended is None:
                self._end(leg, leg.ending or "missed", self._ended_by)
        for leg in reversed(self.legs):
            if not leg.recorded:
                yield from self._record(leg)

    def _record(self, leg: Leg) -> _Steps[None]:
        yield Wait(pause := self._between(f"record {leg.cmiuuid}", (0.2, 0.9)))
        self.now += pause
        leg.recorded = True
        self._note("record", leg, leg.ending or "")

    # -- the call flow

    def _run_flow(self, actions: Sequence[FlowAction]) -> _Steps[None]:
        todo = deque(actions)
        while todo:
            action = todo.popleft()
            match action["action"]:
                case "play_get_input" | "input" as name:
                    self._step(action)
                    flow = yield from self._input(action, prompted=name != "input")
                    if flow is not None:
                        todo = deque(flow)
                case "stream":
                    self._step(action)
                    todo.extendleft(reversed((yield from self._stream(action))))
                case _:
                    yield from self._run(action)
        # What TeleCMI does at the end of a list is not documented; users say the line stays open.
        yield from self._wait(_ON_THE_LINE if not self._manual else None)
        raise HungUp("the callee")

    def _step(self, action: FlowAction) -> None:
        self._step_count += 1
        if self._step_count > _MOST_STEPS:
            raise HungUp("the flow goes round and round")
        self._note("step", self.legs[0], str(action["action"]))

    def _run(self, action: FlowAction) -> _Steps[None]:
        """Run an action that flows and arrays of a stream have in common."""
        self._step(action)
        match action["action"]:
            case "play":
                yield from self._wait(self._between(f"play {self._step_count}", (2.0, 8.0)))
            case "speak":
                text = action.get("text")
                length = len(text) if isinstance(text, str) else 0
                yield from self._wait(1.0 + length / _LETTERS_A_SECOND)
            case "bridge" | "connect":
                yield from self._bridge(action)
            case "hangup":
                raise HungUp("the flow")
            case _:  # record, param, and undocumented actions take no time
                pass

    def _input(
        self, action: FlowAction, *, prompted: bool
    ) -> _Steps[Sequence[FlowAction] | None]:
        tries = int(flow_number(action, "max_retry", 1)) if prompted else 1
        longest = int(flow_number(action, "max_digit", 1))
        timeout = flow_number(action, "timeout", 5)
        wanted = next(self._digits, "")
        keys = ""
        for n in range(max(1, min(tries, 10))):
            if prompted:
                yield from self._wait(
                    self._between(f"prompt {self._step_count}.{n}", (1.0, 4.0))
                )
            needed = 0.4 * len(wanted) if wanted else timeout
            got = yield from self._wait(None if self._manual else needed, "press")
            keys = (wanted if got is None else str(got.value))[:longest]
            if keys:
                break
        self._note("keys", self.legs[0], f"{len(keys)} pressed")
        url = action.get("action_url")
        return (yield from self._ask(url, keys)) if isinstance(url, str) else None

    def _ask(self, url: str | None, keys: str | None) -> _Steps[Sequence[FlowAction] | None]:
        got = yield Ask(url, keys)
        if got is None:
            self.now += ANSWER_SECONDS if self._options.life == "timed" else 0.0
            self._note("no answer", self.legs[0], "from the program that was asked")
            return None
        self.now = max(self.now, got.at)
        flow = flow_actions(got.value)
        self._note(
            "asked", self.legs[0], "no call flow" if flow is None else f"{len(flow)} actions"
        )
        return flow

    def _stream(self, action: FlowAction) -> _Steps[Sequence[FlowAction]]:
        """Stream the call, and return the actions that the other side handed the call over to."""
        leg = self._leg("b", "stream", self.legs[0].from_, Direction.OUTBOUND)
        if (target := self._options.streams) is not None:
            return (yield from self._talk(action, leg, target))
        self._note("stream_connected", leg)
        yield from self._wait(self._between(f"stream {self._step_count}", self._options.talk))
        self._note("stream_disconnected", leg)
        return ()

    def _talk(
        self, action: FlowAction, leg: Leg, target: StreamTarget
    ) -> _Steps[Sequence[FlowAction]]:
        end_at, who = self._end_at
        limit = min((end_at - self.now, who), (LONGEST_CALL, "the duration is over"))
        callee = self._callee(self._party)
        line = line_of(action, self._options, target, self._call, callee, limit)
        self._dial(line)
        while not (line.connected or line.closed):
            yield from self._line_changes(line, self.now)
        if not line.connected:
            self._note("not_streamed", leg, line.refusal)
            return ()
        self._note("stream_connected", leg)
        began = self.now
        try:
            rest = yield from self._run_arrays(line, began)
        except HungUp as end:
            self.now = max(self.now, end.at or 0.0)
            self._leave(line, leg, began)
            raise HungUp(end.who) from None
        self._leave(line, leg, began)
        return rest

    def _leave(self, line: StreamLine, leg: Leg, began: float) -> None:
        line.leave("by the call")
        self.now = max(self.now, began + line.heard.length)
        self._note("stream_disconnected", leg)

    def _run_arrays(self, line: StreamLine, began: float) -> _Steps[Sequence[FlowAction]]:
        """Run what the bot asks for until the stream ends; return what it hands over to."""
        while True:
            actions = line.arrays.popleft() if line.arrays else ()
            for n, action in enumerate(actions):
                name = action["action"]
                if name in _HAND_OVER:
                    line.leave("by the call")
                    while not line.closed:
                        yield from self._line_changes(line, began)
                    return actions[n:]
                if name in _NOT_HERE:
                    self._note("ignored", self.legs[0], f"{name} in a stream")
                    continue
                line.occupy(busy=True)
                yield from self._run(action)
                line.occupy(busy=False)
            if line.closed and not line.arrays:
                if line.ended_by:
                    raise HungUp(line.ended_by)
                return ()
            if not line.arrays:
                yield from self._line_changes(line, began)

    def _line_changes(self, line: StreamLine, began: float) -> _Steps[None]:
        got = yield Wait(None, line=line)
        self.now = max(self.now, got.at if got else 0.0, began + line.heard.length)

    def _bridge(self, action: FlowAction) -> _Steps[None]:
        ends = flow_targets(action)
        together = action.get("ring_type") == "group"
        timeout = flow_number(action, "timeout", _RING_TIMEOUT)
        shown = int(flow_number(action, "from", self.legs[0].from_))
        for _ in range(max(1, int(flow_number(action, "loop", 1)))):
            for batch in [ends] if together else [[end] for end in ends]:
                room = _MOST_LEGS - len(self.legs)
                legs = [self._leg("b", end, shown, Direction.OUTBOUND) for end in batch[:room]]
                if not legs:
                    return
                self.legs += legs
                leg = yield from self._ring(legs, timeout)
                if leg is not None:
                    yield from self._connected(
                        leg, flow_number(action, "duration", LONGEST_CALL)
                    )
                    return

    def _ring(self, legs: Sequence[Leg], timeout: float) -> _Steps[Leg | None]:
        """Let legs ring until one is answered, and return it; ``None`` if none is."""
        callees = [self._callee(leg.to) for leg in legs]
        rings = [
            callee.ring or self._between(f"ring {leg.cmiuuid}", self._options.ring)
            for leg, callee in zip(legs, callees, strict=True)
        ]
        for leg in legs:
            if leg.name == "b":
                self._note("started", leg)
            self._note("ringing", leg)
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
        got = yield from self._wait(None if self._manual else longest, "answer", "miss")
        if got is not None:
            first = 0 if got.name == "answer" else None
        for n, leg in enumerate(legs):
            if n != first:
                gone = endings[n] != "answered" and waits[n] <= longest
                ending: Ending = endings[n] if gone else "missed"
                self._end(leg, ending, "not answered")
        return None if first is None else legs[first]

    def _connected(self, leg: Leg, longest: float) -> _Steps[None]:
        leg.answered = self.now
        leg.ending = "answered"
        self._note("bridged", leg)
        callee = self._callee(leg.to)
        talk = callee.talk or self._between(f"talk {leg.cmiuuid}", self._options.talk)
        talk = min(talk, longest, callee.hangs_up_after or math.inf)
        yield from self._wait(None if self._manual else talk)
        self._end(leg, "answered", "the other side")
        yield from self._record(leg)

    # -- helpers

    def _wait(self, seconds: float | None, *commands: str) -> _Steps[Command | None]:
        """Wait until the time is over, a manual command comes, or the callee hangs up.

        In manual mode, only a wait for a command takes time.
        """
        if self._manual and seconds is not None:
            seconds = 0.0
        until = self.now + (math.inf if seconds is None else seconds)
        end_at, who = self._end_at
        if end_at < until:
            until = max(end_at, self.now)
            seconds = until - self.now
        got = yield Wait(seconds, frozenset(commands))
        if got is not None:
            self.now = max(self.now, got.at)
        elif not self._manual:
            self.now = until
        if got is None and end_at <= until:
            raise HungUp(who)
        return got

    def _leg(self, name: str, to: int | str, from_: int, direction: Direction) -> Leg:
        self._leg_count += 1
        return Leg(
            name,
            to,
            from_,
            chance.cmiuuid(self._options.seed, self._call.to, self._attempt, self._leg_count),
            self.now,
            direction,
        )

    def _end(self, leg: Leg, ending: Ending, who: str) -> None:
        leg.ended = self.now
        leg.ending = ending
        self._note("hangup", leg, who)

    def _callee(self, to: int | str) -> Callee:
        return callee_at(self._options, to, self._attempt) if isinstance(to, int) else Callee()

    def _between(self, purpose: str, limits: tuple[float, float]) -> float:
        return chance.draw_between(
            limits, self._options.seed, purpose, self._call.to, self._attempt
        )

    def _note(self, what: str, leg: Leg, detail: str = "") -> None:
        self._observe(Note(self.now, what, leg.name, detail), leg)

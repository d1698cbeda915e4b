"""Voice demo: a bot without AI and simulated people talk to each other on this machine."""

from __future__ import annotations

import io
import json
import math
import random
import struct
import wave
from array import array
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import anyio
from attrs import frozen

from telecmi_async import Receiver
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.talk_report import Plot, TalkReport, report_lines
from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Callee, Conversation, Simulator
from telecmi_async.testing.clock import run
from telecmi_async.voice import Streams

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telecmi_async import Flow
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.events import InboundRequest
    from telecmi_async.simulator import SimulatedCall
    from telecmi_async.voice import Heard, StreamSession

_OURS: Final = 12025550199
_CALLEE: Final = 12025550142
_CALLER: Final = 12025550117
_COLLEAGUE: Final = 12025550163
# Where no server is: the simulator connects to the bot within the process.
_URL: Final = "wss://voice.example.com/talk"
# What the bot takes for speech, for how long until it is sure, and the silence that ends a turn.
_LOUD: Final = 1_000
_SURE: Final = 0.06
_TURN: Final = 0.5
# The longest that a call may take, in its own time, and the silence between two calls in a file.
_LONGEST: Final = 120.0
_BETWEEN: Final = 1.0
_PLOTS: Final = (
    Plot(
        title="The bot calls, is interrupted, answers, and hangs up",
        person="callee",
        said=("interrupts the bot with a question", "asks something else"),
        interruptions=1,
        action="hangup",
    ),
    Plot(
        title="The bot is called, and transfers the caller to a colleague",
        person="caller",
        said=("asks for a person",),
        interruptions=0,
        action="bridge",
    ),
)


# -- voices


@frozen
class Babble:
    """Sounds like speech: syllables whose vowels and pitch follow from the seed."""

    seconds: float
    hz: float
    seed: int

    def pcm(self, rate: int) -> bytes:
        """Return signed 16-bit samples at a rate in Hz."""
        chance = random.Random(self.seed)  # noqa: S311  # sounds, no secrets
        samples: list[int] = []
        phase = 0.0
        size = round(self.seconds * rate)
        while len(samples) < size:
            length = round(chance.uniform(0.14, 0.26) * rate)
            pitch = self.hz * chance.uniform(0.85, 1.2)
            vowel = [chance.uniform(0.2, 1.0) / k for k in range(1, 6)]
            for n in range(length):
                phase += 2 * math.pi * pitch * (1.0 - 0.1 * n / length) / rate
                loudness = 0.25 + 0.75 * math.sin(math.pi * n / length)
                tone = sum(a * math.sin(k * phase) for k, a in enumerate(vowel, 1))
                samples.append(round(6_000 * loudness * tone))
        return struct.pack(f"<{size}h", *samples[:size])


_GREETING: Final = Babble(4.0, 190, 1)
_ANSWER: Final = Babble(2.4, 190, 2)
_GOODBYE: Final = Babble(1.6, 190, 3)
_QUESTIONS: Final = (Babble(1.5, 115, 4), Babble(0.9, 115, 5))
_WELCOME: Final = Babble(1.2, 190, 6)
_WISH: Final = Babble(1.1, 150, 7)
_ONE_MOMENT: Final = Babble(1.4, 190, 8)


# -- the bot


class _Bot:
    """It talks in one call, and lets itself be interrupted."""

    def __init__(self) -> None:
        self.plays: list[tuple[str, Heard]] = []
        self._speaks = False
        self._turn_over = anyio.Event()

    async def talk(self, session: StreamSession) -> None:
        """Answer a callee and hang up, or transfer a caller."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, session)
            if session.inbound is None:
                await self._say(session, "greeting", _GREETING)
                await self._turn()
                await self._say(session, "answer", _ANSWER)
                await self._turn()
                await self._say(session, "goodbye", _GOODBYE)
                await session.hang_up()
            else:
                await self._say(session, "greeting", _WELCOME)
                await self._turn()
                await self._say(session, "one moment", _ONE_MOMENT)
                await session.transfer(_COLLEAGUE)

    async def _say(self, session: StreamSession, name: str, words: Babble) -> None:
        self._speaks = True
        self.plays.append((name, await session.play(words.pcm(session.rate))))
        self._speaks = False

    async def _turn(self) -> None:
        """Wait until the other side has spoken."""
        await self._turn_over.wait()
        self._turn_over = anyio.Event()

    async def _listen(self, session: StreamSession) -> None:
        """Fall silent when the other side speaks, and notice when it has ended."""
        loud, quiet = 0.0, 0.0
        async for pcm in session:
            seconds = len(pcm) / 2 / session.rate
            samples = array("h", pcm)
            if max(samples) > _LOUD:
                loud, quiet = loud + seconds, 0.0
                if loud >= _SURE and self._speaks:
                    await session.interrupt()
                continue
            quiet += seconds
            if quiet >= _TURN:
                if loud >= _SURE:
                    self._turn_over.set()
                loud = 0.0


# -- the stage


def play_voice_demo(terminal: Terminal, *, out: str | None, as_json: bool) -> Exit:
    """Run the demo, print its report, write its audio, and return the exit code."""
    if out is not None and Path(out).exists():
        raise _unwritable(out, "File exists")
    began = perf_counter()
    reports = run(_calls)
    took = perf_counter() - began
    if out is not None:
        try:
            with Path(out).open("xb") as file:
                file.write(joined_wav(report.talk for report in reports))
        except OSError as error:
            raise _unwritable(out, error.strerror or "failed") from None
    if as_json:
        calls = [report.as_json() for report in reports]
        terminal.put(json.dumps({"calls": calls, "file": out}))
    else:
        _print(terminal, reports, took, out)
    return Exit.FAILED if any(report.problems() for report in reports) else Exit.OK


def _unwritable(out: str, why: str) -> Stop:
    return Stop(Exit.USAGE, f"cannot write {out}: {why}")


async def _calls() -> tuple[TalkReport, ...]:
    """Have the bot call, and be called; return what came of both calls."""
    simulator = Simulator(
        callees={
            _CALLEE: Callee(says=_QUESTIONS, talks_over_after=1.4),
            _CALLER: Callee(says=_WISH),
            _COLLEAGUE: Callee(ring=2, talk=8),
        }
    )
    receiver, streams, bots = Receiver(new_token()), Streams(_URL), list[_Bot]()

    @receiver.on_inbound
    async def answer(event: InboundRequest) -> Flow:
        return streams.answer(event).hangup()

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        bots.append(_Bot())
        await bots[-1].talk(session)

    async with simulator.service(from_=_OURS, events=receiver, streams=streams) as service:
        placed = await service.make_call(to=_CALLEE, pcmo=streams.flow().hangup())
        calls = [simulator.call(placed.request_id)]
        await _end_of(calls[0])
        calls.append(simulator.call_in(from_=_CALLER, to=_OURS))
        await _end_of(calls[1])
    return tuple(
        TalkReport(
            plot=plot, talk=call.heard, plays=tuple(bot.plays), notes=tuple(call.timeline)
        )
        for plot, call, bot in zip(_PLOTS, calls, bots, strict=True)
    )


async def _end_of(call: SimulatedCall) -> None:
    with anyio.move_on_after(_LONGEST):
        while not call.over:  # noqa: ASYNC110  # calls that come in have no event for their end
            await anyio.sleep(0.1)


def joined_wav(talks: Iterable[Conversation]) -> bytes:
    """Return one stereo WAV file of several conversations, with a second between them."""
    both = io.BytesIO()
    with wave.open(both, "wb") as joined:
        for n, talk in enumerate(talks):
            with wave.open(io.BytesIO(talk.wav())) as each:
                if n == 0:
                    joined.setparams(each.getparams())
                else:
                    joined.writeframes(bytes(4 * round(_BETWEEN * each.getframerate())))
                joined.writeframes(each.readframes(each.getnframes()))
    return both.getvalue()


def _print(
    terminal: Terminal, reports: tuple[TalkReport, ...], took: float, out: str | None
) -> None:
    terminal.put(
        ("TeleCMI and the people are simulated on this machine: no phone rings.", "bold")
    )
    terminal.put("The bot has no AI: it makes sounds, and listens for others.")
    seconds = sum(report.talk.length for report in reports)
    terminal.put(f"It talked for {seconds:.1f} s, which took {took:.1f} s on a virtual clock.")
    for report in reports:
        terminal.put()
        for parts in report_lines(terminal, report):
            terminal.put(*parts)
    terminal.put()
    if out is None:
        terminal.put("To listen to both calls: telecmi-async demo voice --out talk.wav")
    else:
        terminal.put(f"{out} has both calls: left the people, right the bot.")

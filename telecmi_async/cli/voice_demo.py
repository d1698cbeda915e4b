"""Voice demo: a bot without AI and a simulated callee talk to each other on this machine."""

from __future__ import annotations

import json
import math
import random
import struct
from array import array
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import anyio
from attrs import frozen

from telecmi_async import Receiver
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.talk_lines import event_lines_of, lane_lines
from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Callee, Conversation, Simulator
from telecmi_async.testing.clock import run
from telecmi_async.voice import Heard, Streams

if TYPE_CHECKING:
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.voice import StreamSession

_CALLER_ID: Final = 12025550199
_CALLEE: Final = 12025550142
# Where no server is: the simulator connects to the bot within the process.
_URL: Final = "wss://voice.example.com/talk"
# What the bot takes for speech, for how long until it is sure, and the silence that ends a turn.
_LOUD: Final = 1_000
_SURE: Final = 0.06
_TURN: Final = 0.5
# What the report accepts.
_LATEST_FIRST: Final = 0.5
_LONGEST_BARGE_IN: Final = 0.5
_ESTIMATED_WITHIN: Final = 0.1


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


# -- the bot


class _Bot:
    """It greets, lets itself be interrupted, answers, says goodbye in full, and hangs up."""

    def __init__(self) -> None:
        self.plays: list[tuple[str, Heard]] = []
        self._speaks = False
        self._turn_over = anyio.Event()

    async def talk(self, session: StreamSession) -> None:
        """Talk to a callee."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, session)
            await self._say(session, "greeting", _GREETING)
            await self._turn_over.wait()
            self._turn_over = anyio.Event()
            await self._say(session, "answer", _ANSWER)
            await self._turn_over.wait()
            await self._say(session, "goodbye", _GOODBYE)
            await session.hang_up()

    async def _say(self, session: StreamSession, name: str, words: Babble) -> None:
        self._speaks = True
        self.plays.append((name, await session.play(words.pcm(session.rate))))
        self._speaks = False

    async def _listen(self, session: StreamSession) -> None:
        """Fall silent when the callee speaks, and notice when the callee has ended."""
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
    report = run(_converse)
    took = perf_counter() - began
    if out is not None:
        try:
            with Path(out).open("xb") as file:
                file.write(report.talk.wav())
        except OSError as error:
            raise _unwritable(out, error.strerror or "failed") from None
    if as_json:
        terminal.put(json.dumps(report.as_json(out)))
    else:
        _print(terminal, report, took, out)
    return Exit.FAILED if report.problems() else Exit.OK


def _unwritable(out: str, why: str) -> Stop:
    return Stop(Exit.USAGE, f"cannot write {out}: {why}")


async def _converse() -> TalkReport:
    """Place a call whose flow is the bot, and return what came of it."""
    callee = Callee(says=_QUESTIONS, talks_over_after=1.4)
    simulator = Simulator(callees={_CALLEE: callee})
    bot, streams = _Bot(), Streams(_URL)
    streams.on_stream(bot.talk)
    async with simulator.service(
        from_=_CALLER_ID, events=Receiver(new_token()), streams=streams
    ) as service:
        call = await service.make_call(to=_CALLEE, pcmo=streams.flow())
        await call.ended()
    return TalkReport(talk=simulator.call(call.request_id).heard, plays=tuple(bot.plays))


@frozen(kw_only=True)
class TalkReport:
    """What the bot estimates, and what the simulated callee heard."""

    talk: Conversation
    plays: tuple[tuple[str, Heard], ...]

    @property
    def truths(self) -> list[float]:
        """How long the callee heard each thing that the bot said, in seconds."""
        return [
            round(each.until - each.at, 2) for each in self.talk.timeline if each.what == "bot"
        ]

    def problems(self) -> list[str]:
        """Return what should not have happened, in words; an empty list if all is well."""
        talk, truths = self.talk, self.truths
        delays = [each.delay for each in talk.barge_ins]
        estimates = [heard.seconds for _, heard in self.plays]
        hung_up = any(
            each.what == "array" and each.detail == "hangup" for each in talk.timeline
        )
        goodbye = self.plays[-1][1] if self.plays else None
        checks = {
            "the bot was silent for too long at first": (
                talk.first_audio is None or talk.first_audio > _LATEST_FIRST
            ),
            "the bot was not interrupted once": len(delays) != 1,
            "the bot spoke too long over the callee": max(delays, default=0)
            > _LONGEST_BARGE_IN,
            "not all that the bot said was heard": len(truths) != len(estimates),
            "an estimate of what was heard is wrong": any(
                abs(one - other) > _ESTIMATED_WITHIN
                for one, other in zip(estimates, truths, strict=False)
            ),
            "the goodbye was cut off": not (
                goodbye and goodbye.complete and truths[-1:] >= [_GOODBYE.seconds - 0.02]
            ),
            "the bot did not hang up": not hung_up,
        }
        return [problem for problem, found in checks.items() if found]

    def as_json(self, out: str | None) -> dict[str, object]:
        """Return it for other programs; times are in seconds."""
        talk = self.talk
        return {
            "seconds": talk.length,
            "first_audio": talk.first_audio,
            "barge_ins": [{"at": each.at, "delay": each.delay} for each in talk.barge_ins],
            "overlap": talk.overlap,
            "plays": [
                {
                    "name": name,
                    "offered": heard.offered,
                    "estimate": round(heard.seconds, 3),
                    "heard": truth,
                    "interrupted": heard.interrupted,
                }
                for (name, heard), truth in zip(self.plays, self.truths, strict=False)
            ],
            "timeline": [
                {"at": each.at, "until": each.until, "what": each.what, "detail": each.detail}
                for each in talk.timeline
            ],
            "file": out,
            "problems": self.problems(),
        }


def _print(terminal: Terminal, report: TalkReport, took: float, out: str | None) -> None:
    talk = report.talk
    terminal.put(
        ("TeleCMI and the callee are simulated on this machine: no phone rings.", "bold")
    )
    terminal.put("The bot has no AI: it makes sounds, and listens for others.")
    terminal.put(f"The call of {talk.length:.1f} s took {took:.1f} s, on a virtual clock.")
    terminal.put()
    for parts in lane_lines(terminal, talk):
        terminal.put(*parts)
    terminal.put()
    for line in event_lines_of(talk):
        terminal.put(line)
    terminal.put()
    for label, words in _figures(report):
        terminal.put(f"  {label:<29} {words}")
    for problem in report.problems():
        terminal.put((f"  wrong: {problem}", "red"))
    terminal.put()
    if out is None:
        terminal.put("To listen to it: telecmi-async demo voice --out talk.wav")
    else:
        terminal.put(f"{out}: the callee is on the left, the bot on the right.")


def _figures(report: TalkReport) -> list[tuple[str, str]]:
    talk = report.talk
    first = "never" if talk.first_audio is None else f"{talk.first_audio:5.2f} s"
    found = [("time to first audio", first)]
    found += [
        ("silent after an interruption", f"{each.delay:5.2f} s") for each in talk.barge_ins
    ]
    for (name, heard), truth in zip(report.plays, report.truths, strict=False):
        words = f"{truth:5.2f} s of {heard.offered:.2f} s; the bot's estimate: {heard.seconds:.2f} s"
        found.append((f"{name} heard", words))
    return found

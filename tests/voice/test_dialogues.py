"""Dialogues of bots with simulated callees: what is heard, what is cut, and what is estimated."""

from __future__ import annotations

import math
import os
import struct
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest
from dialogues import FROM, TO, Dialogue, Held, hold

from telecmi_async.simulator import Callee, Simulator, Tone
from telecmi_async.testing import run
from telecmi_async.voice import Streams

if TYPE_CHECKING:
    from telecmi_async.testing.clock import Backend
    from telecmi_async.voice import StreamSession

#: How many random dialogues are held; ``nox -s crash`` asks for 1,000.
DIALOGUES = int(os.environ.get("DIALOGUES", "8"))
#: How often the same one is held for its trace to be compared; 100 there.
REPEATS = int(os.environ.get("DIALOGUE_REPEATS", "3"))
BACKENDS: tuple[Backend, ...] = ("asyncio", "trio")

# Seconds: what an interruption may leave to be heard, and how wrong an estimate may be.
OVERRUN, WRONG = 0.5, 0.1
SAMPLE = 1 / 8_000


def failures(held: Held) -> list[str]:
    """Return what went wrong in a dialogue."""
    found: list[str] = []
    goodbye, dialogue = held.dialogue.sentences[-1], held.dialogue
    if held.overrun() > OVERRUN:
        found.append(f"{held.overrun()} s of a sentence were heard after a barge-in")
    if held.error() > WRONG:
        found.append(f"an estimate was wrong by {held.error()} s")
    if not held.complete and dialogue.callee.hangs_up_after is None:
        found.append("the bot did not come to its end")
    left = held.conversation.timeline[-1].detail.startswith("the callee")
    if held.complete and not left:
        missing = goodbye.samples(dialogue.rate) / dialogue.rate - held.heard(goodbye)
        if missing:
            found.append(f"{missing} s of the goodbye were not heard")
    for (one, heard), (_, after) in pairwise(held.said):
        if not (heard.interrupted or after.interrupted):
            missing = one.samples(dialogue.rate) / dialogue.rate - held.heard(one)
            if missing:
                found.append(f"{missing} s of sentence {one.number} were not heard")
    return found


def test_random_dialogues_keep_what_is_promised() -> None:
    """Interrupted audio ends, a last sentence is heard in full, and estimates are near the truth."""
    wrong: dict[int, list[str]] = {}
    barge_ins = interruptions = 0
    for seed in range(DIALOGUES):
        held = run(partial(hold, Dialogue.of(seed)), backend=BACKENDS[seed % 4 == 3])
        if found := failures(held):
            wrong[seed] = found
        barge_ins += len(held.conversation.barge_ins)
        interruptions += sum(heard.interrupted for _, heard in held.said)

    assert not wrong
    assert barge_ins > DIALOGUES // 2  # else nothing was tried
    assert interruptions > DIALOGUES // 4


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_dialogue_is_the_same_each_time(backend: Backend) -> None:
    """Each run has the same time line, audio and estimates, to the last sample."""
    dialogue = Dialogue.of(21)

    traces = [run(partial(hold, dialogue), backend=backend).trace for _ in range(REPEATS)]

    assert all(trace == traces[0] for trace in traces)
    assert any(event.what == "break" for event in traces[0][0])  # type: ignore[attr-defined]  # as Held.trace says


# -- as a user writes it

GREETING, ANSWER, GOODBYE = (
    b"".join(
        struct.pack("<h", round(9_000 * math.sin(n * SAMPLE * hz * math.tau)))
        for n in range(round(seconds / SAMPLE))
    )
    for seconds, hz in ((5.0, 300), (2.0, 400), (1.7, 500))
)


def make_bot() -> Streams:
    """Return a bot that greets until it is interrupted, answers, and says goodbye."""
    streams = Streams("wss://bot.example/talk")

    def is_loud(pcm: bytes) -> bool:
        return max(memoryview(pcm).cast("h")) > 500

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.play, GREETING)
            async for pcm in session:
                if is_loud(pcm):
                    break
            await session.interrupt()
        async for pcm in session:
            if not is_loud(pcm):
                break
        await session.play(ANSWER)
        await session.play(GOODBYE)
        await session.hang_up()

    return streams


@pytest.mark.anyio
async def test_bot_is_interrupted_and_says_goodbye() -> None:
    """The test of a bot takes ten lines, no phone and no sleep."""
    streams = make_bot()
    callee = Callee(says=[Tone(1.5)], talks_over_after=1.2)
    simulator = Simulator(streams=streams.asgi, callees={TO: callee})
    async with simulator.service(from_=FROM, streams=streams) as service:
        call = await service.make_call(to=TO, pcmo=streams.flow())
        voice = simulator.call(call.request_id).voice
        await voice.ended()
    assert voice.heard.barge_ins[0].delay <= 0.15
    assert ANSWER + GOODBYE in voice.heard.audio
    assert voice.heard.timeline[-2].detail == "hangup"

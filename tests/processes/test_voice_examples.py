"""The voice bots of docs/examples/voice as users start them, with fakes of the engines.

Callers and engines talk in real time, over real WebSockets.
"""

from __future__ import annotations

import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import pytest
from engine_speech import KEY, Fault
from example_programs import EXAMPLES, VOICE_PROGRAMS
from fake_deepgram import FakeDeepgram
from fake_gemini import FakeGemini
from fake_openai import FakeOpenAI
from program_process import served

from telecmi_async.simulator import Callee, Simulator, Tone, Webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from engine_speech import FakeEngine

    from telecmi_async.simulator import SimulatedCall

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
]

TOKEN = "t" * 43
CALLER, BOT = 12025550101, 19170000000


class Bot(NamedTuple):
    """A program, its engine, and the environment that leads to it."""

    engine: type[FakeEngine]
    url: str
    key: str
    path: str = ""


BOTS = {
    "openai_realtime": Bot(
        FakeOpenAI, "OPENAI_REALTIME_URL", "OPENAI_API_KEY", "/v1/realtime?model=fake"
    ),
    "gemini_live": Bot(FakeGemini, "GEMINI_URL", "GEMINI_API_KEY"),
    "deepgram_flux": Bot(FakeDeepgram, "DEEPGRAM_URL", "DEEPGRAM_API_KEY"),
}
PIPECAT = {
    "pipecat_bot": Bot(FakeOpenAI, "OPENAI_REALTIME_URL", "OPENAI_API_KEY", "/v1/realtime"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with the programs in it."""
    for name in VOICE_PROGRAMS:
        shutil.copy(EXAMPLES / "voice" / name, tmp_path)
    monkeypatch.chdir(tmp_path)


@asynccontextmanager
async def called(
    bot: str, callee: Callee, *, turns: int = 2, logs: str = "", key: str = KEY, **engine: Any
) -> AsyncGenerator[tuple[SimulatedCall, FakeEngine]]:
    """Call a bot until it has spoken so many times; in the end it has logged ``logs``."""
    program = (BOTS | PIPECAT)[bot]
    fake = program.engine(**engine)
    simulator = Simulator(seed=7, streams="dial", callees={CALLER: callee})
    async with fake.serving() as engine_url:
        environ = {
            "TELECMI_WEBHOOK_TOKEN": TOKEN,
            "TELECMI_SECRET": simulator.secret,
            "LOGURU_LEVEL": "WARNING",  # Pipecat's log
            program.url: f"{engine_url}{program.path}",
            program.key: key,
        }
        warnings = "ignore" if bot in PIPECAT else "error"
        with served(f"{bot}:app", environ, logs=logs, warnings=warnings) as url:
            simulator.webhooks = Webhooks(f"{url}/telecmi/{TOKEN}")
            async with simulator.running():
                call = simulator.call_in(from_=CALLER, to=BOT)
                with anyio.fail_after(30):
                    while not call.over or fake.connected:
                        spoken = call.heard.bot
                        silence = call.heard.length - spoken.last * 0.02
                        if len(spoken.utterances) >= turns and silence > 0.6:
                            call.voice.hang_up()
                        await anyio.sleep(0.05)
                yield call, fake


def lengths(call: SimulatedCall) -> list[float]:
    """Return how long each utterance of the bot was, in seconds."""
    return [round((end - start) * 0.02, 2) for start, end in call.heard.bot.utterances]


@pytest.mark.parametrize("bot", BOTS | PIPECAT)
async def test_a_dialogue(bot: str) -> None:
    """A bot greets, hears its caller out, and answers; all of it is heard."""
    callee = Callee(says=[Tone(0.8)])
    async with called(bot, callee, replies=(1.0, 0.7)) as (call, engine):
        # A busy machine may tear a sentence apart, but all of it is heard.
        assert lengths(call) == [pytest.approx(1.0, abs=0.3), pytest.approx(0.7, abs=0.3)]
        # Pipecat fills its last message with silence.
        assert 1.69 < call.heard.seconds < (1.95 if bot in PIPECAT else 1.71)
        assert engine.listened == pytest.approx(call.heard.length, abs=0.5)
        assert engine.refused == 0


@pytest.mark.parametrize("bot", BOTS | PIPECAT)
async def test_a_caller_who_interrupts(bot: str) -> None:
    """What the caller talks over is no longer heard, and the answer is heard in full."""
    callee = Callee(says=[Tone(0.8)], talks_over_after=1.0)
    async with called(bot, callee, replies=(5.0, 0.7)) as (call, _):
        greeting, reply = lengths(call)
        (barge_in,) = call.heard.barge_ins

        assert barge_in.delay < 1.0
        assert greeting < 2.5
        assert reply == pytest.approx(0.7, abs=0.3)


@pytest.mark.parametrize("bot", ["openai_realtime", "pipecat_bot"])
async def test_the_engine_forgets_what_was_not_heard(bot: str) -> None:
    """OpenAI is told how much of its speech was heard, also if it had made much more."""
    callee = Callee(says=[Tone(0.8)], talks_over_after=1.3)
    async with called(bot, callee, replies=(5.0, 0.7)) as (call, engine):
        greeting, _ = lengths(call)
        (event,) = (each for each in engine.received if "truncate" in each["type"])

        assert event["audio_end_ms"] / 1000 == pytest.approx(greeting, abs=0.5)
        assert [each["type"] for each in engine.sent].count("conversation.item.truncated") == 1
        assert "error" not in [each["type"] for each in engine.sent]


async def test_a_transcript_says_what_was_interrupted() -> None:
    """Deepgram's bot answers each turn with what it was told."""
    callee = Callee(says=[Tone(0.5), Tone(0.5)])
    said = ("When do you open?", "And on Sundays?")
    async with called("deepgram_flux", callee, turns=3, replies=(0.4,), said=said) as (
        call,
        engine,
    ):
        assert isinstance(engine, FakeDeepgram)
        assert engine.texts == [
            "Bicycle shop, hello!",
            "You said: When do you open?",
            "You said: And on Sundays?",
        ]
        assert len(lengths(call)) == 3


@pytest.mark.parametrize("bot", BOTS)
@pytest.mark.parametrize("kind", ["close", "refuse"])
async def test_an_engine_that_fails(bot: str, kind: str) -> None:
    """If an engine is lost in the middle of a sentence, or refuses, the call's flow apologizes."""
    refuses = kind == "refuse"
    fault = Fault("close", after=0.5)
    options: dict[str, Any] = {"key": "wrong"} if refuses else {"fault": fault}
    logs = rf"(?s)(?!.*{options.get('key', KEY)})the stream handler {bot}\.talk failed on .*"
    async with called(bot, Callee(), logs=logs, replies=(3.0,), **options) as (call, engine):
        steps = [note.detail for note in call.timeline if note.what == "step"]

        assert steps == ["stream", "speak", "hangup"]
        assert engine.refused == refuses
        assert sum(lengths(call)) <= (0.0 if refuses else 0.5)


async def test_an_error_that_does_not_end_the_session() -> None:
    """After an error of OpenAI's the bot goes on with the next turn."""
    callee = Callee(says=[Tone(0.5)])
    fault = Fault("error")
    async with called("openai_realtime", callee, turns=1, replies=(1.0, 0.7), fault=fault) as (
        call,
        _,
    ):
        assert lengths(call) == [pytest.approx(0.7, abs=0.3)]

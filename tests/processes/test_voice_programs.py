"""Voice bots in docs/examples/voice as users start them: as processes, with real WebSockets."""

from __future__ import annotations

import re
import shutil
import wave
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from cli_campaign import wait_for
from consoles import serving
from example_programs import EXAMPLES, VOICE_PROGRAMS
from free_ports import free_port
from program_process import listens, served, started
from project_paths import docs_page
from voice_bots import sound

from telecmi_async.simulator import Callee, SimulatedCall, Simulator, Tone, Webhooks

TOKEN = "t" * 43
PERSON = 19170000001


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with the programs and their sounds."""
    for name in VOICE_PROGRAMS:
        shutil.copy(EXAMPLES / "voice" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    Path("sounds").mkdir()
    sounds = {"greeting": 3, "goodbye": 1, "message": 1, "sounds/question": 1, "sounds/wait": 1}
    for name, seconds in {**sounds, "sounds/goodbye": 1}.items():
        with wave.open(f"{name}.wav", "wb") as file:
            file.setparams((1, 2, 8_000, 0, "NONE", ""))
            file.writeframes(sound(seconds))


def test_each_program_is_started_here() -> None:
    """No program in the folder is left out of the tests in this one."""
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("*.py"))
    names = [Path(name).stem for name in VOICE_PROGRAMS]

    assert [name for name in names if not re.search(rf"\b{name}\b", tests)] == []


def test_the_bot_has_thirty_lines() -> None:
    """So its page says; imports, docstrings and blank lines do not count."""
    source = (EXAMPLES / "voice" / "bot.py").read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if line]

    assert len([line for line in lines if not re.match(r' *"""|import |from ', line)]) <= 30


def far_end(*says: Tone, talks_over_after: float | None = None) -> Simulator:
    """Return a simulator that connects streams, and whose callee answers at once."""
    callee = Callee(says=says, talks_over_after=talks_over_after, ring=0.1)
    return Simulator(streams="dial", callees={PERSON: callee})


def recorded(call: SimulatedCall) -> float:
    """Return the seconds of the one recording in the folder, which has both sides."""
    (path,) = Path().glob("tcm_*.wav")
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, call.heard.rate)
        return float(file.getnframes() / file.getframerate())


def steps_of(call: SimulatedCall) -> list[str]:
    """Return the actions that a call ran."""
    return [note.detail for note in call.timeline if note.what == "step"]


def test_a_bot() -> None:
    """It calls, is talked over, stops, and says its goodbye to the end."""
    simulator = far_end(Tone(1), talks_over_after=1)
    port = free_port()
    with serving(simulator) as environ:
        environ |= {
            "TELECMI_WEBHOOK_TOKEN": TOKEN,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
        }
        with served("bot:app", environ, port=port) as url:
            simulator.webhooks = Webhooks(f"{url}/telecmi/{TOKEN}")
            httpx.post(f"{url}/calls/{PERSON}").raise_for_status()
            (call,) = simulator.calls
            wait_for(lambda: call.over)

    (barge_in,) = call.heard.barge_ins
    assert barge_in.delay < 0.5
    assert 2.0 < call.heard.seconds < 2.8
    assert steps_of(call) == ["stream", "hangup"]
    assert call.heard.timeline[-1].what == "closed"


def test_a_bot_that_is_drained() -> None:
    """SIGTERM after the route that its page shows cuts no call; a new stream is refused."""
    page = docs_page("voice-bot-production.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    route = block[block.index("@app.get") :]
    program = Path("bot.py").read_text(encoding="utf-8")
    Path("drained.py").write_text(f"{program}\n\n{route}", encoding="utf-8")
    simulator = far_end(Tone(0.5), talks_over_after=2)
    port = free_port()
    with serving(simulator) as environ:
        environ |= {
            "TELECMI_WEBHOOK_TOKEN": TOKEN,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
        }
        with served("drained:app", environ, port=port) as url:
            httpx.post(f"{url}/calls/{PERSON}").raise_for_status()
            (call,) = simulator.calls
            wait_for(lambda: call.heard.seconds > 0.5)
            assert httpx.get(f"{url}/drain", timeout=30).json() == {"drained": True}
            httpx.post(f"{url}/calls/{PERSON + 1}").raise_for_status()
            (late,) = simulator.calls[1:]
            wait_for(lambda: late.over)

    assert call.heard.timeline[-1].what == "closed"
    assert 2.9 < call.heard.seconds < 3.8
    assert late.heard.seconds == 0
    assert "not_streamed" in [note.what for note in late.timeline]


@pytest.mark.anyio
@pytest.mark.real_clock
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize(
    ("says", "steps"),
    [(Tone(3), ["stream", "bridge"]), (Tone(1), ["stream", "hangup"])],
)
async def test_a_front_desk(says: Tone, steps: list[str]) -> None:
    """A caller with a question is connected to a person; both sides are recorded until then."""
    simulator = far_end(says)
    port = free_port()
    environ = {
        "TELECMI_SECRET": simulator.secret,
        "TELECMI_WEBHOOK_TOKEN": TOKEN,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
    }
    command = ("-m", "uvicorn", "front_desk:app", "--port", str(port), "--log-level", "warning")
    with started(*command, environ=environ):
        await anyio.to_thread.run_sync(wait_for, lambda: listens(port))
        simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/telecmi/{TOKEN}")
        async with simulator.running():
            call = simulator.call_in(from_=PERSON, to=19170000000)
            await anyio.to_thread.run_sync(wait_for, lambda: steps_of(call) == steps)

    assert recorded(call) == pytest.approx(call.heard.length, abs=0.5)


def test_a_call_from_a_script() -> None:
    """A script serves its call itself, and ends with it."""
    simulator = far_end(Tone(1))
    port = free_port()
    with serving(simulator) as environ:
        environ |= {"PUBLIC_URL": f"http://127.0.0.1:{port}", "PORT": str(port)}
        with started("call_once.py", str(PERSON), environ=environ) as process:
            printed, said = process.communicate(timeout=60)

    (call,) = simulator.calls
    assert (said, process.returncode) == ("", 0)
    assert printed == "message: 1.0 seconds\nanswered: True\n"
    assert recorded(call) == pytest.approx(6.0, abs=0.3)


def test_a_campaign_with_a_voice() -> None:
    """Each contact is called once, and has a stream of its own (voice_campaign)."""
    Path("contacts.csv").write_text("phone\n+12025550101\n+12025550102\n+12025550103\n")
    port = free_port()
    simulator = Simulator(streams="dial", ring=0.1, answered_share=1)
    simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/telecmi/{TOKEN}")
    with serving(simulator) as environ:
        environ |= {
            "TELECMI_WEBHOOK_TOKEN": TOKEN,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "PORT": str(port),
        }
        with started("voice_campaign.py", environ=environ) as process:
            printed, said = process.communicate(timeout=120)

    assert (said, process.returncode) == ("", 0)
    assert printed.count("heard 1.0 seconds") == 3
    assert "3 finished" in printed
    assert [call.heard.seconds for call in simulator.calls] == [1.0, 1.0, 1.0]

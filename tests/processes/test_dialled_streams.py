"""A user's bot and ``telecmi-async simulate --dial-streams``, each a process of its own."""

from __future__ import annotations

import io
import re
import shutil
import signal
import wave
from typing import TYPE_CHECKING

import httpx
import pytest
from cli_campaign import wait_for
from example_programs import EXAMPLES
from free_ports import free_port
from program_process import listens, served, started
from voice_bots import sound

from telecmi_async.cli import Exit

if TYPE_CHECKING:
    from pathlib import Path

# With this seed, the phone at this number is answered after 2 seconds.
PERSON, SEED = 19170000001, "117"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with the bot, its sounds, and what the callee says."""
    shutil.copy(EXAMPLES / "voice" / "bot.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, seconds in {"greeting": 3, "goodbye": 1, "question": 0.6}.items():
        with wave.open(f"{name}.wav", "wb") as file:
            file.setparams((1, 2, 8_000, 0, "NONE", ""))
            file.writeframes(sound(seconds))


def test_a_bot_is_called_talked_over_and_listened_to() -> None:
    """A call through the simulator's HTTP reaches the bot; its page has what both said."""
    port, bots = free_port(), free_port()
    page = f"http://127.0.0.1:{port}"
    options = ("--dial-streams", "--says", "question.wav", "--talks-over-after", "1")
    command = ("-m", "telecmi_async", "simulate", "--port", str(port), "--seed", SEED, *options)
    with started(*command, environ={}) as simulate:
        wait_for(lambda: simulate.poll() is not None or listens(port))
        assert simulate.stdout is not None
        lines = [simulate.stdout.readline() for _ in range(4)]
        environ = dict(re.findall(r"export (\w+)=(\S+)", "".join(lines)))
        environ |= {"TELECMI_WEBHOOK_TOKEN": "t" * 43, "PUBLIC_URL": f"http://127.0.0.1:{bots}"}
        with served("bot:app", environ, port=bots) as bot:
            placed = httpx.post(f"{bot}/calls/{PERSON}").raise_for_status().json()
            query = f"?id={placed['request_id']}"
            wait_for(lambda: "closed" in httpx.get(f"{page}/call{query}").text)
        shown = httpx.get(f"{page}/call{query}").text
        audio = httpx.get(f"{page}/talk.wav{query}").raise_for_status().content
        simulate.send_signal(signal.SIGINT)
        simulate.communicate(timeout=30)

    assert simulate.returncode == Exit.INTERRUPTED
    assert "hangup" in shown
    with wave.open(io.BytesIO(audio)) as file:
        frames = file.readframes(file.getnframes())
    callee = [frames[at : at + 2] for at in range(0, len(frames), 4)]
    bot_said = [frames[at : at + 2] for at in range(2, len(frames), 4)]
    assert sum(map(any, callee)) / 8_000 == pytest.approx(0.6, abs=0.1)
    # It stops its greeting of 3 seconds after 1, and says its goodbye of 1 second.
    assert 1.9 < sum(map(any, bot_said)) / 8_000 < 2.8

"""README's first program as a newcomer runs it, and what a killed loop does."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from consoles import serving
from project_paths import ROOT
from terminals import environment

from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text(encoding="utf-8")

# A loop over ten numbers that a power cut ends after the sixth.
LOOP = """
import os, signal, sys
{place}
for number in range(19175550101, 19175550111):
    place(number)
    if sys.argv[1] == "killed" and number == 19175550106:
        os.kill(os.getpid(), signal.SIGKILL)
"""
PLACE = {
    "httpx": """
import httpx
def place(to):
    httpx.post(
        os.environ["TELECMI_BASE_URL"] + "/global_pcmo_make_call",
        json={"appid": 2222226, "secret": os.environ["TELECMI_SECRET"], "from": 19170000000,
              "to": to, "pcmo": [{"action": "hangup"}]},
    ).raise_for_status()
""",
    "piopiy": """
from piopiy import RestClient
from piopiy.voice import pcmo_call
pcmo_call.glob_voice["host"] = os.environ["TELECMI_BASE_URL"].removesuffix("/v2")
client = RestClient(2222226, os.environ["TELECMI_SECRET"])
def place(to):
    client.voice.call(to, 19170000000, [{"action": "hangup"}])
""",
}


@pytest.mark.parametrize("client", PLACE)
def test_a_killed_loop_calls_everyone_again(client: str) -> None:
    """A loop without a ledger, started again after it was killed, dials numbers twice.

    What a campaign does then is in `test_example_programs.py`.
    """
    program = LOOP.format(place=PLACE[client])
    simulator = Simulator(magic=False)
    with serving(simulator) as environ:
        ends = [
            subprocess.run(
                [sys.executable, "-c", program, how], check=False, env=environment(environ)
            ).returncode
            for how in ("killed", "again")
        ]

    assert ends == [-signal.SIGKILL, 0]
    assert simulator.numbers() == 10
    assert simulator.duplicates() == 6
    assert README.count("a second run calls everyone again") == 2


def test_the_first_program_on_the_simulator(tmp_path: Path) -> None:
    """README's program and the commands below it, in one shell, place a call that is answered."""
    (program,) = re.findall(
        r"^```python\n(import asyncio\n.*?)^```$", README, re.MULTILINE | re.DOTALL
    )
    (console,) = re.findall(
        r"^```console\n(\$ \S*telecmi-async simulate.*?)^```$", README, re.MULTILINE | re.DOTALL
    )
    (tmp_path / "call.py").write_text(program)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    python = f"'{sys.executable}'"
    # The address is README's but for its port, which may be in use here.
    script = re.sub(r"^\$ ", "", console, flags=re.MULTILINE).replace("8787", port)
    script = script.replace(
        ".venv/bin/telecmi-async simulate &",
        f"{python} -m telecmi_async simulate --port {port} &\ntrap 'kill $!' EXIT\n"
        f"until (: < /dev/tcp/127.0.0.1/{port}) 2> /dev/null; do sleep 0.1; done",
    )

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(".venv/bin/python", python)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment({}),
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert "accepted: True\nanswered: True seconds: " in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr

"""Programs in docs/examples as users start them: as processes, with real sockets."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio.to_thread
import httpx
import pytest
from cli_campaign import wait_for
from consoles import serving
from example_programs import EXAMPLES, PROGRAMS, output_on_page
from free_ports import free_port
from program_process import listens, served, started
from project_paths import docs_page

from telecmi_async.simulator import Callee, Simulator, Webhooks

TOKEN = "t" * 43
CONTACTS = """name,phone
Ada,+1 202 555 0101
Grace,202-555-0102
Linus,
Alan,2.03E+10
Edsger,+1 202 555 0103
Ada again,+12025550101
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder with the programs in it."""
    for name in PROGRAMS:
        shutil.copy(EXAMPLES / name, tmp_path)
    monkeypatch.chdir(tmp_path)


def texts_of(page: str) -> list[str]:
    """Return the outputs that a page shows."""
    return re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_each_program_is_started_here() -> None:
    """No program in the folder is left out of this file."""
    source = Path(__file__).read_text(encoding="utf-8")

    assert [name for name in PROGRAMS if name.removesuffix(".py") not in source] == []


def test_the_first_call() -> None:
    """The first program runs by itself, without an account."""
    with started("first_call.py", environ={}) as process:
        printed, said = process.communicate(timeout=60)

    assert (said, process.returncode) == ("", 0)
    # Whole seconds of a clock that does not stand still.
    assert re.sub(r"[234] seconds", "3 seconds", printed) == output_on_page(
        "first-call.md", "first_call.py"
    )


def test_bulk_calls() -> None:
    """Each row is in the results: called once, or with the reason why not."""
    Path("contacts.csv").write_text(CONTACTS)
    simulator = Simulator(seed=7)
    with (
        serving(simulator) as environ,
        started("bulk_calls.py", environ=environ) as process,
    ):
        printed, said = process.communicate(timeout=60)
    with Path("results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert (printed, said, process.returncode) == ("", "", 0)
    assert {row["number"] for row in rows if row["status"] == "progress"} == {
        "12025550101", "12025550102", "12025550103",
    }  # fmt: skip
    assert {row["number"]: row["status"] for row in rows if row["status"] == "rejected"} == {
        "row 4": "rejected", "row 5": "rejected", "row 7": "rejected",
    }  # fmt: skip
    assert all(row["detail"] for row in rows)
    assert simulator.numbers() == simulator.requests == 3


def test_bulk_calls_that_are_interrupted() -> None:
    """After Ctrl-C each number that was dialled is in the results."""
    lines = [f"Ann,+1 202 555 01{n:02}" for n in range(60)]
    Path("contacts.csv").write_text("\n".join(["name,phone", *lines]))
    simulator = Simulator(latency=1.0)
    with (
        serving(simulator) as environ,
        started("bulk_calls.py", environ=environ) as process,
    ):
        wait_for(lambda: simulator.requests >= 6)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    with Path("results.csv").open(newline="") as file:
        rows = {row["number"] for row in csv.DictReader(file) if row["status"] == "progress"}

    assert said.rstrip().endswith("KeyboardInterrupt")
    assert rows == {str(call.to) for call in simulator.calls}
    assert 6 <= len(rows) < 60


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_campaign_that_is_stopped_and_started_again(how: signal.Signals) -> None:
    """A campaign goes on after its process was killed or stopped; no number is dialled twice."""
    port = free_port()
    page = docs_page("first-campaign.md").read_text(encoding="utf-8")
    (contacts,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(contacts, {})
    simulator = Simulator(
        latency=(0.1, 0.3),
        speed=60,  # a record comes for the last time after half a minute, when the program is back
        magic=False,
        webhooks=f"http://127.0.0.1:{port}/telecmi/{TOKEN}",
    )
    with serving(simulator) as environ:
        environ |= {"TELECMI_WEBHOOK_TOKEN": TOKEN, "PORT": str(port)}
        with started("campaign_worker.py", environ=environ) as process:
            wait_for(lambda: simulator.requests >= 8)
            process.send_signal(how)
            process.communicate(timeout=60)
        first = simulator.requests
        # A minute later what it had claimed is free.
        with closing(sqlite3.connect("campaigns.db", isolation_level=None)) as ledger:
            ledger.execute("UPDATE contact SET lease_until = 0 WHERE state = 'claimed'")
        with started("campaign_worker.py", environ=environ) as process:
            printed, said = process.communicate(timeout=120)

    assert 8 <= first < 40
    assert (said, process.returncode) == ("", 0)
    # The lines between are drawn over each other on a terminal.
    loaded, *_, end = (line.removesuffix("\x1b[K") for line in printed.splitlines())
    assert f"{loaded}\n{end}\n" == texts_of(page)[1]
    assert simulator.numbers() == simulator.requests == 40


def test_a_fastapi_backend() -> None:
    """A click places one call, webhooks arrive, and the route knows how it went."""
    simulator = Simulator(seed=7, speed=100)
    with serving(simulator) as environ:
        environ |= {"TELECMI_WEBHOOK_TOKEN": TOKEN}
        with (
            served(
                "fastapi_backend:app", environ, logs=r"call \S+ to •+9940: unknown.*\n"
            ) as url,
            httpx.Client(base_url=url) as browser,
        ):
            simulator.webhooks = Webhooks(f"{url}/telecmi/{TOKEN}")
            placed = browser.post("/calls", json={"to": "+1 917 000 0001"})
            how = browser.get(f"/calls/{placed.json()['request_id']}", timeout=30)
            wrong = browser.post("/calls", json={"to": "12"})
            refused = browser.post("/calls", json={"to": "19170009932"})
            lost = browser.post("/calls", json={"to": "19170009940"})

    assert placed.status_code == 202
    shown = docs_page("first-webhook.md").read_text(encoding="utf-8")
    known = how.json()
    assert known.pop("talk") in {2, 3, 4}  # whole seconds of a clock that does not stand still
    assert known == {"stage": "completed", "answered": True}
    assert json.loads(texts_of(shown)[0]) == {**known, "talk": 3}
    assert [reply.status_code for reply in (wrong, refused, lost)] == [422, 503, 504]
    assert simulator.placed(19170000001) == 1


def test_one_click_is_one_call() -> None:
    """Clicks that are repeated, also after a restart, get the id of the same call; one rate holds."""
    simulator = Simulator(seed=7, speed=100)
    replies = []
    with serving(simulator) as environ:
        environ |= {"TELECMI_WEBHOOK_TOKEN": TOKEN, "CALLS_LEDGER": "calls.db"}
        environ |= {"CALLS_PER_SECOND": "0.5"}
        for _ in range(2):
            with served("one_click_one_call:app", environ) as url:
                simulator.webhooks = Webhooks(f"{url}/telecmi/{TOKEN}")
                for order in ("42", "42", "43"):
                    path = f"{url}/orders/{order}/call?to=191720000{order}"
                    replies.append(httpx.post(path).raise_for_status().json()["request_id"])

    first, again, other, *after_restart = replies
    assert first == again != other
    assert after_restart == [first, first, other]
    assert simulator.requests == simulator.numbers() == 2
    assert simulator.calls[1].at - simulator.calls[0].at > 1.9


@pytest.mark.anyio
@pytest.mark.real_clock
@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        (["1", "4711"], ["speak", "input", "speak", "input", "speak", "hangup"]),
        (["1", "0", "0", "0"], 4 * ["speak", "input"] + ["speak", "hangup"]),
        (["0"], ["speak", "input", "speak", "bridge", "hangup"]),
        (["9"], ["speak", "input", "speak", "hangup"]),
    ],
)
async def test_a_menu(keys: list[str], steps: list[str]) -> None:
    """A caller gets through the menu, to an order, to an agent or to the goodbye."""
    simulator = Simulator(seed=7, speed=20, callees={12025550101: Callee(digits=keys)})
    port = free_port()
    environ = {
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TELECMI_WEBHOOK_TOKEN": TOKEN,
        "TELECMI_SECRET": simulator.secret,
    }
    command = ("-m", "uvicorn", "ivr:app", "--port", str(port), "--log-level", "warning")
    with started(*command, environ=environ):
        await anyio.to_thread.run_sync(wait_for, lambda: listens(port))
        simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/telecmi/{TOKEN}")
        async with simulator.running():
            call = simulator.call_in(from_=12025550101, to=19170000000)
            await anyio.to_thread.run_sync(wait_for, lambda: call.over)

    assert [note.detail for note in call.timeline if note.what == "step"] == steps

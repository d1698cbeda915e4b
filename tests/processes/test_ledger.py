"""Several processes on one ledger: no contact is sent twice, even if a process is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from ledgers import LEASE, begin, counted, open_sqlite
from project_paths import SUPPORT

from telecmi_async.ledger import ContactState, Move

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

S = ContactState
SCRIPT = SUPPORT / "ledger_worker.py"


@pytest.fixture
def start(anyio_backend_name: str, tmp_path: Path) -> Callable[[str], subprocess.Popen[str]]:
    """Starts a worker process on the test's ledger."""
    command = [sys.executable, "-W", "error", str(SCRIPT), anyio_backend_name, str(tmp_path)]
    # The script imports the tests' own modules, and the package as this process does.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), *sys.path])}
    return lambda name: subprocess.Popen(
        [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )


def said(word: str, lines: list[str]) -> list[tuple[int, str]]:
    """Return the numbers and tokens of a process's lines that begin with a word."""
    spoken = [line.split() for line in lines if line.startswith(word + " ")]
    return [(int(number), token) for _, number, token in spoken]


def read(process: subprocess.Popen[str], count: int) -> list[str]:
    """Return the next lines of a process."""
    assert process.stdout is not None
    return [process.stdout.readline().rstrip() for _ in range(count)]


def tell(process: subprocess.Popen[str]) -> None:
    """Let a process begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def go_on(process: subprocess.Popen[str]) -> list[str]:
    """Let a process begin, and return all its lines."""
    return process.communicate("go\n", 60)[0].splitlines()


async def test_no_contact_is_sent_by_two_processes(
    tmp_path: Path,
    start: Callable[[str], subprocess.Popen[str]],
) -> None:
    """Two processes work until nothing is left, and each contact is sent once."""
    async with open_sqlite(tmp_path, time.time) as ledger:
        numbers = await begin(ledger, 400)
        processes = [start(name) for name in ("a", "b")]
        for process in processes:
            await anyio.to_thread.run_sync(read, process, 1)
        outputs: list[list[str]] = [[], []]

        async def finish(number: int) -> None:
            outputs[number] += await anyio.to_thread.run_sync(go_on, processes[number])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(finish, 0)
            tasks.start_soon(finish, 1)
        state = await counted(ledger)
    sent = [said("sent", lines) for lines in outputs]

    assert [lines[-1] for lines in outputs] == ["done", "done"]
    assert all(sent), "one of them had nothing to do"
    assert Counter(number for each in sent for number, _ in each) == Counter(numbers)
    assert state == {"placed": 400}


@pytest.mark.parametrize("after", [1, 60, 131])
async def test_a_process_that_is_killed_leaves_nothing_half_done(
    tmp_path: Path,
    start: Callable[[str], subprocess.Popen[str]],
    after: int,
) -> None:
    """A killed process leaves each transaction committed as a whole, or not at all.

    It is killed while ten tasks commit together. Then another process finishes the rest, and
    contacts in state sending become unknown.
    """
    async with open_sqlite(tmp_path, time.time) as ledger:
        await begin(ledger, 300)
    process = start("killed")
    lines = read(process, 1)
    tell(process)
    lines += read(process, after)
    process.kill()
    lines += process.communicate()[0].splitlines()
    placed = dict(said("placed", lines))
    sent = dict(said("sent", lines))

    def later() -> float:
        return time.time() + LEASE

    async with open_sqlite(tmp_path, later) as ledger:
        found = {contact.number: contact async for contact in ledger.contacts("spring")}
        state = await ledger.state("spring")
        histories = {number: (await ledger.find("spring", number)) for number in found}
        await ledger.reap("spring")
        rest = await counted(ledger)
        second = await anyio.to_thread.run_sync(go_on, start("second"))
        end = await counted(ledger)

    assert lines[-1] != "done", "it was over before it could be killed"
    assert state.total == sum(state.counts.values()) == 300
    for number, contact in found.items():
        full = histories[number]
        assert full is not None
        intents = [p.token for p in full.history if p.what == Move.INTEND]
        assert len(intents) == contact.sends == (contact.state in {S.SENDING, S.PLACED})
        assert [p.token for p in full.history if p.what == Move.ACCEPT] == (
            intents if contact.state is S.PLACED else []
        )
        assert sent.get(number) in {None, *intents}
        assert number not in placed or contact.state is S.PLACED
    assert state.sends == state.counts[S.SENDING] + state.counts[S.PLACED]
    assert rest.get("unknown", 0) == state.counts[S.SENDING]
    assert second[-1] == "done"
    assert end.get("unknown", 0) == rest.get("unknown", 0)
    assert end["placed"] == 300 - end.get("unknown", 0)


#: What is done to the files of a ledger under a running process.
HARMS: dict[str, Callable[[Path, bytes], object]] = {
    "index removed": lambda path, _: Path(f"{path}-shm").unlink(),
    "log removed": lambda path, _: Path(f"{path}-wal").unlink(),
    "log and index removed": lambda path, _: remove_both(path),
    "index replaced": lambda path, _: replace(Path(f"{path}-shm")),
    "log removed and put back": lambda path, _: replace(Path(f"{path}-wal")),
    "file replaced by a copy": lambda path, _: replace(path),
    "older copy over the file": lambda path, older: path.write_bytes(older),
    "moved away and back": lambda path, _: path.rename(path.with_name("x")).rename(path),
    "linked": lambda path, _: path.with_name("link.db").hardlink_to(path),
}


#: After these a second process begins when the first one has ended.
WAITED_FOR = ("index removed", "log removed", "log and index removed")


def remove_both(path: Path) -> None:
    """Remove what looks like leftovers."""
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()


def replace(path: Path) -> None:
    """Replace a file by a copy of itself."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


@pytest.mark.parametrize("harm", HARMS)
async def test_files_that_are_meddled_with_have_no_contact_sent_twice(
    tmp_path: Path, start: Callable[[str], subprocess.Popen[str]], harm: str
) -> None:
    """Whatever becomes of a file while a process runs and a second one starts, none is sent twice."""
    path = tmp_path / "ledger.db"
    async with open_sqlite(tmp_path, time.time) as ledger:
        numbers = await begin(ledger, 1200)
    older = await anyio.Path(path).read_bytes()
    first = start("first")
    lines = read(first, 1)
    tell(first)
    lines += read(first, 120)  # it fills the pipe, and waits
    HARMS[harm](path, older)
    second = start("second")
    if harm in WAITED_FOR:
        await anyio.sleep(0.5)  # else the first could end before it begins to wait
        assert second.poll() is None
        lines += (await anyio.to_thread.run_sync(first.communicate))[0].splitlines()
    more = await anyio.to_thread.run_sync(go_on, second)
    if harm not in WAITED_FOR:
        lines += (await anyio.to_thread.run_sync(first.communicate))[0].splitlines()
    sent = Counter(number for number, _ in said("sent", lines) + said("sent", more))

    assert set(sent.values()) == {1}
    assert set(sent) <= set(numbers)
    if harm in WAITED_FOR:
        assert more[-1] == "done"
        assert len(sent) > 1150  # the first one had claimed a few more
    if harm in {"linked", "moved away and back"}:
        assert [lines[-1], *more[-1:]] == (["done"] if harm == "linked" else ["done", "done"])
    elif harm != "older copy over the file":  # the log may have all that was written since
        assert lines[-1] != "done", "the first process has noticed nothing"

"""Crash test: kills workers of a campaign at random, and counts numbers dialled twice.

A simulator in its own process logs each call before it answers, loses replies
and refuses calls. Workers run a campaign on a ledger, and are killed by SIGKILL, or stopped
by SIGSTOP for longer than their leases. When enough were, the campaign is finished, and
the simulator's log is compared with the ledger.

    python tests/support/crash.py --kills 200 [--postgres] [--workers 3] [--stops 10]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import anyio
from attrs import define, evolve, field
from crash_worker import FIRST, PATIENCE, TOKEN, open_ledger

from telecmi_async.ledger import ContactState

if TYPE_CHECKING:
    from collections.abc import Generator

    from telecmi_async.ledger import Contact

HERE = Path(__file__).parent
FAULTS = {
    "reply_lost": 0.03,
    "reset_placed": 0.02,
    "gateway_502_placed": 0.02,
    "gateway_502": 0.02,
    "vendor_502": 0.05,
    "rate_limited": 0.02,
}
#: Longer than the leases of a claim and of a send.
FROZEN = max(PATIENCE.claim, PATIENCE.send) + 1.0
# A worker that takes longer counts as hanging.
_LONGEST = 240.0
_REACHED = {ContactState.PLACED, ContactState.FINISHED, ContactState.UNKNOWN}
_OPEN = {ContactState.PENDING, ContactState.CLAIMED, ContactState.SENDING}


@define
class Tally:
    """The result.

    Args:
        campaigns: How many campaigns were run.
        kills: How many workers were killed.
        stops: How many workers were stopped for longer than their leases.
        dialled: How many numbers the simulator dialled.
        twice: How many of them it dialled more than once.
        forgotten: How many contacts have no final state in the end.
        wrong: How many dialled contacts have another state in the ledger.
        without_intent: How many sends have no intent in the ledger.
        unknown: How many contacts are unknown in the end.
        unknown_dialled: How many of the unknown contacts were dialled.
        lost: How many sends were left behind by a killed worker.
        found: How many of those were resolved by their events.
    """

    campaigns: int = 0
    kills: int = 0
    stops: int = 0
    dialled: int = 0
    twice: int = 0
    forgotten: int = 0
    wrong: int = 0
    without_intent: int = 0
    unknown: int = 0
    unknown_dialled: int = 0
    lost: int = 0
    found: int = 0

    def add(self, other: Tally) -> None:
        """Add another's figures."""
        for name in Tally.__annotations__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@define(eq=False)
class Plan:
    """One campaign and its disturbances.

    Args:
        folder: The folder of its files.
        ledger: Its ledger's path or address.
        seed: The seed of the random choices.
        kills: How many workers are killed.
        stops: How many are stopped for longer than their leases.
        workers: How many workers run at a time.
        contacts: How many contacts there are.
        rate: Calls per second.
        pause: Seconds between two disturbances, or the shortest and the longest.
    """

    folder: Path
    ledger: str
    seed: int = 0
    kills: int = 0
    stops: int = 0
    workers: int = 1
    contacts: int = 200
    rate: float = 40.0
    pause: tuple[float, float] = (0.0, 0.8)
    backends: Sequence[str] = ("asyncio", "trio")
    _chance: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    @property
    def log(self) -> Path:
        """The file with what the simulator dialled."""
        return self.folder / "dialled"

    def run(self) -> Tally:
        """Run the campaign, disturb it, finish it, and compare."""
        port = free_port()
        webhooks = f"http://127.0.0.1:{port}/telecmi/{TOKEN}"
        with simulator(self, webhooks) as base_url, contextlib.ExitStack() as stack:
            work = Work(self, base_url, port, stack)
            tally = Tally(campaigns=1)
            workers = [work.start() for _ in range(self.workers)]
            todo = ["kill"] * self.kills + ["stop"] * self.stops
            self._chance.shuffle(todo)
            for what in todo:
                place = self._chance.randrange(self.workers)
                time.sleep(self._chance.uniform(*self.pause))
                if workers[place].poll() is not None:
                    break  # it has finished
                if what == "kill":
                    workers[place].kill()
                    workers[place].wait()
                    tally.kills += 1
                    anyio.run(self.conserved)
                    workers[place] = work.start()
                else:
                    workers[place].send_signal(signal.SIGSTOP)
                    time.sleep(FROZEN)
                    workers[place].send_signal(signal.SIGCONT)
                    tally.stops += 1
            for worker in workers:
                try:
                    said, _ = worker.communicate(timeout=_LONGEST)
                except subprocess.TimeoutExpired:
                    worker.send_signal(signal.SIGUSR1)  # it prints its stack
                    time.sleep(1.0)
                    raise AssertionError(f"a worker hangs:\n{work.errors()}") from None
                assert worker.returncode == 0, said
        anyio.run(self.conserved)
        anyio.run(self.compare, tally)
        return tally

    async def conserved(self) -> list[Contact]:
        """Check that all contacts exist, each in one state; return them."""
        async with open_ledger(self.ledger) as ledger:
            state = await ledger.state("crash")
            contacts = [contact async for contact in ledger.contacts("crash")]
        counted = Counter(contact.state for contact in contacts)
        assert len({contact.number for contact in contacts}) == self.contacts
        # A running worker may move some while they are counted.
        assert state.total == sum(counted.values()) == self.contacts
        return contacts

    async def compare(self, tally: Tally) -> None:
        """Compare the simulator's log with the ledger."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        dialled = Counter(int(number) for number, _ in lines)
        references = {reference for _, reference in lines}
        async with open_ledger(self.ledger) as ledger:
            for number in range(FIRST, FIRST + self.contacts):
                contact = await ledger.find("crash", number)
                assert contact is not None
                tokens = {p.token for p in contact.history if p.what == "intend"}
                references -= tokens
                lost = [p for p in contact.history if "is gone" in p.detail]
                tally.lost += len(lost)
                tally.found += bool(lost) and contact.state is not ContactState.UNKNOWN
                tally.unknown += contact.state is ContactState.UNKNOWN
                tally.unknown_dialled += (
                    number in dialled and contact.state is ContactState.UNKNOWN
                )
                tally.forgotten += contact.state in _OPEN
                tally.wrong += number in dialled and contact.state not in _REACHED
        tally.dialled += len(dialled)
        tally.twice += sum(count > 1 for count in dialled.values())
        tally.without_intent += len(references)


@define(eq=False)
class Work:
    """Starts workers."""

    plan: Plan
    base_url: str
    port: int
    stack: contextlib.ExitStack
    _started: int = 0

    def errors(self) -> str:
        """Return the error output of all workers."""
        files = sorted(self.plan.folder.glob("worker*"))
        return "\n".join(f"-- {file.name}\n{file.read_text()}" for file in files)

    def start(self) -> subprocess.Popen[str]:
        """Start a worker, and wait until it dials."""
        backends = self.plan.backends
        order = {
            "ledger": self.plan.ledger,
            "base_url": self.base_url,
            "port": self.port,
            "rate": self.plan.rate,
            "contacts": self.plan.contacts,
            "backend": backends[self._started % len(backends)],
        }
        errors = (self.plan.folder / f"worker{self._started}").open("w")
        self._started += 1
        process = self.stack.enter_context(child("crash_worker.py", order, errors))
        assert process.stdout is not None
        said = process.stdout.readline()
        if said != "dialling\n":
            process.wait()
            raise AssertionError(f"a worker did not begin:\n{self.errors()}")
        return process


@contextmanager
def child(
    script: str, order: dict[str, Any], errors: IO[str]
) -> Generator[subprocess.Popen[str]]:
    """Run a script of this folder, and kill it at the end."""
    with (
        errors,
        subprocess.Popen(
            [sys.executable, str(HERE / script), json.dumps(order)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def simulator(plan: Plan, webhooks: str) -> Generator[str]:
    """Run the simulator, and yield its base URL."""
    order = {
        "seed": plan.seed, "log": str(plan.log), "webhooks": webhooks, "faults": FAULTS,
    }  # fmt: skip
    errors = (plan.folder / "simulator").open("w")
    with child("crash_simulator.py", order, errors) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def main() -> None:
    """Run campaigns until enough workers were killed and stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--stops", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--postgres", action="store_true")
    options = parser.parse_args()
    total, began = Tally(), time.monotonic()
    with contextlib.ExitStack() as stack:
        server: Any = None
        if options.postgres:
            from pg_server import PgServer  # noqa: PLC0415  # an extra of the tests

            server = stack.enter_context(PgServer())
        while total.kills < options.kills or total.stops < options.stops:
            seed = options.seed + total.campaigns
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            plan = Plan(
                folder,
                str(folder / "ledger.db"),
                seed=seed,
                kills=min(10 * options.workers, options.kills - total.kills),
                stops=min(2, options.stops - total.stops),
                workers=options.workers,
            )
            if server is not None:
                plan = evolve(
                    plan, ledger=server.database(f"crash{seed}"), backends=("asyncio",)
                )
            total.add(plan.run())
            sys.stdout.write(f"{time.monotonic() - began:.0f} s: {total}\n")
            sys.stdout.flush()
    bad = total.twice or total.forgotten or total.wrong or total.without_intent
    sys.exit("not what was promised" if bad else None)


if __name__ == "__main__":
    main()

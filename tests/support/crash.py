"""Crash test: kills workers of a campaign at random, and counts numbers dialled twice.

A simulator in its own process logs each call before it answers, loses replies
and refuses calls. Workers run a campaign on a ledger, and are killed by SIGKILL, or stopped
by SIGSTOP for longer than their leases. When enough were, the campaign is finished, and
the simulator's log is compared with the ledger. With ``--harm`` the ledger suffers as well:
see `crash_harms`.

    python tests/support/crash.py --kills 200 [--postgres] [--workers 3] [--stops 10]
    python tests/support/crash.py --kills 20 --harm=shm --harms 20
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import anyio
from attrs import define, evolve, field
from crash_harms import HARMS, LOSING, ONCE, SERVED, UNREAD, Harms
from crash_worker import AWAY, FIRST, LOST, PATIENCE, REFUSED, TOKEN, open_ledger

from telecmi_async.errors import LedgerLost
from telecmi_async.ledger import ContactState

if TYPE_CHECKING:
    from collections.abc import Generator

    from telecmi_async.ledger import Contact

    Process: TypeAlias = subprocess.Popen[str]

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
        harms: How often the ledger was harmed.
        ended: How many workers ended because their ledger was lost.
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
    harms: int = 0
    ended: int = 0
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
        harm: What becomes of the ledger, a key of `HARMS`.
        harms: How often.
        server: The PostgreSQL server of the ledger.
        pooler: The pooler in front of it.
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
    harm: str = ""
    harms: int = 0
    server: Any = None
    pooler: Any = None
    _chance: random.Random = field(init=False)
    _harm: Harms = field(init=False)
    #: The numbers that were called before an older copy was written over the ledger.
    called: Sequence[int] = field(init=False, default=())
    _excused: set[str] = field(init=False, factory=set[str])

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._harm = Harms(
            self.harm,
            self._chance,
            self.folder,
            Path(self.ledger),
            server=self.server,
            pooler=self.pooler,
        )

    @property
    def log(self) -> Path:
        """The file with what the simulator dialled."""
        return self.folder / "dialled"

    @property
    def package(self) -> Path | None:
        """The folder of the version that new workers have."""
        return self._harm.package

    @property
    def is_second(self) -> bool:
        return self.ledger.endswith("second.db")

    def run(self) -> Tally:
        """Run the campaign, disturb it, finish it, and compare."""
        with contextlib.ExitStack() as stack:
            port = stack.enter_context(reserved_port())
            webhooks = f"http://127.0.0.1:{port}/telecmi/{TOKEN}"
            base_url = stack.enter_context(simulator(self, webhooks))
            work = Work(self, base_url, port, stack)
            tally = Tally(campaigns=1)
            workers = [work.start() for _ in range(self.workers)]
            halves = 2 if self.harm == "copy" else 1  # a backup is made first
            todo = ["kill"] * self.kills + ["stop"] * self.stops
            todo += ["harm"] * self.harms * halves
            self._chance.shuffle(todo)
            for what in todo:
                place = self._chance.randrange(self.workers)
                time.sleep(self._chance.uniform(*self.pause))
                if workers[place].poll() is not None:
                    break  # it has finished
                if what == "kill":
                    self._kill(workers, place, work)
                    tally.kills += 1
                elif what == "stop":
                    workers[place].send_signal(signal.SIGSTOP)
                    time.sleep(FROZEN)
                    workers[place].send_signal(signal.SIGCONT)
                    tally.stops += 1
                elif self._harm.strike():
                    tally.harms += 1
                    if self.harm in LOSING:
                        self._succeed(workers, work, tally)
                    elif self.harm == "versions":
                        self._upgrade(workers, work, tally)
            while self._lost(workers, work, tally) and self.harm == "copy":
                self._recover()  # it was found out late
                workers[:] = [work.start() for _ in workers]
        if self._harm.package is not None:
            self._step_back()
        anyio.run(self.conserved)
        anyio.run(self.compare, tally)
        return tally

    def _lost(self, workers: Sequence[Process], work: Work, tally: Tally) -> bool:
        """Wait for workers to end; return whether any of them has lost its ledger."""
        for worker in workers:
            work.ended(worker)
        codes = Counter(worker.returncode for worker in workers)
        tally.ended += codes[LOST]
        may_be_lost = self.harm in {*LOSING, "versions"}
        assert set(codes) <= ({0, LOST} if may_be_lost else {0}), work.errors()
        return codes[LOST] > 0

    def _kill(self, workers: list[Process], place: int, work: Work) -> None:
        """Kill a worker, and start another one."""
        workers[place].kill()
        workers[place].wait()
        if self.harm not in UNREAD:
            anyio.run(self.conserved)
        workers[place] = work.start()

    def _succeed(self, workers: list[Process], work: Work, tally: Tally) -> None:
        """Start a worker at once after a harm that ends the others, and replace those."""
        ending = [*workers]
        successor = work.start(refused=True)
        workers[:] = [successor]
        if self.harm == "copy":
            time.sleep(FROZEN)  # each worker reads the ledger every second
            ending.append(successor)
            if all(worker.poll() is None for worker in ending):
                workers[:] = ending  # the copy lacked nothing that is not in the log as well
                return
            workers[:] = []
        self._lost(ending, work, tally)
        if self.harm == "copy":
            self._recover()
        while len(workers) < self.workers:
            workers.append(work.start(refused=self.harm == "copy"))
            if workers[-1].returncode == LOST:  # the file that was resumed is damaged elsewhere
                self._lost(workers, work, tally)
                self._recover()
                workers.clear()

    def _upgrade(self, workers: list[Process], work: Work, tally: Tally) -> None:
        """Start a worker of the newer version beside the others, and none of theirs any more."""
        workers.append(work.start())
        package, self._harm.package = self._harm.package, None
        older = work.start(refused=True)
        assert older.returncode == REFUSED
        self._harm.package = package
        time.sleep(FROZEN)
        for place, worker in enumerate(workers):
            if worker.poll() == LOST:
                tally.ended += 1
                workers[place] = work.start()

    def _step_back(self) -> None:
        """Let this process, which is of the older version, read the ledger."""
        if self.server is not None:
            with self.server.client(self.ledger.rpartition("/")[2]) as client:
                client.execute(
                    "DELETE FROM telecmi.migration WHERE version = (SELECT max(version) FROM telecmi.migration)"
                )
        else:
            with contextlib.closing(sqlite3.connect(self.ledger)) as db:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                db.execute(f"PRAGMA user_version = {version - 1}")

    def _recover(self) -> None:
        """Go on after an older copy was written over the file, as the page on campaigns says."""
        self.called = sorted(self.dialled())
        self._excused = {reference for _, reference in self._requests()}
        if self._chance.random() < 0.5:
            with contextlib.suppress(LedgerLost):  # there may be pages of two files in it
                anyio.run(self._forbid)
                return
        self.ledger = str(self.folder / "second.db")

    async def _forbid(self) -> None:
        """Put the numbers that were called on the do-not-call list, and resume the campaign."""
        async with open_ledger(self.ledger) as ledger:
            await ledger.add_do_not_call(self.called, "call records")
            await ledger.set_status("crash", "running")

    def dialled(self) -> Counter[int]:
        """Return how often the simulator dialled each number."""
        return Counter(number for number, _ in self._requests())

    def _requests(self) -> list[tuple[int, str]]:
        """Return the number and the reference of each call that was placed."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [(int(number), reference) for number, reference in lines]

    async def conserved(self) -> list[Contact]:
        """Check that all contacts exist, each in one state; return them."""
        async with open_ledger(self.ledger) as ledger:
            state = await ledger.state("crash")
            contacts = [contact async for contact in ledger.contacts("crash")]
        counted = Counter(contact.state for contact in contacts)
        missing = len(self.called) if self.is_second else 0
        assert len({contact.number for contact in contacts}) == self.contacts - missing
        # A running worker may move some while they are counted.
        assert state.total == sum(counted.values()) == self.contacts - missing
        return contacts

    async def compare(self, tally: Tally) -> None:
        """Compare the simulator's log with the ledger."""
        dialled = self.dialled()
        references = {reference for _, reference in self._requests()} - self._excused
        async with open_ledger(self.ledger) as ledger:
            for number in range(FIRST, FIRST + self.contacts):
                contact = await ledger.find("crash", number)
                if contact is None:  # it was left out, or it is forgotten
                    tally.forgotten += number not in self.called
                    continue
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
                tally.wrong += (
                    number in dialled
                    and contact.state not in _REACHED
                    and (number not in self.called or contact.state is not ContactState.BLOCKED)
                )
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

    def ended(self, worker: Process) -> str:
        """Wait until a worker has ended, and return what it printed."""
        try:
            said, _ = worker.communicate(timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            worker.send_signal(signal.SIGUSR1)  # it prints its stack
            time.sleep(1.0)
            raise AssertionError(f"a worker hangs:\n{self.errors()}") from None
        return said

    def start(self, *, refused: bool = False, again: int = 20) -> Process:
        """Start a worker, and wait until it dials, or until its ledger is refused.

        One that cannot open its ledger now is started ``again``, as by a supervisor of processes.
        """
        backends = self.plan.backends
        order = {
            "ledger": self.plan.ledger,
            "base_url": self.base_url,
            "port": self.port,
            "rate": self.plan.rate,
            "contacts": self.plan.contacts,
            "without": [*self.plan.called] if self.plan.is_second else [],
            "backend": backends[self._started % len(backends)],
        }
        errors = (self.plan.folder / f"worker{self._started}").open("w")
        self._started += 1
        process = self.stack.enter_context(
            child("crash_worker.py", order, errors, package=self.plan.package)
        )
        assert process.stdout is not None
        said = process.stdout.readline()
        if said != "dialling\n":
            if refused and process.wait() in {LOST, REFUSED}:
                return process
            if process.wait() == AWAY and again:
                time.sleep(0.5)
                return self.start(refused=refused, again=again - 1)
            raise AssertionError(f"a worker did not begin:\n{self.errors()}")
        return process


@contextmanager
def child(
    script: str, order: dict[str, Any], errors: IO[str], *, package: Path | None = None
) -> Generator[Process]:
    """Run a script of this folder, and kill it at the end.

    ``package`` is the folder of the version to import, if it is not that of this process.
    """
    env = os.environ | ({} if package is None else {"PYTHONPATH": str(package)})
    with (
        errors,
        subprocess.Popen(
            [sys.executable, str(HERE / script), json.dumps(order)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=env,
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


@contextmanager
def reserved_port() -> Generator[int]:
    """Yield a port that workers may listen on, and that no other socket takes meanwhile."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        yield port


def main() -> None:
    """Run campaigns until enough workers were killed and stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--stops", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--contacts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--harm", choices=HARMS, default="")
    parser.add_argument("--harms", type=int, default=0)
    parser.add_argument("--folder", help="of SQLite ledgers: a small file system, for example")
    options = parser.parse_args()
    total, began = Tally(), time.monotonic()
    with contextlib.ExitStack() as stack:
        server: Any = None
        pooler: Any = None
        if options.postgres or options.harm in SERVED:
            from pg_server import PgServer  # noqa: PLC0415  # an extra of the tests

            server = stack.enter_context(PgServer())
        if options.harm == "pooler":
            from pg_bouncer import PgBouncer  # noqa: PLC0415  # as above

            pooler = stack.enter_context(PgBouncer(server))
        while (
            total.kills < options.kills
            or total.stops < options.stops
            or total.harms < options.harms
        ):
            seed = options.seed + total.campaigns
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            plan = Plan(
                folder,
                str(Path(options.folder or folder) / f"ledger{seed}.db"),
                seed=seed,
                kills=max(0, min(10 * options.workers, options.kills - total.kills)),
                stops=max(0, min(2, options.stops - total.stops)),
                workers=options.workers,
                contacts=options.contacts,
                # A backup is older than what it is written over.
                pause=(0.0, 3.0 if options.harm == "copy" else 0.8),
                harm=options.harm,
                harms=min(1 if options.harm in ONCE else 3, options.harms - total.harms),
                server=server,
                pooler=pooler,
            )
            if server is not None:
                address = server.database(f"crash{seed}")
                if pooler is not None:
                    address = pooler.url(f"crash{seed}")
                plan = evolve(plan, ledger=address, backends=("asyncio",))
            total.add(plan.run())
            sys.stdout.write(f"{time.monotonic() - began:.0f} s: {total}\n")
            sys.stdout.flush()
    bad = total.twice or total.forgotten or total.wrong or total.without_intent
    sys.exit("not what was promised" if bad else None)


if __name__ == "__main__":
    main()

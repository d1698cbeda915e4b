"""Campaign workers that are killed or frozen at a given point.

`tests/processes/test_campaign_faults.py` runs this as a script. It forks a simulator
and, for each point, some workers with their own ledger. The first one ends at that point. When
the others have finished the campaign, the script prints the states of its contacts.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
from attrs import define, field, frozen
from crash_simulator import WritingSimulator
from crash_worker import FROM, contacts

from telecmi_async import CallService, Hangup, Timeouts
from telecmi_async.campaigns import (
    Campaign,
    CampaignSettings,
    CampaignTimeouts,
    Pace,
    Retries,
    supervisor,
    worker,
)
from telecmi_async.ledger import CallEvidence, Reaped, SqliteLedger
from telecmi_async.ledger.postgres.ledger import PostgresLedger
from telecmi_async.ledger.sqlite.thread import SqliteThread
from telecmi_async.wire.asyncio_connection import AsyncioConnection
from telecmi_async.wire.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telecmi_async.ledger import Ledger

NAME = "dying"
#: The points in their order: what the worker did last.
KILLED = [
    "claim not committed", "claimed", "intended", "about to be sent", "request sent",
    "outcome not committed", "settled",
]  # fmt: skip
FROZEN = ["claimed", "intended"]
CONTACTS = 9
# Leases that end within four seconds. A reply may take two: machines can be busy.
PATIENCE = CampaignTimeouts(
    claim=1.5,
    fence=1.0,
    timeouts=Timeouts(connect=2.0, write=2.0, read=2.0, total=2.5),
    grace=0.3,
)
# One call in flight, so that the contact of the killed worker is known.
SETTINGS = CampaignSettings(
    flow=[Hangup()],
    pace=Pace(calls_per_second=20.0, max_in_flight=1),
    retries=Retries(first=0.1),
)


# Held while a ledger's thread is in a transaction: a worker that is frozen in one blocks all
# writers.
WRITING = threading.RLock()


def note_transactions() -> None:
    """Let the ledgers of this process hold `WRITING`."""
    serve = SqliteThread._serve

    def serving(thread: SqliteThread, jobs: Any) -> None:
        with WRITING:
            serve(thread, jobs)

    SqliteThread._serve = serving  # type: ignore[method-assign, assignment]  # this process ends by it


@define
class Ending:
    """Where and how a worker ends.

    Args:
        point: The point at which it ends.
        how: The signal that it sends itself.
        note: A file for the number of its contact.
    """

    point: str
    how: int
    note: Path
    number: int = 0

    def here(self, point: str, number: int | None = None) -> None:
        """End if this is the point."""
        if point == self.point and not self.note.exists():
            self.note.write_text(str(number or self.number))
            with WRITING:
                os.kill(os.getpid(), self.how)


def end_at_point(ledger: Any, ending: Ending) -> None:  # a hook for each point
    """Patch a worker's ledger and transport so that it ends at its point."""
    claim, intend, settle = ledger.claim, ledger.intend, ledger.settle
    ask, size_untaken = Sending.ask, AsyncioConnection._size_untaken

    async def uncommitted(ask: Callable[[], Awaitable[Any]], point: str) -> Any:
        if ending.point == point and not ending.note.exists():
            _never_commit(ledger, lambda: ending.here(point))
        return await ask()

    async def claiming(*args: Any, **more: Any) -> Any:
        found = await uncommitted(lambda: claim(*args, **more), "claim not committed")
        for one in found:
            ending.here("claimed", one.number)
        return found

    async def intending(*args: Any, **more: Any) -> Any:
        found = await intend(*args, **more)
        # Only one call is in flight, so the following steps are about this contact.
        ending.number = args[0].number
        ending.here("intended")
        return found

    async def settling(*args: Any, **more: Any) -> Any:
        found = await uncommitted(lambda: settle(*args, **more), "outcome not committed")
        ending.here("settled")
        return found

    def asking(sending: Sending) -> bytes:
        body = ask(sending)
        ending.here("about to be sent")
        return body

    def written(connection: AsyncioConnection) -> int:
        ending.here("request sent")
        return size_untaken(connection)

    if ending.how == signal.SIGSTOP:
        write_only_moves(ledger, ending.note)
    ledger.claim, ledger.intend, ledger.settle = claiming, intending, settling
    Sending.ask = asking  # type: ignore[method-assign, assignment]  # this process ends by it
    AsyncioConnection._size_untaken = written  # type: ignore[method-assign, assignment]  # as above


def write_only_moves(ledger: Any, note: Path) -> None:
    """Keep a worker from being frozen inside a transaction, which would block all writers."""
    renew, reap = ledger.renew, ledger.reap

    async def renewing(*args: Any, **more: Any) -> int:
        return await renew(*args, **more) if _is_there(note) else 0

    async def reaping(*args: Any) -> Reaped:
        return await reap(*args) if _is_there(note) else Reaped(released=0, unknown=0)

    ledger.renew, ledger.reap = renewing, reaping


def leave_some(ledger: Any, note: Path) -> None:
    """Let a worker leave contacts for the one that is to end, until it has ended."""
    claim, claimed = ledger.claim, 0

    async def claiming(*args: Any, **more: Any) -> Any:
        nonlocal claimed
        while claimed > 1 and not _is_there(note):  # noqa: ASYNC110  # another process's file
            await anyio.sleep(0.02)
        found = await claim(*args, **more)
        claimed += len(found)
        return found

    ledger.claim = claiming


def _is_there(note: Path) -> bool:
    return note.exists()


def _never_commit(ledger: Any, end: Callable[[], None]) -> None:
    """Let the next transaction end the process before it commits."""
    if isinstance(ledger, SqliteLedger):
        write = ledger._write

        async def writing(work: Any) -> Any:
            def working(db: Any, now: float) -> None:
                work(db, now)
                end()

            return await write(working)

        ledger._write = writing  # type: ignore[method-assign]  # as above
        return

    async def fetching(sql: str, *values: object, takes_again: bool = False) -> Any:
        def work(connection: Any) -> None:
            connection.execute("BEGIN")
            connection.execute(sql, [*values, False] if takes_again else list(values))
            end()

        await ledger._moves.do(work)

    ledger._moves.fetch = fetching


@frozen
class Scenario:
    """One point, its ledger, and its report.

    Args:
        point: Where the first worker ends.
        how: How it ends.
        where: Its ledger's path or address.
        note: The file with the number of its contact.
    """

    point: str
    how: str
    where: str
    note: Path

    def ledger(self) -> Any:
        """Return its ledger."""
        if self.where.startswith("postgresql://"):
            schema = f"{self.how} {self.point} {self.note.parent.name}"
            return PostgresLedger(self.where, schema=schema)
        return SqliteLedger(self.where)

    async def work(self, base_url: str, number: int, *, ends: bool) -> None:
        """Dial until nothing is left."""
        note_transactions()
        async with (
            self.ledger() as ledger,
            CallService(2222226, "simulated-secret", from_=FROM, base_url=base_url) as service,
        ):
            campaign = Campaign(
                ledger, service, NAME, SETTINGS, worker=f"w{number}", timeouts=PATIENCE
            )
            await campaign.load(contacts(CONTACTS))
            if ends:
                how = signal.SIGKILL if self.how == "kill" else signal.SIGSTOP
                end_at_point(ledger, Ending(self.point, how, self.note))
            else:
                leave_some(ledger, self.note)
            await campaign.run()

    async def report(self, log: list[tuple[int, str]]) -> dict[str, Any]:
        """Return the states of the contacts, before and after their events were recorded."""
        victim = int(self.note.read_text())
        async with self.ledger() as ledger:
            people = [contact.number async for contact in ledger.contacts(NAME)]
            found = [await ledger.find(NAME, number) for number in people]
            tokens = {p.token: c.number for c in found for p in c.history if p.what == "intend"}
            mine = [(number, token) for number, token in log if token in tokens]
            histories = {c.number: [p.what for p in c.history] for c in found}
            before = await counted(ledger)
            state = {c.number: str(c.state) for c in found}.get(victim)
            for _, token in mine:
                at = await ledger.now()
                await ledger.record_event(CallEvidence(token=token, request_id=None, at=at))
            return {
                "point": self.point, "how": self.how, "victim": victim, "state": state,
                "dialled": sum(number == victim for number, _ in mine),
                "twice": sum(n > 1 for n in Counter(number for number, _ in mine).values()),
                "total": len(people), "history": histories.get(victim, []),
                "before": before, "after": await counted(ledger), "log": len(mine),
            }  # fmt: skip


async def counted(ledger: Ledger) -> dict[str, int]:
    """Return the number of contacts in each state that has any."""
    state = await ledger.state(NAME)
    return {str(name): count for name, count in state.counts.items() if count}


async def serve(log: Path, port: int) -> None:
    """Accept calls until the process is killed."""
    simulator = WritingSimulator(magic=False, life=None, latency=0.02, keep=0)
    simulator.log = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    async with simulator.serve() as base_url:
        os.write(port, f"{base_url}\n".encode())
        await anyio.sleep_forever()


def fork(work: Callable[..., Awaitable[None]], *args: Any, backend: str = "asyncio") -> int:
    """Run something in a process of its own; return the process id."""
    process = os.fork()
    if not process:
        _child(lambda: anyio.run(work, *args, backend=backend))
    return process


def _child(work: Callable[[], None]) -> NoReturn:
    try:
        work()
    except BaseException:  # noqa: BLE001  # nothing of the parent's may run here
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(process: int) -> int:
    """Wait until a process has ended or stopped; return its status."""
    _, status = os.waitpid(process, os.WUNTRACED)
    return status


@define
class Run:
    """The workers of one scenario.

    Args:
        scenario: What happens to the first of them.
        base_url: Where calls go.
        workers: How many there are at a time.
        row: Its index, by which event loops alternate.
    """

    scenario: Scenario
    base_url: str
    workers: int
    row: int
    processes: list[int] = field(factory=list[int])

    def _start(self) -> None:
        number = len(self.processes)

        def work() -> Awaitable[None]:
            return self.scenario.work(self.base_url, number, ends=number == 0)

        backend = ("asyncio", "trio")[(self.row + number) % 2]
        self.processes.append(fork(work, backend=backend))

    def begin(self) -> None:
        """Start its workers."""
        for _ in range(self.workers):
            self._start()

    def replace(self) -> None:
        """Wait until the first has ended or stopped; start a successor if it was alone."""
        assert ended(self.processes[0]), f"{self.scenario}: it ended by itself"
        if self.workers == 1:
            self._start()

    def finish(self) -> None:
        """Wait for the other workers, then let the frozen one go on."""
        first, *others = self.processes
        for process in others:
            assert ended(process) == 0, f"{self.scenario}: a worker failed"
        if self.scenario.how == "stop":
            os.kill(first, signal.SIGCONT)
            assert ended(first) == 0, f"{self.scenario}: the frozen worker failed"


def main(order: dict[str, Any]) -> None:
    """Run all points at once, and print how each ended."""
    faulthandler.register(signal.SIGUSR1)
    # Its workers are forked, and poll more often than real ones.
    worker._POLL = supervisor._POLL = 0.2  # type: ignore[misc]  # final for others
    folder, workers = Path(order["folder"]), order["workers"]
    reading, writing = os.pipe()
    server = fork(serve, folder / "log", writing)
    base_url = os.read(reading, 100).decode().strip()
    points = [(point, "kill") for point in KILLED] + [(point, "stop") for point in FROZEN]
    scenarios = [
        Scenario(point, how, order["where"] or str(folder / f"{row}.db"), folder / f"note{row}")
        for row, (point, how) in enumerate(points)
    ]
    runs = [Run(scenario, base_url, workers, row) for row, scenario in enumerate(scenarios)]
    try:
        # Five at a time, because a database has a limited number of connections.
        for some in (runs[:5], runs[5:]):
            for run in some:
                run.begin()
            for run in some:
                run.replace()
            for run in some:
                run.finish()
    finally:
        for process in [server, *(process for run in runs for process in run.processes)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    log = [(int(number), token) for number, token in lines]

    async def reports() -> list[dict[str, Any]]:
        return [await scenario.report(log) for scenario in scenarios]

    sys.stdout.write(json.dumps(anyio.run(reports)))


if __name__ == "__main__":
    began = time.monotonic()
    main(json.loads(sys.argv[1]))
    sys.stderr.write(f"{time.monotonic() - began:.1f} s\n")

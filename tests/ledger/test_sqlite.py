"""The SQLite ledger beyond the ledger contract: its file, its single writer, its threads."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from ledgers import (
    LEASE,
    PLACED,
    Clock,
    begin,
    counted,
    intend,
    new_contacts,
    new_token,
    send,
    take,
)

from telecmi_async import ConfigurationError, LedgerLost, StoreError
from telecmi_async.ledger import CallEvidence, ContactState, Intent, NewContact, SqliteLedger
from telecmi_async.ledger.migrate import migrate_sqlite, scripts, statements, version_of
from telecmi_async.ledger.sqlite import thread as thread_module
from telecmi_async.ledger.sqlite.thread import SqliteLoss, SqliteThread, explain
from telecmi_async.testing import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from telecmi_async.ledger import Ledger

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

FIRST = 919000000000
#: A worker that claims a contact, and closes the ledger when its input ends.
OLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA wal_autocheckpoint = 0")
db.execute(
    "UPDATE contact SET state = 'claimed', worker = 'old', lease_until = 9e9 WHERE id = 1"
)
print("claimed", flush=True)
sys.stdin.read()
db.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the ledger's file."""
    return tmp_path / "ledger.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[SqliteLedger]:
    """A ledger with a short lock timeout."""
    async with SqliteLedger(path, timeout=0.3) as ledger:
        yield ledger


def threads_of(ledger: SqliteLedger) -> tuple[SqliteThread, SqliteThread]:
    """Return the ledger's writer and reader threads."""
    assert ledger._threads is not None
    return ledger._threads


def writer_of(ledger: SqliteLedger) -> SqliteThread:
    """Return the ledger's writer thread."""
    return threads_of(ledger)[0]


async def run(ledger: SqliteLedger, sql: str) -> Any:
    """Run SQL on the writer's connection."""
    row = await writer_of(ledger).do(lambda db, _: db.execute(sql).fetchone())
    return None if row is None else row[0]


class Holding:
    """Keeps the writer busy until `free` is set, so that later jobs queue up."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self.writer = writer_of(ledger)
        self.free = threading.Event()
        self.held = threading.Event()
        self.statements: list[str] = []

    def hold(self, db: sqlite3.Connection, now: float) -> None:
        """Block the writer."""
        db.set_trace_callback(self.statements.append)
        self.held.set()
        assert self.free.wait(10)

    async def start(self, tasks: Any) -> None:
        """Begin to block the writer."""
        tasks.start_soon(self.writer.do, self.hold)
        await anyio.to_thread.run_sync(self.held.wait)


# -- opening and closing


async def test_what_is_committed_is_on_disk(ledger: SqliteLedger) -> None:
    """The pragmas for durability and for concurrent readers are set."""
    assert await run(ledger, "PRAGMA journal_mode") == "wal"
    assert await run(ledger, "PRAGMA synchronous") == 2
    assert await run(ledger, "PRAGMA fullfsync") == 1
    assert await run(ledger, "PRAGMA checkpoint_fullfsync") == 1
    assert await run(ledger, "PRAGMA foreign_keys") == 1
    assert await run(ledger, "PRAGMA user_version") == len(scripts("sqlite"))


async def test_nobody_else_may_read_it(ledger: SqliteLedger, path: Path) -> None:
    """Only the file's owner may read the ledger."""
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {"ledger.db": 0o600, "ledger.db-wal": 0o600, "ledger.db-shm": 0o600}


async def test_one_file_is_left_when_it_is_closed(path: Path) -> None:
    """Closing folds the write-ahead log into the file, so that it can be copied."""
    async with SqliteLedger(path) as ledger:
        await begin(ledger, 10)

    assert [file.name for file in path.parent.iterdir()] == ["ledger.db"]


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An SQLite older than 3.35, which lacks RETURNING, is rejected."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))

    with pytest.raises(ConfigurationError, match=r"SQLite 3\.35 or newer"):
        SqliteLedger(path)


@pytest.mark.parametrize("name", [":memory:", "", "folder/:memory:"])
def test_it_is_a_file(name: str) -> None:
    """An in-memory database is rejected: each connection would have its own."""
    with pytest.raises(ConfigurationError, match="file"):
        SqliteLedger(name)


@pytest.mark.parametrize("timeout", [0, -1, "1", float("nan"), True])
def test_a_timeout_is_a_number_of_seconds(path: Path, timeout: Any) -> None:
    """The timeout must be a positive number of seconds."""
    with pytest.raises(ConfigurationError, match="timeout"):
        SqliteLedger(path, timeout=timeout)


def test_it_shows_where_it_is(path: Path) -> None:
    """The repr shows the path only."""
    assert repr(SqliteLedger(path)) == f"SqliteLedger({str(path)!r})"


async def test_it_is_used_while_it_is_open(path: Path) -> None:
    """A ledger works only while open, cannot be opened twice at once, and can be reopened."""
    ledger = SqliteLedger(path)
    with pytest.raises(StoreError, match="async with"):
        await ledger.campaigns()
    async with ledger:
        writer = writer_of(ledger)
        with pytest.raises(ConfigurationError, match="already"):
            await ledger.__aenter__()
        await begin(ledger)
    await ledger.aclose()
    with pytest.raises(StoreError, match="async with"):
        await ledger.state("spring")
    with pytest.raises(StoreError, match="closed"):
        await writer.do(lambda db, _: None)
    async with ledger:
        assert await counted(ledger) == {"pending": 1}


# -- the file


async def test_many_may_open_a_new_file_at_the_same_moment(path: Path) -> None:
    """Several processes may open a new file at the same moment."""
    opened: list[int] = []

    async def open_one(number: int) -> None:
        async with SqliteLedger(path) as ledger:
            await ledger.create(f"campaign {number}", {})
            opened.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(open_one, number)
    async with SqliteLedger(path) as ledger:
        assert len(await ledger.campaigns()) == len(opened) == 8


def test_a_file_whose_tables_another_process_just_made_is_no_other_programs(path: Path) -> None:
    """Its version is read at one moment, not owner before and tables after they were made."""

    class Slow(sqlite3.Connection):
        """A connection beside another process, which makes its tables after one statement."""

        statements = 0

        def execute(self, *args: Any) -> sqlite3.Cursor:
            """Execute a statement; before the second, the other process makes its tables."""
            self.statements += 1
            if self.statements == 2:
                with closing(sqlite3.connect(path, isolation_level=None)) as other:
                    migrate_sqlite(other, scripts("sqlite"))
            return super().execute(*args)

    with closing(sqlite3.connect(path, isolation_level=None, factory=Slow)) as db:
        assert [version_of(db), version_of(db)] == [0, len(scripts("sqlite"))]


async def test_a_newer_ledger_is_left_alone(path: Path) -> None:
    """A ledger with a newer schema version is rejected."""
    async with SqliteLedger(path) as ledger:
        await begin(ledger)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(ConfigurationError, match=r"newer version.*99.*update"):
        await SqliteLedger(path).__aenter__()


def test_another_programs_database_is_left_alone(path: Path) -> None:
    """A database of another program is rejected and left unchanged."""
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE contact (id)")
    db.close()

    before = path.read_bytes()

    with pytest.raises(ConfigurationError, match="another program"):
        anyio.run(SqliteLedger(path).__aenter__)

    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """A file that is not a SQLite database is rejected and left unchanged."""
    path.write_text("number,name\n" * 1000)

    with pytest.raises(ConfigurationError, match="not a SQLite database"):
        anyio.run(SqliteLedger(path).__aenter__)

    assert path.read_text() == "number,name\n" * 1000


async def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    """A path in a missing folder, or to a folder, is rejected."""
    for path in (tmp_path / "nowhere" / "ledger.db", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be opened"):
            await SqliteLedger(path).__aenter__()


class Busy:
    """A connection that fails with "database is locked", some times or always."""

    def __init__(self, name: str, times: int) -> None:
        self.name = name
        self.times = times

    def execute(self, sql: str) -> Busy:
        """Raise while there are failures left."""
        self.times -= 1
        if self.times >= 0:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorname = self.name
            raise error
        return self

    def fetchone(self) -> tuple[str]:
        """Return the journal mode."""
        return ("wal",)


@pytest.mark.parametrize(
    ("name", "times", "refused"),
    [
        ("SQLITE_BUSY", 2, False),
        ("SQLITE_BUSY_RECOVERY", 2, False),
        ("SQLITE_BUSY", 10**9, True),
        ("SQLITE_READONLY", 1, True),
    ],
)
def test_a_new_log_waits_for_its_turn(
    path: Path, name: str, times: int, *, refused: bool
) -> None:
    """Switching to the write-ahead log is retried while SQLite is busy."""
    thread = SqliteThread(path, time.time, timeout=0.05, writes=True, loss=SqliteLoss())
    db: Any = Busy(name, times)

    if refused:
        with pytest.raises(sqlite3.OperationalError):
            thread._begin_log(db)
    else:
        thread._begin_log(db)

    assert (db.times == -1) is not refused


async def test_a_file_without_a_log_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that cannot keep a write-ahead log, such as a network disk, is rejected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "realpath", str)
    thread = SqliteThread(
        Path(":memory:"), time.time, timeout=1, writes=True, loss=SqliteLoss()
    )

    with pytest.raises(ConfigurationError, match="local disk"):
        await thread.open()


@pytest.mark.parametrize("settles", [True, False])
async def test_a_reader_meets_a_writer_that_closes(
    path: Path, settles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that a writer takes away as a reader opens the file is no reason to refuse it."""
    async with SqliteLedger(path) as ledger:
        await ledger.add_do_not_call([12025550123], "a test")
    looks: list[str] = []

    def way_in(file: str) -> str:
        looks.append(file)
        there = settles and len(looks) > 2
        return "?mode=ro&immutable=1" if there else "-wal?mode=ro"  # there is no such file

    monkeypatch.setattr(thread_module, "_way_in", way_in)
    monkeypatch.setattr(thread_module, "_SETTLING", 5.0 if settles else 0.2)
    reader = SqliteLedger(path, migrate=False)
    if settles:
        async with reader:
            assert await reader.campaigns() == []
    else:
        with pytest.raises(ConfigurationError, match="SQLITE_"):
            await reader.__aenter__()

    assert len(looks) > 1


READ_ONLY = """
import os, sys, anyio
from telecmi_async import ConfigurationError
from telecmi_async.ledger import SqliteLedger
async def main():
    if os.geteuid() == 0:
        os.setuid(65534)  # for root there are no rights; all is imported by now
    try:
        async with SqliteLedger(sys.argv[1]):
            print("opened")
    except ConfigurationError as error:
        print(error)
anyio.run(main)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that all users may read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_file_that_may_not_be_written_is_refused(open_folder: Path) -> None:
    """A file that is not writable is rejected when it is opened."""
    path = open_folder / "ledger.db"

    async def make() -> None:
        async with SqliteLedger(path):
            pass

    anyio.run(make)
    path.chmod(0o444)
    open_folder.chmod(0o555)
    command = [sys.executable, "-c", READ_ONLY, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    open_folder.chmod(0o755)

    assert "may not be written" in done.stdout or "be writable" in done.stdout, done.stderr


async def test_a_reader_that_cannot_open_takes_the_writer_along(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the reader cannot open, the writer is closed, and StoreError is raised."""
    connect = SqliteThread._connect

    def fail_to_read(thread: SqliteThread) -> sqlite3.Connection:
        if not thread._writes:
            raise sqlite3.OperationalError("no")
        return connect(thread)

    monkeypatch.setattr(SqliteThread, "_connect", fail_to_read)
    with pytest.raises(StoreError, match="OperationalError"):
        await SqliteLedger(path).__aenter__()

    assert [file.name for file in path.parent.iterdir()] == ["ledger.db"]


# -- the schema


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_steps_of_a_schema_are_numbered_without_gaps(kind: str) -> None:
    """Schema steps are numbered from 1 without gaps, in the order of their names."""
    folder = files("telecmi_async.ledger").joinpath("schema", kind)
    names = sorted(file.name for file in folder.iterdir())
    texts = scripts(kind)

    assert [name[:5] for name in names] == [f"{n:04}_" for n in range(1, len(texts) + 1)]
    assert texts == [folder.joinpath(name).read_text(encoding="utf-8") for name in names]


def test_a_trigger_is_one_statement() -> None:
    """A trigger with semicolons is one statement, and a comment is not a statement."""
    text = (
        "-- one; two\nCREATE TABLE a (x);\n"
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n SELECT 1;\n SELECT 2;\nEND;\n"
    )

    assert [statement.split()[-1] for statement in statements(text)] == ["(x);", "END;"]


def plain_connection(path: Path) -> sqlite3.Connection:
    """Return a connection that opens no transactions by itself."""
    return sqlite3.connect(path, isolation_level=None)


def test_a_schema_is_brought_up_to_date(path: Path) -> None:
    """Only new schema steps are run, and each only once."""
    steps = ["CREATE TABLE a (x);", "CREATE TABLE b (x);"]
    db = plain_connection(path)
    migrate_sqlite(db, steps[:1])
    for _ in range(2):
        migrate_sqlite(db, steps)

    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master").fetchall()]
    db.close()

    assert tables == ["a", "b"]


async def test_costs_that_an_older_version_recorded_are_known(path: Path) -> None:
    """A file of the first schema counts the costs it has, and those that are recorded later."""
    db = plain_connection(path)
    migrate_sqlite(db, scripts("sqlite")[:1])
    db.execute("INSERT INTO campaign (name, created, settings) VALUES ('spring', 1, '{}')")
    db.execute("INSERT INTO tally SELECT 1, value, 0 FROM json_each(?)",
               (json.dumps(list(ContactState)),))  # fmt: skip
    for contact, cost in enumerate((0.5, None, 0.0), 1):
        db.execute("INSERT INTO contact VALUES (?, 1, ?, '{}', 'placed', '', 1, NULL, NULL, 0,"
                   " NULL, 1, NULL, NULL, NULL, ?, 1, NULL)", (contact, contact, cost))  # fmt: skip
        db.execute(
            "INSERT INTO send (token, contact, campaign, number, worker, epoch, state, at, "
            "send_by, lease_until, cost) VALUES (?, ?, 1, ?, 'w', 1, 'placed', 1, 1, 1, ?)",
            (f"tcm_{contact}", contact, contact, cost),
        )
    db.execute("UPDATE campaign SET cost = 0.5")
    db.close()

    async with SqliteLedger(path) as ledger:
        before = await ledger.state("spring")
        await ledger.record_event(
            CallEvidence(token="tcm_2", request_id=None, at=1.0, over=True, cost=0.25)
        )
        after = await ledger.state("spring")

    assert (before.cost, before.unpriced) == (0.5, 1)
    assert (after.cost, after.unpriced) == (0.75, 0)


@pytest.mark.parametrize("last", ["CREATE TABLE a (x);", "CREATE TABLE b (x); ROLLBACK; BAD;"])
def test_a_step_that_fails_leaves_nothing_behind(path: Path, last: str) -> None:
    """A failing schema step undoes all steps, even after a rollback inside it."""
    db = plain_connection(path)

    with pytest.raises(sqlite3.OperationalError):
        migrate_sqlite(db, ["CREATE TABLE a (x);", last.replace("; ", ";\n")])

    assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert db.execute("PRAGMA user_version").fetchone() == (0,)
    db.close()


# -- one writer


async def test_what_waits_is_committed_together(ledger: SqliteLedger) -> None:
    """Sixty waiting intents share one commit, and return only after it."""
    await begin(ledger, 60)
    claims = await ledger.claim("spring", "w", most=60, lease=LEASE)
    intents: list[object] = []

    async def one(claim: Any) -> None:
        intents.append(await intend(ledger, claim, new_token()))

    holding = Holding(ledger)
    async with anyio.create_task_group() as tasks:
        await holding.start(tasks)
        for claim in claims:
            tasks.start_soon(one, claim)
        await anyio.wait_all_tasks_blocked()
        early = list(intents)
        holding.free.set()

    assert early == []
    assert len(intents) == 60
    # One for the job that blocked the writer, and one for all intents.
    assert [sql for sql in holding.statements if sql == "COMMIT"] == ["COMMIT"] * 2
    assert await counted(ledger) == {"sending": 60}


async def test_more_than_fit_into_one_transaction_take_several(ledger: SqliteLedger) -> None:
    """More jobs than fit into one transaction are all done, in several."""
    done: list[int] = []

    def note(number: int, db: sqlite3.Connection, now: float) -> None:
        done.append(number)

    holding = Holding(ledger)
    async with anyio.create_task_group() as tasks:
        await holding.start(tasks)
        for number in range(600):
            tasks.start_soon(writer_of(ledger).do, partial(note, number))
        await anyio.wait_all_tasks_blocked()
        holding.free.set()

    assert sorted(done) == list(range(600))


async def test_one_that_fails_takes_no_other_with_it(ledger: SqliteLedger) -> None:
    """A failing job does not undo the other jobs of its transaction."""
    await begin(ledger, 3)
    first, second, third = await ledger.claim("spring", "w", most=3, lease=LEASE)
    outcomes: dict[int, object] = {}

    async def one(claim: Any, token: str) -> None:
        try:
            outcomes[claim.contact] = await intend(ledger, claim, token)
        except StoreError as error:
            outcomes[claim.contact] = error

    tokens = [new_token(), new_token()]
    holding = Holding(ledger)
    async with anyio.create_task_group() as tasks:
        await holding.start(tasks)
        for claim, token in ((first, tokens[0]), (second, tokens[0]), (third, tokens[1])):
            tasks.start_soon(one, claim, token)
            await anyio.wait_all_tasks_blocked()
        holding.free.set()

    failed = [contact for contact, one in outcomes.items() if isinstance(one, StoreError)]
    assert len(failed) == 1
    assert sum(isinstance(one, Intent) for one in outcomes.values()) == 2
    assert await counted(ledger) == {"sending": 2, "claimed": 1}


async def test_a_full_disk_stops_what_needs_room(ledger: SqliteLedger) -> None:
    """A full disk fails only the jobs that need space; the others are repeated and succeed."""
    await begin(ledger, 2)
    _, token = await send(ledger)
    # The load takes the space that is left; settling needs none.
    most = await run(ledger, "PRAGMA page_count") + 2
    await run(ledger, f"PRAGMA max_page_count = {most}")
    results: list[object] = []

    async def load() -> None:
        try:
            await ledger.load("spring", new_contacts(1000))
        except StoreError as error:
            results.append(error)

    async def settle() -> None:
        results.append(await ledger.settle(token, PLACED))

    holding = Holding(ledger)
    async with anyio.create_task_group() as tasks:
        await holding.start(tasks)
        tasks.start_soon(settle)
        tasks.start_soon(load)
        await anyio.sleep(0.2)
        holding.free.set()

    assert sorted(str(result) for result in results) == [
        "True", "the ledger failed: the disk is full (SQLITE_FULL)",
    ]  # fmt: skip
    assert await counted(ledger) == {"placed": 1, "pending": 1}

    await run(ledger, "PRAGMA max_page_count = 100000")
    await ledger.load("spring", new_contacts(1000))

    assert (await ledger.state("spring")).total == 1002


async def test_a_transaction_that_cannot_be_committed_is_undone(ledger: SqliteLedger) -> None:
    """A failed commit is rolled back and raised, and the next job succeeds."""
    await begin(ledger)

    def broken(db: sqlite3.Connection, now: float) -> None:
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("INSERT INTO passage (contact, at, what, detail) VALUES (99, 0, 'x', '')")

    with pytest.raises(StoreError, match="SQLITE_CONSTRAINT"):
        await writer_of(ledger).do(broken)

    await send(ledger, PLACED)
    assert await counted(ledger) == {"placed": 1}


async def test_a_job_that_ends_the_transaction_does_no_harm(ledger: SqliteLedger) -> None:
    """If a job ends the shared transaction, the other jobs are repeated and succeed."""
    made: list[bool] = []

    def broken(db: sqlite3.Connection, now: float) -> None:
        db.execute("ROLLBACK")
        raise sqlite3.OperationalError("undone")

    async def create(name: str) -> None:
        made.append(await ledger.create(name, {}))

    async def fail() -> None:
        with pytest.raises(StoreError, match="OperationalError"):
            await writer_of(ledger).do(broken)

    holding = Holding(ledger)
    async with anyio.create_task_group() as tasks:
        await holding.start(tasks)
        tasks.start_soon(create, "before")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(fail)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(create, "after")
        await anyio.wait_all_tasks_blocked()
        holding.free.set()

    assert made == [True, True]
    assert await ledger.campaigns() == ["before", "after"]


async def test_a_transaction_that_cannot_be_undone_does_not_end_the_thread(
    ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing rollback is raised to the caller, and the writer thread goes on."""

    class Stuck:
        in_transaction = True

        def execute(self, sql: str) -> None:
            raise sqlite3.OperationalError("stuck")

    writer = writer_of(ledger)
    together = writer._together
    monkeypatch.setattr(writer, "_together", lambda _, *rest: together(Stuck(), *rest))  # type: ignore[arg-type]  # a broken connection
    with pytest.raises(StoreError, match="OperationalError"):
        await ledger.create("spring", {})
    monkeypatch.undo()

    assert await ledger.create("spring", {}) is True


async def test_a_lease_is_never_cut(path: Path) -> None:
    """Renewing with a shorter lease does not shorten the lease."""
    clock = Clock()
    async with SqliteLedger(path, clock=clock) as ledger:
        await begin(ledger)
        await take(ledger)
        await ledger.renew("w", lease=1)
        clock.time += 2

        assert (await ledger.reap("spring")).released == 0


# -- errors


def test_an_error_is_explained_without_values() -> None:
    """SQLite errors are raised without values, and this package's errors are unchanged."""
    own = ConfigurationError("ours")

    assert explain(own) is own
    assert str(explain(OverflowError(f"{FIRST} is too large"))) == (
        "the ledger failed: it could not be used (OverflowError)"
    )


async def test_a_value_that_cannot_be_kept_is_an_error_of_ours(ledger: SqliteLedger) -> None:
    """A value that SQLite cannot store raises StoreError without the value."""
    await begin(ledger)

    with pytest.raises(StoreError) as caught:
        await writer_of(ledger).do(lambda db, _: db.execute("SELECT ?", (10**30,)))

    assert "000" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert await counted(ledger) == {"pending": 1}


async def test_a_file_that_others_keep_locked_is_waited_for(
    ledger: SqliteLedger, path: Path
) -> None:
    """A locked file is waited for until the timeout, and nothing is lost."""
    await begin(ledger)
    _, token = await send(ledger)
    db = plain_connection(path)
    db.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreError, match="locked"):
        await ledger.settle(token, PLACED)
    assert await counted(ledger) == {"sending": 1}, "reading does not wait"

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.settle, token, PLACED)
        await anyio.sleep(0.05)
        db.execute("ROLLBACK")
    db.close()

    assert await counted(ledger) == {"placed": 1}


async def test_a_new_file_that_others_keep_locked_is_waited_for(path: Path) -> None:
    """Opening a locked file waits until the timeout."""
    db = plain_connection(path)
    db.execute("BEGIN EXCLUSIVE")

    with pytest.raises(StoreError, match="locked"):
        await SqliteLedger(path, timeout=0.1).__aenter__()

    ledger = SqliteLedger(path, timeout=30)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.__aenter__)
        await anyio.sleep(0.1)
        db.execute("ROLLBACK")
    db.close()
    assert await ledger.campaigns() == []
    await ledger.aclose()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_a_file_that_is_deleted_is_noticed(
    ledger: SqliteLedger, path: Path, suffix: str
) -> None:
    """A deleted ledger file, log or index raises LedgerLost, even after it has come back."""
    await begin(ledger)
    claim = await take(ledger)
    path.with_name(path.name + suffix).unlink()

    with pytest.raises(LedgerLost, match="deleted or replaced"):
        await intend(ledger, claim, new_token())
    with pytest.raises(LedgerLost, match="deleted or replaced"):
        await ledger.state("spring")


def replace_by_copy(path: Path) -> None:
    """Replace a file with a copy of itself."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_a_file_that_is_replaced_is_noticed(
    ledger: SqliteLedger, path: Path, suffix: str
) -> None:
    """A replaced ledger file, log or index raises LedgerLost before anything is written."""
    await begin(ledger)
    named = path.with_name(path.name + suffix)
    kept = named.with_name("kept")
    kept.hardlink_to(named)
    replace_by_copy(named)
    before = path.with_name(f"{path.name}-wal").read_bytes()

    with pytest.raises(LedgerLost, match="deleted or replaced"):
        await ledger.create("autumn", {})
    assert path.with_name(f"{path.name}-wal").read_bytes() == before
    kept.replace(named)
    with pytest.raises(LedgerLost, match="deleted or replaced"):
        await ledger.create("autumn", {})


@pytest.mark.parametrize("how", ["moved", "its folder moved", "its link leads elsewhere"])
async def test_a_file_that_is_moved_is_lost(tmp_path: Path, how: str) -> None:
    """A ledger that is moved, or to which a link no longer leads, raises LedgerLost."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder / "ledger.db")
    given = tmp_path / "link" if "link" in how else folder / "ledger.db"
    async with SqliteLedger(given, timeout=0.3) as ledger:
        await begin(ledger)
        claim = await take(ledger)
        if how == "moved":
            (folder / "ledger.db").rename(folder / "archive.db")
        elif how == "its folder moved":
            folder.rename(tmp_path / "archive")
        else:
            (tmp_path / "other.db").touch()
            given.unlink()
            given.symlink_to(tmp_path / "other.db")

        with pytest.raises(LedgerLost, match="moved"):
            await intend(ledger, claim, new_token())


async def test_an_older_copy_over_the_file_stops_all_workers(path: Path) -> None:
    """If an older copy is written over an open ledger, its workers end and others stop."""
    async with SqliteLedger(path) as ledger:
        await begin(ledger)
    older = await anyio.Path(path).read_bytes()
    async with SqliteLedger(path) as ledger:
        await begin(ledger, 3000)
    async with SqliteLedger(path) as one:
        claim = await take(one)
        with path.open("r+b") as file:  # as cp does: it is the same file
            file.truncate(0)
            file.write(older)

        async with SqliteLedger(path) as two:
            with pytest.raises(LedgerLost, match="older copy"):
                await intend(one, claim, new_token())

            with contextlib.suppress(LedgerLost):  # it may find the pages of two files
                assert await two.claim("spring", "b", most=9, lease=LEASE) == []


@pytest.mark.parametrize("found_by", ["reader", "writer", "closing"])
async def test_an_older_copy_stops_who_comes_next(path: Path, found_by: str) -> None:
    """A campaign in an older copy is stopped by whichever part of a worker finds it, or by none."""
    async with SqliteLedger(path) as ledger:
        await begin(ledger)
    older = await anyio.Path(path).read_bytes()
    async with SqliteLedger(path) as ledger:
        await begin(ledger, 3000, name="autumn")
    one = SqliteLedger(path)
    await one.__aenter__()
    await one.campaigns()
    await anyio.Path(path).write_bytes(older)
    if found_by != "closing":
        with pytest.raises(LedgerLost, match="older copy"):
            await (one.campaigns() if found_by == "reader" else one.renew("w", lease=LEASE))
    await one.aclose()

    async with SqliteLedger(path) as two:
        state = await two.state("spring")

    assert (state.asked, "older copy" in state.why) == ("stopped", True)


async def test_an_older_copy_stops_workers_that_write_at_that_moment(path: Path) -> None:
    """If another worker writes as an older copy is found, its campaign is stopped after that."""
    async with SqliteLedger(path) as ledger:
        await begin(ledger)
    older = await anyio.Path(path).read_bytes()
    async with SqliteLedger(path) as ledger:
        await begin(ledger, 3000, name="autumn")
    one = SqliteLedger(path)
    await one.__aenter__()
    await anyio.Path(path).write_bytes(older)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.aclose)
            await anyio.sleep(0.1)
            other.execute("ROLLBACK")

    async with SqliteLedger(path) as two:
        assert (await two.state("spring")).asked == "stopped"


@pytest.mark.parametrize("by_reader", [True, False])
async def test_damage_stops_all_workers(path: Path, *, by_reader: bool) -> None:
    """If a worker finds the file damaged, others do not go on with what can be read of it."""

    def damaged(*_: object) -> None:
        error = sqlite3.DatabaseError("malformed")
        error.sqlite_errorname = "SQLITE_CORRUPT"
        raise error

    async with SqliteLedger(path) as one, SqliteLedger(path) as two:
        await begin(one, 3)
        with pytest.raises(LedgerLost, match="damaged"):
            await (one._read(damaged) if by_reader else one._write(damaged))
        await one.aclose()

        state = await two.state("spring")

    assert (state.asked, "damaged" in state.why) == ("stopped", True)


def stop_updating(path: Path, index: str, sql: str) -> None:
    """Change rows, and leave an index as it was: its pages are then of an older time."""
    entry = "SELECT * FROM sqlite_master WHERE name = ?"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA writable_schema = ON")
        row = db.execute(entry, (index,)).fetchone()
        db.execute("DELETE FROM sqlite_master WHERE name = ?", (index,))
        db.commit()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(sql)
        db.execute("PRAGMA writable_schema = ON")
        db.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
        db.commit()


@pytest.mark.parametrize("part", ["rows", "contact_due", "contact_claimed"])
async def test_pages_of_an_older_time_are_refused_at_opening(path: Path, part: str) -> None:
    """If more contacts wait than were counted, a file is refused, and its campaigns stop."""
    async with SqliteLedger(path) as ledger:
        await begin(ledger, 3)
        await take(ledger)
    if part == "rows":
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("UPDATE tally SET contacts = contacts - 1 WHERE state = 'pending'")
            db.commit()
    else:
        done = "UPDATE contact SET state = 'placed', worker = NULL, lease_until = NULL"
        waiting = "claimed" if part == "contact_claimed" else "pending"
        stop_updating(path, part, f"{done} WHERE state = '{waiting}'")  # literals

    with pytest.raises(LedgerLost, match="older copy"):
        async with SqliteLedger(path):
            pass
    with contextlib.closing(sqlite3.connect(path)) as db:
        ((status, why),) = db.execute("SELECT status, why FROM campaign").fetchall()
    assert status == "stopped"
    assert "older copy" in why


async def test_contacts_that_a_person_deleted_are_no_reason_to_refuse(path: Path) -> None:
    """Rows that were deleted with SQLite's own shell leave the ledger as usable as before."""
    async with SqliteLedger(path) as ledger:
        await begin(ledger, 3)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM contact WHERE id = 1")
        db.commit()

    async with SqliteLedger(path) as ledger:
        assert len(await ledger.claim("spring", "w", most=9, lease=LEASE)) == 2


async def test_an_older_copy_beside_a_newer_log_is_refused(path: Path) -> None:
    """A backup that replaces the file of a killed worker is not dialled with that worker's log."""
    log = anyio.Path(f"{path}-wal")
    async with SqliteLedger(path) as ledger:
        await begin(ledger, 300)
    older = await anyio.Path(path).read_bytes()
    async with SqliteLedger(path) as ledger:
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(send, ledger, PLACED)
        with contextlib.closing(sqlite3.connect(path)) as db:
            db.execute("PRAGMA wal_checkpoint(RESTART)")  # the log begins anew
        await send(ledger, PLACED)
        left = await log.read_bytes()  # as SIGKILL leaves it
    await anyio.Path(path).write_bytes(older)
    await log.write_bytes(left)

    with pytest.raises(LedgerLost, match=r"older copy|damaged"):
        async with SqliteLedger(path):
            pass


# -- a log or an index that is missing


@pytest.mark.parametrize("gone", ["-wal", "-shm", "-wal -shm"])
async def test_a_worker_waits_for_one_whose_log_or_index_was_deleted(
    path: Path, gone: str
) -> None:
    """A new worker opens the file when the old one has closed it, and lacks nothing."""
    # In one process SQLite shares its index between connections, so the old one is another.
    async with SqliteLedger(path) as ledger:
        numbers = await begin(ledger, 3)
    old = await anyio.open_process([sys.executable, "-c", OLD, str(path)])
    assert old.stdin is not None
    assert old.stdout is not None
    await old.stdout.receive()
    for suffix in gone.split():
        await anyio.Path(f"{path}{suffix}").unlink()

    for migrate in (True, False):
        with pytest.raises(StoreError, match="was deleted while another process"):
            async with SqliteLedger(path, timeout=0.1, migrate=migrate):
                pass
    async with old:
        await old.stdin.aclose()
        async with SqliteLedger(path) as ledger:
            states = {c.number: c.state async for c in ledger.contacts("spring")}

    assert states == dict(
        zip(numbers, [ContactState.CLAIMED] + [ContactState.PENDING] * 2, strict=True)
    )


async def test_a_link_is_followed(tmp_path: Path) -> None:
    """Through symbolic links, of the file or of its folder, it is one ledger with one log."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "ledger.db"
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "way").symlink_to(tmp_path / "folder")
    async with (
        SqliteLedger(tmp_path / "link") as one,
        SqliteLedger(path) as two,
        SqliteLedger(tmp_path / "way" / "ledger.db") as three,
    ):
        await begin(one, 3)

        taken = [await take(each, worker) for each, worker in ((one, "a"), (two, "b"))]
        taken.append(await take(three, "c"))

        assert len({claim.number for claim in taken}) == 3
        names = {file.name for file in (tmp_path / "folder").iterdir()}
        assert names == {"ledger.db", "ledger.db-wal", "ledger.db-shm"}


async def test_a_file_with_two_names_is_refused(path: Path) -> None:
    """A hard link would have a log of its own, so a file with two names is not opened."""
    link = path.with_name("link.db")
    async with SqliteLedger(path) as ledger:
        await begin(ledger)
        link.hardlink_to(path)
        with pytest.raises(ConfigurationError, match=r"2 names.*symbolic"):
            await SqliteLedger(link).__aenter__()
        assert await counted(ledger) == {"pending": 1}, "it is still used under its first name"

    with pytest.raises(ConfigurationError, match="2 names"):
        await SqliteLedger(path).__aenter__()
    link.unlink()
    async with SqliteLedger(path) as ledger:
        assert await counted(ledger) == {"pending": 1}


async def test_a_file_that_is_mounted_by_itself_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that mounts the file alone would keep the log outside of the mount."""
    found = Path.stat

    def mounted(self: Path, **more: Any) -> os.stat_result:
        values = list(found(self, **more))
        return os.stat_result([*values[:2], 99 if self == path else 1, *values[3:]])

    monkeypatch.setattr(Path, "stat", mounted)
    with pytest.raises(ConfigurationError, match="mount its folder"):
        await SqliteLedger(path).__aenter__()


async def test_a_program_may_change_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is that of the moment when the ledger was made."""
    monkeypatch.chdir(tmp_path)
    ledger = SqliteLedger("ledger.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    async with ledger:
        await begin(ledger)
        monkeypatch.chdir(tmp_path.parent)
        await send(ledger, PLACED)

        assert await counted(ledger) == {"placed": 1}
    assert set(os.listdir(tmp_path)) == {"ledger.db", "elsewhere"}  # noqa: PTH208  # as a user would
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigurationError, match="full path"):
        SqliteLedger("ledger.db")


def damage(path: Path) -> None:
    """Overwrite all but the first pages of a file."""
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(path.stat().st_size - 16384))


async def test_a_file_that_is_damaged_is_told(path: Path) -> None:
    """A damaged file raises an error that says what to do."""
    async with SqliteLedger(path) as ledger:
        await begin(ledger, 3000)
    damage(path)

    with pytest.raises(LedgerLost, match=r"damaged.*copy"):
        async with SqliteLedger(path) as ledger:
            await ledger.claim("spring", "w", most=1000, lease=LEASE)
            _ = [contact async for contact in ledger.contacts("spring")]


@pytest.mark.parametrize("met_by", ["writer", "reader"])
@pytest.mark.parametrize("together", [1, 5])
async def test_damage_is_for_good(path: Path, together: int, met_by: str) -> None:
    """After damage nothing more is written or read, though parts of the file can be read.

    What the reader meets ends the writer, and the other way round.
    """
    async with SqliteLedger(path, timeout=0.3) as ledger:
        await begin(ledger, 3000)
        (claim,) = await ledger.claim("spring", "w", most=1, lease=LEASE)
        failures: list[StoreError] = []

        async def fail() -> None:
            try:
                await threads_of(ledger)[met_by == "reader"].do(corrupt)
            except StoreError as error:
                failures.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(together):
                tasks.start_soon(fail)

        assert [type(each) for each in failures] == [LedgerLost] * together
        with pytest.raises(LedgerLost, match="damaged"):
            await ledger.state("spring")
        with pytest.raises(LedgerLost, match="damaged"):
            await intend(ledger, claim, new_token())


def corrupt(db: sqlite3.Connection, now: float) -> None:
    """Fail as SQLite does when it meets a damaged page."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorname = "SQLITE_CORRUPT_INDEX"
    raise error


@pytest.mark.parametrize(
    ("name", "opening", "kind"),
    [
        ("SQLITE_CORRUPT", False, LedgerLost),
        ("SQLITE_CORRUPT_VTAB", True, LedgerLost),
        ("SQLITE_NOTADB", False, LedgerLost),
        ("SQLITE_NOTADB", True, ConfigurationError),
        ("SQLITE_READONLY_DBMOVED", False, LedgerLost),
        ("SQLITE_IOERR_VNODE", False, LedgerLost),
        ("SQLITE_READONLY", False, StoreError),
        ("SQLITE_IOERR_READ", False, StoreError),
        ("SQLITE_FULL", False, StoreError),
    ],
)
def test_what_does_not_pass_is_told_from_what_may(
    name: str, opening: bool, kind: type[Exception]
) -> None:
    """Damage and a moved file are LedgerLost; a full disk or a read error may pass."""
    error = sqlite3.OperationalError("x")
    error.sqlite_errorname = name

    assert type(explain(error, opening=opening)) is kind


# -- cancellation


async def test_who_is_cancelled_while_it_waits_gets_the_result(ledger: SqliteLedger) -> None:
    """A cancelled wait returns the result first, and is cancelled at the next await."""
    await begin(ledger)
    claim = await take(ledger)
    got: list[object] = []
    holding = Holding(ledger)
    async with anyio.create_task_group() as tasks:
        await holding.start(tasks)

        async def one() -> None:
            got.append(await intend(ledger, claim, new_token()))
            await anyio.sleep(60)

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(one)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
                tasks.start_soon(free_soon, holding)

    assert [type(intent) for intent in got] == [Intent]
    assert await counted(ledger) == {"sending": 1}


async def free_soon(holding: Holding) -> None:
    """Release the writer after a while."""
    await anyio.sleep(0.02)
    holding.free.set()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncios_own_cancellation_is_put_off_too(ledger: SqliteLedger) -> None:
    """An asyncio timeout is put off until the result is known, and then raised."""
    await begin(ledger)
    claim = await take(ledger)
    got: list[object] = []
    holding = Holding(ledger)

    async def one() -> None:
        async with asyncio.timeout(0.01):
            got.append(await intend(ledger, claim, new_token()))
            await asyncio.sleep(60)

    async with anyio.create_task_group() as tasks:
        await holding.start(tasks)
        tasks.start_soon(free_soon, holding)
        with pytest.raises(TimeoutError):
            await one()

    assert [type(intent) for intent in got] == [Intent]
    assert await counted(ledger) == {"sending": 1}


async def test_who_is_cancelled_already_begins_nothing(ledger: SqliteLedger) -> None:
    """In a cancelled scope, no operation begins."""
    await begin(ledger)
    claim = await take(ledger)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await intend(ledger, claim, new_token())

    assert scope.cancelled_caught
    assert await counted(ledger) == {"claimed": 1}


@pytest.mark.parametrize("edge", [False, True])
async def test_cancelled_anywhere_nothing_is_half_done(
    tmp_path: Path, anyio_backend_name: str, edge: bool
) -> None:
    """Cancelled at any await of a send, the state equals the last completed operation."""
    if edge and anyio_backend_name == "trio":
        edge = False
    numbers = itertools.count()
    done: list[str] = []

    async def setup() -> SqliteLedger:
        ledger = SqliteLedger(tmp_path / f"{next(numbers)}.db")
        await ledger.__aenter__()
        await begin(ledger)
        done.clear()
        return ledger

    async def operation(ledger: SqliteLedger) -> None:
        claim = await take(ledger)
        done.append("claimed")
        token = new_token()
        if await intend(ledger, claim, token):
            done.append("sending")
        if await ledger.settle(token, PLACED):
            done.append("placed")

    async def check(ledger: SqliteLedger) -> None:
        assert await counted(ledger) == {(done or ["pending"])[-1]: 1}
        await ledger.aclose()

    points = await cancel_everywhere(operation, setup=setup, check=check, edge=edge)

    assert points >= 3


async def test_closing_waits_for_what_is_queued(path: Path) -> None:
    """Closing waits for queued jobs and accepts no new ones."""
    clock = Clock()
    ledger = SqliteLedger(path, clock=clock)
    await ledger.__aenter__()
    await begin(ledger, 20)
    claims = await ledger.claim("spring", "w", most=20, lease=LEASE)
    got: list[object] = []

    async def one(claim: Any) -> None:
        got.append(await intend(ledger, claim, new_token()))

    holding = Holding(ledger)
    async with anyio.create_task_group() as tasks:
        await holding.start(tasks)
        for claim in claims:
            tasks.start_soon(one, claim)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ledger.aclose)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(StoreError):
            await ledger.create("late", {})
        holding.free.set()

    async with ledger:
        assert await counted(ledger) == {"sending": 20}
    assert len(got) == 20


# -- threads and loops


async def test_loading_does_not_stop_the_loop(ledger: SqliteLedger) -> None:
    """A slow iterable of contacts is read in a thread, and does not block the event loop."""
    await ledger.create("spring", {})
    go = threading.Event()

    def slow() -> Iterator[NewContact]:
        assert go.wait(10), "the loop stood still"
        yield from new_contacts(10)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.load, "spring", slow())
        await anyio.wait_all_tasks_blocked()
        go.set()

    assert await counted(ledger) == {"pending": 10}


async def test_forbidding_does_not_stop_the_loop(ledger: SqliteLedger) -> None:
    """A slow do-not-call list is read in a thread, in batches, without blocking the loop."""
    go = threading.Event()

    def slow() -> Iterator[int]:
        assert go.wait(10), "the loop stood still"
        yield from range(FIRST, FIRST + 2500)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ledger.add_do_not_call, slow(), "register")
        await anyio.wait_all_tasks_blocked()
        go.set()

    assert await ledger.add_do_not_call([FIRST, FIRST + 2499, FIRST + 2500], "register") == 1


@pytest.mark.parametrize("other", ["asyncio", "trio"])
async def test_several_loops_share_a_ledger(ledger: SqliteLedger, other: str) -> None:
    """A receiver on another event loop, in another thread, may record events."""
    await begin(ledger)
    _, token = await send(ledger)

    async def record() -> str | None:
        return await ledger.record_event(CallEvidence(token=token, request_id=None, at=1.0))

    recorded = await anyio.to_thread.run_sync(lambda: anyio.run(record, backend=other))

    assert recorded == "spring"
    assert await counted(ledger) == {"placed": 1}


# -- query plans


PLANS: list[tuple[str, Callable[[Ledger], Any]]] = [
    ("claim", lambda ledger: ledger.claim("spring", "w", most=5, lease=LEASE)),
    ("renew", lambda ledger: ledger.renew("w", lease=LEASE)),
    ("reap", lambda ledger: ledger.reap("spring")),
    ("next_due", lambda ledger: ledger.next_due("spring")),
    ("state", lambda ledger: ledger.state("spring")),
    ("find", lambda ledger: ledger.find("spring", FIRST)),
    ("settle", lambda ledger: ledger.settle("tcm_x", PLACED)),
    (
        "record_event",
        lambda ledger: ledger.record_event(CallEvidence(token="x", request_id="y", at=1.0)),
    ),
    (
        "resolve_unknown",
        lambda ledger: ledger.resolve_unknown("spring", older_than=1, policy="give_up"),
    ),
    ("redial", lambda ledger: ledger.redial_unknown("spring", [FIRST])),
    ("reopen", lambda ledger: ledger.reopen("spring", ContactState.FAILED, [FIRST])),
    ("missed", lambda ledger: ledger.redial_missed("spring", [60.0, 60.0])),
    ("missed, by decision", lambda ledger: ledger.redial_missed("spring", None)),
    ("missed numbers", lambda ledger: ledger.redial_missed("spring", None, [FIRST])),
    ("missed numbers, waits", lambda ledger: ledger.redial_missed("spring", [60.0], [FIRST])),
    ("reserve", lambda ledger: ledger.reserve([("a", 1.0)], longest=1.0)),
]


def explained(sql: str, db: sqlite3.Connection, now: float) -> list[Any]:
    """Return SQLite's query plan."""
    return db.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()


@pytest.mark.parametrize(("name", "ask"), PLANS, ids=[name for name, _ in PLANS])
async def test_no_question_looks_at_all_rows(
    ledger: SqliteLedger, name: str, ask: Callable[[Ledger], Any]
) -> None:
    """Every query uses an index, so that its cost does not grow with the contacts."""
    await begin(ledger, 2)
    asked: list[str] = []
    assert ledger._threads is not None
    for thread in ledger._threads:
        await thread.do(lambda db, _: db.set_trace_callback(asked.append))
    await ask(ledger)
    for thread in ledger._threads:
        await thread.do(lambda db, _: db.set_trace_callback(None))
    plans = [
        (sql, row[3])
        for sql in asked
        if sql.startswith(("SELECT", "UPDATE", "\nSELECT", "DELETE"))
        for row in await writer_of(ledger).do(partial(explained, sql))
    ]

    # Few contacts are claimed, a constant needs no index, and a subquery has a plan of its own.
    harmless = ("CONSTANT", "contact_claimed", "(subquery-")

    assert plans
    assert [
        (sql, plan)
        for sql, plan in plans
        if plan.startswith("SCAN") and not any(word in plan for word in harmless)
    ] == []


async def test_a_person_moves_all_missed_contacts_at_once(ledger: SqliteLedger) -> None:
    """Only what workers move by a plan is bounded: a person's decision holds for all contacts."""
    numbers = await begin(ledger, 1_100)
    missed = "UPDATE contact SET state = 'finished', answered = 0, finished_at = 1"
    found: list[int] = []
    for waits, some in (([0.0], None), ([0.0], numbers), (None, None), (None, numbers)):
        await run(ledger, f"{missed} RETURNING id")
        found.append(await ledger.redial_missed("spring", waits, some))
        await run(ledger, "UPDATE contact SET redials = 0")

    assert found == [1_000, 1_100, 1_100, 1_100]


async def test_a_ledger_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """A file with the first schema is migrated: its contacts and their sends stay."""
    db = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    migrate_sqlite(db, scripts("sqlite")[:1])
    db.execute(
        "INSERT INTO campaign (id, name, created, settings) VALUES (1, 'spring', 0, '{}')"
    )
    db.execute("INSERT INTO tally (campaign, state, contacts) VALUES (1, 'pending', 0)")
    db.execute("INSERT INTO tally (campaign, state, contacts) VALUES (1, 'claimed', 0)")
    db.execute("INSERT INTO contact (campaign, number, columns, sends) VALUES (1, 99, '{}', 2)")
    db.close()

    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        (claim,) = await ledger.claim("spring", "w", most=1, lease=LEASE)

    assert (claim.number, claim.sends, claim.attempts) == (99, 2, 2)

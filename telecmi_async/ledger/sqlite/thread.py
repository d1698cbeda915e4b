"""Write-ahead log thread: one SQLite connection, whose jobs share transactions.

All jobs that are queued share one transaction (group commit), because making it durable is what
costs. If one of them fails, all are done again, each behind a savepoint, so that only that one
is undone. A job has its result when the transaction is on disk, not before.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from telecmi_async.errors import ConfigurationError, LedgerLost, StoreError, TelecmiError
from telecmi_async.ledger.job_thread import Job, JobThread
from telecmi_async.ledger.migrate import (
    changed_meanwhile,
    migrate_sqlite,
    require_version,
    scripts,
    scripts_after,
    version_of,
)
from telecmi_async.ledger.sqlite.opening import (
    require_agreement,
    require_one_name,
    stop_campaigns,
    wait_until_unused,
)

_T = TypeVar("_T")
_Work: TypeAlias = Callable[[sqlite3.Connection, float], Any]

# The most jobs in a transaction. More would make the first of them wait.
_MOST_JOBS: Final = 256
# KiB of pages that a connection keeps. Twice that is all the memory a ledger takes, however
# many contacts it has.
_CACHE: Final = 8192
# Seconds between attempts while another connection writes.
_PAUSE: Final = 0.001
# Seconds in which a log that a writer makes or takes away is there, or gone.
_SETTLING: Final = 0.5

# By the name of SQLite's primary result code. SQLite's own message may hold values.
_REASONS: Final = {
    "SQLITE_BUSY": "another process has kept it locked for too long",
    "SQLITE_LOCKED": "another process has kept it locked for too long",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "it may not be written to",
    "SQLITE_PERM": "it may not be read or written",
    "SQLITE_CANTOPEN": "it cannot be opened; the folder must be there, and be writable",
    "SQLITE_CORRUPT": "it is damaged, and a copy knows nothing of calls since it was made",
    "SQLITE_NOTADB": "the file is not a SQLite database",
    "SQLITE_IOERR": "the disk reports an error",
    "SQLITE_CONSTRAINT": "a value is refused, such as a token that was used before",
}
# While the file is opened, these mean that the path was set up wrongly.
_SETUP_ERRORS: Final = ("SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_PERM", "SQLITE_READONLY")
# Of these, another version of the schema may be the reason.
_OF_THE_SCHEMA: Final = (
    "SQLITE_ERROR",
    "SQLITE_CONSTRAINT",
    "SQLITE_MISMATCH",
    "SQLITE_SCHEMA",
)
# These do not pass: what follows may read well, and still not know who was called.
_LOST: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_LOST_EXACTLY: Final = ("SQLITE_READONLY_DBMOVED", "SQLITE_IOERR_VNODE")
_REPLACED: Final = (
    "the ledger failed: its file, or the -wal or -shm beside it, was moved, deleted or replaced "
    "while it was open, and what was written since is gone with it"
)
# A ledger's file only grows: nothing is ever deleted.
_OVERWRITTEN: Final = (
    "the ledger failed: an older copy was written over its file; find out who was called before "
    "you go on"
)


def explain(error: Exception, *, opening: bool = False) -> TelecmiError:
    """Return an error as one of this package's, which repeats no value.

    While the file is being opened, a wrong path is a `ConfigurationError`.
    """
    if isinstance(error, TelecmiError):
        return error
    primary, name = _name_of(error, parts=2), _name_of(error)
    if name in _LOST_EXACTLY:
        return LedgerLost(_REPLACED)
    reason = _REASONS.get(primary, "it could not be used")
    kind: type[TelecmiError] = LedgerLost if primary in _LOST else StoreError
    if opening and primary in _SETUP_ERRORS:
        kind = ConfigurationError
    return kind(f"the ledger failed: {reason} ({name})")


def _is_of_the_file(lost: LedgerLost) -> bool:
    """Return whether it is the file that must not be used, by any worker."""
    return str(lost) == _OVERWRITTEN or _REASONS["SQLITE_CORRUPT"] in str(lost)


def _name_of(error: Exception, *, parts: int = 9) -> str:
    """Return the name of SQLite's result code; its first two parts are the primary code's."""
    name: str = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return "_".join(name.split("_")[:parts])


class SqliteLoss:
    """Why a file must not be used again by any thread that has it open; shared by those."""

    error: LedgerLost | None = None


class SqliteThread:
    """A thread that reads or writes a ledger's file, for any number of event loops.

    ``timeout`` is how long to wait, in seconds, for a file that another process has locked. A
    thread that only reads needs a file that exists, and so does one that does not ``migrate``.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float],
        *,
        timeout: float,
        writes: bool,
        loss: SqliteLoss,
        migrate: bool = True,
    ) -> None:
        self._path = path
        # The path as it was given: if it is a link, it must go on leading to the same file.
        self._files: list[str] = []
        self._clock = clock
        self._timeout = timeout
        self._writes = writes
        self._db: sqlite3.Connection | None = None
        self._identity: list[tuple[int, int]] = []
        # The file's size, which only grows.
        self._size = 0
        self._loss = loss
        self._migrate = migrate
        # The schema's version when the file was opened.
        self._version = 0
        self._thread: JobThread[_Work] = JobThread(
            f"telecmi-ledger-{'writer' if writes else 'reader'}",
            serve=self._serve,
            close=self._close,
            most=_MOST_JOBS,
        )

    async def open(self) -> None:
        """Start the thread and open the file."""
        try:
            await self.do(lambda _db, _now: None)
        except BaseException:
            await self.close()
            raise

    async def do(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        """Have a job done, and return its result once it is durable.

        The job is called with the connection and the time, in a transaction that looks like its
        own. It is called again if the shared transaction was undone.
        """
        result: _T = await self._thread.do(work)
        return result

    async def close(self) -> None:
        """Do the jobs that are queued, then close the file and end the thread."""
        await self._thread.close()

    # -- in the thread

    def _serve(self, jobs: list[Job[_Work]]) -> None:
        if (lost := self._loss.error) is not None:
            for job in jobs:
                job.fail(LedgerLost(*lost.args))
            return
        try:
            if len(self._files) == 1 and Path(f"{self._files[0]}-wal").exists():
                self._close()  # it was read without a log, and a process writes now
                self._db = None
            db = self._db = self._db or self._connect()
        except Exception as error:  # noqa: BLE001  # total on purpose: nothing foreign escapes
            for job in jobs:
                job.fail(explain(error, opening=True))
            return
        if not (
            self._together(db, jobs, _do_plainly) or self._together(db, jobs, self._do_or_undo)
        ):
            for job in jobs:
                self._together(db, [job], _do_plainly)

    def _close(self) -> None:
        if self._db is not None:
            self._stop_if_lost(self._db)
            with contextlib.suppress(sqlite3.Error):  # what was committed is in the log
                self._db.close()

    def _stop_if_lost(self, db: sqlite3.Connection) -> None:
        """Ask workers that opened the file since to stop, if it is damaged or an older copy."""
        lost = self._loss.error
        try:
            self._check_file()
        except LedgerLost as found:
            lost = lost or found
        if lost is None or not self._writes or not _is_of_the_file(lost):
            return
        with contextlib.suppress(sqlite3.Error):
            self._in_turn(db, "BEGIN IMMEDIATE")
            stop_campaigns(db, str(lost))
            db.execute("COMMIT")

    def _connect(self) -> sqlite3.Connection:
        """Open the file.

        Who may only read has no say in whether there is a log: between a look and the opening,
        the last writer may take it away, or the first make one.
        """
        only_reads = not (self._migrate or self._writes) and self._path.exists()
        until = time.monotonic() + _SETTLING
        while True:
            try:
                return self._open()
            except sqlite3.OperationalError as error:
                passes = only_reads and _name_of(error, parts=2) in _SETUP_ERRORS
                if not passes or time.monotonic() > until:
                    raise
            time.sleep(_PAUSE)

    def _open(self) -> sqlite3.Connection:
        path = os.path.realpath(self._path)
        if self._migrate:
            with contextlib.suppress(OSError):  # it exists, or SQLite says what is wrong
                # A ledger holds phone numbers: only its owner may read it.
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with contextlib.suppress(OSError):
            require_one_name(Path(path))
        writable = self._migrate or self._writes
        address = path if writable else f"{Path(path).as_uri()}{_way_in(path)}"
        beside = [f"{path}-wal", f"{path}-shm"]
        self._files = [str(self._path), *beside]
        if address.endswith("immutable=1"):
            del self._files[1:]
        if self._writes or address.endswith("mode=rw"):  # either makes an index
            wait_until_unused(Path(path), [Path(file) for file in beside], self._timeout)
        db = sqlite3.connect(
            address,
            timeout=self._timeout,
            isolation_level=None,
            cached_statements=256,
            uri=not writable,
        )
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(f"PRAGMA cache_size = -{_CACHE}")
            if self._writes:
                self._prepare_writing(db)
            else:
                db.execute("PRAGMA query_only = ON")
                db.execute("SELECT count(*) FROM sqlite_master").fetchone()
                require_version(db, len(scripts("sqlite")))
            self._identity, self._size = self._identify()
            (self._version,) = db.execute("PRAGMA user_version").fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def _prepare_writing(self, db: sqlite3.Connection) -> None:
        """Make commits durable, and bring the schema up to date."""
        if self._migrate:
            scripts_after(version_of(db), scripts("sqlite"))  # a log is a lasting change
        else:
            require_version(db, len(scripts("sqlite")))
        self._begin_log(db)
        # A commit survives a power loss: without its intent on disk, a call would be placed
        # twice.
        db.execute("PRAGMA synchronous = FULL")
        # On macOS, fsync leaves the data in the disk's own memory.
        db.execute("PRAGMA fullfsync = ON")
        db.execute("PRAGMA checkpoint_fullfsync = ON")
        if self._migrate:
            migrate_sqlite(db, scripts("sqlite"))
        require_agreement(db, _OVERWRITTEN)
        db.execute("PRAGMA busy_timeout = 0")  # see _in_turn

    def _begin_log(self, db: sqlite3.Connection) -> None:
        """Switch to a write-ahead log."""
        (mode,) = self._in_turn(db, "PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ConfigurationError(
                "the ledger needs a file on a local disk: this one has no write-ahead log"
            )

    def _in_turn(self, db: sqlite3.Connection, sql: str) -> sqlite3.Cursor:
        """Run a statement that needs the file for itself, as soon as the file is free.

        SQLite does not wait at all for a new log. For the right to write it polls every tenth
        of a second; while a busy process holds that right, nine polls in ten come too late.
        """
        until = time.monotonic() + self._timeout
        while True:
            try:
                return db.execute(sql)
            except sqlite3.OperationalError as error:
                if _name_of(error, parts=2) != "SQLITE_BUSY" or time.monotonic() > until:
                    raise
                time.sleep(_PAUSE)

    def _identify(self) -> tuple[list[tuple[int, int]], int]:
        """Return device and inode of the file, its log and the log's index; the file's size."""
        found = [os.stat(file) for file in self._files]  # noqa: PTH116  # for each transaction
        return [(each.st_dev, each.st_ino) for each in found], found[0].st_size

    def _together(
        self,
        db: sqlite3.Connection,
        jobs: list[Job[_Work]],
        do: Callable[[sqlite3.Connection, Job[_Work], float], None],
    ) -> bool:
        """Do jobs in one transaction; return False if one of several undid it for all."""
        committing = True
        try:
            self._in_turn(db, "BEGIN IMMEDIATE" if self._writes else "BEGIN")
            committing = False
            self._check_file()  # before: a process with another index would be overwritten
            for job in jobs:
                do(db, job, self._clock())
            committing = True
            db.execute("COMMIT")
            self._check_file()
        except Exception as error:  # noqa: BLE001  # total on purpose: nothing foreign escapes
            lost = self._explain(db, error)
            with contextlib.suppress(sqlite3.Error):
                if db.in_transaction:
                    db.execute("ROLLBACK")
            if isinstance(lost, LedgerLost):
                self._loss.error = lost
                self._stop_if_lost(db)
            elif len(jobs) > 1 and not committing:
                return False
            for job in jobs:
                job.fail(type(lost)(*lost.args))
        return True

    def _explain(self, db: sqlite3.Connection, error: Exception) -> TelecmiError:
        """Return an error of a job as one of this package's."""
        if _name_of(error, parts=2) in _OF_THE_SCHEMA:
            with contextlib.suppress(sqlite3.Error):
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version != self._version:
                    return changed_meanwhile(version, self._version)
        return explain(error)

    def _do_or_undo(self, db: sqlite3.Connection, job: Job[_Work], now: float) -> None:
        """Do a job, and undo it alone if it fails."""
        db.execute("SAVEPOINT job")
        try:
            _do_plainly(db, job, now)
        except Exception as error:
            failure = self._explain(db, error)
            # A full disk undoes the whole transaction, and damage concerns all.
            if not db.in_transaction or isinstance(failure, LedgerLost):
                raise
            job.fail(failure)
            db.execute("ROLLBACK TO job")
        db.execute("RELEASE job")

    def _check_file(self) -> None:
        """Require that the files are still there: SQLite would write on into deleted ones."""
        try:
            found, size = self._identify()
        except OSError:
            found, size = [], 0
        if found != self._identity:
            raise LedgerLost(_REPLACED)
        if size < self._size:
            raise LedgerLost(_OVERWRITTEN)
        self._size = size


def _do_plainly(db: sqlite3.Connection, job: Job[_Work], now: float) -> None:
    """Do a job that is not expected to fail."""
    job.succeed(job.work(db, now))


def _way_in(path: str) -> str:
    """Return how a file that is only read is opened, as the query of its URI.

    SQLite needs to write an index beside a log, even to read. Where it may not, it reads the
    file alone if there is no log: then no process writes.
    """
    if os.access(path, os.W_OK) and os.access(Path(path).parent, os.W_OK):
        return "?mode=rw"
    return "?mode=ro" if Path(f"{path}-wal").exists() else "?mode=ro&immutable=1"

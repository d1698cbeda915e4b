"""A thread with a SQLite connection of its own, which does jobs in transactions.

All jobs that wait share one transaction (group commit): what costs is making it durable, and
that is paid once for all of them. If one of them fails, all are done again, each with a
savepoint, so that it takes no other with it. Whoever gave a job learns its result when the transaction is on disk, not before, and
cannot be cancelled meanwhile: it always knows whether it happened.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

import anyio
from attrs import field, frozen

from telecmi_async.errors import ConfigurationError, StoreError, TelecmiError
from telecmi_async.ledger.migrate import migrate_sqlite, scripts
from telecmi_async.ledger.waiter import Waiter, wake_waiters

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SqliteThread", "explain"]

_T = TypeVar("_T")

# Jobs that share a transaction, at most. More would make the first of them wait.
_TOGETHER: Final = 256
# KiB of pages that a connection keeps. Twice that is all the memory a ledger takes, however
# many contacts it has.
_CACHE: Final = 8192
# How often it is looked whether others still write.
_PAUSE: Final = 0.001

# By the name of SQLite's primary result code. Its own words may hold values.
_WORDS: Final = {
    "SQLITE_BUSY": "another process has kept it locked for too long",
    "SQLITE_LOCKED": "another process has kept it locked for too long",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "it may not be written to",
    "SQLITE_PERM": "it may not be read or written",
    "SQLITE_CANTOPEN": "it cannot be opened; the folder must be there, and be writable",
    "SQLITE_CORRUPT": "it is damaged; restore it from a copy",
    "SQLITE_NOTADB": "the file is no SQLite database",
    "SQLITE_IOERR": "the disk reports an error",
    "SQLITE_CONSTRAINT": "a value is refused, such as a token that was used before",
}
# When it is opened, these mean that the path was set up wrongly.
_MISTAKES: Final = ("SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_PERM", "SQLITE_READONLY")


def explain(error: Exception) -> TelecmiError:
    """Return what failed as an error of this package, which repeats no value."""
    if isinstance(error, TelecmiError):
        return error
    name = _name_of(error)
    words = _WORDS.get(_primary(name), "it could not be used")
    return StoreError(f"the ledger failed: {words} ({name})")


def _explain_opening(error: Exception) -> TelecmiError:
    mistaken = _primary(_name_of(error)) in _MISTAKES
    explained = explain(error)
    return ConfigurationError(str(explained)) if mistaken else explained


def _name_of(error: Exception) -> str:
    name: str = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return name


def _primary(name: str) -> str:
    return "_".join(name.split("_")[:2])


@frozen(eq=False)
class _Job(Generic[_T]):
    """Something to do, and who waits for what comes of it."""

    work: Callable[[sqlite3.Connection, float], _T]
    waiter: Waiter[_T] = field(factory=Waiter[_T])


class SqliteThread:
    """A thread that reads or writes a ledger's file.

    It serves any number of event loops. It is opened once, and closed once.

    Args:
        path: The file.
        clock: Tells the time.
        timeout: How long to wait for a file that another process has locked, in seconds.
        writes: Whether it writes. One that only reads expects that the file is there.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float], *, timeout: float, writes: bool
    ) -> None:
        self._path = path
        self._clock = clock
        self._timeout = timeout
        self._writes = writes
        self._jobs: queue.SimpleQueue[_Job[Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._last: _Job[None] | None = None
        self._identity: list[tuple[int, int]] = []

    async def open(self) -> None:
        """Start the thread and open the file.

        Raises:
            ConfigurationError: It cannot be opened.
        """
        opening: _Job[None] = _Job(_nothing)
        name = f"telecmi-ledger-{'writer' if self._writes else 'reader'}"
        threading.Thread(target=self._main, args=(opening,), name=name, daemon=True).start()
        await opening.waiter.wait()

    async def do(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        """Have a job done, and return its result once that is durable.

        It is not begun if the caller is cancelled already. Once it is, the caller stays until
        it is known whether it happened.

        Args:
            work: Called with the connection and the time, in a transaction of its own as far
                as it can tell. It may be called again if the transaction of all was undone.

        Raises:
            StoreError: It did not happen; or the file is gone, and what it wrote with it.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        job = _Job(work)
        with self._lock:
            if self._last is not None:
                raise StoreError("the ledger is closed")
            self._jobs.put(job)
        return await job.waiter.wait()

    async def close(self) -> None:
        """Do what is queued, then close the file and end the thread."""
        with self._lock:
            self._last = _Job(_nothing)
            self._jobs.put(self._last)
        await self._last.waiter.wait()

    # -- in the thread

    def _main(self, opening: _Job[None]) -> None:
        try:
            db = self._connect()
        except Exception as error:  # noqa: BLE001  # total on purpose: nothing foreign escapes
            opening.waiter.failure = _explain_opening(error)
            wake_waiters([opening.waiter])
            return
        wake_waiters([opening.waiter])
        over = False
        while not over:
            jobs, over = self._waiting()
            if jobs:
                self._serve(db, jobs)
        with contextlib.suppress(sqlite3.Error):  # what was committed is in the log
            db.close()
        wake_waiters([cast("_Job[None]", self._last).waiter])

    def _waiting(self) -> tuple[list[_Job[Any]], bool]:
        """Return all jobs that wait, and whether the ledger is to be closed after them."""
        jobs: list[_Job[Any]] = []
        job = self._jobs.get()
        while job is not self._last:
            jobs.append(job)
            if len(jobs) == _TOGETHER:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _connect(self) -> sqlite3.Connection:
        with contextlib.suppress(OSError):  # it is there, or SQLite says what is wrong
            # Whom somebody calls is nobody else's business.
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        db = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, cached_statements=256
        )
        try:
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(f"PRAGMA cache_size = -{_CACHE}")
            if self._writes:
                self._begin_log(db)
                # What is committed is on disk, though the power fail: an intent that were lost
                # would be a call that is placed twice.
                db.execute("PRAGMA synchronous = FULL")
                migrate_sqlite(db, scripts("sqlite"))
                db.execute("PRAGMA busy_timeout = 0")  # see _in_turn
            else:
                db.execute("PRAGMA query_only = ON")
                db.execute("SELECT count(*) FROM campaign").fetchone()
            self._identity = self._identify()
        except BaseException:
            db.close()
            raise
        return db

    def _begin_log(self, db: sqlite3.Connection) -> None:
        """Switch to a write-ahead log."""
        (mode,) = self._in_turn(db, "PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise ConfigurationError(
                "the ledger needs a file on a local disk: this one has no write-ahead log"
            )

    def _in_turn(self, db: sqlite3.Connection, sql: str) -> sqlite3.Cursor:
        """Do what needs the file for itself, when its turn comes.

        SQLite does not wait at all for a new log. For the right to write it looks every tenth
        of a second, and while a busy process has it nine times in ten it comes too late.
        """
        until = time.monotonic() + self._timeout
        while True:
            try:
                return db.execute(sql)
            except sqlite3.OperationalError as error:
                if _primary(_name_of(error)) != "SQLITE_BUSY" or time.monotonic() > until:
                    raise
                time.sleep(_PAUSE)

    def _identify(self) -> list[tuple[int, int]]:
        """Return which files the path and its log stand for now."""
        found: list[os.stat_result] = [
            self._path.stat(),
            self._path.with_name(f"{self._path.name}-wal").stat(),
        ]
        return [(stat.st_dev, stat.st_ino) for stat in found]

    def _serve(self, db: sqlite3.Connection, jobs: list[_Job[Any]]) -> None:
        if not (self._together(db, jobs, _do_plainly) or self._together(db, jobs, _do_or_undo)):
            for job in jobs:
                self._together(db, [job], _do_plainly)
        wake_waiters(job.waiter for job in jobs)

    def _together(
        self,
        db: sqlite3.Connection,
        jobs: list[_Job[Any]],
        do: Callable[[sqlite3.Connection, _Job[Any], float], None],
    ) -> bool:
        """Do jobs in one transaction; False if one of several undid it for all of them."""
        committing = True
        try:
            self._in_turn(db, "BEGIN IMMEDIATE" if self._writes else "BEGIN")
            committing = False
            for job in jobs:
                do(db, job, self._clock())
            committing = True
            db.execute("COMMIT")
            self._look_for_file()
        except Exception as error:  # noqa: BLE001  # total on purpose: nothing foreign escapes
            if db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
            if len(jobs) > 1 and not committing:
                return False
            for job in jobs:
                job.waiter.failure = explain(error)
        return True

    def _look_for_file(self) -> None:
        """Notice when the file is gone: SQLite goes on writing where nobody will find it."""
        try:
            found = self._identify()
        except OSError:
            found = []
        if found != self._identity:
            raise StoreError(
                "the ledger failed: its file was deleted or replaced while it was open, and "
                "what was written since is gone with it"
            )


def _do_plainly(db: sqlite3.Connection, job: _Job[Any], now: float) -> None:
    """Do a job that is not expected to fail."""
    job.waiter.failure = None
    job.waiter.answer = job.work(db, now)


def _do_or_undo(db: sqlite3.Connection, job: _Job[Any], now: float) -> None:
    """Do a job, and undo it alone if it fails."""
    db.execute("SAVEPOINT job")
    try:
        _do_plainly(db, job, now)
    except Exception as error:
        # A full disk undoes the whole transaction.
        if not db.in_transaction:
            raise
        job.waiter.failure = explain(error)
        db.execute("ROLLBACK TO job")
    db.execute("RELEASE job")


def _nothing(db: sqlite3.Connection, now: float) -> None:
    """Do nothing: whoever waits for this waits for its turn."""

"""A ledger on the virtual clock: SQLite's own jobs, in memory, and without its threads.

`telecmi_async.ledger.SqliteLedger` works in threads, and a virtual clock jumps while a thread
works. Here each job is done at once; all else is the same.
"""

from __future__ import annotations

import atexit
import sqlite3
import weakref
from functools import cache
from typing import TYPE_CHECKING, Self, SupportsIndex, TypeVar

import anyio

from telecmi_async.errors import StoreError
from telecmi_async.ledger import Loaded, SqliteLedger
from telecmi_async.ledger.migrate import migrate_sqlite, scripts
from telecmi_async.ledger.sqlite.ledger import _rows
from telecmi_async.ledger.sqlite.thread import explain
from telecmi_async.phone import parse_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from telecmi_async.ledger import NewContact

_T = TypeVar("_T")
#: The time when the event loop's clock is at 0.
EPOCH = 1_800_000_000.0


def loop_clock() -> float:
    """Return the time by the event loop's clock."""
    return EPOCH + anyio.current_time()


@cache
def _migrated() -> sqlite3.Connection:
    """Return an empty ledger, which is copied: its migrations take longer than most tests."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    atexit.register(db.close)
    migrate_sqlite(db, scripts("sqlite"))
    return db


class MemoryLedger(SqliteLedger):
    """A ledger whose jobs are done at once.

    Args:
        clock: Returns the time.
    """

    def __init__(self, clock: Callable[[], float] = loop_clock) -> None:
        super().__init__("it has no file", clock=lambda: clock() + self.ahead)
        # From Python 3.13 on, an unclosed connection warns. A test need not close its ledger, so a
        # finalizer does, in the thread that collects it.
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        weakref.finalize(self, self._db.close)
        _migrated().backup(self._db)
        self._db.execute("PRAGMA foreign_keys = ON")
        #: How many seconds its time is ahead of its clock.
        self.ahead = 0.0
        #: Whether every job fails.
        self.gone = False
        #: Whether every change fails.
        self.full = False
        #: Whether jobs are done, but raise StoreError.
        self.mute = False
        #: How many jobs were requested.
        self.jobs = 0

    async def __aenter__(self) -> Self:
        """Open nothing."""
        return self

    async def aclose(self) -> None:
        """Close nothing; the contents remain."""

    async def _write(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        await self._begin()
        if self.full:
            raise StoreError("the ledger failed: the disk is full (SQLITE_FULL)")
        self._db.execute("SAVEPOINT job")
        try:
            result = work(self._db, self._clock())
        except Exception as error:  # noqa: BLE001  # as in the real ledger
            self._db.execute("ROLLBACK TO job")
            self._db.execute("RELEASE job")
            raise explain(error) from None
        self._db.execute("RELEASE job")
        if self.mute:
            raise StoreError("the ledger failed: the result is unknown")
        return result

    async def _read(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        await self._begin()
        try:
            result = work(
                self._db, self._clock()
            )  # all at once, so that it needs no transaction
        except Exception as error:  # noqa: BLE001  # as in the real ledger
            raise explain(error) from None
        if self.mute:
            raise StoreError("the ledger failed: the result is unknown")
        return result

    async def _begin(self) -> None:
        # As in the real ledger: a cancelled job does not begin; a begun one completes.
        await anyio.lowlevel.checkpoint_if_cancelled()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
        self.jobs += 1
        if self.gone:
            raise StoreError("the ledger failed: the disk is full (SQLITE_FULL)")

    async def load(self, name: str, contacts: Iterable[NewContact], *, by: str = "") -> Loaded:
        """Add contacts, all at once."""
        source, added, known = iter(contacts), 0, 0
        rows = _rows(source)  # one batch at a time
        while True:
            loaded = await self._load(name, rows, "loading", by)
            added, known = added + loaded.added, known + loaded.known
            if not (rows := _rows(source)):
                return Loaded(added=added, known=known)

    async def add_do_not_call(
        self, numbers: Iterable[SupportsIndex | str], source: str, *, by: str = ""
    ) -> int:
        """Add numbers to the do-not-call list, all at once."""
        some = list(parse_numbers(numbers))
        return await self._add_do_not_call(some, source, "adding", by)

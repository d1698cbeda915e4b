"""SQLite ledger: one file, for any number of processes on one machine."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections import Counter
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    ParamSpec,
    Self,
    SupportsIndex,
    TypeVar,
)

import anyio.to_thread

from telecmi_async._internal.argument_errors import copy_signature
from telecmi_async._internal.messages import shown
from telecmi_async._internal.seams import check_clock, check_instance
from telecmi_async._internal.validators import is_number
from telecmi_async.errors import ConfigurationError, LedgerLost
from telecmi_async.ledger.changes import withdrawn_from, words_of_withdrawal
from telecmi_async.ledger.records import Loaded
from telecmi_async.ledger.sanitize import clean, contact_row
from telecmi_async.ledger.sqlite import (
    claims,
    decisions,
    keys,
    limits,
    queries,
    sends,
    steering,
)
from telecmi_async.ledger.sqlite.thread import SqliteLoss, SqliteThread
from telecmi_async.phone import parse_numbers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
    from types import CoroutineType

    from telecmi_async.ledger.changes import CampaignChange, DoNotCallEntry, Withdrawn
    from telecmi_async.ledger.records import Contact, NewContact
    from telecmi_async.ledger.states import ContactState

_T = TypeVar("_T")
_P = ParamSpec("_P")

#: The first version that returns what an update changed.
_OLDEST: Final = (3, 35, 0)
# Rows in a transaction: few enough that a send does not wait long behind them.
_BATCH: Final = 1000


def _job(
    work: Callable[Concatenate[sqlite3.Connection, float, _P], _T], *, reads: bool = False
) -> Callable[Concatenate[SqliteLedger, _P], CoroutineType[Any, Any, _T]]:
    """Return the method that has the writer or the reader do this, given connection and time."""

    async def method(self: SqliteLedger, /, *args: _P.args, **named: _P.kwargs) -> _T:
        run = self._read if reads else self._write
        return await run(lambda db, now: work(db, now, *args, **named))

    copy_signature(work, method, leave_out=2)
    return method  # type: ignore[return-value]  # mypy takes an async function's result for a Coroutine only


class SqliteLedger:
    """The embedded ledger: a file, and nothing to install.

    It works on asyncio and trio, in any number of processes of one machine, and a process may
    open the same file more than once. The file must be on a **local disk**: SQLite's
    write-ahead log does not work over a network. For workers on several machines there is
    `PostgresLedger`.

    A method returns after its change is on disk. If it is cancelled meanwhile, it still waits
    and returns its result. The methods are those of `Ledger`.

    Example:
        What a campaign is doing::

            from telecmi_async.ledger import SqliteLedger

            async with SqliteLedger("campaigns.db") as ledger:
                for name in await ledger.campaigns():
                    print(await ledger.state(name))

    Args:
        path: The file; it is created if it does not exist, readable by this user only (on
            Windows, by those who may read its folder). SQLite keeps two more files beside it
            while it is open (``-wal`` and ``-shm``): copy or move a ledger when no process has
            it open. Symbolic links are followed, hard links are refused.
        timeout: How long to wait, in seconds, while another process keeps the file locked.
        clock: Returns the time, in seconds since 1970. All processes on the file must use the
            same clock.
        migrate: Whether opening creates the file, or brings its schema up to date. With False a
            file of another version is refused, and it suffices that one may read it.

    Raises:
        ConfigurationError: SQLite is older than 3.35, or the path cannot be a file's.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.time,
        migrate: bool = True,
    ) -> None:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise ConfigurationError(
                f"SqliteLedger needs SQLite 3.35 or newer; this Python has "
                f"{sqlite3.sqlite_version}"
            )
        if not is_number(timeout) or timeout <= 0:
            raise ConfigurationError(
                f"SqliteLedger.timeout must be a positive number of seconds, not "
                f"{shown(timeout)}"
            )
        wanted = "a path: a text, or a pathlib.Path"
        check_instance("SqliteLedger.path", path, str | PathLike, wanted)
        check_clock("SqliteLedger.clock", clock)
        try:
            self._path = Path(path).absolute()  # a program may change its working directory
        except OSError:
            raise ConfigurationError(
                "the working directory is gone: give a full path"
            ) from None
        if Path(path).name in {"", ":memory:"}:
            raise ConfigurationError("SqliteLedger needs a file, which outlives the process")
        self._timeout = float(timeout)
        self._clock = clock
        self._migrate = migrate
        self._threads: tuple[SqliteThread, SqliteThread] | None = None

    def __repr__(self) -> str:
        return f"SqliteLedger({str(self._path)!r})"

    async def __aenter__(self) -> Self:
        """Open the file, and bring its schema up to date.

        Raises:
            ConfigurationError: It cannot be opened, is not a ledger, has two names (hard links),
                or is of a newer version.
            LedgerLost: It is damaged.
            StoreError: Another process keeps it locked.
        """
        if self._threads is not None:
            raise ConfigurationError("this ledger is open already; make another one instead")
        loss = SqliteLoss()
        writer, reader = (
            SqliteThread(
                self._path,
                self._clock,
                timeout=self._timeout,
                writes=writes,
                loss=loss,
                migrate=self._migrate,
            )
            for writes in (True, False)
        )
        if self._migrate:  # else it is opened by the first change, if there is any
            await writer.open()
        try:
            await reader.open()
        except BaseException:
            await writer.close()
            raise
        self._threads = writer, reader
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish the changes that are queued, and close the file. It may be called twice."""
        threads, self._threads = self._threads, None
        if threads is not None:
            writer, reader = threads
            await reader.close()
            await writer.close()  # last, so that the log is folded into the file

    async def _write(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        return await self._open()[0].do(work)

    async def _read(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        return await self._open()[1].do(work)

    def _open(self) -> tuple[SqliteThread, SqliteThread]:
        if self._threads is None:
            raise LedgerLost(
                "the ledger is not open, or closed already: use it inside `async with`"
            )
        return self._threads

    async def now(self, *, within: float = 0.0) -> float:  # noqa: ARG002  # it is never old
        """Return the time by this machine's clock."""
        return self._clock()

    create = _job(claims.create)
    settings = _job(queries.settings, reads=True)
    campaigns = _job(queries.campaigns, reads=True)
    settings_revision = _job(steering.settings_revision, reads=True)
    change_settings = _job(steering.replace_settings)
    set_status = _job(steering.set_status)
    state = _job(queries.state, reads=True)

    async def load(self, name: str, contacts: Iterable[NewContact], *, by: str = "") -> Loaded:
        """Add contacts; a thread takes them from the iterable, a thousand a transaction."""
        await self._read(lambda db, _: queries.campaign_id(db, name))
        added = known = 0
        rest, operation = iter(contacts), secrets.token_hex(8)
        while rows := await anyio.to_thread.run_sync(_rows, rest):
            loaded = await self._load(name, rows, operation, by)
            added, known = added + loaded.added, known + loaded.known
        return Loaded(added=added, known=known)

    _load = _job(claims.load)

    async def withdraw(
        self, name: str, numbers: Iterable[SupportsIndex | str], *, by: str = "", why: str = ""
    ) -> Withdrawn:
        """Have contacts not be dialled any more; a thread takes their numbers."""
        words = clean(words_of_withdrawal(by, why))
        rest, operation = parse_numbers(numbers), secrets.token_hex(8)
        total, found = 0, Counter[str]()
        while batch := await anyio.to_thread.run_sync(list, islice(rest, _BATCH)):
            found.update(await self._withdraw(name, batch, words, operation, by, why))
            total += len(batch)
        return withdrawn_from(found, total)

    _withdraw = _job(steering.withdraw)
    claim = _job(claims.claim)
    renew = _job(claims.renew)
    release = _job(claims.release)
    next_due = _job(queries.next_due, reads=True)

    intend = _job(sends.intend)
    block = _job(claims.put_back)
    settle = _job(sends.settle)
    reap = _job(claims.reap)
    record_event = _job(sends.record_evidence)
    resolve_unknown = _job(decisions.resolve_unknown)

    async def redial_unknown(
        self,
        name: str,
        numbers: Iterable[SupportsIndex | str] | None = None,
        *,
        by: str = "",
    ) -> int:
        """Make unknown contacts pending because a person decided so."""
        wanted = None if numbers is None else list(parse_numbers(numbers))
        return await self._write(lambda db, now: decisions.redial(db, now, name, wanted, by))

    async def reopen(
        self,
        name: str,
        state: ContactState,
        numbers: Iterable[SupportsIndex | str] | None = None,
        *,
        reason: str = "",
        by: str = "",
    ) -> int:
        """Make rejected, failed or blocked contacts pending because a person decided so."""
        wanted = None if numbers is None else list(parse_numbers(numbers))
        return await self._write(
            lambda db, now: decisions.reopen(db, now, name, state, wanted, reason, by)
        )

    async def redial_missed(
        self,
        name: str,
        waits: Sequence[float] | None,
        numbers: Iterable[SupportsIndex | str] | None = None,
        *,
        revision: int = 0,
        by: str = "",
    ) -> int:
        """Make finished contacts pending whose calls were not answered."""
        wanted = None if numbers is None else list(parse_numbers(numbers))
        return await self._write(
            lambda db, now: decisions.redial_missed(db, now, name, waits, wanted, revision, by)
        )

    async def add_do_not_call(
        self, numbers: Iterable[SupportsIndex | str], source: str, *, by: str = ""
    ) -> int:
        """Add numbers to the do-not-call list; a thread takes them from the iterable."""
        new, operation = 0, secrets.token_hex(8)
        rest = parse_numbers(numbers)
        while batch := await anyio.to_thread.run_sync(list, islice(rest, _BATCH)):
            new += await self._add_do_not_call(batch, clean(source), operation, clean(by))
        return new

    _add_do_not_call = _job(steering.add_do_not_call)

    async def remove_do_not_call(
        self, numbers: Iterable[SupportsIndex | str], *, by: str = ""
    ) -> int:
        """Remove numbers from the list; they stay on record."""
        removed, operation = 0, secrets.token_hex(8)
        rest = parse_numbers(numbers)
        while batch := await anyio.to_thread.run_sync(list, islice(rest, _BATCH)):
            removed += await self._remove_do_not_call(batch, operation, clean(by))
        return removed

    _remove_do_not_call = _job(steering.remove_do_not_call)

    async def do_not_call(self) -> AsyncGenerator[DoNotCallEntry]:
        """Iterate over the do-not-call list, in the order of numbers."""
        after = 0
        while page := await self._do_not_call(after):
            for entry in page:
                yield entry
            after = page[-1].number

    _do_not_call = _job(steering.do_not_call_page, reads=True)

    async def contacts(
        self, name: str, *, states: Sequence[ContactState] = ()
    ) -> AsyncGenerator[Contact]:
        """Iterate over contacts in the order of loading, without their histories."""
        after = 0
        while page := await self._contacts(name, states, after):
            for row, contact in page:
                yield contact
                after = row

    _contacts = _job(queries.contacts_page, reads=True)
    find = _job(queries.find, reads=True)

    async def changes(self, name: str) -> AsyncGenerator[CampaignChange]:
        """Iterate over what was changed, and by whom, oldest first."""
        after = 0
        while page := await self._changes(name, after):
            for row, change in page:
                yield change
                after = row

    _changes = _job(steering.changes_page, reads=True)

    reserve = _job(limits.reserve)
    advance_starts = _job(limits.advance_starts)
    lease_channel = _job(limits.lease_channel)
    free_channel = _job(limits.free_channel_row)

    claim_key = _job(keys.claim_key)
    settle_key = _job(keys.settle_key)
    find_key = _job(keys.find_key, reads=True)


def _rows(contacts: Iterator[object]) -> list[tuple[int, str, float, float | None]]:
    return [contact_row(contact) for contact in islice(contacts, _BATCH)]

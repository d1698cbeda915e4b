"""A ledger in a SQLite file: one machine, any number of processes on it."""

from __future__ import annotations

import sqlite3
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

import anyio.to_thread

from telecmi_async._internal.messages import shown
from telecmi_async._internal.validators import is_number
from telecmi_async.errors import ConfigurationError, StoreError
from telecmi_async.ledger.contact import Loaded
from telecmi_async.ledger.sanitize import clean, contact_row, heard_of, json_of
from telecmi_async.ledger.sqlite import claims, limits, queries, sends
from telecmi_async.ledger.sqlite.thread import SqliteThread
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence

    from telecmi_async.ledger.base import (
        CallEvidence,
        CampaignState,
        Claim,
        Contact,
        Intent,
        Reaped,
        RuleDecision,
        SendLimits,
        SendResult,
    )
    from telecmi_async.ledger.contact import NewContact
    from telecmi_async.ledger.states import ContactState

__all__ = ["SqliteLedger"]

_T = TypeVar("_T")
_Row = tuple[int, str, float, float | None]

#: The first version that returns what an update changed.
_OLDEST: Final = (3, 35, 0)
# Rows that share a transaction: few enough that a send does not wait long behind them.
_BATCH: Final = 1000


class SqliteLedger:
    """The embedded ledger: a file, and nothing to install.

    It works on asyncio and trio, in any number of processes of one machine, and a process may
    open the same file more than once. The file must be on a **local disk**: SQLite's
    write-ahead log does not work over a network. For workers on several machines there is
    ``PostgresLedger``.

    What a method did is on disk when it returns. Who is cancelled while it waits for that
    stays until it is known, and gets the result.

    Args:
        path: The file; it is made if it is not there, readable by this user only. Beside it
            SQLite keeps two more while it is open (``-wal`` and ``-shm``): copy a ledger when
            nobody has it open.
        timeout: How long to wait, in seconds, while another process keeps the file locked.
        clock: Tells the time, in seconds since 1970. Every process on the file must have the
            same.

    Raises:
        ConfigurationError: SQLite is older than 3.35, or the path is no file's.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = 30.0,
        clock: Callable[[], float] = time.time,
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
        self._path = Path(path)
        if self._path.name in {"", ":memory:"}:
            raise ConfigurationError("SqliteLedger needs a file: what it keeps must outlive it")
        self._timeout = float(timeout)
        self._clock = clock
        self._desks: tuple[SqliteThread, SqliteThread] | None = None

    def __repr__(self) -> str:
        return f"SqliteLedger({str(self._path)!r})"

    async def __aenter__(self) -> Self:
        """Open the file, and bring its schema up to date.

        Raises:
            ConfigurationError: It cannot be opened, is no ledger, or is of a newer version.
            StoreError: Another process keeps it locked.
        """
        if self._desks is not None:
            raise ConfigurationError("this ledger is open already; make another one instead")
        writer, reader = (
            SqliteThread(self._path, self._clock, timeout=self._timeout, writes=writes)
            for writes in (True, False)
        )
        await writer.open()
        try:
            await reader.open()
        except BaseException:
            await writer.close()
            raise
        self._desks = writer, reader
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Put on record what waits for it, and close the file. Closing twice is no trouble."""
        desks, self._desks = self._desks, None
        if desks is not None:
            writer, reader = desks
            await reader.close()
            await writer.close()  # last, so that the log is folded into the file

    async def _write(self, work: Callable[[sqlite3.Connection, float], _T]) -> _T:
        return await self._open()[0].do(work)

    async def _read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        return await self._open()[1].do(lambda db, _: work(db))

    def _open(self) -> tuple[SqliteThread, SqliteThread]:
        if self._desks is None:
            raise StoreError("the ledger is not open: use it inside `async with`")
        return self._desks

    async def now(self) -> float:
        """Return the time by this machine's clock."""
        return self._clock()

    # -- campaigns

    async def create(self, name: str, settings: Mapping[str, object]) -> bool:
        """Begin a campaign; False if there is one of that name. It starts ``"running"``.

        Raises:
            ConfigurationError: The settings are not JSON's.
        """
        text = json_of(settings, "settings")
        return await self._write(lambda db, now: claims.create(db, now, name, text))

    async def settings(self, name: str) -> Mapping[str, object] | None:
        """Return what a campaign was begun with; ``None`` if there is none of that name."""
        return await self._read(lambda db: queries.settings(db, name))

    async def campaigns(self) -> list[str]:
        """Return the names of all campaigns, oldest first."""
        return await self._read(queries.campaigns)

    async def set_status(self, name: str, status: str, why: str = "") -> None:
        """Ask all workers of a campaign to run, pause or stop."""
        await self._write(lambda db, _: claims.set_status(db, name, status, clean(why)))

    async def state(self, name: str) -> CampaignState:
        """Return how a campaign stands: read, not counted, so it takes the same at any size."""
        return await self._read(lambda db: queries.state(db, name))

    # -- contacts

    async def load(self, name: str, contacts: Iterable[NewContact]) -> Loaded:
        """Add contacts, each number once in a campaign.

        They are taken from the iterable in a thread, a thousand at a time, each thousand on
        disk before the next is taken. If it ends early, load all of them again: those that are
        there are left as they are.

        Raises:
            ConfigurationError: There is no such campaign, or something is no `NewContact`, or
                one that cannot be kept.
        """
        await self._read(lambda db: claims.campaign_id(db, name))
        added = known = 0
        rest = iter(contacts)
        while rows := await anyio.to_thread.run_sync(_rows, rest):
            loaded = await self._write(partial(claims.load, name=name, rows=rows))
            added, known = added + loaded.added, known + loaded.known
        return Loaded(added=added, known=known)

    async def claim(self, name: str, worker: str, *, most: int, lease: float) -> list[Claim]:
        """Take contacts that are due, those first that are due the longest."""
        return await self._write(
            lambda db, now: claims.claim(db, now, name, worker, most, lease)
        )

    async def renew(self, worker: str, *, lease: float) -> int:
        """Lengthen the leases of all claims a worker holds; return how many it holds."""
        return await self._write(lambda db, now: claims.renew(db, now, worker, lease))

    async def release(self, claim: Claim, worker: str, *, not_before: float = 0.0) -> bool:
        """Give a contact back that was not sent; False if it was lost meanwhile."""
        return await self._write(
            lambda db, now: claims.release(db, now, claim, worker, not_before)
        )

    async def next_due(self, name: str) -> float | None:
        """Return when the next pending contact is due; ``None`` if there is none pending."""
        return await self._read(lambda db: queries.next_due(db, name))

    # -- sending

    async def intend(
        self,
        claim: Claim,
        worker: str,
        token: str,
        *,
        limits: SendLimits,
        fence: float,
        lease: float,
    ) -> Intent | RuleDecision | None:
        """Put the intent to send on record, unless a limit forbids it: in one transaction."""
        return await self._write(
            lambda db, now: sends.intend(db, now, claim, worker, token, limits, fence, lease)
        )

    async def block(self, claim: Claim, worker: str, refusal: RuleDecision) -> bool:
        """Postpone or block a claimed contact by a rule of the engine's."""
        return await self._write(
            lambda db, now: claims.put_back(db, now, claim, worker, refusal)
        )

    async def settle(self, token: str, outcome: SendResult) -> bool:
        """Put on record what a send came to; False if an event was faster, or it was reaped."""
        return await self._write(lambda db, now: sends.settle(db, now, token, outcome))

    async def reap(self, name: str) -> Reaped:
        """Release and lose what workers left behind whose leases are over."""
        return await self._write(lambda db, now: claims.reap(db, now, name))

    # -- evidence

    async def record_event(self, event: CallEvidence) -> str | None:
        """Note an event of a call: it was placed, and perhaps it is over."""
        event = heard_of(event)
        return await self._write(lambda db, now: sends.hear(db, now, event))

    async def resolve_unknown(self, name: str, *, older_than: float, policy: str) -> int:
        """Make unknown contacts pending whose calls are proven absent; return how many."""
        return await self._write(
            lambda db, now: sends.resolve_unknown(db, now, name, older_than, policy)
        )

    async def redial_unknown(
        self, name: str, numbers: Iterable[int | str] | None = None
    ) -> int:
        """Make unknown contacts pending by somebody's decision; return how many."""
        wanted = None if numbers is None else [parse_number(each) for each in numbers]
        return await self._write(lambda db, now: sends.redial(db, now, name, wanted))

    # -- do not call

    async def add_do_not_call(self, numbers: Iterable[int | str], source: str) -> int:
        """Add numbers to the do-not-call list of this ledger; return how many are new."""
        new = 0
        rest = iter(numbers)
        while batch := await anyio.to_thread.run_sync(_some, rest):
            add = partial(claims.add_do_not_call, numbers=batch, source=clean(source))
            new += await self._write(add)
        return new

    # -- looking

    async def contacts(
        self, name: str, *, states: Sequence[ContactState] = ()
    ) -> AsyncGenerator[Contact]:
        """Iterate over contacts in the order of loading, without their histories."""
        after = 0
        while True:
            look = partial(queries.contacts_page, name=name, states=states, after=after)
            found = await self._read(look)
            for _, contact in found:
                yield contact
            if not found:
                return
            after = found[-1][0]

    async def find(self, name: str, number: int | str) -> Contact | None:
        """Return one contact with its whole history."""
        wanted = parse_number(number)
        return await self._read(lambda db: queries.find(db, name, wanted))

    # -- shared limits

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts, each under all of several limits at once or under none of them."""
        return await self._write(lambda db, now: limits.reserve(db, now, keys, longest, most))

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Take one of a number of channels for so many seconds; False if all are taken."""
        return await self._write(
            lambda db, now: limits.lease_channel(db, now, key, holder, limit, seconds)
        )

    async def free_channel(self, key: str, holder: str) -> None:
        """Give a channel back."""
        await self._write(lambda db, _: limits.free_channel_row(db, key, holder))


def _rows(contacts: Iterator[object]) -> list[_Row]:
    """Take some contacts, as they are stored."""
    return [contact_row(contact) for contact in islice(contacts, _BATCH)]


def _some(numbers: Iterator[int | str]) -> list[int]:
    return [parse_number(each) for each in islice(numbers, _BATCH)]

"""What users could write for the seams, from the docstrings alone: a store and limits on files."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from telecmi_async import StoreError
from telecmi_async.events import parse_event
from telecmi_async.events.store import StoredEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from telecmi_async.events.store import Listener

_TABLES = """
pragma synchronous = off;  -- a test need not survive a power cut
create table if not exists known (key text primary key, until real not null);
create table if not exists event (
    number integer primary key, key text unique not null, ids text not null,
    matched integer not null, payload blob not null, until real not null
);
create table if not exists name (id text not null, key text not null, primary key (id, key));
"""


class FileStore:
    """An event store in a SQLite file; its listeners are those of this process."""

    shared = True

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(_TABLES)
        self._listeners: list[Listener] = []

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def _step(self) -> Iterator[sqlite3.Cursor]:
        cursor = self._database.cursor()
        try:
            cursor.execute("begin immediate")
            with self._database:
                yield cursor
        except sqlite3.Error as error:
            raise StoreError(f"the store of events failed ({type(error).__name__})") from None

    def _state(self, cursor: sqlite3.Cursor, key: str) -> str:
        now = time.time()
        cursor.execute("delete from known where until < ?", (now,))
        cursor.execute("delete from event where until < ?", (now,))
        if cursor.execute("select 1 from known where key = ?", (key,)).fetchone():
            return "known"
        found = cursor.execute("select 1 from event where key = ?", (key,)).fetchone()
        return "unmatched" if found else "unknown"

    async def put(self, stored: StoredEvent) -> bool:
        """Keep an event."""
        with self._step() as cursor:
            state = self._state(cursor, stored.key)
            if state == "known" or (state == "unmatched" and not stored.matched):
                return False
            if stored.matched:
                self._remember(cursor, stored.key)
            cursor.execute(
                "insert or replace into event (key, ids, matched, payload, until)"
                " values (?, ?, ?, ?, ?)",
                (
                    stored.key,
                    json.dumps(stored.ids),
                    stored.matched,
                    stored.payload,
                    time.time() + (3600 if stored.matched else 600),
                ),
            )
            cursor.executemany(
                "insert or ignore into name values (?, ?)",
                [(name, stored.key) for name in stored.ids],
            )
        for listener in tuple(self._listeners):
            if listener.wants(stored.ids):
                listener.take(stored)
        return True

    def _remember(self, cursor: sqlite3.Cursor, key: str) -> None:
        cursor.execute("insert into known values (?, ?)", (key, time.time() + 86_400))

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        """Return events."""
        with self._step() as cursor:
            rows: list[Any] = cursor.execute(
                "select key, ids, matched, payload from event where key in (select key from name"
                " where id in (select value from json_each(?))) and until > ? order by number",
                (json.dumps([*ids]), time.time()),
            ).fetchall()
        return [
            StoredEvent(
                parse_event(payload),
                key,
                tuple(json.loads(names)),
                matched=bool(matched),
                payload=payload,
            )
            for key, names, matched, payload in rows
        ]

    async def claim(self, key: str) -> bool:
        """Claim an event."""
        with self._step() as cursor:
            if self._state(cursor, key) == "known":
                return False
            self._remember(cursor, key)
            cursor.execute(
                "update event set matched = 1, until = ? where key = ?",
                (time.time() + 3600, key),
            )
        return True

    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        """Notify a listener."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)


class FileLimits:
    """Shared limits in a file, by the machine's clock; a lock file makes a step atomic."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock

    @contextmanager
    def _step(self) -> Iterator[dict[str, Any]]:
        lock = self._path.with_suffix(".lock")
        try:
            while True:
                try:
                    os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
                    break
                except FileExistsError:
                    time.sleep(0.001)
            try:
                kept = json.loads(self._path.read_text()) if self._path.exists() else {}
                yield kept
                self._path.write_text(json.dumps(kept))
            finally:
                lock.unlink()
        except OSError as error:
            raise StoreError(f"the limits failed ({type(error).__name__})") from None

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts."""
        with self._step() as kept:
            dues, now = kept.setdefault("dues", {}), self._clock()
            start = max(now, *(dues.get(name, now) for name, _ in keys))
            apart = max(interval for _, interval in keys)
            waits = [start + apart * n - now for n in range(most)]
            waits = [wait for wait in waits if wait <= longest]
            if waits:
                dues |= {name: now + waits[-1] + interval for name, interval in keys}
        return waits

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Lease a channel."""
        with self._step() as kept:
            now = self._clock()
            leases = kept.setdefault("leases", {}).setdefault(key, {})
            for name in [name for name, until in leases.items() if until <= now]:
                del leases[name]
            if len(leases.keys() - {holder}) >= limit:
                return False
            leases[holder] = now + seconds
        return True

    async def free_channel(self, key: str, holder: str) -> None:
        """Free a channel."""
        with self._step() as kept:
            kept.get("leases", {}).get(key, {}).pop(holder, None)

"""Shared limits: starts and channels, each function one SQLite job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.pacing.law import reserve_starts

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence


def reserve(
    db: sqlite3.Connection,
    now: float,
    keys: Sequence[tuple[str, float]],
    *,
    longest: float,
    most: int = 1,
) -> list[float]:
    """Reserve starts by the law of `telecmi_async.pacing.law`, each under all of these limits."""
    dues = {
        key: row[0]
        for key, _ in keys
        for row in db.execute("SELECT due FROM pace WHERE key = ?", (key,)).fetchall()
    }
    waits, dues = reserve_starts(now, dues, keys, longest=longest, most=most)
    db.executemany(
        "INSERT INTO pace (key, due) VALUES (?, ?) "
        "ON CONFLICT DO UPDATE SET due = excluded.due",
        dues.items(),
    )
    return waits


def advance_starts(
    db: sqlite3.Connection, now: float, keys: Sequence[tuple[str, float]], *, beyond: float
) -> None:
    """Have starts that are due far in the future come due soon."""
    db.executemany(
        "UPDATE pace SET due = ? WHERE key = ? AND due > ?",
        [(now + seconds, key, now + beyond) for key, seconds in keys],
    )


def lease_channel(
    db: sqlite3.Connection, now: float, key: str, holder: str, *, limit: int, seconds: float
) -> bool:
    """Lease a channel, or renew the holder's lease, unless all are taken."""
    db.execute("DELETE FROM channel WHERE key = ? AND until <= ?", (key, now))
    (others,) = db.execute(
        "SELECT count(*) FROM channel WHERE key = ? AND holder <> ?", (key, holder)
    ).fetchone()
    if others >= limit:
        return False
    db.execute(
        "INSERT INTO channel (key, holder, until) VALUES (?, ?, ?) "
        "ON CONFLICT DO UPDATE SET until = excluded.until",
        (key, holder, now + seconds),
    )
    return True


def free_channel_row(db: sqlite3.Connection, _now: float, key: str, holder: str) -> None:
    """Give a channel back."""
    db.execute("DELETE FROM channel WHERE key = ? AND holder = ?", (key, holder))

"""Shared limits: starts and channels, each function one SQLite job."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["free_channel_row", "lease_channel", "reserve"]


def reserve(
    db: sqlite3.Connection,
    now: float,
    keys: Sequence[tuple[str, float]],
    *,
    longest: float,
    most: int = 1,
) -> list[float]:
    """Reserve starts, each under all of these limits: the law is in `SharedLimits.reserve`."""
    due = {
        key: row[0]
        for key, _ in keys
        for row in db.execute("SELECT due FROM pace WHERE key = ?", (key,)).fetchall()
    }
    # A start is when the last limit allows it, and counts under each limit from that moment:
    # a limit that counted it earlier would allow one more at that moment.
    start: float = max((now, *due.values()))
    apart = max(interval for _, interval in keys)
    waits = [start - now + apart * n for n in range(most)]
    waits = [wait for wait in waits if wait <= longest]
    if waits:
        last = now + waits[-1]
        db.executemany(
            "INSERT INTO pace (key, due) VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET due = excluded.due",
            [(key, last + interval) for key, interval in keys],
        )
    return waits


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

"""Checks of a ledger's file as it is opened: its names, its missing log, its pages."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from telecmi_async.errors import ConfigurationError, LedgerLost, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Seconds between attempts while another process has the file open.
_PAUSE: Final = 0.02
# Each move of a contact changes its row, its indexes and the tally. Where pages of an older copy
# are among newer ones, more contacts wait than were counted: some of them were called. Rows that
# a person deleted are no reason to refuse a file.
_WAITS_TWICE: Final = """
SELECT max(
    (SELECT count(*) FROM contact NOT INDEXED WHERE state IN ('pending', 'claimed')),
    (SELECT count(*) FROM contact INDEXED BY contact_due WHERE state = 'pending')
    + (SELECT count(*) FROM contact INDEXED BY contact_claimed WHERE state = 'claimed')
) > (SELECT coalesce(sum(contacts), 0) FROM tally WHERE state IN ('pending', 'claimed'))
"""
_STOP: Final = "UPDATE campaign SET status = 'stopped', why = ?"


def require_one_name(path: Path) -> None:
    """Require that a file has no second name: each name would have a separate log."""
    file, folder = path.stat(), path.parent.stat()
    if stat.S_ISREG(file.st_mode) and file.st_nlink > 1:
        raise ConfigurationError(
            f"the ledger's file has {file.st_nlink} names (hard links), and SQLite would keep a "
            "log for each of them: delete the others, or use a symbolic link"
        )
    if os.name == "posix" and stat.S_ISREG(file.st_mode) and file.st_dev != folder.st_dev:
        raise ConfigurationError(
            "the ledger's file is mounted by itself, and its log would stay outside: mount its "
            "folder instead"
        )


def wait_until_unused(path: Path, beside: Sequence[Path], timeout: float) -> None:
    """If the log or its index is missing, wait until no other process has the file open.

    Workers lock each other by the index: a new one beside a worker that has a deleted one would
    overwrite its commits. That worker ends by itself, and writes them into the file as it closes.
    """
    until = time.monotonic() + timeout
    while _is_incomplete(path, beside) and _is_used(path):
        if time.monotonic() > until:
            raise StoreError(
                "the ledger failed: the -wal or -shm beside its file was deleted while another "
                "process has it open; end that process first"
            )
        time.sleep(_PAUSE)


def _is_incomplete(path: Path, beside: Sequence[Path]) -> bool:
    try:
        return path.stat().st_size > 0 and not all(file.exists() for file in beside)
    except OSError:
        return False  # SQLite says what is wrong


def _is_used(path: Path) -> bool:
    """Return whether another process, or another ledger of this one, has a file open."""
    try:
        with closing(sqlite3.connect(path, timeout=0.0, isolation_level=None)) as db:
            db.execute("PRAGMA locking_mode = EXCLUSIVE")  # it needs no index
            # If it is the only one, it folds a log that was left behind into the file.
            db.execute("PRAGMA checkpoint_fullfsync = ON")
            db.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")
    return False


def require_agreement(db: sqlite3.Connection, why: str) -> None:
    """Require that a file agrees with itself about who waits; else ask workers to stop."""
    if db.execute(_WAITS_TWICE).fetchone() == (1,):
        stop_campaigns(db, why)
        raise LedgerLost(why)


def stop_campaigns(db: sqlite3.Connection, why: str) -> None:
    """Ask all workers to stop: one that opened the file since would begin anew."""
    db.execute(_STOP, (why,))

"""Guarded moves: a contact's SQL updates, rendered from the table of moves, and its history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.ledger.states import MOVES, Move

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable


def guarded(move: Move, where: str, *, also: str = "") -> str:
    """Return the update of a move: it changes contacts only in the states the move starts from.

    Args:
        move: The move. All but a claim end the claim of the worker that holds the contact.
        where: Which contact, and on what other conditions.
        also: Other columns to set, after a comma.
    """
    sources, target = MOVES[move]
    states = " OR ".join(f"state = '{source}'" for source in sorted(sources))
    freed = "" if move is Move.CLAIM else ", worker = NULL, lease_until = NULL"
    return f"UPDATE contact SET state = '{target}'{freed}{also} WHERE {where} AND ({states})"  # noqa: S608  # rendered from this package's own tables


def add_history(
    db: sqlite3.Connection,
    contacts: Iterable[int],
    at: float,
    what: str,
    detail: str = "",
    token: str | None = None,
) -> None:
    """Add a passage to the history of contacts."""
    db.executemany(
        "INSERT INTO passage (contact, at, what, detail, token) VALUES (?, ?, ?, ?, ?)",
        [(contact, at, what, detail, token) for contact in contacts],
    )

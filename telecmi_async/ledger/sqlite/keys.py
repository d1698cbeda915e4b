"""Idempotency keys, each function one SQLite job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async.ledger.idempotency import KEY_COLUMNS, KEY_OUTCOMES, keyed_call_from
from telecmi_async.ledger.sanitize import check_choice, clean, clean_id

if TYPE_CHECKING:
    import sqlite3

    from telecmi_async.ledger.idempotency import KeyedCall, KeyState

_FREE: Final = (
    "expires <= :now OR fingerprint = :fingerprint "
    "AND (state = 'absent' OR state = 'sending' AND token = :token)"
)
_CLAIM: Final = f"""
    INSERT INTO keyed_call (key, token, fingerprint, state, lease_until, expires, region)
    VALUES (:key, :token, :fingerprint, 'sending', :now + :lease, :now + :lifetime, :region)
    ON CONFLICT (key) DO UPDATE SET token = excluded.token, fingerprint = excluded.fingerprint,
    state = 'sending', lease_until = excluded.lease_until, expires = excluded.expires,
    region = excluded.region, request_id = NULL, detail = '' WHERE {_FREE}"""  # noqa: S608  # this module's own text
_EXPIRED: Final = (
    "DELETE FROM keyed_call WHERE key IN (SELECT key FROM keyed_call WHERE expires <= ? "
    "AND key <> ? ORDER BY expires LIMIT 5)"
)
_SETTLE: Final = (
    "UPDATE keyed_call SET state = ?, request_id = coalesce(request_id, ?), detail = ? "
    "WHERE token = ? AND (state IN ('sending', 'unknown') OR ? = 'placed') RETURNING 1"
)


def claim_key(
    db: sqlite3.Connection,
    now: float,
    key: str,
    fingerprint: str,
    token: str,
    *,
    region: str,
    lease: float,
    lifetime: float,
) -> KeyedCall:
    """Claim a key for a call, if it is free, and return the call that has it."""
    db.execute(_EXPIRED, (now, key))
    db.execute(
        _CLAIM,
        {
            "key": key, "fingerprint": fingerprint, "token": token, "region": region,
            "lease": lease, "lifetime": lifetime, "now": now,
        },
    )  # fmt: skip
    found = find_key(db, now, key=key)
    assert found is not None  # noqa: S101  # it was added, if it was not there
    return found


def settle_key(
    db: sqlite3.Connection,
    _now: float,
    token: str,
    state: KeyState,
    *,
    request_id: str | None = None,
    detail: str = "",
) -> bool:
    """Put the outcome of a keyed call on record; return False if no key has the call."""
    check_choice("state", state, KEY_OUTCOMES)
    values = (state.value, clean_id(request_id), clean(detail), token, state.value)
    return db.execute(_SETTLE, values).fetchone() is not None


def find_key(
    db: sqlite3.Connection, now: float, *, key: str | None = None, token: str | None = None
) -> KeyedCall | None:
    """Return the call of a key, or the one with a reference; ``None`` if there is none."""
    column, value = ("key", key) if token is None else ("token", token)
    columns = KEY_COLUMNS.format(now="?")
    row = db.execute(
        f"SELECT {columns} FROM keyed_call WHERE {column} = ? AND expires > ?",  # noqa: S608  # columns of this package
        (now, value, now),
    ).fetchone()
    return None if row is None else keyed_call_from(row)

"""Idempotency keys in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from telecmi_async.ledger.idempotency import KEY_COLUMNS, KeyState, keyed_call_from
from telecmi_async.ledger.sanitize import check_outcome, clean, clean_id

if TYPE_CHECKING:
    from telecmi_async.ledger.idempotency import KeyedCall
    from telecmi_async.ledger.postgres.pipeline import PostgresPipeline

_COLUMNS: Final = KEY_COLUMNS.format(now="clock()")
_CLAIM: Final = f"SELECT {_COLUMNS} FROM claim_key(%s, %s, %s, %s, %s, %s)"  # noqa: S608  # columns
_FIND: Final = f"SELECT {_COLUMNS} FROM keyed_call WHERE expires > clock() AND "  # noqa: S608  # columns
_SETTLE: Final = (
    "UPDATE keyed_call SET state = %s, request_id = coalesce(request_id, %s), detail = %s "
    "WHERE token = %s AND (state IN ('sending', 'unknown') OR %s) RETURNING 1"
)


class PostgresKeys:
    """Keeps the calls of idempotency keys in a ledger's schema."""

    def __init__(self, moves: PostgresPipeline, queries: PostgresPipeline) -> None:
        self._moves = moves
        self._queries = queries

    async def claim_key(
        self,
        key: str,
        fingerprint: str,
        token: str,
        *,
        region: str,
        lease: float,
        lifetime: float,
    ) -> KeyedCall:
        """Claim a key for a call, if it is free, and return the call that has it."""
        (row,) = await self._moves.fetch(
            _CLAIM, key, fingerprint, token, region, float(lease), float(lifetime)
        )
        return keyed_call_from(row)

    async def settle_key(
        self, token: str, state: KeyState, *, request_id: str | None = None, detail: str = ""
    ) -> bool:
        """Put the outcome of a keyed call on record; return False if no key has the call."""
        check_outcome(state)
        found = await self._moves.fetch(
            _SETTLE, state.value, clean_id(request_id), clean(detail), token,
            state is KeyState.PLACED,
        )  # fmt: skip
        return bool(found)

    async def find_key(
        self, *, key: str | None = None, token: str | None = None
    ) -> KeyedCall | None:
        """Return the call of a key, or the one with a reference; ``None`` if there is none."""
        column, value = ("key", key) if token is None else ("token", token)
        found = await self._queries.fetch(f"{_FIND}{column} = %s", value)
        return keyed_call_from(found[0]) if found else None

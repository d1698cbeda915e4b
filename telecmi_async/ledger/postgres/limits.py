"""Limits and idempotency keys that processes share, on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.ledger import sanitize
from telecmi_async.ledger.idempotency import KEY_OUTCOMES, KeyState, keyed_call_from
from telecmi_async.ledger.postgres import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telecmi_async.ledger.idempotency import KeyedCall
    from telecmi_async.ledger.postgres.pipeline import PostgresPipeline


class PostgresLimits:
    """The part of a ledger that services share, too: starts, channels and keys."""

    _moves: PostgresPipeline
    _queries: PostgresPipeline
    _reservations: PostgresPipeline

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts, each under all of several limits or under none of them."""
        # Of a name that is there twice, the longest interval stays.
        slowest = dict(sorted(keys, key=lambda pair: pair[1]))
        waits: list[float] = await self._reservations.value(
            "SELECT reserve(%s::text[], %s::double precision[], %s, %s::integer)",
            [*slowest], [*map(float, slowest.values())], longest, most,
        )  # fmt: skip
        return waits

    async def advance_starts(self, keys: Sequence[tuple[str, float]], *, beyond: float) -> None:
        """Have starts that are due far in the future come due soon."""
        names, seconds = [key for key, _ in keys], [each for _, each in keys]
        await self._moves.fetch(queries.ADVANCE_STARTS, names, seconds, beyond)

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Lease one of a number of channels; return False if all are taken."""
        call = "SELECT lease_channel(%s, %s, %s::integer, %s)"
        most = min(limit, sanitize.INT_32)
        return bool(await self._moves.value(call, key, holder, most, seconds))

    async def free_channel(self, key: str, holder: str) -> None:
        """Give a channel back."""
        await self._moves.fetch(queries.FREE_CHANNEL, key, holder)

    # -- idempotency keys

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
        given = (key, fingerprint, token, region, float(lease), float(lifetime))
        return keyed_call_from(*await self._moves.fetch(queries.CLAIM_KEY, *given))

    async def settle_key(
        self, token: str, state: KeyState, *, request_id: str | None = None, detail: str = ""
    ) -> bool:
        """Put the outcome of a keyed call on record; return False if no key has the call."""
        sanitize.check_choice("state", state, KEY_OUTCOMES)
        given = (state.value, sanitize.clean_id(request_id), sanitize.clean(detail), token)
        placed = state is KeyState.PLACED
        return bool(await self._moves.fetch(queries.SETTLE_KEY, *given, placed))

    async def find_key(
        self, *, key: str | None = None, token: str | None = None
    ) -> KeyedCall | None:
        """Return the call of a key, or the one with a reference; ``None`` if there is none."""
        column, value = ("key", key) if token is None else ("token", token)
        found = await self._queries.fetch(f"{queries.FIND_KEY}{column} = %s", value)
        return keyed_call_from(found[0]) if found else None

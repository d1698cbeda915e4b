"""Shared limits: the contract of limits that several processes keep together.

Every `telecmi_async.ledger.Ledger` implements it, and so does `telecmi_async.pacing.RedisLimits`.
The law is in `telecmi_async.pacing.law`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class SharedLimits(Protocol):
    """Grants starts and channels to all processes that use the same keys.

    An implementer must decide each grant in one atomic step, by a clock that all processes
    share; must turn every failure into a `StoreError`; and must never grant anything while the
    place where the limits are kept cannot be reached.
    """

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts, each under all of these limits at once or under none of them.

        `telecmi_async.pacing.law.reserve_starts` is what an implementer must compute.

        Args:
            keys: Pairs of a limit's name and its interval in seconds.
            longest: The longest wait that is of use, in seconds.
            most: How many starts to reserve, as far as none of them is further away than that.

        Returns:
            How many seconds to wait for each start, the shortest wait first; empty if even the
            first start is too far away.
        """
        ...

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Take one of ``limit`` channels for ``seconds``; return False if all are taken.

        A holder that has a channel already keeps it, for ``seconds`` from now.
        """
        ...

    async def free_channel(self, key: str, holder: str) -> None:
        """Release a channel; does nothing if it is not held."""
        ...

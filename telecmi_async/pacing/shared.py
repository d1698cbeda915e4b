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

    `telecmi_async.testing.check_shared_limits` checks an implementation of your own. You
    open and close it: a campaign only calls these three methods, many of them at a time.

    An implementer must decide each grant in one atomic step, by a clock that all processes
    share; must turn every failure into a `StoreError` (``StoreError("what happened")``, without a
    secret or a phone number; holders and names of limits contain numbers); and must never grant anything while the
    place where the limits are kept cannot be reached. After a grant whose confirmation was lost
    it may count a start that is never used, and must never give one to two callers. The same
    name may be that of a limit of starts and of channels; these have nothing to do with each
    other. A limit whose next start is due, and a lease that has expired, may be deleted.
    """

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts, each under all of these limits at once or under none of them.

        An implementer keeps one number for each limit: when its next start is due. A limit that
        it does not know is due now. In one atomic step it computes, by the shared clock::

            start = max(now, the dues of these limits)
            apart = the largest interval of these limits
            starts = start, start + apart, start + 2 * apart, …     (``most`` of them)

        and drops those for which ``start - now > longest``. If none is left it returns an empty
        list and changes nothing. Otherwise the new due of each of these limits is the last start
        plus that limit's own interval. `telecmi_async.pacing.law.reserve_starts` does the same.

        Args:
            keys: Pairs of a limit's name and its interval in seconds. At least one; no name
                comes twice. An interval is positive, may be as small as a nanosecond, may differ from
                the one before, and counts from now on.
            longest: The longest wait that is of use, in seconds.
            most: How many starts to reserve, as far as none of them is further away than that.

        Returns:
            How many seconds to wait for each start, the shortest wait first; empty if even the
            first start is too far away.

        Raises:
            StoreError: The limits cannot be reached, or fail.
        """
        ...

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Take one of ``limit`` channels for ``seconds``; return False if all are taken.

        A lease whose time is over is free. The holder's own channel does not count: if others
        hold fewer than ``limit``, the holder has one for ``seconds`` from now, whether it had one
        or not. Otherwise nothing changes: a holder that had a channel, when ``limit`` was higher,
        keeps it as long as it was leased. Channels of different keys have nothing to do with each
        other.

        Raises:
            StoreError: The limits cannot be reached, or fail.
        """
        ...

    async def free_channel(self, key: str, holder: str) -> None:
        """Release a channel; does nothing if it is not held, or the key is unknown.

        Raises:
            StoreError: The limits cannot be reached, or fail.
        """
        ...

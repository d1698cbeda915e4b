"""What a campaign needs of whatever keeps the limits that its workers share.

Every `telecmi_async.ledger.Ledger` is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SharedLimits"]


class SharedLimits(Protocol):
    """Grants starts and channels to all who name the same keys, in one process or many.

    An implementer must decide each grant in one step that nobody can come between, by a clock
    that all of them share; must turn whatever fails into a `StoreError`; and must never grant
    anything by itself when it cannot ask.
    """

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts, each under all of several limits at once or under none of them.

        The law: a start is when the last of the limits allows it, ``start = max(now, due of
        each)``, and then each of them has ``due = start + interval``. Each counts it from that
        moment: otherwise it would come on top of the starts that another one has granted for
        then.

        Args:
            keys: Pairs of a limit's name and its interval in seconds.
            longest: The longest wait that is of use.
            most: How many starts to reserve, if none of them is longer away than that.

        Returns:
            How many seconds to wait for each start, the first one first; nothing if even that
            one is too far away.
        """
        ...

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Take one of a number of channels for so many seconds; False if all are taken.

        Who holds one already keeps it, for so many seconds from now.
        """
        ...

    async def free_channel(self, key: str, holder: str) -> None:
        """Give a channel back; nothing happens if it is not held."""
        ...

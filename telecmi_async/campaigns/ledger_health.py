"""Ledger health: whether a worker's ledger answers, and what the worker does while it does not.

When the ledger fails, it is unclear what it did: it may have granted a claim whose reply was
lost, or not have taken one back. So the worker uses a new name from then on, and leases under
the old one expire. A ledger that is lost does not come back: all tasks go by
`LedgerHealth.lost`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from telecmi_async.errors import LedgerLost, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_T = TypeVar("_T")

logger = logging.getLogger("telecmi_async")

# Seconds between two tries of a ledger that fails.
_STORE_PAUSE: Final = 2.0


class LedgerHealth:
    """Says whether a worker's ledger works, and under which name the worker claims.

    ``on_lost`` is called once, when the ledger is lost.
    """

    def __init__(
        self, campaign: str, name: str, *, on_lost: Callable[[LedgerLost], object]
    ) -> None:
        self._campaign = campaign
        self._name = name
        self._on_lost = on_lost
        self._failures = 0
        self._failing = False
        #: The name under which the worker claims now.
        self.owner = name
        #: Why the ledger does not come back, if it is lost.
        self.lost: LedgerLost | None = None

    def note(self, error: StoreError) -> None:
        """Log the first of several failures, and claim under a new name from now on."""
        self._failures += 1
        self.owner = f"{self._name}-{self._failures}"
        if isinstance(error, LedgerLost):
            if self.lost is None:
                self.lost, self._failing = error, True
                logger.error("campaign %s ends: %s", self._campaign, error)
                self._on_lost(error)
        elif not self._failing:
            self._failing = True
            logger.error(
                "campaign %s: the ledger fails, nothing is dialled: %s", self._campaign, error
            )

    def works(self) -> None:
        """Log that the ledger works again, if it failed and is not lost."""
        if self._failing and self.lost is None:
            self._failing = False
            logger.warning(
                "campaign %s: the ledger works again, dialling goes on", self._campaign
            )

    async def failed(self, error: StoreError) -> None:
        """Note a failure, and wait before the next try."""
        self.note(error)
        await anyio.sleep(_STORE_PAUSE)

    async def persist(self, write: Callable[[], Awaitable[_T]], seconds: float) -> _T:
        """Write to the ledger; while it fails and is not lost, repeat that for some seconds."""
        until: float | None = None
        while True:
            try:
                return await write()
            except StoreError as error:
                self.note(error)
                until = until or anyio.current_time() + seconds
                if self.lost is not None or anyio.current_time() > until:
                    raise
            await anyio.sleep(_STORE_PAUSE)

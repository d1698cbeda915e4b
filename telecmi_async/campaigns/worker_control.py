"""Worker control: what a worker is asked to do, and how its waits end when that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from telecmi_async.calls.handle import CallHandle
    from telecmi_async.campaigns.settings_in_use import SettingsInUse
    from telecmi_async.errors import TelecmiError
    from telecmi_async.ledger import CampaignState


class WorkerControl:
    """Halts a worker while it may start nothing.

    Args:
        settings: What it goes by.
    """

    def __init__(self, settings: SettingsInUse) -> None:
        #: What it goes by; the ledger may have a later revision for a moment.
        self.in_use = settings
        self._outdated = False
        #: What its workers are asked to do, as last seen.
        self.status = "running"
        self.leaving = False
        #: Why it left, if nothing can be dialled with this service.
        self.failure: TelecmiError | None = None
        self._handles: set[CallHandle] = set()
        self._changed: anyio.Event | None = None

    def leave(self) -> None:
        """Start nothing more; `run` returns when what was sent is settled."""
        self.leaving = True
        for handle in tuple(self._handles):
            handle.cancel()  # a request that was sent is awaited
        self.wake()

    def fail(self, error: TelecmiError) -> None:
        """Leave, because nothing can be dialled any more; `run` of the campaign says why."""
        self.failure = self.failure or error
        self.leave()

    def update(self, state: CampaignState) -> None:
        """Follow what the campaign's workers are asked to do."""
        if state.revision != self.in_use.revision:
            self._outdated = True
        if state.asked != self.status or self._outdated:
            self.status = state.asked
            self.wake()

    def wake(self) -> None:
        """End all waits, so that conditions are checked again."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait(self, seconds: float) -> None:
        """Wait until something changes, but no longer than so many seconds."""
        self._changed = self._changed or anyio.Event()
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    @property
    def _halted(self) -> bool:
        return self.leaving or self._outdated or self.status != "running"

    async def _pause(self, seconds: float) -> bool:
        """Wait so many seconds at most; return whether dialling goes on."""
        if not self._halted:  # a change before this wait wakes nothing
            await self.wait(seconds)
        return not self._halted

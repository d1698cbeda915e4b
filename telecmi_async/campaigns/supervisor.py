"""Supervision of a worker: leases, sends left behind, requests to pause, outcomes of calls."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async.campaigns.clock_check import held_up, words_for
from telecmi_async.campaigns.observed import campaign_view
from telecmi_async.errors import StoreError
from telecmi_async.ledger import ContactState

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.campaigns.worker import Worker
    from telecmi_async.ledger import CampaignState

logger = logging.getLogger("telecmi_async")

_POLL: Final = 1.0
# Seconds between two looks whether a clock holds up the campaign.
_CLOCK_POLL: Final = 60.0


class Supervisor:
    """Runs a worker, and the tasks beside it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._ledger = worker.ledger
        self._campaign = worker.campaign
        self._timeouts = worker.timeouts
        # The least by which the ledger's clock was ahead of the event loop's so far.
        self._least_ahead = math.inf
        self._clock_was_ahead = False

    async def run(
        self, on_progress: Callable[[CampaignState], object] | None, *, events: bool
    ) -> None:
        """Run the worker; then, if events arrive here, wait for the outcomes of its calls."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._maintain)
            tasks.start_soon(self._watch, on_progress)
            await self._worker.run()
            while events and await self._await_outcomes():
                await self._worker.run()
            tasks.cancel_scope.cancel()

    async def _maintain(self) -> None:
        """Renew this worker's leases, and recover what dead workers left behind."""
        while True:
            try:
                await self._worker.leases.free_owed()
                owner = self._worker.ledger_health.owner
                await self._ledger.renew(owner, lease=self._timeouts.claim)
                found = await self._ledger.reap(self._campaign)
                if found.unknown:
                    logger.warning(
                        "campaign %s: %d sends were left behind by a dead worker: a phone may "
                        "have rung, and they are kept as unknown",
                        self._campaign,
                        found.unknown,
                    )
                await self._ledger.resolve_unknown(
                    self._campaign,
                    older_than=await self._proof(),
                    policy=self._worker.settings.unknown,
                )
                redial = self._worker.settings.redial
                if redial is not None and await self._ledger.redial_missed(
                    self._campaign, redial.waits, revision=self._worker.in_use.revision
                ):
                    self._worker.wake()
            except StoreError as error:
                await self._worker.ledger_health.failed(error)
            await anyio.sleep(self._timeouts.claim / 6)

    async def _proof(self) -> float:
        """Return after how many seconds of the ledger's clock silence may prove something.

        Where that clock ran ahead of this loop's, it was set, or the machine slept: no event
        could arrive in these seconds.
        """
        ahead = await self._ledger.now() - anyio.current_time()
        self._least_ahead = min(self._least_ahead, ahead)
        return self._timeouts.proof + ahead - self._least_ahead

    async def _watch(self, on_progress: Callable[[CampaignState], object] | None) -> None:
        """Follow the campaign's status, and report its progress."""
        look_at = anyio.current_time()
        while True:
            try:
                state = await self._ledger.state(self._campaign)
                if anyio.current_time() >= look_at:
                    look_at += _CLOCK_POLL
                    await self._check_clock()
            except StoreError as error:
                await self._worker.ledger_health.failed(error)
                continue
            self._worker.update(state)
            self.report(on_progress, state)
            await anyio.sleep(_POLL)

    def report(
        self, on_progress: Callable[[CampaignState], object] | None, state: CampaignState
    ) -> None:
        """Show the user's function and the observer what the campaign is doing.

        What they raise is logged, and changes nothing.
        """
        try:
            if on_progress is not None:
                on_progress(state)
        except Exception:
            logger.exception("on_progress failed; the campaign goes on")
        worker = self._worker
        if worker.notify is not None:
            throttle = worker.health.throttle
            pace = worker.settings.pace
            view = campaign_view(
                state,
                breaker_open=throttle.open,
                slowdown=min(throttle.rate(worker.now()) / pace.calls_per_second, 1.0),
                live_limit=pace.max_live_calls,
            )
            worker.notify("campaign_seen", view)

    async def _check_clock(self) -> None:
        """Log once if no call starts because a clock was ahead."""
        if self._clock_was_ahead or self._worker.limits is not self._ledger:
            return
        seconds = await held_up(self._ledger, self._campaign, self._worker.settings)
        if seconds:
            self._clock_was_ahead = True
            words = words_for(seconds, await self._ledger.now())
            logger.warning("campaign %s: %s", self._campaign, words)

    async def _await_outcomes(self) -> bool:
        """Wait for the ends of calls, and for evidence of unknown ones, while they may come.

        Return True as soon as there is something to dial again: contacts were added, or a changed
        plan may redial some.
        """
        began = anyio.current_time()
        while not self._worker.leaving:
            waited = anyio.current_time() - began
            try:
                state = await self._ledger.state(self._campaign)
            except StoreError as error:
                await self._worker.ledger_health.failed(error)
                continue
            placed, unknown = (
                state.counts[each] for each in (ContactState.PLACED, ContactState.UNKNOWN)
            )
            if state.asked == "stopped":
                return False
            if state.left or state.revision != self._worker.in_use.revision:
                return True
            if (placed and waited < self._timeouts.outcomes) or (
                unknown and waited < self._timeouts.evidence
            ):
                await self._worker.wait(_POLL)
                continue
            if placed:
                logger.warning(
                    "campaign %s: no event reported the ends of %d calls, and the outcomes of "
                    "%d sends are unknown: do TeleCMI's webhooks reach the receiver?",
                    self._campaign,
                    placed,
                    unknown,
                )
            return False
        return False

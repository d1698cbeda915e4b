"""Start scheduler: waits for a channel and a start before each call, shared by all workers.

A start is the moment at which a request leaves, and its intent must be on record by then:
`StartScheduler.take` ends as long before it as intents usually take, and `StartScheduler.reach`
at it. If the ledger stalled, `reach` takes another: else what was stuck would leave at once.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from attrs import define, field

from telecmi_async.campaigns.channel_leases import ChannelLeases
from telecmi_async.campaigns.clock_check import start_limits
from telecmi_async.campaigns.settings import CampaignSettings
from telecmi_async.errors import LedgerLost, StoreError
from telecmi_async.pacing.law import (
    CLOSE_STARTS,
    LATE_ANSWER,
    LATE_START,
    LONGEST_LEAD,
    RECENT,
    RESERVED_AHEAD,
)
from telecmi_async.pacing.shared import SharedLimits

logger = logging.getLogger("telecmi_async")

# Seconds between two looks for a free channel; and for a start that is near enough, or limits
# that work again.
_CHANNEL_POLL: Final = 0.25
_POLL: Final = 1.0
# How often the limits are asked again whose answer came late: theirs may be slow from now on.
_REPEATS: Final = 2


@define(eq=False, slots=False)
class StartScheduler:
    """Starts one call after another, as the shared limits allow.

    One start is reserved at a time, or a few if they are close together or intents take long: a
    worker that dies or is paused wastes no more than those. No wait for a start is longer than
    ``longest`` or an interval. ``apart`` says that the limits are kept elsewhere than the
    contacts: if they fail, it waits until they work again; otherwise it raises, since the
    ledger fails as well.
    """

    _limits: SharedLimits
    _leases: ChannelLeases
    _campaign: str
    _settings: CampaignSettings
    _rate: Callable[[], float] = field(kw_only=True, alias="rate")
    _pause: Callable[[float], Awaitable[bool]] = field(kw_only=True, alias="pause")
    _longest: float = field(kw_only=True, alias="longest")
    _apart: bool = field(kw_only=True, alias="apart")
    _failed: bool = field(default=False, init=False)
    #: Returns the time; a worker replaces it by the clock of its event loop, which is faster.
    now: Callable[[], float] = field(default=anyio.current_time, init=False)
    # The times of starts that were reserved ahead.
    _ahead: deque[float] = field(factory=deque[float], init=False)
    # How long the last intents took, and the last answers of the limits.
    _intents: deque[float] = field(factory=lambda: deque[float](maxlen=RECENT), init=False)
    _answers: deque[float] = field(factory=lambda: deque[float](maxlen=RECENT), init=False)

    async def take(self, number: int) -> float | None:
        """Wait until a call's intent is due; return its start, or ``None`` at the end."""
        while True:
            try:
                while not await self._leases.take(number):
                    if not await self._pause(_CHANNEL_POLL):
                        return None
                due = await self._start()
            except StoreError as error:
                if not self._apart:
                    raise
                self._note(_passing(error))
                if not await self._pause(_POLL):
                    return None
            else:
                self._note(None)
                return due

    async def reach(self, due: float, *, began: float, until: float) -> bool:
        """Wait for a start, once the intent is on record; take another one while it is over.

        The intent was begun at ``began``; the request must have left by ``until``. Return
        whether it may leave now, as far as starts are concerned.
        """
        self._intents.append(self.now() - began)
        while await self._until(due):
            keys, now = self._keys(), self.now()
            if now - due <= _tolerance(keys) or now >= until:
                return True
            try:
                dues = await self._reserve(keys, 1, longest=until - now)
            except StoreError as error:
                _passing(error)
                return False
            if not dues:
                return False
            due = dues[0]
        return False

    async def hold(self, seconds: float) -> None:
        """Pause all workers that share the limits, as TeleCMI asked for.

        This reserves a start after which the next one is due so much later, unless that is so
        already: many refusals at a time are one pause. If the limits fail, no worker starts
        calls anyway.
        """
        try:
            await self._limits.reserve(
                [(self._settings.pace.shared, seconds)], longest=seconds / 2
            )
        except StoreError as error:
            _passing(error)

    async def _start(self) -> float | None:
        """Wait until a call's intent is to be begun; return when its start is."""
        while True:
            keys = self._keys()
            late = _tolerance(keys)
            due = await self._next(keys, late)
            if due is not None:
                return due if await self._until(due - self._lead(late)) else None
            if not await self._pause(_POLL):
                return None

    def _lead(self, late: float) -> float:
        """Return how long before its start an intent is begun, if a start may be so late."""
        if not self._intents:
            return 0.0
        usual = sorted(self._intents)[(len(self._intents) - 1) * 15 // 16]
        return min(usual, LONGEST_LEAD) if usual > late / 2 else 0.0

    async def _until(self, due: float) -> bool:
        """Wait for a start; return whether dialling goes on."""
        while (rest := due - self.now()) > 0:
            if not await self._pause(rest):
                return False
        return True

    async def _next(self, keys: list[tuple[str, float]], late: float) -> float | None:
        """Return the time of the next reserved start; ``None`` if it is too far away."""
        earliest = self.now() - late
        while self._ahead and self._ahead[0] < earliest:
            self._ahead.popleft()
        apart = max(interval for _, interval in keys)
        longest = max(self._longest, *(interval for _, interval in keys))
        starts, seconds = RESERVED_AHEAD
        most = max(starts, int(seconds / apart)) if apart < CLOSE_STARTS else 0
        if not self._ahead:
            self._ahead.extend(await self._reserve(keys, 1 + most, longest=longest))
        due = self._ahead.popleft() if self._ahead else None
        if due is not None and len(self._ahead) <= most // 2 < most:
            count = most - len(self._ahead)
            self._ahead.extend(await self._reserve(keys, count, longest=longest))
        return due

    async def _reserve(
        self, keys: list[tuple[str, float]], most: int, *, longest: float
    ) -> list[float]:
        """Reserve so many starts, unless they are too far away; return their times.

        Waits count from the moment at which they were granted. It is unknown which part of a late
        answer's delay was before it, so its starts are not used.
        """
        for _ in range(_REPEATS):
            dues, delay = await self._ask(keys, most, longest)
            if delay <= max(LATE_ANSWER, _tolerance(keys)):
                return dues
        dues, _ = await self._ask(keys, most, longest)
        return dues

    async def _ask(
        self, keys: list[tuple[str, float]], most: int, longest: float
    ) -> tuple[list[float], float]:
        """Ask for starts; return them, and how much later than usual the answer came."""
        asked = self.now()
        waits = await self._limits.reserve(keys, longest=longest, most=most)
        now = self.now()
        self._answers.append(now - asked)
        return [now + wait for wait in waits], now - asked - min(self._answers)

    def _keys(self) -> list[tuple[str, float]]:
        return start_limits(self._campaign, self._settings, self._rate())

    def _note(self, error: StoreError | None) -> None:
        """Log once that the limits fail, and once that they work again."""
        if error is not None and not self._failed:
            logger.error(
                "campaign %s: the shared limits fail, nothing is dialled: %s",
                self._campaign,
                error,
            )
        elif error is None and self._failed:
            logger.warning(
                "campaign %s: the shared limits work again, dialling goes on", self._campaign
            )
        self._failed = error is not None


def _passing(error: StoreError) -> StoreError:
    """Return an error of the limits that may pass; raise one that does not."""
    if isinstance(error, LedgerLost):
        raise error
    return error


def _tolerance(keys: list[tuple[str, float]]) -> float:
    """Return how late a start may be that counts under these limits."""
    return max(LATE_START, min(interval for _, interval in keys) / 2)

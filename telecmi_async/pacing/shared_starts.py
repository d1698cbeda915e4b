"""Shared starts: waits until a request may leave, by limits that several processes share.

A start is the moment at which a request leaves. What has to be on record by then (the intent of a
campaign, an idempotency key) takes time. So there are two waits: `SharedStarts.take` ends as long
before the start as that usually takes, and `SharedStarts.reach`, once it is on record, at the
start. If the record stalled and the start is over, `reach` takes another: else all requests that
were stuck would leave together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from attrs import define, field

from telecmi_async.errors import LedgerLost, StoreError
from telecmi_async.pacing.law import (
    CLOSE_STARTS,
    LATE_ANSWER,
    LATE_START,
    LONGEST_LEAD,
    RECENT,
    RESERVED_AHEAD,
    SHARED_MARGIN,
)
from telecmi_async.pacing.shared import SharedLimits

# Seconds until a start that was too far away is asked for again.
_POLL: Final = 1.0
# How often the limits are asked again whose answer came late: theirs may be slow from now on.
_REPEATS: Final = 2


async def sleep_on(seconds: float) -> bool:
    """Sleep; nothing ends it but a cancellation."""
    await anyio.sleep(seconds)
    return True


def passing(error: StoreError) -> StoreError:
    """Return an error of the limits that may pass; raise one that does not."""
    if isinstance(error, LedgerLost):
        raise error
    return error


@define(eq=False, slots=False)
class SharedStarts:
    """Takes one start after another, as the shared limits allow.

    One start is reserved at a time, or a few if they are close together or records take long: a
    process that dies or is paused wastes no more than those.

    Args:
        limits: What grants starts.
        rates: Returns the names of the limits that apply, and how many calls of all that share
            each may start in a second now; None for no limit.
        pause: Waits so many seconds at most; returns whether starts are still wanted.
        longest: The longest wait for a start, in seconds, unless an interval is longer.
    """

    _limits: SharedLimits
    _rates: Callable[[], dict[str, float | None]] = field(kw_only=True, alias="rates")
    _pause: Callable[[float], Awaitable[bool]] = field(
        default=sleep_on, kw_only=True, alias="pause"
    )
    _longest: float = field(default=60.0, kw_only=True, alias="longest")
    #: Returns the time; it is replaced by the clock of the event loop, which is faster.
    now: Callable[[], float] = field(default=anyio.current_time, init=False)
    # The times of starts that were reserved ahead.
    _ahead: deque[float] = field(factory=deque[float], init=False)
    # How long the last records took, and the last answers of the limits.
    _records: deque[float] = field(factory=lambda: deque[float](maxlen=RECENT), init=False)
    _answers: deque[float] = field(factory=lambda: deque[float](maxlen=RECENT), init=False)

    def drop_reserved(self) -> None:
        """Use no start that was reserved before: the rates have changed."""
        self._ahead.clear()

    async def take(self) -> float | None:
        """Wait until what must be on record before a start is to be begun.

        If the wait is cancelled, the next one takes the start that was reserved.

        Returns:
            When the start is, for `reach`; ``None`` if starts are not wanted any more.

        Raises:
            StoreError: The limits fail.
        """
        while True:
            keys = self._keys()
            late = _tolerance(keys)
            due = await self._next(keys, late)
            if due is not None:
                try:
                    return due if await self._until(due - self._lead(late)) else None
                except BaseException:
                    self._ahead.appendleft(due)
                    raise
            if not await self._pause(_POLL):
                return None

    async def reach(self, due: float, *, began: float | None, until: float) -> bool:
        """Wait for a start, once all is on record; take another one while it is over.

        Args:
            due: When the start is.
            began: When the record was begun; None if there is none.
            until: When the request must have left; no later start is taken.

        Returns:
            Whether the request may leave now, as far as starts are concerned.

        Raises:
            LedgerLost: As `hold` does.
        """
        if began is not None:
            self._records.append(self.now() - began)
        while await self._until(due):
            keys, now = self._keys(), self.now()
            if now - due <= _tolerance(keys) or now >= until:
                return True
            try:
                dues = await self._reserve(keys, 1, longest=until - now)
            except StoreError as error:
                passing(error)
                return False
            if not dues:
                return False
            due = dues[0]
        return False

    async def hold(self, name: str, seconds: float) -> None:
        """Pause all that share the limit with a name, as TeleCMI asked for.

        This reserves a start after which the next one is due so much later. If that is so
        already, none is reserved: many refusals at a time are one pause. If the limits fail, no
        call starts anyway.

        Raises:
            LedgerLost: A ledger is what grants starts, and it is lost.
        """
        try:
            await self._limits.reserve([(name, seconds)], longest=seconds / 2)
        except StoreError as error:
            passing(error)

    def _lead(self, late: float) -> float:
        """Return how long before its start a record is begun, if a start may be so late."""
        if not self._records:
            return 0.0
        usual = sorted(self._records)[(len(self._records) - 1) * 15 // 16]
        return min(usual, LONGEST_LEAD) if usual > late / 2 else 0.0

    async def _until(self, due: float) -> bool:
        """Wait for a start; return whether starts are still wanted."""
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
        """Return the names of all limits that apply, and their intervals."""
        return [
            (key, SHARED_MARGIN / rate)
            for key, rate in self._rates().items()
            if rate is not None
        ]


def _tolerance(keys: list[tuple[str, float]]) -> float:
    """Return how late a start may be that counts under these limits."""
    return max(LATE_START, min(interval for _, interval in keys) / 2)

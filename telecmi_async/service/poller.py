"""Hearing of calls without webhooks: their records are looked up, less and less often."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import anyio
import attrs

from telecmi_async._internal import validators
from telecmi_async.errors import AuthenticationError, ConfigurationError, RequestFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from telecmi_async._internal.tasks import TaskRunner
    from telecmi_async.calls.call import Call
    from telecmi_async.events import CallRecord

__all__ = ["CdrPoller", "Polling"]

logger = logging.getLogger("telecmi_async")


def _check_factor(_: object, __: object, factor: float) -> None:
    if not (validators.is_number(factor) and 1 <= factor <= 10):
        raise ConfigurationError("CdrPoller.factor must be a number from 1 to 10")


@attrs.frozen(kw_only=True)
class CdrPoller:
    """Looks up the records of calls that are waited for: ``CallService(events=CdrPoller())``.

    They are those whose handles somebody awaits and, if live calls are limited, those that hold
    a channel. TeleCMI documents the look-up for its older address only, and no limit on how
    often it may be asked. A record is there when the call is over, so `CallHandle.answered`
    wakes no earlier than that; live events come by webhooks alone.

    Args:
        first: From the beginning of the wait to the first look-up, in seconds or as a
            `timedelta`.
        factor: How much longer every following interval is.
        longest: The longest interval.
        at_once: How many look-ups may be under way at the same time.

    Raises:
        ConfigurationError: A value that cannot work.
    """

    first: float = attrs.field(
        default=5.0, converter=validators.to_seconds, validator=validators.positive
    )
    factor: float = attrs.field(default=1.6, validator=_check_factor)
    longest: float = attrs.field(
        default=60.0, converter=validators.to_seconds, validator=validators.positive
    )
    at_once: int = attrs.field(default=4, validator=validators.whole(1))

    def intervals(self) -> Iterator[float]:
        """Return the intervals between look-ups, in seconds, without end."""
        interval = self.first
        while True:
            yield min(interval, self.longest)
            interval = min(interval * self.factor, self.longest)


class Polling:
    """Looks up the records of one service's calls, each in a task of its own.

    Args:
        settings: How often.
        tasks: Runs the tasks.
        records: Looks up the records of a call by its ``request_id``.
        heard: Told of every record that was found, also if it was found before.
        wanted: Whether a call's records are still to be looked up.
        refused: Told of the call for which TeleCMI refused the credentials: looking again is
            of no use.
    """

    def __init__(
        self,
        settings: CdrPoller,
        tasks: TaskRunner,
        *,
        records: Callable[[str], Awaitable[Sequence[CallRecord]]],
        heard: Callable[[Call, CallRecord], None],
        wanted: Callable[[Call], bool],
        refused: Callable[[Call, AuthenticationError], None],
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._records = records
        self._heard = heard
        self._wanted = wanted
        self._refused = refused
        # Bounds the look-ups of all calls. No wait between them holds one.
        self._slots = anyio.CapacityLimiter(settings.at_once)
        self._calls: set[Call] = set()
        self._scopes: set[anyio.CancelScope] = set()
        self._stopped = False

    def look(self, call: Call) -> None:
        """Begin to look a call up, if it is wanted, has an id, and that is not done already."""
        if self._stopped or call.placement.request_id is None or call in self._calls:
            return
        if self._wanted(call):
            self._calls.add(call)
            self._tasks.start(self._run, call, self._ended)

    def _ended(self, call: Call) -> None:
        self._calls.discard(call)
        self.look(call)  # somebody may have begun to wait just now

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        for scope in tuple(self._scopes):
            scope.cancel()

    async def _run(self, call: Call) -> None:
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if not self._stopped:  # else that was before its first step
                    await self._poll(call, call.placement.request_id or "")
            except AuthenticationError as error:
                self._refused(call, error)
            except anyio.get_cancelled_exc_class():
                # On trio all around it is cancelled for good: so would be another look's task.
                self._stopped |= anyio.current_effective_deadline() == -math.inf
                raise
            finally:
                self._scopes.discard(scope)

    async def _poll(self, call: Call, request_id: str) -> None:
        intervals = self._settings.intervals()
        failed = False
        while True:
            await anyio.sleep(next(intervals))
            if not self._wanted(call):
                return
            try:
                async with self._slots:
                    records = await self._records(request_id)
            except RequestFailed as error:
                if not failed:
                    logger.warning(
                        "a call's records could not be looked up, trying on: %s", error
                    )
                failed = True
                continue
            for record in records:
                self._heard(call, record)
            if not self._wanted(call):
                return

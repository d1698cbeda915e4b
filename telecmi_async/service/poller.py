"""CDR polling: looks up the records of calls at growing intervals, without webhooks."""

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

logger = logging.getLogger("telecmi_async")


def _check_factor(_: object, __: object, factor: float) -> None:
    if not (validators.is_number(factor) and 1 <= factor <= 10):
        raise ConfigurationError("CdrPoller.factor must be a number from 1 to 10")


@attrs.frozen(kw_only=True)
class CdrPoller:
    """Looks up the records of calls that are waited for: ``CallService(events=CdrPoller())``.

    These are calls whose handle is awaited and, if live calls are limited, calls that hold a
    channel. TeleCMI documents the look-up for its older API only, and no limit on how often it
    may be used. A record exists once the call is over, so `CallHandle.answered` returns no
    earlier than that; live events need webhooks.

    Example:
        Look up after 3 seconds, then at growing intervals of up to a minute::

            poller = CdrPoller(first=3, longest=60)
            service = CallService(2222226, "your-secret", from_=19170000000, events=poller)

    Args:
        first: From the start of the wait to the first look-up, in seconds or as a `timedelta`.
        factor: By which each following interval is longer: 1 to 10.
        longest: The longest interval, in seconds or as a `timedelta`.
        at_once: How many look-ups may be under way at the same time.

    Raises:
        ConfigurationError: A value is invalid; the message names it.
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
        """Return the endless sequence of intervals between look-ups, in seconds."""
        interval = self.first
        while True:
            yield min(interval, self.longest)
            interval = min(interval * self.factor, self.longest)


class Polling:
    """Looks up the records of one service's calls, each in a separate task.

    ``records`` looks them up by a call's ``request_id``, as long as the call is ``wanted``;
    ``found`` gets every record, also repeatedly. ``refused`` is called when TeleCMI refused the
    credentials: more look-ups would be useless.
    """

    def __init__(
        self,
        settings: CdrPoller,
        tasks: TaskRunner,
        *,
        records: Callable[[str], Awaitable[Sequence[CallRecord]]],
        found: Callable[[Call, CallRecord], None],
        wanted: Callable[[Call], bool],
        refused: Callable[[Call, AuthenticationError], None],
    ) -> None:
        self._settings = settings
        self._tasks = tasks
        self._records = records
        self._found = found
        self._wanted = wanted
        self._refused = refused
        # Bounds the look-ups of all calls. Waits between look-ups hold no slot.
        self._slots = anyio.CapacityLimiter(settings.at_once)
        self._calls: set[Call] = set()
        self._scopes: set[anyio.CancelScope] = set()
        self._stopped = False

    def look(self, call: Call) -> None:
        """Start polling for a call, if it is wanted, has an id, and is not polled already."""
        if self._stopped or call.placement.request_id is None or call in self._calls:
            return
        if self._wanted(call):
            self._calls.add(call)
            self._tasks.start(self._run, call, self._ended)

    def _ended(self, call: Call) -> None:
        self._calls.discard(call)
        self.look(call)  # a new waiter may have come

    def stop(self) -> None:
        """Stop polling."""
        self._stopped = True
        for scope in tuple(self._scopes):
            scope.cancel()

    async def _run(self, call: Call) -> None:
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                if not self._stopped:  # it may be set before this task's first step
                    await self._poll(call, call.placement.request_id or "")
            except AuthenticationError as error:
                self._refused(call, error)
            except anyio.get_cancelled_exc_class():
                # A cancelled trio nursery would cancel the next task as well.
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
                        "a call's records could not be looked up, trying again: %s", error
                    )
                failed = True
                continue
            for record in records:
                self._found(call, record)
            if not self._wanted(call):
                return

"""Hearing of calls without webhooks: their records are looked up, less and less often."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import attrs

from telecmi_async import _settings
from telecmi_async.errors import ConfigurationError, RequestFailed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from telecmi_async.events import CallRecord

__all__ = ["CdrPoller", "poll"]

logger = logging.getLogger("telecmi_async")


def _check_factor(_: object, __: object, factor: float) -> None:
    if not (_settings.is_number(factor) and 1 <= factor <= 10):
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
        default=5.0, converter=_settings.to_seconds, validator=_settings.positive
    )
    factor: float = attrs.field(default=1.6, validator=_check_factor)
    longest: float = attrs.field(
        default=60.0, converter=_settings.to_seconds, validator=_settings.positive
    )
    at_once: int = attrs.field(default=4, validator=_settings.whole(1))

    def intervals(self) -> Iterator[float]:
        """Return the intervals between look-ups, in seconds, without end."""
        interval = self.first
        while True:
            yield min(interval, self.longest)
            interval = min(interval * self.factor, self.longest)


async def poll(
    look_up: Callable[[], Awaitable[Sequence[CallRecord]]],
    heard: Callable[[CallRecord], None],
    done: Callable[[], bool],
    *,
    settings: CdrPoller,
    slots: anyio.CapacityLimiter,
) -> None:
    """Look the records of one call up until enough is known.

    Args:
        look_up: Looks them up.
        heard: Told of every record that was found, also if it was found before.
        done: Whether enough is known.
        settings: How often to look.
        slots: Bounds the look-ups of all calls. No wait between them holds one.

    Raises:
        AuthenticationError: TeleCMI refused the credentials; looking again is of no use.
    """
    failed = False
    for interval in settings.intervals():
        await anyio.sleep(interval)
        if done():
            return
        try:
            async with slots:
                records = await look_up()
        except RequestFailed as error:
            if not failed:
                logger.warning("a call's records could not be looked up, trying on: %s", error)
            failed = True
            continue
        for record in records:
            heard(record)
        if done():
            return

"""The limits a user sets."""

from __future__ import annotations

import attrs

from telecmi_async._internal import validators
from telecmi_async._internal.messages import shown
from telecmi_async.errors import ConfigurationError

__all__ = ["RateLimit"]

_FASTEST = 10_000.0


def _check_rate(_: object, field: attrs.Attribute[float | None], rate: float | None) -> None:
    if rate is not None and not (validators.is_number(rate) and 0 < rate <= _FASTEST):
        raise ConfigurationError(
            f"RateLimit.{field.name} must be a number above 0 and at most {_FASTEST:.0f}, or "
            f"None for no limit, not {shown(rate)}"
        )


@attrs.frozen
class RateLimit:
    """What the account, or good manners, allow.

    TeleCMI publishes no limits, so none on the rate is assumed. Ask for the calls per second
    of your account and set them here: starts are then spaced evenly, first come first
    served, retries included, and no window of one second ever holds more of them (for a rate
    that is no whole number: than the rate rounded up).

    Args:
        calls_per_second: Starts per second; 2.5 means one every 0.4 s. None: no limit.
        max_in_flight: Requests that may be waiting for TeleCMI's reply at the same time. More
            than the default of 20 gains nothing on one core; give a client of your own a pool
            of at least this size.
        queue_timeout: How long one attempt may wait for its turn, in seconds or as a
            `timedelta`, before the call fails with `NotSent`. None waits as long as
            it takes; a web handler had rather set it.
        max_live_calls: How many calls may be live at the same time: the channels of your account,
            which TeleCMI sells and does not tell. A call holds one from before it is sent to
            its end, as its events or records tell. Without those it holds it for its
            ``duration``, or the 5,400 seconds that TeleCMI's SDK assumes, and a minute of
            ringing. None: no limit.

    Raises:
        ConfigurationError: A value that cannot work.
    """

    calls_per_second: float | None = attrs.field(default=None, validator=_check_rate)
    max_in_flight: int = attrs.field(default=20, kw_only=True, validator=validators.whole(1))
    queue_timeout: float | None = attrs.field(
        default=None,
        kw_only=True,
        converter=validators.to_seconds_or_none,
        validator=validators.positive_or_none,
    )
    max_live_calls: int | None = attrs.field(
        default=None, kw_only=True, validator=validators.whole_or_none(1)
    )

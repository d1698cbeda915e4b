"""Rate limit: calls per second, requests in flight and live calls, as a user sets them."""

from __future__ import annotations

import attrs

from telecmi_async._internal import validators
from telecmi_async._internal.messages import shown
from telecmi_async.errors import ConfigurationError

_FASTEST = 10_000.0


def _check_rate(_: object, field: attrs.Attribute[float | None], rate: float | None) -> None:
    if rate is not None and not (validators.is_number(rate) and 0 < rate <= _FASTEST):
        raise ConfigurationError(
            f"RateLimit.{field.name} must be a number above 0 and at most {_FASTEST:.0f}, or "
            f"None for no limit, not {shown(rate)}"
        )


@attrs.frozen
class RateLimit:
    """How fast a service may place calls.

    TeleCMI publishes no rate limit, so by default there is none. Ask TeleCMI for the calls per
    second (CPS) of your account and set them here. Starts are then spaced evenly (above 200 a
    second as evenly as timers allow), first come, first served, retries included. No window of one
    second holds more starts than the rate (rounded up if it is not a whole number).

    Example:
        Ten calls a second, at most 30 of them live::

            rate = RateLimit(10, max_live_calls=30)
            service = CallService(2222226, "your-secret", from_=19170000000, rate=rate)

    Args:
        calls_per_second: Starts per second, at most 10,000; 2.5 means one every 0.4 s. None: no
            limit.
        max_in_flight: How many requests may wait for TeleCMI's reply at the same time. If replies
            take a second, that is as many calls a second; a warning says so if it is less than
            the rate. Your own client needs a pool of at least this size.
        queue_timeout: How long one attempt may wait for its start, in seconds or as a
            `timedelta`; then the call fails with `NotSent`. None: as long as it takes. Web
            handlers should set it.
        max_live_calls: How many calls may be live at the same time: the channels that your
            account has (TeleCMI's API does not return their number). A call holds a channel
            from before it is sent until its events or records show its end. Without these it
            holds it for its ``duration``, or the 5,400 seconds that TeleCMI's SDK assumes,
            plus a minute of ringing. None: no limit.
        shared: With ``CallService(limits=…)``: the name under which ``calls_per_second`` and
            ``max_live_calls`` hold for all services and campaigns together, as in
            ``Pace(shared=…)``. Give the same values everywhere.

    Raises:
        ConfigurationError: A value is invalid; the message names it.
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
    shared: str = attrs.field(default="account", kw_only=True, validator=validators.name)

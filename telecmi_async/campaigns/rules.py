"""Campaign rules: calling windows, caps and expiry, as data.

They are checked when a call is about to be sent: `CampaignRules.judge` checks those that need
only the number and the time, the ledger those that depend on earlier sends
(`CampaignRules.limits`), in the transaction that puts the intent on record. By default only the
do-not-call list applies.
"""

from __future__ import annotations

import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import attrs
from attrs import field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import shown
from telecmi_async._internal.time_zones import zone_named
from telecmi_async.campaigns.stored_values import parse_members, parse_value
from telecmi_async.campaigns.window import CallingWindow
from telecmi_async.campaigns.zones import zones_of
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.records import ZONE_COLUMN, zone_of
from telecmi_async.ledger.send_records import RuleDecision, SendLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_check_zone: validators.Validator[Any] = validators.must_be(
    'a time zone that this machine knows, such as "Asia/Kolkata"',
    lambda value: isinstance(value, str) and zone_named(value) is not None,
)
_check_sum: validators.Validator[Any] = validators.must_be(
    "a positive sum", lambda value: validators.is_number(value) and value > 0
)
_check_instant: validators.Validator[Any] = validators.must_be(
    "a datetime with its time zone, seconds since 1970 or None",
    lambda value: value is None or validators.is_number(value),
)


def _sum(value: float | Decimal) -> float:
    return float(value) if isinstance(value, Decimal) and not value.is_snan() else value  # type: ignore[return-value]  # the validator refuses it


@frozen
class FrequencyCap:
    """How often one number may be dialled, by all campaigns of a ledger together.

    Example:
        Three times in a week::

            from datetime import timedelta

            from telecmi_async.campaigns import FrequencyCap

            FrequencyCap(3, per=timedelta(days=7))

    Args:
        count: The most sends.
        per: The period, in seconds or as a `timedelta`; it may begin at any time. Sends that may
            have rung count.

    Raises:
        ConfigurationError: A value is out of range.
    """

    count: int = field(validator=validators.whole(1))
    per: float = field(
        kw_only=True, converter=validators.to_seconds, validator=validators.positive
    )


@frozen
class DailyCap:
    """How many calls a campaign may send on one day.

    Example:
        A day that begins at midnight in India::

            from telecmi_async.campaigns import DailyCap

            DailyCap(20_000, timezone="Asia/Kolkata")

    Args:
        count: The most sends.
        timezone: The time zone in which a day begins at midnight.

    Raises:
        ConfigurationError: A value is out of range.
    """

    count: int = field(validator=validators.whole(1))
    timezone: str = field(default="UTC", kw_only=True, validator=_check_zone)

    def began(self, now: float) -> float:
        """Return when the day began that ``now`` is in."""
        today = datetime.fromtimestamp(now, zone_named(self.timezone))
        return datetime.combine(today, time(), today.tzinfo).timestamp()


@frozen
class CostCap:
    """What the calls of a campaign may cost in total.

    Example:
        Stop when records add up to 5,000::

            from telecmi_async.campaigns import CostCap

            CostCap(5_000)

    Args:
        most: The sum, in the currency of TeleCMI's records; a `Decimal`, as records have it, or
            another number. All legs of a call count. A cost is known when a leg's record comes,
            so calls under way may exceed it.

    Raises:
        ConfigurationError: A value is out of range.
    """

    most: float = field(converter=_sum, validator=_check_sum)


def _caps(value: FrequencyCap | Iterable[FrequencyCap]) -> tuple[FrequencyCap, ...]:
    caps = tuple(value) if isinstance(value, list | tuple) else (cast("FrequencyCap", value),)
    for cap in caps:
        if not isinstance(cast("object", cap), FrequencyCap):
            raise ConfigurationError(
                "CampaignRules.per_number must be a FrequencyCap, or a list of them, not "
                f"{shown(cap)}"
            )
    return caps


def _instant(value: float | datetime | None) -> float | None:
    if not isinstance(value, datetime):
        return value
    if value.utcoffset() is None:
        raise ConfigurationError("CampaignRules.not_after must have a time zone: tzinfo=…")
    return value.timestamp()


@frozen(kw_only=True)
class CampaignRules:
    """What must hold at the moment of sending.

    Example:
        By day, each number once in four hours, at most 20,000 calls a day::

            from telecmi_async.campaigns import (
                CallingWindow,
                CampaignRules,
                DailyCap,
                FrequencyCap,
            )

            rules = CampaignRules(
                window=CallingWindow("09:00", "21:00"),
                per_number=FrequencyCap(1, per=4 * 3600),
                per_day=DailyCap(20_000, timezone="Asia/Kolkata"),
            )
            for sentence in rules.describe():
                print(sentence)

    Args:
        window: The hours in which phones may ring; ``None`` for any.
        per_number: How often one number may be dialled: a cap, or several that all hold.
        per_day: How many calls a day.
        cost: What they may cost.
        not_after: When the campaign expires: a `datetime` with its time zone, or seconds since
            1970.
        do_not_call: Whether the ledger's do-not-call list applies.

    Raises:
        ConfigurationError: A value is out of range.
    """

    window: CallingWindow | None = field(
        default=None, validator=validators.instance_or_none(CallingWindow)
    )
    per_number: tuple[FrequencyCap, ...] = field(default=(), converter=_caps)
    per_day: DailyCap | None = field(
        default=None, validator=validators.instance_or_none(DailyCap)
    )
    cost: CostCap | None = field(default=None, validator=validators.instance_or_none(CostCap))
    not_after: float | None = field(default=None, converter=_instant, validator=_check_instant)
    do_not_call: bool = field(default=True, validator=validators.flag)

    def judge(
        self,
        number: int,
        columns: Mapping[str, str],
        now: float,
        *,
        not_after: float | None = None,
    ) -> RuleDecision | None:
        """Return why a contact may not be dialled now, by the rules that need no database.

        Args:
            number: The callee.
            columns: The contact's columns: ``timezone`` overrides the number's country.
            now: Seconds since 1970.
            not_after: When this contact expires.

        Returns:
            ``None`` if it may. A decision's ``until`` is the instant at which the window opens;
            its reason holds no number.
        """
        ends = min(t for t in (self.not_after, not_after, math.inf) if t is not None)
        if now > ends:
            return RuleDecision(rule="not_fresh", reason="it has expired")
        if self.window is None:
            return None
        zone = zone_of(columns)
        zones = contact_zones(number, columns)
        opens = self.window.opening(zones, now)
        if opens == now:
            return None
        if opens is None:
            reason = _why_never(self.window, zone, zones)
            return RuleDecision(rule="calling_window", reason=reason)
        where = (
            zones[0] if len(zones) == 1 else f"some of its country's {len(zones)} time zones"
        )
        closed = f"the calling window {self.window} is closed in {where}"
        if opens > ends:
            reason = f"{closed}, and opens again after it has expired"
            return RuleDecision(rule="not_fresh", reason=reason)
        ring_time = f"{self.window.ring_time:g} s"
        return RuleDecision(
            rule="calling_window",
            reason=f"{closed}, or closes before the phone has rung for {ring_time}",
            until=opens,
        )

    def limits(self, now: float) -> SendLimits:
        """Return what the ledger checks in the intent's transaction, by the ledger's clock."""
        return SendLimits(
            per_number=tuple((cap.count, cap.per) for cap in self.per_number),
            per_day=None if self.per_day is None else self.per_day.count,
            cost=None if self.cost is None else self.cost.most,
            day_began=0.0 if self.per_day is None else self.per_day.began(now),
            check_do_not_call=self.do_not_call,
        )

    def dump(self) -> dict[str, object]:
        """Return them as JSON, to be stored with the campaign."""
        return attrs.asdict(self, value_serializer=_as_json)

    @classmethod
    def parse(cls, data: object) -> CampaignRules:
        """Return the rules in JSON, written by `dump` or by hand.

        Raises:
            ConfigurationError: The JSON holds something else; the message names the place.
        """
        given = parse_members(cls, data, "rules")
        for name, kind in (("window", CallingWindow), ("per_day", DailyCap), ("cost", CostCap)):
            if given.get(name) is not None:
                given[name] = parse_value(kind, given[name], f"rules.{name}")
        caps: object = given.get("per_number")
        if isinstance(caps, list | tuple):
            given["per_number"] = [
                parse_value(FrequencyCap, cap, f"rules.per_number[{n}]")
                for n, cap in enumerate(cast("list[object]", caps))
            ]
        return cls(**given)

    def describe(self) -> tuple[str, ...]:
        """Return a sentence per rule, for people who are about to start a campaign."""
        said: list[str] = []
        if self.window is not None:
            closed = f", closed on holidays ({len(self.window.holidays)})"
            said.append(
                f"calls start {self.window}, {self.window.ring_time:g} s before its end at the "
                f"latest, in the callee's time zone{closed if self.window.holidays else ''}"
            )
        said += [
            f"a number at most {'once' if c.count == 1 else f'{c.count} times'} in {time_span(c.per)}"
            for c in self.per_number
        ]
        if self.per_day is not None:
            said.append(f"at most {self.per_day.count} a day ({self.per_day.timezone})")
        if self.cost is not None:
            said.append(f"no more once they have cost {self.cost.most:g}")
        if self.not_after is not None:
            expires = datetime.fromtimestamp(self.not_after, zone_named("UTC"))
            said.append(f"none after {expires}")
        applies = "applies" if self.do_not_call else "does NOT apply"
        return (*said, f"the do-not-call list {applies}")


def contact_zones(number: int, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return the time zones that a contact may live in: its own, or those of its country."""
    zone = zone_of(columns)
    return (zone,) if zone else zones_of(number)


def time_span(seconds: float) -> str:
    """Return a time as people say it, if it is a whole number of days, hours or minutes."""
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count, rest = divmod(seconds, size)
        if count and not rest:
            return f"{count:g} {unit}{'s' if count > 1 else ''}"
    return f"{seconds:g} s"


def _why_never(window: CallingWindow, zone: str, zones: tuple[str, ...]) -> str:
    if not zones:
        return (
            f"its time zone is unknown, since its calling code is: add a column {ZONE_COLUMN}"
        )
    if not any(zone_named(name) for name in zones):
        if zone:
            return f"its column {ZONE_COLUMN} is not a time zone such as Asia/Kolkata"
        return (
            f"this machine does not know the time zone {zones[0]}: install the package tzdata"
        )
    hint = "" if zone else f": add a column {ZONE_COLUMN}"
    return f"the calling window {window} is never open in all its time zones at once{hint}"


# --- JSON -------------------------------------------------------------------------------


def _as_json(_: object, __: object, value: object) -> object:
    return value.isoformat() if isinstance(value, date) else value

"""Campaign settings: kept in the ledger, so that any worker can go on with a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, SupportsIndex, TypeAlias, cast

import attrs
from attrs import field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import mask, shown
from telecmi_async._internal.telecmi import LONGEST_CALL, RECORD_PATIENCE
from telecmi_async._internal.validators import positive, to_seconds
from telecmi_async.campaigns.redial import Redial, parse_caller
from telecmi_async.campaigns.rules import CampaignRules
from telecmi_async.campaigns.stored_values import parse_members, parse_value
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.pcmo.template import Template
from telecmi_async.wire.transport import Timeouts

if TYPE_CHECKING:
    from telecmi_async.pcmo.flow import FlowLike

#: What happens to sends whose outcome is unknown: they are kept, dialled again once it is proven
#: that no phone rang, or given up then.
UnknownPolicy: TypeAlias = Literal["hold", "retry_after_proof", "give_up"]

_FASTEST: Final = 10_000
_REFUSALS: Final = 10
# How long a ledger takes to say that it fails, in seconds.
_LAST_ATTEMPT: Final = 30.0
# The version of what `CampaignSettings.dump` returns. It grows when an older version of this
# package would misread that; then `parse` goes on reading what came before.
_FORMAT: Final = 1


def _check_rate(_: object, attribute: validators.Field, value: float | None) -> None:
    if value is None and attribute.name != "calls_per_second":
        return
    if not validators.is_number(value) or not 0 < value <= _FASTEST:
        raise ConfigurationError(
            f"Pace.{attribute.name} must be a positive number of calls in a second, at most "
            f"{_FASTEST}, not {shown(value)}"
        )


@frozen(kw_only=True)
class Pace:
    """How fast a campaign dials, together with all that share its limits.

    Example:
        Ten calls a second together, three of them by this campaign::

            from telecmi_async.campaigns import Pace

            Pace(calls_per_second=10, campaign_calls_per_second=3, max_live_calls=30)

    Args:
        calls_per_second: How many calls start in a second, over all workers of this ledger.
        max_live_calls: How many calls may be live, over all workers; ``None`` for any number.
        max_in_flight: How many requests one worker has under way at a time, and never more than
            its service's ``RateLimit.max_in_flight``. It claims at most half as many at once.
        shared: The name of the limits: campaigns with the same name share them.
        caller_id_calls_per_second: How many calls with one caller id start in a second; needs
            ``CampaignSettings.from_``. ``None`` for no separate limit.
        campaign_calls_per_second: How many calls of this campaign start in a second. ``None``
            for no separate limit. A call starts once all of its limits allow it.

    Raises:
        ConfigurationError: A value is out of range.
    """

    calls_per_second: float = field(default=1.0, validator=_check_rate)
    max_live_calls: int | None = field(default=None, validator=validators.whole_or_none(1))
    max_in_flight: int = field(default=40, validator=validators.whole(1))
    shared: str = field(default="account", validator=validators.name)
    caller_id_calls_per_second: float | None = field(default=None, validator=_check_rate)
    campaign_calls_per_second: float | None = field(default=None, validator=_check_rate)


@frozen(kw_only=True)
class Retries:
    """When a contact that was certainly not dialled is tried again.

    Example:
        Two attempts, a minute apart::

            from telecmi_async.campaigns import Retries

            Retries(attempts=2, first=60)

    Args:
        attempts: How many requests may be made for it.
        first: The pause before the second one, in seconds or as a `timedelta`.
        longest: The longest pause, likewise; each is twice as long as the one before.

    Raises:
        ConfigurationError: A value is out of range.
    """

    attempts: int = field(default=4, validator=validators.whole(1))
    first: float = field(default=30.0, converter=to_seconds, validator=positive)
    longest: float = field(default=1_800.0, converter=to_seconds, validator=positive)

    def pause(self, sends: int) -> float:
        """Return how long to wait after so many sends, in seconds."""
        return float(min(self.first * 2.0 ** min(sends - 1, 30), self.longest))


@frozen(kw_only=True)
class CampaignTimeouts:
    """How long a worker waits, in seconds or as `timedelta`s.

    Workers of one campaign may differ in it: the ledger records the end of each lease.

    Example:
        Return ten minutes after the last call was placed, at the latest::

            from telecmi_async.campaigns import CampaignTimeouts

            CampaignTimeouts(outcomes=600)

    Args:
        claim: How long a contact is kept for a worker that does not renew it, since it froze
            or died, before another may dial it: nothing was sent yet.
        fence: Within how many seconds of its intent a request must leave. A worker that was
            frozen longer sends nothing.
        timeouts: How long a request may take; as for the service if not given.
        grace: How much later than all of that a send without an outcome becomes unknown.
        outcomes: How long `Campaign.run` waits for the ends of calls, when all is dialled.
            TeleCMI sends a record for the last time half an hour after a call's end.
        evidence: How long it waits then for evidence of calls whose outcome is unknown.
        proof: How long after a request with an unknown outcome its events must have come: the
            longest call, and that half hour.

    Raises:
        ConfigurationError: A value is not a positive duration.
    """

    claim: float = field(default=60.0, converter=to_seconds, validator=positive)
    fence: float = field(default=30.0, converter=to_seconds, validator=positive)
    timeouts: Timeouts | None = field(
        default=None, validator=validators.instance_or_none(Timeouts)
    )
    grace: float = field(default=30.0, converter=to_seconds, validator=positive)
    outcomes: float = field(default=RECORD_PATIENCE, converter=to_seconds, validator=positive)
    evidence: float = field(default=120.0, converter=to_seconds, validator=positive)
    proof: float = field(
        default=LONGEST_CALL + RECORD_PATIENCE, converter=to_seconds, validator=positive
    )

    @property
    def send(self) -> float:
        """For how many seconds after its intent a send belongs to its worker."""
        return self.fence + (self.timeouts or Timeouts()).total + self.grace

    @property
    def longest_leave(self) -> tuple[float, float]:
        """In how many seconds a worker that leaves is done: usually, and if the ledger fails.

        A request ends, and its outcome is written again and again until the last attempt fails.
        """
        request = (self.timeouts or Timeouts()).total
        return request, request + self.send + _LAST_ATTEMPT


def _parse_flow(value: FlowLike | Template) -> Template:
    return value if isinstance(value, Template) else Template(value)


def _parse_from(value: SupportsIndex | str | None) -> int | None:
    return None if value is None else parse_caller(value, "from_")


def _masked(number: int | None) -> str:
    return "None" if number is None else mask(number)


@frozen(kw_only=True)
class CampaignSettings:
    """What a campaign dials, how fast, and by which rules.

    Example:
        A flow with a column, by day, and two calls a second::

            from telecmi_async.campaigns import (
                CallingWindow,
                CampaignRules,
                CampaignSettings,
                Pace,
            )

            CampaignSettings(
                flow=[Speak("Hello {name}!"), Hangup()],
                rules=CampaignRules(window=CallingWindow("09:00", "21:00")),
                pace=Pace(calls_per_second=2, max_live_calls=20),
            )

    Args:
        flow: The call flow after the callee answers, with ``{column}`` for the contact's columns.
        rules: What must hold at the moment of sending.
        pace: How fast it dials.
        retries: When a contact that was certainly not dialled is tried again.
        unknown: What happens to contacts whose phone may have rung: ``"hold"`` keeps them,
            ``"retry_after_proof"`` dials them again once it is proven that no phone rang, and
            ``"give_up"`` gives them up then.
        from_: The caller id; the service's if not given.
        redial: When contacts whose calls were not answered are redialled; ``None`` for never.
        pause_after_refusals: After how many equal refusals in a row (the same HTTP status and
            code) the campaign pauses itself, before a misspelt address uses up its contacts;
            ``None`` for never. Each worker counts its own, for each of TeleCMI's endpoints.

    Raises:
        ConfigurationError: A value is out of range.
        InvalidCall: ``flow`` is not a call flow.
    """

    flow: Template = field(converter=_parse_flow)
    rules: CampaignRules = field(
        factory=CampaignRules, validator=validators.instance(CampaignRules)
    )
    pace: Pace = field(factory=Pace, validator=validators.instance(Pace))
    retries: Retries = field(factory=Retries, validator=validators.instance(Retries))
    unknown: UnknownPolicy = field(
        default="hold", validator=validators.one_of("hold", "retry_after_proof", "give_up")
    )
    from_: int | None = field(default=None, converter=_parse_from, repr=_masked)
    pause_after_refusals: int | None = field(
        default=_REFUSALS, validator=validators.whole_or_none(1)
    )
    redial: Redial | None = field(default=None, validator=validators.instance_or_none(Redial))

    def __attrs_post_init__(self) -> None:
        if self.pace.caller_id_calls_per_second is None:
            return
        if self.from_ is None:
            raise ConfigurationError(
                "Pace.caller_id_calls_per_second needs CampaignSettings.from_: workers whose "
                "services have different caller ids would share one limit"
            )
        if self.redial is not None and self.redial.from_:
            raise ConfigurationError(
                "Pace.caller_id_calls_per_second limits one caller id: Redial.from_ cannot name "
                "others"
            )

    def caller_id(self, redials: int) -> int | None:
        """Return the caller id of a contact with so many redials; ``None`` for the service's."""
        own = None if self.redial is None else self.redial.caller_id(redials)
        return self.from_ if own is None else own

    @property
    def measured_by_events(self) -> tuple[str, ...]:
        """The settings that need the events of calls, in words."""
        caps = {
            "a cost cap": self.rules.cost,
            "a limit of live calls": self.pace.max_live_calls,
            "redials": self.redial,
        }
        return tuple(words for words, cap in caps.items() if cap is not None)

    def differences(self, other: CampaignSettings) -> list[str]:
        """Return the names of the settings in which another one differs."""
        names = [each.name for each in attrs.fields(CampaignSettings)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def dump(self) -> dict[str, object]:
        """Return them as JSON."""
        dumped: dict[str, object] = {
            "format": _FORMAT,
            "flow": self.flow.dump(),
            "rules": self.rules.dump(),
            "pace": attrs.asdict(self.pace),
            "retries": attrs.asdict(self.retries),
            "unknown": self.unknown,
            "from": self.from_,
            "pause_after_refusals": self.pause_after_refusals,
        }
        if self.redial is not None:  # workers of older versions go on with all other campaigns
            dumped["redial"] = self.redial.dump()
        return dumped

    @classmethod
    def parse(cls, data: object) -> CampaignSettings:
        """Return the settings that `dump` returned as JSON.

        Raises:
            ConfigurationError: The data is something else, or of another version; the message
                names the place.
        """
        if not isinstance(data, Mapping):
            raise ConfigurationError("a campaign's settings must be an object")
        members = cast("Mapping[str, object]", data)
        _check_format(members.get("format"))
        given = parse_members(cls, members, "settings", besides=["format"])
        del given["format"]
        try:
            given["flow"] = Template.parse(given["flow"], raw=True)
        except InvalidCall as error:
            raise ConfigurationError(f"settings.flow cannot be read: {error}") from None
        for name, kind in (("pace", Pace), ("retries", Retries), ("redial", Redial)):
            if given.get(name) is not None or (name in given and kind is not Redial):
                given[name] = parse_value(kind, given[name], f"settings.{name}")
        if "rules" in given:
            given["rules"] = CampaignRules.parse(given["rules"])
        return cls(**given)


def _check_format(version: object) -> None:
    """Require settings that this version of the package reads."""
    if version == _FORMAT and not isinstance(version, bool):
        return
    if isinstance(version, int) and version > _FORMAT:
        raise ConfigurationError(
            f"the campaign's settings were written by a newer version of telecmi-async (their "
            f"format is {version}, this one reads {_FORMAT}): update telecmi-async"
        )
    raise ConfigurationError(
        f"the campaign's settings have no format that this version of telecmi-async reads: it "
        f"must be {_FORMAT}, not {shown(version)}"
    )

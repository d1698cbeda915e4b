"""What a campaign was begun with: kept in its ledger, so that any worker can go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

import attrs
from attrs import field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.messages import mask, shown
from telecmi_async.campaigns.outcome import Retries
from telecmi_async.campaigns.rules import CampaignRules
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.pcmo.template import Template
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    from telecmi_async.pcmo.flow import FlowLike

__all__ = ["CampaignSettings", "Pace", "UnknownPolicy"]

#: What becomes of sends whose fate is unknown: they are kept, dialled again once it is proven
#: that nobody was called, or given up.
UnknownPolicy: TypeAlias = Literal["hold", "retry_after_proof", "give_up"]

_FASTEST: Final = 10_000


def _check_rate(owner: object, attribute: validators.Field, value: float) -> None:
    del owner
    if not validators.is_number(value) or not 0 < value <= _FASTEST:
        raise ConfigurationError(
            f"Pace.{attribute.name} must be a positive number of calls in a second, at most "
            f"{_FASTEST}, not {shown(value)}"
        )


def _check_rate_or_none(
    owner: object, attribute: validators.Field, value: float | None
) -> None:
    if value is not None:
        _check_rate(owner, attribute, value)


@frozen(kw_only=True)
class Pace:
    """How fast a campaign dials, together with all who share its limits.

    Args:
        calls_per_second: How many calls start in a second, over all workers of this ledger.
        max_live_calls: How many may be live, likewise; ``None`` for any number.
        window: How many requests one worker has under way at a time, and twice as many as it
            claims at once; never more than its service's ``max_in_flight``.
        shared: What the limits are shared under: campaigns that name the same share them.
        caller_id_calls_per_second: How many calls of one caller id start in a second, besides;
            the campaign must name it (``CampaignSettings.from_``). ``None`` for no limit of its own.
        campaign_calls_per_second: How many of this campaign's, likewise. A call starts once all
            of its limits allow it.

    Raises:
        ConfigurationError: A value cannot be right.
    """

    calls_per_second: float = field(default=1.0, validator=_check_rate)
    max_live_calls: int | None = field(default=None, validator=validators.whole_or_none(1))
    window: int = field(default=40, validator=validators.whole(1))
    shared: str = field(default="account", validator=validators.name)
    caller_id_calls_per_second: float | None = field(
        default=None, validator=_check_rate_or_none
    )
    campaign_calls_per_second: float | None = field(default=None, validator=_check_rate_or_none)


def _parse_flow(value: FlowLike | Template) -> Template:
    return value if isinstance(value, Template) else Template(value)


def _parse_from(value: int | str | None) -> int | None:
    try:
        return None if value is None else parse_number(value, "from_")
    except InvalidCall as error:
        raise ConfigurationError(str(error)) from None


def _masked(number: int | None) -> str:
    return "None" if number is None else mask(number)


@frozen(kw_only=True)
class CampaignSettings:
    """What a campaign was begun with.

    Args:
        flow: What happens when somebody answers: a call flow, with ``{column}`` for what a
            contact's columns say.
        rules: What must hold at the moment of sending.
        pace: How fast it dials.
        retries: When a contact is tried again that was certainly not dialled.
        unknown: What becomes of sends whose fate is unknown.
        from_: The caller id; the service's if not given.

    Raises:
        ConfigurationError: A value cannot be right.
        InvalidCall: ``flow`` is no call flow.
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

    def __attrs_post_init__(self) -> None:
        if self.pace.caller_id_calls_per_second is not None and self.from_ is None:
            raise ConfigurationError(
                "Pace.caller_id_calls_per_second needs CampaignSettings.from_: workers whose services "
                "have different caller ids would share one limit"
            )

    def differences(self, other: CampaignSettings) -> list[str]:
        """Return the names of the settings that another one has otherwise."""
        names = [each.name for each in attrs.fields(CampaignSettings)]
        return [name for name in names if getattr(self, name) != getattr(other, name)]

    def dump(self) -> dict[str, object]:
        """Return them as JSON."""
        return {
            "flow": self.flow.dump(),
            "rules": self.rules.dump(),
            "pace": attrs.asdict(self.pace),
            "retries": attrs.asdict(self.retries),
            "unknown": self.unknown,
            "from": self.from_,
        }

    @classmethod
    def parse(cls, data: object) -> CampaignSettings:
        """Return what `dump` gave.

        Raises:
            ConfigurationError: It is something else, or of a newer version.
        """
        if not isinstance(data, Mapping):
            raise ConfigurationError("a campaign's settings must be an object")
        fields = cast("Mapping[str, object]", data)
        try:
            return cls(
                flow=Template.parse(cast("FlowLike", fields["flow"]), raw=True),
                rules=CampaignRules.parse(fields["rules"]),
                pace=Pace(**cast("dict[str, object]", fields["pace"])),  # type: ignore[arg-type]  # it checks
                retries=Retries(**cast("dict[str, object]", fields["retries"])),  # type: ignore[arg-type]  # it checks
                unknown=cast("UnknownPolicy", fields["unknown"]),
                from_=cast("int | None", fields["from"]),
            )
        except (KeyError, TypeError, InvalidCall) as error:
            raise ConfigurationError(
                f"a campaign's settings cannot be read ({type(error).__name__})"
            ) from None

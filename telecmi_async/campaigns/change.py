"""Change: the settings of a campaign that may be changed while it runs, and how it is said.

The flow and the caller id are what a contact hears and sees: half of the list would get one, and
half the other, under one name. The name of shared limits is where live calls hold their channels.
So for another one of these, another campaign is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import attrs

from telecmi_async._internal.messages import mask, shown
from telecmi_async._internal.seams import check_instance
from telecmi_async.campaigns.settings import CampaignSettings
from telecmi_async.errors import ConfigurationError, StoreError
from telecmi_async.ledger.rows import no_campaign

if TYPE_CHECKING:
    from telecmi_async.campaigns.redial import Redial
    from telecmi_async.campaigns.rules import CampaignRules
    from telecmi_async.campaigns.settings import Pace, Retries, UnknownPolicy
    from telecmi_async.ledger import Ledger

# More changes that come in between are no operators.
_MOST_TRIES: Final = 100
_LONGEST: Final = 80


class Unchanged(Enum):
    """The type of `UNCHANGED`."""

    UNCHANGED = "unchanged"


#: The setting stays as it is; ``None`` switches it off.
UNCHANGED: Final = Unchanged.UNCHANGED


async def change_settings(
    ledger: Ledger,
    name: str,
    *,
    pace: Pace | None = None,
    rules: CampaignRules | None = None,
    retries: Retries | None = None,
    unknown: UnknownPolicy | None = None,
    redial: Redial | Literal[Unchanged.UNCHANGED] | None = UNCHANGED,
    pause_after_refusals: int | Literal[Unchanged.UNCHANGED] | None = UNCHANGED,
    by: str = "",
) -> CampaignSettings:
    """Change settings of a campaign of a ledger, wherever it runs; see `Campaign.change`.

    Example:
        Twice as fast::

            from telecmi_async.campaigns import Pace, change_settings

            async with SqliteLedger("campaigns.db") as ledger:
                await change_settings(
                    ledger, "reminders", pace=Pace(calls_per_second=4), by="asha"
                )

    Args:
        ledger: Where the campaign is; open.
        name: The campaign's name.
        pace: How fast it dials, with the same ``shared``.
        rules: What must hold at the moment of sending.
        retries: When a contact that was certainly not dialled is tried again.
        unknown: What happens to contacts whose phone may have rung.
        redial: When contacts whose calls were not answered are redialled; ``None`` for never.
        pause_after_refusals: After how many equal refusals it pauses; ``None`` for never.
        by: Who changes it.

    Returns:
        The new settings. What is not given stays as it is, also if another person changes it
        at the same time.

    Raises:
        ConfigurationError: There is no such campaign, or a value cannot be changed or is invalid.
        StoreError: The ledger fails: read its history to see whether they were changed.
    """
    check_instance("by", by, str, "a text")
    given = {"pace": pace, "rules": rules, "retries": retries, "unknown": unknown}
    changes: dict[str, object] = {key: each for key, each in given.items() if each is not None}
    may_be_none = {"redial": redial, "pause_after_refusals": pause_after_refusals}
    changes |= {key: each for key, each in may_be_none.items() if each is not UNCHANGED}
    return await _change(ledger, name, changes, by)


async def _change(
    ledger: Ledger, name: str, changes: Mapping[str, object], by: str
) -> CampaignSettings:
    """Change settings; if another change comes first, do it again from those."""
    for _ in range(_MOST_TRIES):
        kept = await ledger.settings_revision(name)
        if kept is None:
            raise no_campaign(name)
        before = CampaignSettings.parse(kept.settings)
        after = attrs.evolve(before, **cast("dict[str, Any]", changes))
        if after.pace.shared != before.pace.shared:
            raise ConfigurationError(
                "Pace.shared cannot be changed, since live calls hold their channels under it: "
                f"it must be {shown(before.pace.shared)}; or load another campaign"
            )
        detail = words_of_change(before, after)
        if not detail or await ledger.change_settings(
            name, after.dump(), revision=kept.number, detail=detail, by=by
        ):
            return after
    raise StoreError(f"campaign {name!r} is changed all the time by others: try again")


def words_of_change(before: CampaignSettings, after: CampaignSettings) -> str:
    """Return which settings differ, in words without a whole phone number; empty if none does."""
    old, new = dict(_flat(before.dump())), dict(_flat(after.dump()))
    return "; ".join(
        f"{path} {_said(path, old.get(path))} → {_said(path, new.get(path))}"
        for path in {**old, **new}
        if old.get(path) != new.get(path)
    )


def _flat(value: Mapping[str, object], path: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, member in value.items():
        named: tuple[str, object] = (f"{path}{key}", member)
        if isinstance(member, Mapping) and key != "flow":
            found += _flat(cast("Mapping[str, object]", member), f"{path}{key}.")
        else:
            found.append(named)
    return found


def _said(path: str, value: object) -> str:
    if path == "redial.from" and value:
        value = [mask(number) for number in cast("tuple[int, ...]", value)]
    if value is None or value in ([], ()):
        return "none"
    listed = value if isinstance(value, list | tuple) else [value]
    text = ", ".join(
        f"{each:g}" if isinstance(each, float) else str(each)
        for each in cast("list[object]", listed)
    )
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"

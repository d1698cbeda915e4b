"""Clock check: whether a clock that was ahead and was set back holds up a campaign's starts.

Shared limits keep the time of the next start. If the clock was a day ahead meanwhile, that time is
a day away. Nothing else is held up for so long: contacts that wait have times of their own.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from telecmi_async.pacing.law import SHARED_MARGIN

if TYPE_CHECKING:
    from telecmi_async.campaigns.settings import CampaignSettings
    from telecmi_async.ledger import Ledger
    from telecmi_async.pacing.shared import SharedLimits

# TeleCMI may ask for pauses, and workers that wait for a start have reserved it: no longer than
# this in seconds, beyond the interval itself.
_USUAL: Final = 600.0
# So short an interval reserves nothing.
_NOTHING: Final = 1e-9
_EVER: Final = 1e10
# Later than any start that a worker waits for.
_SOON: Final = 90.0


def start_limits(
    campaign: str, settings: CampaignSettings, rate: float | None = None
) -> list[tuple[str, float]]:
    """Return a campaign's start limits and intervals; ``rate`` is the account's one now."""
    pace = settings.pace
    rates = {
        pace.shared: rate or pace.calls_per_second,
        f"{pace.shared}/from/{settings.from_}": pace.caller_id_calls_per_second,
        f"{pace.shared}/campaign/{campaign}": pace.campaign_calls_per_second,
    }
    return [(key, SHARED_MARGIN / rate) for key, rate in rates.items() if rate is not None]


async def held_up(limits: SharedLimits, campaign: str, settings: CampaignSettings) -> float:
    """Return for how many seconds no call starts because of a clock; 0 if that is not so."""
    keys = start_limits(campaign, settings)
    waits = await limits.reserve([(key, _NOTHING) for key, _ in keys], longest=_EVER)
    return waits[0] if waits and waits[0] > _usual(keys) else 0.0


async def go_on(ledger: Ledger, campaign: str, settings: CampaignSettings) -> None:
    """Have starts that are held up because of a clock go on in a minute.

    Starts that were granted lie in the past, or are less than a minute away. So no limit grants
    more of them than it would have, and caps count what was sent by the wrong clock as well.
    """
    keys = start_limits(campaign, settings)
    soon = [(key, max(interval, _SOON)) for key, interval in keys]
    await ledger.advance_starts(soon, beyond=_usual(keys))


def _usual(keys: list[tuple[str, float]]) -> float:
    return _USUAL + 2 * max(interval for _, interval in keys)


def words_for(seconds: float, now: float) -> str:
    """Return what to say of starts that are held up, by the ledger's time."""
    until = datetime.fromtimestamp(now + seconds, UTC)
    return (
        f"no call starts before {until:%Y-%m-%d %H:%M} UTC: the clock was ahead when the last "
        "ones started, and was set back. If it is right now, `resume --clock-was-ahead` goes on "
        "at once"
    )

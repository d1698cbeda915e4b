"""Send health: whether recent sends of a worker say that something is wrong with all of them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.messages import http_words
from telecmi_async.errors import AuthenticationError, CallOutcomeUnknown, CallRejected, NotSent
from telecmi_async.ledger import ContactState
from telecmi_async.pacing.circuit_breaker import SendThrottle
from telecmi_async.phone import Region, route

if TYPE_CHECKING:
    from telecmi_async.campaigns.settings_in_use import SettingsInUse
    from telecmi_async.errors import TelecmiError

logger = logging.getLogger("telecmi_async")

#: Reasons for which a campaign pauses itself.
REFUSED_CREDENTIALS: Final = "TeleCMI refused the credentials"
EQUAL_REFUSALS: Final = "equal refusals in a row"


class SendHealth:
    """Says when a worker should send nothing more, by how its last sends ended."""

    def __init__(self, campaign: str, settings: SettingsInUse) -> None:
        self.throttle = SendThrottle(settings.value.pace.calls_per_second)
        #: While the circuit breaker is open because nothing can be connected: why not.
        self.unreached = ""
        self._campaign = campaign
        self._settings = settings
        # For each endpoint, which may be misspelt or denied separately: what refused contacts
        # for good, and how often in a row.
        self._refusals: dict[Region, tuple[str, int]] = {}

    @property
    def why(self) -> str:
        """Return why the circuit breaker is open, in words."""
        if self.unreached:
            return f"TeleCMI cannot be reached ({self.unreached})"
        return "too many of the last sends ended unknown"

    def record(self, error: TelecmiError | None, now: float, *, began: float) -> None:
        """Record how a send ended, and log if that opens or closes the circuit breaker."""
        was_open = self.throttle.open
        self.throttle.record(error, now, began=began)
        if not self.throttle.open:
            self.unreached = ""
        elif isinstance(error, NotSent) and error.unreached:
            self.unreached = error.unreached
        elif isinstance(error, CallOutcomeUnknown):
            self.unreached = ""
        if self.throttle.open is not was_open:
            news = (
                "a probe was answered: dialling goes on"
                if was_open
                else f"{self.why}: nothing but probes is sent"
            )
            logger.warning("campaign %s: %s", self._campaign, news)

    def reason_to_pause(
        self, error: TelecmiError | None, state: ContactState, number: int
    ) -> str:
        """Count how a send of a contact ended; return why the campaign should pause, if it should.

        Equal refusals have the same status and code. What says nothing of the next contact
        (an unknown outcome, "too many", a send that is tried again) neither counts nor ends a row.
        """
        if isinstance(error, AuthenticationError):
            return REFUSED_CREDENTIALS
        region = route(Region.AUTO, number)
        if error is None:
            self._refusals.pop(region, None)
        if error is None or state not in {ContactState.REJECTED, ContactState.FAILED}:
            return ""
        kind, said = str(error), ""
        if isinstance(error, CallRejected):
            kind, said = http_words(error.status, error.code), f": {error.message}"
        last, count = self._refusals.get(region, ("", 0))
        count = count + 1 if last == kind else 1
        self._refusals[region] = kind, count
        most = self._settings.value.pause_after_refusals
        if most is None or count < most:
            return ""
        # After `resume` the contacts that come next are counted afresh.
        del self._refusals[region]
        return f"{count} {EQUAL_REFUSALS} ({kind}){said}"

"""How long a worker waits for what may never come."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen

from telecmi_async._internal import validators
from telecmi_async._internal.telecmi import LONGEST_CALL, RECORD_PATIENCE
from telecmi_async.wire.transport import Timeouts

__all__ = ["CampaignTimeouts"]


def _seconds(default: float) -> Any:
    return field(
        default=default, converter=validators.to_seconds, validator=validators.positive
    )


@frozen(kw_only=True)
class CampaignTimeouts:
    """How long a worker waits for things, in seconds or as `timedelta`s. The defaults do.

    Workers of one campaign may differ in it: each of its leases is on record with what it
    is about.

    Args:
        claim: How long a contact is kept for a worker that does not renew it, since it froze
            or died, before another may dial it: nothing was sent yet.
        fence: Within how many seconds of its intent a request must leave. A worker that was
            frozen longer sends nothing any more.
        timeouts: How long a request may take.
        grace: How much later than all of that a send without an outcome is taken for unknown.
        outcomes: How long `Campaign.run` waits, when all is dialled, for calls to be over.
            TeleCMI sends a record for the last time half an hour after a call's end.
        evidence: How long it waits then for a sign of calls whose fate is unknown.
        proof: How long after a request of unknown fate its events must have come: the longest
            call, and that half hour.

    Raises:
        ConfigurationError: A value is no positive duration.
    """

    claim: float = _seconds(60.0)
    fence: float = _seconds(30.0)
    timeouts: Timeouts = field(factory=Timeouts, validator=validators.instance(Timeouts))
    grace: float = _seconds(30.0)
    outcomes: float = _seconds(RECORD_PATIENCE)
    evidence: float = _seconds(120.0)
    proof: float = _seconds(LONGEST_CALL + RECORD_PATIENCE)

    @property
    def send(self) -> float:
        """For how many seconds after its intent a send is its worker's."""
        return self.fence + self.timeouts.total + self.grace

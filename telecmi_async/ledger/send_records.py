"""Send records: what a ledger takes and returns of each request. Times are seconds since 1970 (UTC)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import field, frozen

from telecmi_async._internal.messages import listed, shown
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.states import ContactState, Move


@frozen(kw_only=True)
class CallEvidence:
    """Evidence of a call, from an event or a call detail record.

    Args:
        token: The token of the send, if the event brings it back.
        request_id: TeleCMI's id of the request.
        at: When the event arrived.
        over: Whether the call is over.
        answered: Whether the call was answered; ``None`` if the event does not say.
        talk_seconds: How long the conversation was; ``None`` if the event does not say.
        cost: The cost of the call, or of the leg; ``None`` if the event does not say.
        detail: The event in a word or two, for people.
        leg: Which leg the cost is of, if it is not the first: each leg's is added.
    """

    token: str | None
    request_id: str | None
    at: float
    over: bool = False
    answered: bool | None = None
    talk_seconds: int | None = None
    cost: float | None = None
    detail: str = ""
    leg: str | None = None

    @property
    def call_cost(self) -> float | None:
        """The cost of the call's first leg."""
        return self.cost if self.leg is None else None

    @property
    def leg_cost(self) -> tuple[str, float] | None:
        """Another leg, and what it cost, if it cost anything."""
        if self.leg is None or not self.cost or self.cost < 0:
            return None
        return self.leg, self.cost


@frozen(kw_only=True)
class SendLimits:
    """Limits that are checked in the intent's transaction.

    Args:
        per_number: The most sends to one number, in all campaigns: pairs of (count, seconds).
        per_day: The most sends of this campaign since ``day_began``; ``None`` for no limit.
        cost: The most that its calls may have cost in all; ``None`` for no limit.
        day_began: When the campaign's day began.
        check_do_not_call: Whether the do-not-call list is checked.
        revision: The revision of the settings by which it is sent.
    """

    per_number: Sequence[tuple[int, float]] = ()
    per_day: int | None = None
    cost: float | None = None
    day_began: float = 0.0
    check_do_not_call: bool = True
    revision: int = 0


@frozen(kw_only=True)
class RuleDecision:
    """Why a contact may not be dialled now.

    Args:
        rule: The rule's name: ``do_not_call``, ``per_number``, ``per_day``, ``cost``,
            ``not_fresh``, ``campaign`` (it was paused or stopped), ``settings`` (they were
            changed), ``withdrawn``, or a rule of the campaign.
        reason: The reason in words, for people.
        until: When the contact may be tried again; ``None`` for never.
    """

    rule: str
    reason: str
    until: float | None = None


@frozen(kw_only=True)
class Intent:
    """The record that a request may leave.

    Args:
        token: The send's own id, in the request and in its events.
        send_by: The fence: after this time the request must not leave.
    """

    token: str
    send_by: float


#: The move that each result of a send makes.
RESULTS: Final = {
    ContactState.PLACED: Move.ACCEPT,
    ContactState.PENDING: Move.RETRY,
    ContactState.REJECTED: Move.REJECT,
    ContactState.FAILED: Move.FAIL,
    ContactState.UNKNOWN: Move.MARK_UNKNOWN,
}


def _check_result(_: object, __: object, state: ContactState) -> None:
    if state not in RESULTS:
        raise ConfigurationError(
            f"SendResult.state must be {listed(RESULTS)}, not {shown(state)}"
        )


@frozen(kw_only=True)
class SendResult:
    """The result of a send.

    Args:
        state: ``PLACED``, ``PENDING`` (not placed, to be tried again), ``REJECTED``, ``FAILED``
            or ``UNKNOWN``.
        detail: The reason, in a few words without a number.
        request_id: TeleCMI's id, if it accepted the call.
        not_before: When to try again.
        counts: Whether the send counts as one of the contact's attempts, if it is ``PENDING``.

    Raises:
        ConfigurationError: No send ends in that state.
    """

    state: ContactState = field(validator=_check_result)
    detail: str = ""
    request_id: str | None = None
    not_before: float = 0.0
    counts: bool = True

"""Send results: what the ledger records after a send."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from telecmi_async import errors
from telecmi_async.campaigns import Retries
from telecmi_async.campaigns.outcome import SendVerdict, outcome_of
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger import ContactState, SendResult

if TYPE_CHECKING:
    from telecmi_async.errors import TelecmiError

S = ContactState
RETRIES = Retries(attempts=3, first=10.0, longest=60.0)


def noted(error: TelecmiError | None, *, sends: int = 1) -> SendVerdict:
    """Return the verdict on a send that raised this error."""
    return outcome_of(error, request_id=None, attempts=sends, retries=RETRIES)


def limited(after: float | None) -> errors.RateLimited:
    """Return TeleCMI's "too many requests" with this Retry-After."""
    error = errors.RateLimited("too many", status=429, code=429)
    error.retry_after = after
    return error


def refused(
    kind: type[errors.CallRejected] = errors.CallRejected, code: int = 422
) -> errors.CallRejected:
    """Return a rejection by TeleCMI."""
    return kind("no", status=code, code=code)


def test_an_accepted_send_is_placed() -> None:
    """An accepted send is placed, with TeleCMI's request id."""
    verdict = outcome_of(None, request_id="r" * 43, attempts=1, retries=RETRIES)

    assert verdict == SendVerdict(state=S.PLACED, request_id="r" * 43)


@pytest.mark.parametrize("sends", [1, 9])
@pytest.mark.parametrize(
    "error",
    [
        errors.CallOutcomeUnknown("no answer", reference="tcm_x", cause="ReadTimeout"),
        errors.TelecmiError("nobody knows what this is"),
    ],
    ids=["unknown", "other error"],
)
def test_what_may_have_rung_is_unknown_however_often(error: TelecmiError, sends: int) -> None:
    """An outcome that is not certain is unknown, after any number of sends."""
    assert noted(error, sends=sends).state is S.UNKNOWN


@pytest.mark.parametrize(
    ("after", "pause"), [(None, 1.0), (0.2, 1.0), (7.0, 7.0), (1e9, 3_600.0)]
)
def test_too_many_is_tried_again_after_the_pause_that_was_asked_for(
    after: float | None, pause: float
) -> None:
    """A "too many requests" error is retried after Retry-After and uses up no attempts."""
    verdict = noted(limited(after), sends=99)

    assert (verdict.state, verdict.pause) == (S.PENDING, pause)


@pytest.mark.parametrize(("unreached", "late"), [("ConnectError", False), ("", True)])
def test_who_could_not_be_connected_to_is_tried_again_however_often(
    unreached: str, *, late: bool
) -> None:
    """A send that could not be connected, or was late, is retried and uses up no attempt."""
    error = errors.NotSent("no network")
    error.unreached, error.late = unreached, late

    verdicts = [noted(error, sends=attempts) for attempts in (1, 2, 99)]

    assert {(verdict.state, verdict.counts) for verdict in verdicts} == {(S.PENDING, False)}
    assert [verdict.pause for verdict in verdicts] == [10.0, 20.0, 60.0]


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (limited(1.0), False),
        (refused(errors.AuthenticationError, 420), False),
        (errors.CallCancelled("cancelled"), False),
        (refused(errors.MissingProperty, 502), True),
        (errors.NotSent("it could not be built"), True),
    ],
)
def test_only_what_may_end_a_contact_counts_as_its_attempt(
    error: TelecmiError, *, counts: bool
) -> None:
    """Of the sends that are tried again, only those of limited number count."""
    verdict = noted(error)

    assert (verdict.state, verdict.counts, verdict.at(0.0).counts) == (
        S.PENDING,
        counts,
        counts,
    )


def test_refused_credentials_are_nobodys_fault() -> None:
    """After refused credentials the contact is pending, and no attempt is used up."""
    verdict = noted(refused(errors.AuthenticationError, 420), sends=99)

    assert (verdict.state, verdict.pause) == (S.PENDING, 0.0)


@pytest.mark.parametrize(
    ("error", "last"),
    [
        (refused(errors.MissingProperty, 502), S.REJECTED),
        (errors.NotSent("it could not be built"), S.FAILED),
    ],
    ids=["502", "not sent"],
)
def test_what_may_pass_is_tried_again_until_its_attempts_are_used_up(
    error: TelecmiError, last: ContactState
) -> None:
    """Temporary errors are retried with a doubling pause until the attempts are used up."""
    verdicts = [noted(error, sends=sends) for sends in (1, 2, 3)]

    assert [verdict.state for verdict in verdicts] == [S.PENDING, S.PENDING, last]
    assert [verdict.pause for verdict in verdicts] == [10.0, 20.0, 0.0]


@pytest.mark.parametrize(
    "error", [refused(), refused(errors.MissingProperty, 422), refused(code=404)]
)
def test_what_telecmi_refuses_is_rejected_at_once(error: TelecmiError) -> None:
    """A permanent refusal by TeleCMI is rejected without a retry."""
    assert noted(error).state is S.REJECTED


def test_what_was_cancelled_is_dialled_later() -> None:
    """A cancelled send is pending again, because nothing was sent."""
    assert noted(errors.CallCancelled("cancelled")) == SendVerdict(
        state=S.PENDING, detail="cancelled", counts=False
    )


def test_a_verdict_becomes_an_outcome_at_the_ledgers_time() -> None:
    """A verdict's pause is counted from the ledger's time."""
    verdict = SendVerdict(state=S.PENDING, detail="why", pause=5.0)

    assert verdict.at(100.0) == SendResult(state=S.PENDING, detail="why", not_before=105.0)


def test_pauses_grow_to_their_longest() -> None:
    """Retry pauses double up to the longest pause."""
    assert [RETRIES.pause(sends) for sends in (1, 2, 3, 4, 5000)] == [10, 20, 40, 60, 60]


@pytest.mark.parametrize(
    "more", [{"attempts": 0}, {"first": 0}, {"longest": -1}, {"attempts": 1.5}]
)
def test_retries_that_cannot_work_are_refused(more: dict[str, float]) -> None:
    """Invalid retry settings are rejected when created."""
    with pytest.raises(ConfigurationError):
        Retries(**more)  # type: ignore[arg-type]  # wrong on purpose

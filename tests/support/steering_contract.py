"""What every ledger does when people change a campaign: settings, contacts, the do-not-call list.

The fixture `open_ledger` is SQLite's, and PostgreSQL's below tests/servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import evolve
from ledgers import (
    FENCE,
    LEASE,
    NO_LIMITS,
    PLACED,
    UNKNOWN,
    Clock,
    begin,
    intend,
    new_token,
    send,
    take,
)

from telecmi_async import ConfigurationError, InvalidCall
from telecmi_async.ledger import (
    CallEvidence,
    ContactState,
    Intent,
    Ledger,
    RuleDecision,
    SendResult,
    Withdrawn,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ledgers import OpenLedger

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

S = ContactState
RETRY = SendResult(state=S.PENDING, detail="connect timed out")
DAY = 86400.0


@pytest.fixture
def clock() -> Clock:
    """The ledger's clock."""
    return Clock()


@pytest.fixture
def another(open_ledger: OpenLedger, tmp_path: Path, clock: Clock) -> Callable[[], Any]:
    """A factory of ledgers that share their contents with `ledger`."""
    return lambda: open_ledger(tmp_path, clock)


@pytest.fixture
async def ledger(another: Callable[[], Any]) -> AsyncIterator[Ledger]:
    """An empty ledger."""
    async with another() as ledger:
        yield ledger


async def changed(ledger: Ledger) -> list[tuple[str, str, str, int | None]]:
    """Return what was changed, in order."""
    return [(c.by, c.what, c.detail, c.count) async for c in ledger.changes("spring")]


async def state_of(ledger: Ledger, number: int) -> tuple[str, str]:
    """Return the state and the reason of a contact."""
    found = await ledger.find("spring", number)
    assert found is not None
    return str(found.state), found.reason


# -- settings


async def test_settings_are_changed_by_whom_knows_the_latest(ledger: Ledger) -> None:
    """A change counts revisions and keeps the first settings; one of an older revision is refused."""
    await ledger.create("spring", {"a": 1})
    first = await ledger.settings_revision("spring")
    done = await ledger.change_settings(
        "spring", {"a": 2}, revision=0, detail="a 1 → 2", by="asha"
    )
    late = await ledger.change_settings("spring", {"a": 3}, revision=0, by="ravi")
    found = await ledger.settings_revision("spring")

    assert first is not None
    assert found is not None
    assert (first.number, first.settings, first.original) == (0, {"a": 1}, {"a": 1})
    assert (done, late) == (True, False)
    assert (found.number, found.settings, found.original) == (1, {"a": 2}, {"a": 1})
    assert await ledger.settings("spring") == {"a": 2}
    assert (await ledger.state("spring")).revision == 1
    assert await ledger.settings_revision("autumn") is None
    assert await changed(ledger) == [("asha", "settings", "a 1 → 2", None)]
    with pytest.raises(ConfigurationError, match="settings"):
        await ledger.change_settings("spring", {"a": object()}, revision=1)
    with pytest.raises(ConfigurationError, match="autumn"):
        await ledger.change_settings("autumn", {}, revision=0)


async def test_changes_at_once_follow_each_other(
    ledger: Ledger, another: Callable[[], Any]
) -> None:
    """Of two changes of the same revision one is refused."""
    await ledger.create("spring", {})
    done: list[bool] = []

    async def change(where: Ledger, value: int) -> None:
        done.append(await where.change_settings("spring", {"a": value}, revision=0))

    async with another() as other, anyio.create_task_group() as group:
        group.start_soon(change, ledger, 1)
        group.start_soon(change, other, 2)

    assert sorted(done) == [False, True]


async def test_no_intent_is_made_by_settings_that_were_changed(ledger: Ledger) -> None:
    """An intent of an earlier revision is postponed, and one of the latest passes."""
    (number,) = await begin(ledger)
    claim = await take(ledger)
    await ledger.change_settings("spring", {}, revision=0)

    answer = await intend(ledger, claim, new_token())

    assert isinstance(answer, RuleDecision)
    assert (answer.rule, (await state_of(ledger, number))[0]) == ("settings", "pending")
    again = await take(ledger)
    latest = evolve(NO_LIMITS, revision=1)
    passed = await ledger.intend(
        again, "w", new_token(), limits=latest, fence=FENCE, lease=LEASE
    )
    assert isinstance(passed, Intent)


@pytest.mark.parametrize("until", [None, DAY * 40_000])
async def test_no_contact_is_put_back_by_rules_that_were_changed(
    ledger: Ledger, until: float | None
) -> None:
    """A rule of an earlier revision neither blocks nor postpones."""
    (number,) = await begin(ledger)
    claim = await take(ledger)
    await ledger.change_settings("spring", {}, revision=0)
    decision = RuleDecision(rule="not_fresh", reason="it has expired", until=until)

    assert not await ledger.block(claim, "w", decision, revision=0)
    assert await state_of(ledger, number) == ("claimed", "")
    assert await ledger.block(claim, "w", decision, revision=1)
    assert (await state_of(ledger, number))[1] == "not_fresh: it has expired"


@pytest.mark.parametrize(
    ("rule", "due"),
    [("calling_window", True), ("per_day", True), ("cost", True), ("pause", False)],
)
async def test_new_rules_judge_what_the_earlier_ones_postponed(
    ledger: Ledger, clock: Clock, rule: str, due: bool
) -> None:
    """After a change, contacts that a rule of days, hours or sums postponed are due at once."""
    await begin(ledger)
    later = RuleDecision(rule=rule, reason="closed", until=clock.time + DAY)
    await ledger.block(await take(ledger), "w", later)
    assert await ledger.claim("spring", "w", most=1, lease=LEASE) == []

    await ledger.change_settings("spring", {}, revision=0)

    assert len(await ledger.claim("spring", "w", most=1, lease=LEASE)) == due


async def test_a_plan_that_was_changed_redials_none(ledger: Ledger, clock: Clock) -> None:
    """Waits of an earlier revision move no contact; those of the latest do."""
    await begin(ledger)
    _, token = await send(ledger, PLACED)
    await ledger.record_event(
        CallEvidence(token=token, request_id=None, at=clock.time, over=True, answered=False)
    )
    await ledger.change_settings("spring", {}, revision=0)

    assert await ledger.redial_missed("spring", [1.0]) == 0
    assert await ledger.redial_missed("spring", [1.0], revision=1) == 1


# -- contacts


async def test_withdrawn_contacts_are_not_dialled(ledger: Ledger) -> None:
    """A pending and a claimed contact are blocked with the reason, and the claim is void."""
    numbers = await begin(ledger, 3)
    claim = await take(ledger)

    found = await ledger.withdraw(
        "spring", [*numbers[:2], 12025550100], by="asha", why="wrong list"
    )

    assert found == Withdrawn(blocked=2, missing=1)
    assert (found.total, found.may_ring) == (2, 0)
    assert await intend(ledger, claim, new_token()) is None
    for number in numbers[:2]:
        reason = "withdrawn by asha: wrong list"
        assert await state_of(ledger, number) == ("blocked", reason)
        contact = await ledger.find("spring", number)
        assert contact is not None
        assert (contact.history[-1].what, contact.history[-1].detail) == ("withdraw", reason)
    assert (await ledger.state("spring")).counts[S.PENDING] == 1
    assert await ledger.withdraw("spring", numbers[:1]) == Withdrawn(blocked=1)
    assert ("asha", "withdraw", "wrong list", 2) in await changed(ledger)
    with pytest.raises(InvalidCall):
        await ledger.withdraw("spring", ["nobody"])


async def test_a_withdrawn_contact_that_is_sent_is_not_tried_again(ledger: Ledger) -> None:
    """Its state says that a phone may ring; a retry then blocks it."""
    (number,) = await begin(ledger)
    claim, token = await take(ledger), new_token()
    await intend(ledger, claim, token)

    assert await ledger.withdraw("spring", [number]) == Withdrawn(sending=1)
    assert (await state_of(ledger, number))[0] == "sending"
    assert await ledger.settle(token, RETRY)

    assert await state_of(ledger, number) == ("blocked", "withdrawn")
    contact = await ledger.find("spring", number)
    assert contact is not None
    assert [each.what for each in contact.history][-3:] == ["event", "retry", "withdraw"]
    assert await ledger.claim("spring", "w", most=1, lease=LEASE) == []


async def test_a_withdrawn_contact_is_not_redialled_by_plan_or_proof(
    ledger: Ledger, clock: Clock
) -> None:
    """A missed call is redialled by no plan, and an unknown one is blocked once it is proven."""
    missed, unknown, other = await begin(ledger, 3)
    _, first = await send(ledger, PLACED)
    await send(ledger, UNKNOWN)
    found = await ledger.withdraw("spring", [missed, unknown])
    assert found == Withdrawn(placed=1, unknown=1)
    _, token = await send(ledger, PLACED)
    clock.time += FENCE + 1
    for each in (first, token):
        await ledger.record_event(
            CallEvidence(token=each, request_id=None, at=clock.time, over=True, answered=False)
        )
    clock.time += 600

    assert await ledger.redial_missed("spring", [1.0]) == 1
    assert await ledger.redial_missed("spring", None) == 0
    assert await ledger.redial_unknown("spring") == 0
    policy = {"older_than": 60.0, "policy": "retry_after_proof"}
    assert await ledger.resolve_unknown("spring", **policy) == 1  # type: ignore[arg-type]  # two kinds of values
    states = [(await state_of(ledger, number))[0] for number in (missed, unknown, other)]
    assert states == ["finished", "blocked", "pending"]


async def test_a_decision_that_names_a_contact_takes_a_withdrawal_back(
    ledger: Ledger, clock: Clock
) -> None:
    """Reopening by number or by the reason, and redialling by number, dial it again."""
    one, two, blocked, missed, unknown = await begin(ledger, 5)
    await ledger.withdraw("spring", [one], why="moved")
    await ledger.withdraw("spring", [two], by="asha")
    never = RuleDecision(rule="do_not_call", reason="asked")
    await ledger.block(await take(ledger), "w", never)
    _, token = await send(ledger, PLACED)
    await ledger.record_event(
        CallEvidence(token=token, request_id=None, at=clock.time, over=True, answered=False)
    )
    await send(ledger, UNKNOWN)
    await ledger.withdraw("spring", [missed, unknown])

    assert await ledger.reopen("spring", S.BLOCKED, by="ravi") == 1
    assert (await state_of(ledger, blocked))[0] == "pending"
    assert await ledger.reopen("spring", S.BLOCKED, reason="by asha") == 1
    assert await ledger.reopen("spring", S.BLOCKED, [one], by="ravi") == 1
    assert await ledger.redial_missed("spring", None, [missed], by="ravi") == 1
    assert await ledger.redial_unknown("spring", [unknown], by="ravi") == 1
    assert len(await ledger.claim("spring", "w", most=9, lease=LEASE)) == 5
    assert [each[:2] for each in await changed(ledger)] == [
        ("", "load"), ("", "withdraw"), ("asha", "withdraw"), ("", "withdraw"),
        ("ravi", "reopen"), ("", "reopen"), ("ravi", "reopen"), ("ravi", "redial_missed"),
        ("ravi", "redial_unknown"),
    ]  # fmt: skip


async def test_a_missed_call_that_was_blocked_since_may_be_reopened(
    ledger: Ledger, clock: Clock
) -> None:
    """What proves that a call was missed lets it be reopened; an answered one stays."""
    numbers = await begin(ledger, 2)
    for answered in (False, True):
        _, token = await send(ledger, PLACED)
        await ledger.record_event(
            CallEvidence(
                token=token, request_id=None, at=clock.time, over=True, answered=answered
            )
        )
    assert await ledger.redial_missed("spring", [0.0]) == 1
    assert await ledger.withdraw("spring", numbers) == Withdrawn(blocked=1, over=1)

    assert await ledger.reopen("spring", S.BLOCKED, numbers) == 1


# -- do not call


async def test_the_do_not_call_list_says_who_put_a_number_there(
    ledger: Ledger, clock: Clock
) -> None:
    """The list has number, source, time and person; a number that is removed may be called."""
    first, second = await begin(ledger, 2)
    await ledger.add_do_not_call([second, first], "complaints", by="asha")
    await ledger.add_do_not_call([first], "register", by="ravi")
    listed = [(e.number, e.source, e.at, e.by) async for e in ledger.do_not_call()]
    removed = await ledger.remove_do_not_call([first, first, 12025550100], by="ravi")
    left = [entry.number async for entry in ledger.do_not_call()]
    passed = await intend(ledger, await take(ledger), new_token())
    denied = await intend(ledger, await take(ledger), new_token())

    assert listed == [
        (number, "complaints", clock.time, "asha") for number in sorted([first, second])
    ]
    assert (removed, left) == (1, [second])
    assert isinstance(passed, Intent)
    assert isinstance(denied, RuleDecision)
    assert denied.rule == "do_not_call"
    assert (await changed(ledger))[1:] == [
        ("asha", "add_do_not_call", "complaints", 2),
        ("ravi", "remove_do_not_call", "", 1),
    ]
    assert str(first) not in repr([entry async for entry in ledger.do_not_call()])


async def test_who_asked_for_what_is_on_record(ledger: Ledger) -> None:
    """Status changes and loading have the person and the reason; each says a sentence."""
    await begin(ledger, 1)
    await ledger.set_status("spring", "paused", "lunch", by="asha")
    await ledger.set_status("spring", "running", by="ravi")
    await ledger.set_status("spring", "stopped")

    said = [str(each) async for each in ledger.changes("spring")]
    assert said == [
        "a program loaded 1 contact", "asha paused it: lunch", "ravi resumed it",
        "a program stopped it",
    ]  # fmt: skip

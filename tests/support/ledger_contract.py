"""The ledger contract: what every ledger must do, on any storage.

The fixture `open_ledger` is SQLite's, and PostgreSQL's below tests/servers.
"""

from __future__ import annotations

import itertools
import math
from itertools import permutations
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from attrs import evolve
from ledgers import (
    FENCE,
    FIRST,
    LEASE,
    PLACED,
    UNKNOWN,
    Clock,
    begin,
    counted,
    intend,
    new_contacts,
    new_token,
    send,
    take,
)

from telecmi_async import ConfigurationError, InvalidCall, TelecmiError
from telecmi_async.ledger import (
    CallEvidence,
    ContactState,
    Intent,
    KeyedCall,
    KeyState,
    Ledger,
    Loaded,
    NewContact,
    Reaped,
    RuleDecision,
    SendLimits,
    SendResult,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from ledgers import OpenLedger

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

S = ContactState
DAY = 86400.0
RETRY = SendResult(state=S.PENDING, detail="connect timed out")
REJECTED = SendResult(state=S.REJECTED, detail="422")
FAILED = SendResult(state=S.FAILED, detail="no more attempts")


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


# -- campaigns


async def test_a_campaign_is_begun_once(ledger: Ledger) -> None:
    """The first settings of a campaign stay, and any JSON is stored."""
    settings = {"flow": [{"play": "ü🙂"}], "cps": 1.5, "cap": None, "dry": False}

    assert await ledger.create("spring", settings) is True
    assert await ledger.create("spring", {"other": 1}) is False
    assert await ledger.settings("spring") == settings
    assert await ledger.settings("autumn") is None
    assert await ledger.create("autumn", {}) is True
    assert await ledger.campaigns() == ["spring", "autumn"]


@pytest.mark.parametrize("settings", [{"a": object()}, {"a": math.nan}, {"a": {1, 2}}])
async def test_settings_are_json(ledger: Ledger, settings: dict[str, object]) -> None:
    """Settings that are not JSON are rejected."""
    with pytest.raises(ConfigurationError, match="settings"):
        await ledger.create("spring", settings)

    assert await ledger.campaigns() == []


async def test_a_campaign_runs_until_it_is_told_otherwise(ledger: Ledger) -> None:
    """A new campaign is running; a later status and its reason are stored."""
    await ledger.create("spring", {})
    before = await ledger.state("spring")
    await ledger.set_status("spring", "paused", "lunch")
    after = await ledger.state("spring")

    assert (before.name, before.asked, before.why) == ("spring", "running", "")
    assert (after.asked, after.why, after.total, after.sends, after.cost) == (
        "paused", "lunch", 0, 0, 0,
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="running"):
        await ledger.set_status("spring", "on fire")


async def status_of(ledger: Ledger) -> str:
    """Return what the campaign is doing."""
    return (await ledger.state("spring")).status


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("calling_window", "waiting for a window"),
        ("per_day", "waiting for a window"),
        ("per_number", "waiting for a window"),
        ("cost", "dialling"),
        ("pause", "dialling"),
    ],
)
async def test_a_campaign_whose_contacts_may_be_dialled_later_waits_for_a_window(
    ledger: Ledger, clock: Clock, rule: str, status: str
) -> None:
    """While a rule of days and hours postpones all that are left, that is the status."""
    await begin(ledger)
    at_first = await status_of(ledger)
    claim = await take(ledger)
    claimed = await status_of(ledger)
    refusal = RuleDecision(rule=rule, reason="closed", until=clock.time + DAY)
    await ledger.block(claim, "w", refusal)
    postponed = await status_of(ledger)
    clock.time += DAY

    assert (at_first, claimed, postponed) == ("dialling", "dialling", status)
    assert await status_of(ledger) == "dialling"


async def test_a_contact_that_is_not_to_be_dialled_yet_is_waited_for(
    ledger: Ledger, clock: Clock
) -> None:
    """A campaign waits until `not_before`, but a contact that is due comes first."""
    await ledger.create("spring", {})
    empty = await status_of(ledger)
    await ledger.load("spring", [NewContact(number=FIRST, not_before=clock.time + DAY)])
    alone = await status_of(ledger)
    await ledger.load("spring", [NewContact(number=FIRST + 1)])

    assert (empty, alone) == ("done", "waiting for a window")
    assert await status_of(ledger) == "dialling"


@pytest.mark.parametrize("asked", ["paused", "stopped"])
async def test_what_was_asked_is_the_status_while_contacts_are_left(
    ledger: Ledger, asked: str
) -> None:
    """A campaign is paused or stopped only while contacts are left to be dialled."""
    await begin(ledger)
    await ledger.set_status("spring", asked, "lunch")
    left = await ledger.state("spring")
    await ledger.set_status("spring", "running")
    await send(ledger, REJECTED)
    await ledger.set_status("spring", asked, "lunch")
    over = await ledger.state("spring")

    assert (left.status, left.asked, left.doing) == (asked, asked, f"{asked} (lunch)")
    assert (over.status, over.asked, over.doing) == ("done", asked, "done")


async def test_records_are_waited_for_while_they_can_come(ledger: Ledger, clock: Clock) -> None:
    """A campaign of which no contact is left is done once each call's record came, or cannot."""
    await begin(ledger, 2)
    tokens = [(await send(ledger, PLACED))[1] for _ in range(2)]
    placed = await status_of(ledger)
    over = CallEvidence(token=tokens[0], request_id=None, at=1.0, over=True)
    await ledger.record_event(over)
    one_to_come = await status_of(ledger)
    clock.time += 7_300
    in_time = await status_of(ledger)
    clock.time += 100

    assert {placed, one_to_come, in_time} == {"waiting for records"}
    assert await status_of(ledger) == "done"


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({}, "done"),
        ({"unknown": "hold"}, "done"),
        ({"unknown": "give_up"}, "waiting for records"),
        ({"unknown": "retry_after_proof"}, "waiting for records"),
    ],
)
async def test_who_is_unknown_is_waited_for_if_proof_changes_that(
    ledger: Ledger, clock: Clock, settings: dict[str, object], status: str
) -> None:
    """A campaign with unknown contacts waits for records only if they move by proof."""
    await ledger.create("spring", settings)
    await ledger.load("spring", new_contacts(1))
    await send(ledger, UNKNOWN)
    found = await status_of(ledger)
    clock.time += 7_400

    assert found == status
    assert await status_of(ledger) == "done"


@pytest.mark.parametrize("result", [PLACED, UNKNOWN, REJECTED, FAILED, RETRY], ids=str)
async def test_a_cost_that_is_not_known_is_not_zero(ledger: Ledger, result: SendResult) -> None:
    """A call that may have been placed has an unknown cost, until its record names it."""
    await begin(ledger)
    before = await ledger.state("spring")
    _, token = await send(ledger, result)
    sent = await ledger.state("spring")
    event = CallEvidence(token=token, request_id=None, at=1.0, over=True)
    await ledger.record_event(event)
    without = await ledger.state("spring")
    for cost in (0.0, 0.5, 0.5):
        event = CallEvidence(token=token, request_id=None, at=2.0, over=True, cost=cost)
        await ledger.record_event(event)
    after = await ledger.state("spring")

    rang = result in {PLACED, UNKNOWN}
    assert (before.cost, before.unpriced) == (0.0, 0)
    assert (sent.cost, sent.unpriced) == ((None, 1) if rang else (0.0, 0))
    assert (without.cost, without.unpriced, without.cost_in_words()) == (None, 1, "unknown")
    assert (after.cost, after.unpriced, after.cost_in_words()) == (0.5, 0, "0.5")


async def test_a_sum_says_for_how_many_calls_it_is_not_known(ledger: Ledger) -> None:
    """A sum of known costs comes with the number of calls whose cost is not known."""
    await begin(ledger, 4)
    tokens = [(await send(ledger, PLACED))[1] for _ in range(3)]
    said: list[str] = []
    for token, cost in zip(tokens, (0.0, 0.25, 0.5), strict=True):
        await ledger.record_event(
            CallEvidence(token=token, request_id=None, at=1.0, over=True, cost=cost)
        )
        said.append((await ledger.state("spring")).cost_in_words(places=2))
    await intend(ledger, await take(ledger), new_token())
    state = await ledger.state("spring")

    assert said == ["0.00, unknown for 2 calls", "0.25, unknown for 1 call", "0.75"]
    assert (state.cost, state.unpriced) == (0.75, 1)
    assert str(state).endswith("4 sends, cost 0.75, unknown for 1 call")


ASKED: dict[str, Callable[[Ledger], Any]] = {
    "state": lambda ledger: ledger.state("nobody"),
    "set_status": lambda ledger: ledger.set_status("nobody", "paused"),
    "load": lambda ledger: ledger.load("nobody", new_contacts(1)),
    "load nothing": lambda ledger: ledger.load("nobody", []),
    "claim": lambda ledger: ledger.claim("nobody", "w", most=1, lease=1),
    "next_due": lambda ledger: ledger.next_due("nobody"),
    "reap": lambda ledger: ledger.reap("nobody"),
    "resolve_unknown": lambda ledger: ledger.resolve_unknown(
        "nobody", older_than=1, policy="give_up"
    ),
    "redial_unknown": lambda ledger: ledger.redial_unknown("nobody"),
    "reopen": lambda ledger: ledger.reopen("nobody", S.FAILED),
    "find": lambda ledger: ledger.find("nobody", FIRST),
    "contacts": lambda ledger: anext(ledger.contacts("nobody")),
}


@pytest.mark.parametrize("what", ASKED)
async def test_who_names_no_campaign_is_told(ledger: Ledger, what: str) -> None:
    """Every method rejects the name of a campaign that does not exist."""
    await ledger.create("spring", {})

    with pytest.raises(ConfigurationError, match="nobody"):
        await ASKED[what](ledger)


async def test_what_is_kept_outlives_who_kept_it(
    ledger: Ledger, another: Callable[[], Any]
) -> None:
    """Another ledger on the same storage sees the same contacts, now and later."""
    (number,) = await begin(ledger)
    async with another() as other:
        assert await counted(other) == {"pending": 1}
        await send(other, PLACED)

    found = await ledger.find("spring", number)

    assert found is not None
    assert found.state is S.PLACED


# -- contacts


async def test_each_number_is_in_a_campaign_once(ledger: Ledger) -> None:
    """A number is loaded once per campaign; a later load does not change it."""
    await ledger.create("spring", {})
    await ledger.create("autumn", {})
    contacts = new_contacts(5)
    again = [NewContact(number=contact.number, columns={"new": "x"}) for contact in contacts]

    assert await ledger.load("spring", [*contacts, contacts[0]]) == Loaded(added=5, known=1)
    assert await ledger.load("spring", again) == Loaded(added=0, known=5)
    assert await ledger.load("autumn", again) == Loaded(added=5, known=0)
    assert [contact.columns async for contact in ledger.contacts("spring")] == [
        contact.columns for contact in contacts
    ]


async def test_loading_is_lazy_and_takes_any_number(ledger: Ledger) -> None:
    """If the iterable raises, its error is raised, and the contacts loaded so far stay."""
    await ledger.create("spring", {})
    contacts = new_contacts(3500)

    def broken() -> Iterator[NewContact]:
        yield from contacts[:2500]
        raise LookupError("row 2501")

    with pytest.raises(LookupError, match="row 2501"):
        await ledger.load("spring", broken())
    some = (await ledger.state("spring")).total
    rest = await ledger.load("spring", iter(contacts))

    assert 0 < some <= 2500
    assert rest == Loaded(added=3500 - some, known=some)
    assert await counted(ledger) == {"pending": 3500}


async def test_only_contacts_are_loaded(ledger: Ledger) -> None:
    """A bare number is rejected, and the error does not repeat it."""
    await ledger.create("spring", {})

    with pytest.raises(ConfigurationError, match="NewContact") as caught:
        await ledger.load("spring", [FIRST])  # type: ignore[list-item]  # a wrong type

    assert str(FIRST) not in str(caught.value)


async def test_one_person_is_one_number(ledger: Ledger) -> None:
    """Different spellings of a number are one contact."""
    number, text = 19170000001, "+1 (917) 000-0001"
    await ledger.create("spring", {})

    loaded = await ledger.load("spring", [NewContact(number=each) for each in (text, number)])
    found = await ledger.find("spring", text)
    await send(ledger, UNKNOWN)

    assert loaded == Loaded(added=1, known=1)
    assert found is not None
    assert found.number == number
    assert await ledger.redial_unknown("spring", [text]) == 1
    assert await ledger.add_do_not_call([number, text], "own list") == 1


@pytest.mark.parametrize("number", ["917 000 0001 x", "0917", 12, True, 1917.0, None])
async def test_what_is_no_number_is_refused(ledger: Ledger, number: Any) -> None:
    """An invalid number is rejected by every method that takes one."""
    await ledger.create("spring", {})

    with pytest.raises(InvalidCall, match="number"):
        NewContact(number=number)
    with pytest.raises(InvalidCall, match="number"):
        await ledger.find("spring", number)
    with pytest.raises(InvalidCall, match="number"):
        await ledger.add_do_not_call([number], "own list")
    with pytest.raises(InvalidCall, match="number"):
        await ledger.redial_unknown("spring", [number])
    with pytest.raises(InvalidCall, match="number"):
        await ledger.reopen("spring", S.REJECTED, [number])


async def test_a_call_that_is_heard_of_has_nothing_against_it(ledger: Ledger) -> None:
    """An event clears the reason of an unknown contact; the history keeps it."""
    (number,) = await begin(ledger)
    _, token = await send(ledger, SendResult(state=S.UNKNOWN, detail="its reply was lost"))
    before = await ledger.find("spring", number)

    await ledger.record_event(
        CallEvidence(token=token, request_id="r", at=await ledger.now(), detail="started")
    )
    after = await ledger.find("spring", number)

    assert before is not None
    assert after is not None
    assert (before.reason, after.reason) == ("its reply was lost", "")
    assert [passage.detail for passage in after.history[-2:]] == [
        "its reply was lost",
        "started",
    ]


async def test_columns_come_back_as_they_were(ledger: Ledger) -> None:
    """Columns are returned as they were loaded, with any characters."""
    columns = {"name": "Zoë 'O\"Brien\\ \n\t%s ?", "": "", "🙂": "{}", "null": "null"}
    await ledger.create("spring", {})
    await ledger.load("spring", [NewContact(number=FIRST, columns=columns)])

    claim = await take(ledger)
    found = await ledger.find("spring", FIRST)

    assert claim.columns == columns
    assert found is not None
    assert found.columns == columns


async def test_contacts_are_looked_through_in_order_of_loading(ledger: Ledger) -> None:
    """Contacts are listed in the order of loading: all, or those in some states."""
    numbers = await begin(ledger, 1200)
    await send(ledger, PLACED)
    await send(ledger, REJECTED)

    async def look(*states: ContactState) -> list[int]:
        return [contact.number async for contact in ledger.contacts("spring", states=states)]

    assert await look() == numbers
    assert await look(S.PLACED, S.REJECTED) == numbers[:2]
    assert await look(S.PENDING) == numbers[2:]
    assert await look(S.UNKNOWN) == []
    assert await ledger.find("spring", FIRST - 1) is None


# -- claims


async def test_a_contact_is_claimed_by_one(ledger: Ledger) -> None:
    """Each contact is claimed by one worker, in the order of loading."""
    numbers = await begin(ledger, 5, not_after=2e9)

    mine = await ledger.claim("spring", "a", most=3, lease=LEASE)
    yours = await ledger.claim("spring", "b", most=3, lease=LEASE)
    nothing = await ledger.claim("spring", "a", most=3, lease=LEASE)

    assert [claim.number for claim in (*mine, *yours)] == numbers
    assert [claim.columns for claim in mine] == [{"row": str(row)} for row in range(3)]
    assert {(claim.epoch, claim.sends, claim.not_after) for claim in mine} == {(1, 0, 2e9)}
    assert nothing == await ledger.claim("spring", "a", most=0, lease=LEASE) == []
    assert await counted(ledger) == {"claimed": 5}


async def test_what_is_due_first_is_claimed_first(ledger: Ledger, clock: Clock) -> None:
    """Contacts are claimed in the order in which they are due, and not before."""
    await ledger.create("spring", {})
    times = [clock.time + 20, clock.time + 10, clock.time + 30]
    contacts = [new_contacts(1, not_before=time)[0] for time in times]
    await ledger.load("spring", contacts)

    early = await ledger.claim("spring", "w", most=9, lease=LEASE)
    first = await ledger.next_due("spring")
    clock.time += 20
    claims = await ledger.claim("spring", "w", most=9, lease=LEASE)
    last = await ledger.next_due("spring")
    clock.time += 10
    await take(ledger)

    assert early == []
    assert (first, last) == (times[1], times[2])
    assert [claim.number for claim in claims] == [contacts[1].number, contacts[0].number]
    assert await ledger.next_due("spring") is None


@pytest.mark.parametrize("status", ["paused", "stopped"])
async def test_nothing_is_claimed_of_a_campaign_that_does_not_run(
    ledger: Ledger, status: str
) -> None:
    """No contact of a paused or stopped campaign is claimed until it runs again."""
    await begin(ledger)
    await ledger.set_status("spring", status)

    assert await ledger.claim("spring", "w", most=1, lease=LEASE) == []

    await ledger.set_status("spring", "running")

    assert len(await ledger.claim("spring", "w", most=1, lease=LEASE)) == 1


async def test_a_claim_is_given_back(ledger: Ledger, clock: Clock) -> None:
    """Only its holder releases a claim, and only once; the contact is due at once or later."""
    await begin(ledger, 2)
    first, second = await ledger.claim("spring", "w", most=2, lease=LEASE)
    later = clock.time + 5

    assert await ledger.release(first, "other") is False
    assert await ledger.release(first, "w") is True
    assert await ledger.release(first, "w") is False
    assert await ledger.release(second, "w", not_before=later) is True

    again = await ledger.claim("spring", "w", most=2, lease=LEASE)

    assert [(claim.contact, claim.epoch) for claim in again] == [(first.contact, 2)]
    assert await ledger.next_due("spring") == later


async def test_a_lease_that_is_over_is_reaped(ledger: Ledger, clock: Clock) -> None:
    """A claim whose lease is over becomes pending again, and the old claim is void."""
    await begin(ledger)
    old = await take(ledger, "a")
    clock.time += LEASE - 1
    early = await ledger.reap("spring")
    clock.time += 2

    assert early == Reaped(released=0, unknown=0)
    assert await ledger.reap("spring") == Reaped(released=1, unknown=0)
    assert await ledger.reap("spring") == Reaped(released=0, unknown=0)

    new = await take(ledger, "b")

    assert (new.contact, new.epoch) == (old.contact, old.epoch + 1)
    assert await intend(ledger, old, new_token(), "a") is None
    assert await ledger.release(old, "a") is False
    assert await ledger.block(old, "a", RuleDecision(rule="x", reason="y")) is False
    assert isinstance(await intend(ledger, new, new_token(), "b"), Intent)


async def test_the_same_worker_cannot_use_an_old_claim(ledger: Ledger, clock: Clock) -> None:
    """An old claim is void even for the same worker, because its epoch has changed."""
    await begin(ledger)
    old = await take(ledger)
    clock.time += LEASE + 1
    await ledger.reap("spring")
    new = await take(ledger)

    assert await intend(ledger, old, new_token()) is None
    assert await ledger.release(old, "w") is False
    assert await ledger.release(new, "w") is True


async def test_leases_are_lengthened(ledger: Ledger, clock: Clock) -> None:
    """renew() extends all leases of one worker, and no others."""
    await begin(ledger, 3)
    await ledger.claim("spring", "a", most=2, lease=10)
    await ledger.claim("spring", "b", most=1, lease=10)

    assert await ledger.renew("a", lease=100) == 2
    assert await ledger.renew("nobody", lease=100) == 0

    clock.time += 50

    assert await ledger.reap("spring") == Reaped(released=1, unknown=0)
    assert await ledger.renew("b", lease=100) == 0


# -- the intent


async def test_an_intent_is_on_record_before_anything_is_sent(
    ledger: Ledger, clock: Clock
) -> None:
    """An intent is recorded once, by the claim's holder, with its deadline for sending."""
    (number,) = await begin(ledger)
    claim, token = await take(ledger), new_token()

    assert await intend(ledger, claim, new_token(), "other") is None
    assert await intend(ledger, claim, token) == Intent(token=token, send_by=clock.time + FENCE)
    assert await intend(ledger, claim, new_token()) is None
    assert await ledger.release(claim, "w") is False

    found = await ledger.find("spring", number)
    state = await ledger.state("spring")

    assert found is not None
    assert (found.state, found.sends, found.sent_at) == (S.SENDING, 1, clock.time)
    assert (state.sends, state.counts[S.SENDING]) == (1, 1)
    assert [passage.what for passage in found.history] == ["claim", "intend"]
    assert found.history[-1].token == token


async def test_a_token_is_used_once(ledger: Ledger) -> None:
    """A second intent with the same token is rejected."""
    await begin(ledger, 2)
    _, token = await send(ledger)
    claim = await take(ledger)

    with pytest.raises(TelecmiError):
        await intend(ledger, claim, token)

    assert await counted(ledger) == {"sending": 1, "claimed": 1}


async def refused(ledger: Ledger, limits: SendLimits, **more: Any) -> RuleDecision:
    """Claim the next contact, and have its intent refused."""
    claim = await take(ledger, **more)
    refusal = await intend(ledger, claim, new_token(), limits=limits)
    assert isinstance(refusal, RuleDecision)
    assert str(claim.number) not in refusal.reason
    return refusal


async def test_who_must_not_be_called_is_not(ledger: Ledger) -> None:
    """A number on the do-not-call list is blocked, even if listed after its claim."""
    numbers = await begin(ledger, 3)

    assert (
        await ledger.add_do_not_call(iter([numbers[0], numbers[1], numbers[0]]), "own list")
        == 2
    )
    assert await ledger.add_do_not_call(numbers[:1], "another") == 0

    refusal = await refused(ledger, SendLimits())
    claim = await take(ledger)
    allowed = await intend(
        ledger, claim, new_token(), limits=SendLimits(check_do_not_call=False)
    )
    found = await ledger.find("spring", numbers[0])

    assert (refusal.rule, refusal.until) == ("do_not_call", None)
    assert isinstance(allowed, Intent)
    assert found is not None
    assert (found.state, found.sends) == (S.BLOCKED, 0)
    assert "do_not_call" in found.reason
    assert found.history[-1].what == "block"


async def test_a_contact_that_is_not_fresh_is_blocked(ledger: Ledger, clock: Clock) -> None:
    """A contact is blocked after its `not_after`."""
    await begin(ledger, 2, not_after=clock.time + 5)
    clock.time += 5
    _, token = await send(ledger)
    clock.time += 1

    refusal = await refused(ledger, SendLimits())

    assert token
    assert (refusal.rule, refusal.until) == ("not_fresh", None)
    assert await counted(ledger) == {"sending": 1, "blocked": 1}


@pytest.mark.parametrize("status", ["paused", "stopped"])
async def test_nothing_is_sent_of_a_campaign_that_was_told_to_pause(
    ledger: Ledger, status: str
) -> None:
    """An intent in a paused or stopped campaign is refused; its contact becomes pending."""
    await begin(ledger)
    claim = await take(ledger)
    await ledger.set_status("spring", status, "too late")

    refusal = await intend(ledger, claim, new_token())

    assert isinstance(refusal, RuleDecision)
    assert (refusal.rule, refusal.until is None) == ("campaign", False)
    assert await counted(ledger) == {"pending": 1}


RUNG = {
    "sending": None,
    "placed": PLACED,
    "unknown": UNKNOWN,
}
NOT_RUNG = {"retry": RETRY, "rejected": REJECTED, "failed": FAILED}


@pytest.mark.parametrize("outcome", RUNG)
async def test_sends_to_a_number_count_in_all_campaigns(
    ledger: Ledger, clock: Clock, outcome: str
) -> None:
    """A cap per number counts sends that may have rung, in all campaigns, until it is over."""
    numbers = await begin(ledger)
    await ledger.create("autumn", {})
    await ledger.load("autumn", [NewContact(number=numbers[0])])
    await send(ledger, RUNG[outcome])
    sent_at = clock.time
    limits = SendLimits(per_number=[(1, 3600.0), (5, 10 * DAY), (1, 7200.1)])
    clock.time += 10

    refusal = await refused(ledger, limits, name="autumn")
    early = await ledger.claim("autumn", "w", most=1, lease=LEASE)
    assert refusal.until is not None
    clock.time = refusal.until
    claim = await take(ledger, name="autumn")

    assert (refusal.rule, refusal.until) == ("per_number", sent_at + 7200.1)
    assert early == []
    assert isinstance(await intend(ledger, claim, new_token(), limits=limits), Intent)


async def test_a_cap_of_none_is_for_ever(ledger: Ledger) -> None:
    """A cap of zero calls blocks the contact."""
    await begin(ledger)

    refusal = await refused(ledger, SendLimits(per_number=[(0, 3600.0)]))

    assert (refusal.rule, refusal.until) == ("per_number", None)
    assert await counted(ledger) == {"blocked": 1}


@pytest.mark.parametrize("outcome", NOT_RUNG)
async def test_what_certainly_rang_nowhere_counts_under_no_limit(
    ledger: Ledger, outcome: str
) -> None:
    """A send that certainly did not ring counts towards no cap."""
    numbers = await begin(ledger)
    await ledger.create("autumn", {})
    await ledger.load("autumn", [NewContact(number=numbers[0])])
    await send(ledger, NOT_RUNG[outcome], name="autumn")
    claim = await take(ledger)
    limits = SendLimits(per_number=[(1, DAY)], per_day=1)

    assert isinstance(await intend(ledger, claim, new_token(), limits=limits), Intent)


async def test_a_campaign_makes_so_many_calls_a_day(ledger: Ledger, clock: Clock) -> None:
    """The daily cap counts sends since the day began that may have rung."""
    await begin(ledger, 8)
    await send(ledger, PLACED)
    clock.time += 100
    began = clock.time
    limits = SendLimits(per_day=3, day_began=began)
    for outcome in (REJECTED, PLACED, UNKNOWN, None):
        await send(ledger, outcome)
        clock.time += 1000

    refusal = await refused(ledger, limits)
    clock.time = began + DAY
    claim = await take(ledger)
    tomorrow = SendLimits(per_day=3, day_began=began + DAY)

    assert (refusal.rule, refusal.until) == ("per_day", began + DAY)
    assert isinstance(await intend(ledger, claim, new_token(), limits=tomorrow), Intent)


async def test_a_day_may_begin_at_any_second(ledger: Ledger, clock: Clock) -> None:
    """Near the start of the day, the daily cap counts exactly the sends after it that rang."""
    await begin(ledger, 6)
    limits = SendLimits(per_day=2, day_began=clock.time + 100)
    for later, outcome in ((0, PLACED), (100, PLACED), (50, REJECTED), (1, REJECTED)):
        clock.time += later
        await send(ledger, outcome)
    claim = await take(ledger)

    assert isinstance(await intend(ledger, claim, new_token(), limits=limits), Intent)
    assert (await refused(ledger, limits)).rule == "per_day"


async def test_a_day_may_begin_on_the_quarter_itself(ledger: Ledger, clock: Clock) -> None:
    """A send in the first second of the day counts."""
    clock.time = 1_800_000_000.0
    await begin(ledger, 3)
    await send(ledger, PLACED)
    clock.time += 1

    refusal = await refused(ledger, SendLimits(per_day=1, day_began=1_800_000_000.0))
    claim = await take(ledger)
    later = SendLimits(per_day=1, day_began=1_800_000_000.5)

    assert refusal.rule == "per_day"
    assert isinstance(await intend(ledger, claim, new_token(), limits=later), Intent)


async def test_a_day_that_takes_longer_is_no_hurry(ledger: Ledger, clock: Clock) -> None:
    """In the 25th hour of a day, a refused contact is postponed into the future."""
    await begin(ledger, 2)
    began = clock.time
    await send(ledger, PLACED)
    clock.time += DAY + 1800

    refusal = await refused(ledger, SendLimits(per_day=1, day_began=began))

    assert refusal.until is not None
    assert refusal.until > clock.time


async def test_what_calls_may_cost_is_limited(ledger: Ledger, clock: Clock) -> None:
    """The cost cap counts known costs, and postpones the contact."""
    await begin(ledger, 3)
    for cost in (0.5, 0.25):
        _, token = await send(ledger, PLACED)
        await ledger.record_event(
            CallEvidence(token=token, request_id=None, at=1.0, over=True, cost=cost)
        )

    refusal = await refused(ledger, SendLimits(cost=0.75))
    assert refusal.until is not None
    clock.time = refusal.until
    claim = await take(ledger)

    assert refusal.rule == "cost"
    assert isinstance(
        await intend(ledger, claim, new_token(), limits=SendLimits(cost=0.76)), Intent
    )


async def test_a_rule_of_the_engines_postpones_or_blocks(ledger: Ledger, clock: Clock) -> None:
    """block() postpones or blocks a contact with a reason; only the claim's holder can."""
    numbers = await begin(ledger, 2)
    first, second = await ledger.claim("spring", "w", most=2, lease=LEASE)
    until = clock.time + 3600
    window = RuleDecision(rule="window", reason="it is night there", until=until)
    country = RuleDecision(rule="country", reason="not among the countries")

    assert await ledger.block(first, "other", window) is False
    assert await ledger.block(first, "w", window) is True
    assert await ledger.block(first, "w", window) is False
    assert await ledger.block(second, "w", country) is True
    assert await ledger.next_due("spring") == until

    found = [await ledger.find("spring", number) for number in numbers]

    assert [(one.state, one.reason) for one in found if one is not None] == [
        (S.PENDING, "window: it is night there"),
        (S.BLOCKED, "country: not among the countries"),
    ]
    assert [one.history[-1].what for one in found if one is not None] == ["postpone", "block"]
    assert [one.waits_until for one in found if one is not None] == [until, None]


# -- send results


@pytest.mark.parametrize(
    ("outcome", "what"),
    [
        (PLACED, "accept"),
        (RETRY, "retry"),
        (REJECTED, "reject"),
        (FAILED, "fail"),
        (UNKNOWN, "mark_unknown"),
    ],
)
async def test_a_send_is_settled_once(ledger: Ledger, outcome: SendResult, what: str) -> None:
    """A send is settled once, with its result and reason."""
    (number,) = await begin(ledger)
    _, token = await send(ledger)

    assert await ledger.settle(token, outcome) is True
    assert await ledger.settle(token, REJECTED) is False

    found = await ledger.find("spring", number)

    assert found is not None
    assert (found.state, found.reason, found.sends) == (outcome.state, outcome.detail, 1)
    assert [passage.what for passage in found.history] == ["claim", "intend", what]
    assert (found.history[-1].token, found.history[-1].detail) == (token, outcome.detail)


async def test_a_send_comes_to_one_of_five(ledger: Ledger) -> None:
    """A send is settled in one of five states only, and only if its token is known."""
    await begin(ledger)
    _, token = await send(ledger)

    with pytest.raises(ConfigurationError, match="placed"):
        await ledger.settle(token, SendResult(state=S.CLAIMED))
    for request_id in (None, "r"):
        placed = SendResult(state=S.PLACED, request_id=request_id)
        assert await ledger.settle("tcm_nobody", placed) is False
    assert await counted(ledger) == {"sending": 1}


async def test_what_was_not_placed_is_tried_again_when_it_is_time(
    ledger: Ledger, clock: Clock
) -> None:
    """A retry is claimed when it is due, with one more send and a higher epoch."""
    await begin(ledger)
    later = clock.time + 30
    await send(ledger, SendResult(state=S.PENDING, not_before=later))

    assert await ledger.claim("spring", "w", most=1, lease=LEASE) == []

    clock.time = later
    claim = await take(ledger)

    assert (claim.sends, claim.epoch) == (1, 2)


async def test_a_send_whose_worker_is_gone_is_unknown(ledger: Ledger, clock: Clock) -> None:
    """A send whose lease is over is unknown; only "placed" can settle it later."""
    (number,) = await begin(ledger)
    _, token = await send(ledger)
    clock.time += LEASE + 1

    assert await ledger.reap("spring") == Reaped(released=0, unknown=1)
    assert await counted(ledger) == {"unknown": 1}
    assert await ledger.settle(token, RETRY) is False
    assert await ledger.settle(token, SendResult(state=S.PLACED, request_id="late")) is True
    assert await counted(ledger) == {"placed": 1}
    assert await ledger.settle(token, PLACED) is False

    found = await ledger.find("spring", number)

    assert found is not None
    assert found.request_id == "late"


# -- evidence


async def test_an_event_tells_how_a_call_went(ledger: Ledger, clock: Clock) -> None:
    """Events place and finish a contact, and add the call's cost to the campaign's."""
    (number,) = await begin(ledger)
    _, token = await send(ledger, SendResult(state=S.PLACED, request_id="r-1"))
    over = clock.time + 60

    assert await ledger.record_event(
        CallEvidence(token=token, request_id="r-1", at=clock.time, detail="ringing")
    )
    assert await ledger.record_event(CallEvidence(
        token=None, request_id="r-1", at=over, over=True, answered=True, talk_seconds=40,
        cost=0.5, detail="record",
    ))  # fmt: skip

    found = await ledger.find("spring", number)
    state = await ledger.state("spring")

    assert found is not None
    assert (found.state, found.request_id, found.answered) == (S.FINISHED, "r-1", True)
    assert (found.talk_seconds, found.cost, found.finished_at) == (40, 0.5, over)
    assert (state.cost, state.counts[S.FINISHED]) == (0.5, 1)
    assert [passage.what for passage in found.history] == [
        "claim", "intend", "accept", "event", "finish",
    ]  # fmt: skip
    assert found.history[-1].at == over


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_each_leg_of_a_call_costs_once(ledger: Ledger, order: tuple[int, ...]) -> None:
    """Costs of legs are added, in any order and however often their records come."""
    numbers = await begin(ledger, 2)
    _, token = await send(ledger, SendResult(state=S.PLACED, request_id="r-1"))
    records = [
        CallEvidence(token=token, request_id=None, at=1.0, over=True, cost=0.5),
        CallEvidence(token=token, request_id="r-1", at=2.0, cost=0.25, leg="b:1"),
        CallEvidence(token=None, request_id="r-1", at=3.0, cost=1.0, leg="b:2"),
    ]
    for n in (*order, *order):
        assert await ledger.record_event(records[n]) == "spring"
    await ledger.record_event(evolve(records[1], cost=0.125))  # an older record of the same leg
    await ledger.record_event(evolve(records[1], cost=None))
    await ledger.record_event(evolve(records[1], cost=-4.0))
    found = await ledger.find("spring", numbers[0])
    before = await ledger.state("spring")
    await ledger.record_event(evolve(records[1], cost=0.75))
    refusal = await refused(ledger, SendLimits(cost=2.25))

    assert found is not None
    assert (found.state, found.cost) == (S.FINISHED, 1.75)
    assert (before.cost, before.unpriced) == (1.75, 0)
    assert (await ledger.state("spring")).cost == 2.25
    assert refusal.rule == "cost"
    assert [each.cost async for each in ledger.contacts("spring")] == [2.25, None]


async def test_a_leg_whose_call_has_no_price_yet_is_known(ledger: Ledger) -> None:
    """The cost of a leg is known before that of its call, and ends nothing."""
    await begin(ledger)
    _, token = await send(ledger, PLACED)
    assert await ledger.record_event(
        CallEvidence(token=token, request_id=None, at=1.0, cost=0.25, leg="b:")
    )
    stranger = CallEvidence(token="tcm_x", request_id=None, at=1.0, cost=9.0, leg="b:")
    assert await ledger.record_event(stranger) is None

    state = await ledger.state("spring")

    assert await counted(ledger) == {"placed": 1}
    assert (state.cost, state.unpriced) == (0.25, 1)
    assert state.cost_in_words() == "0.25, unknown for 1 call"


async def test_an_event_of_a_stranger_is_no_event_of_ours(ledger: Ledger) -> None:
    """An event with unknown ids, or without ids, matches no contact."""
    await begin(ledger)

    assert (
        await ledger.record_event(CallEvidence(token="tcm_x", request_id="r-x", at=1.0)) is None
    )
    assert await ledger.record_event(CallEvidence(token=None, request_id=None, at=1.0)) is None


async def test_a_token_that_is_not_ours_leaves_the_request_id(ledger: Ledger) -> None:
    """An event with an unknown token is matched by its request id."""
    await begin(ledger)
    await send(ledger, SendResult(state=S.PLACED, request_id="r-2"))

    assert (
        await ledger.record_event(
            CallEvidence(token="tcm_x", request_id="r-2", at=1.0, over=True)
        )
        == "spring"
    )
    assert await counted(ledger) == {"finished": 1}


@pytest.mark.parametrize("over", [False, True])
async def test_an_event_is_faster_than_the_answer(ledger: Ledger, over: bool) -> None:
    """A reply after the event changes no state, but records the request id."""
    (number,) = await begin(ledger)
    _, token = await send(ledger)
    await ledger.record_event(
        CallEvidence(token=token, request_id=None, at=1.0, over=over, cost=0.25)
    )
    state = "finished" if over else "placed"

    assert await ledger.settle(token, RETRY) is False
    assert await ledger.settle(token, SendResult(state=S.PLACED, request_id="r-3")) is False
    assert await counted(ledger) == {state: 1}
    assert await ledger.record_event(
        CallEvidence(token=None, request_id="r-3", at=2.0, over=True, cost=0.5)
    )

    found = await ledger.find("spring", number)

    assert found is not None
    assert (found.state, found.request_id, found.cost) == (S.FINISHED, "r-3", 0.5)
    assert (await ledger.state("spring")).cost == 0.5


async def test_what_is_heard_once_is_known_however_often_it_comes(ledger: Ledger) -> None:
    """Repeated events, in any order, add no cost and no history."""
    (number,) = await begin(ledger)
    _, token = await send(ledger, PLACED)
    record: dict[str, Any] = {
        "token": token, "request_id": "r-4", "at": 9.0, "over": True, "answered": True,
        "talk_seconds": 7, "cost": 0.5, "detail": "record",
    }  # fmt: skip
    ringing: dict[str, Any] = {
        "token": token, "request_id": "r-4", "at": 3.0, "answered": False, "detail": "ringing",
    }  # fmt: skip
    for event in (record, ringing, record, ringing):
        assert await ledger.record_event(CallEvidence(**event)) == "spring"

    found = await ledger.find("spring", number)

    assert found is not None
    assert (found.state, found.answered, found.talk_seconds) == (S.FINISHED, True, 7)
    assert (found.cost, (await ledger.state("spring")).cost) == (0.5, 0.5)
    assert [passage.detail for passage in found.history].count("record") == 1
    assert [passage.detail for passage in found.history].count("ringing") == 1


@pytest.mark.parametrize(
    "odd", ["\ud83d", "a\0b", "x" * 300, "".join(map(chr, range(256, 4096)))]
)
async def test_whatever_telecmi_says_is_put_on_record(ledger: Ledger, odd: str) -> None:
    """Text that a database cannot store is cleaned, and its event is recorded."""
    await begin(ledger, 3)
    _, token = await send(ledger, SendResult(state=S.PLACED, request_id=odd, detail=odd))
    _, unknown = await send(ledger, UNKNOWN)
    rejected, _ = await send(ledger, SendResult(state=S.REJECTED, detail=odd))
    matched = [
        await ledger.record_event(
            CallEvidence(token=None, request_id=odd, at=1.0, over=True, detail=odd)
        ),
        await ledger.record_event(
            CallEvidence(token=unknown, request_id=odd, at=1.0, over=True)
        ),
    ]
    refused = await ledger.find("spring", rejected.number)
    await ledger.set_status("spring", "paused", odd)
    await ledger.add_do_not_call([FIRST], odd)

    assert token
    assert matched == ["spring", "spring"]
    assert await counted(ledger) == {"finished": 2, "rejected": 1}
    assert refused is not None
    assert refused.reason == odd.replace("\ud83d", "?").replace("\0", "")


async def test_a_record_of_a_call_that_took_years_is_put_on_record(ledger: Ledger) -> None:
    """A call record with an absurd talk time is recorded, with the time capped."""
    await begin(ledger, 1)
    claim, token = await send(ledger, PLACED)

    long = 10**18 - 1
    await ledger.record_event(
        CallEvidence(
            token=token, request_id=None, at=1.0, over=True, answered=True, talk_seconds=long
        )
    )

    found = await ledger.find("spring", claim.number)
    assert found is not None
    assert found.state is S.FINISHED
    assert found.talk_seconds == 100_000_000


async def test_a_limit_may_be_larger_than_any_count(ledger: Ledger) -> None:
    """A limit larger than a database integer works as no limit."""
    most = 10**30
    await begin(ledger, 1)
    limits = SendLimits(per_number=[(most, 60.0)], per_day=most)

    assert isinstance(
        await intend(ledger, await take(ledger), new_token(), limits=limits), Intent
    )
    assert await ledger.lease_channel("k", "a", limit=most, seconds=1.0) is True


async def test_a_record_without_a_price_costs_nothing_yet(ledger: Ledger) -> None:
    """A call record without a cost leaves the cost unset until a later one gives it."""
    (number,) = await begin(ledger)
    _, token = await send(ledger, PLACED)
    await ledger.record_event(
        CallEvidence(token=token, request_id=None, at=1.0, over=True, answered=False)
    )
    before = await ledger.find("spring", number)
    await ledger.record_event(
        CallEvidence(token=token, request_id=None, at=2.0, over=True, cost=0.0)
    )
    after = await ledger.find("spring", number)

    assert before is not None
    assert after is not None
    assert (before.cost, before.answered, before.talk_seconds) == (None, False, None)
    assert after.cost == 0.0


async def put_into(ledger: Ledger, state: ContactState, clock: Clock) -> str:
    """Send to a contact, bring it into a state, and return the token of that send."""
    outcome = {S.REJECTED: REJECTED, S.FAILED: FAILED, S.UNKNOWN: UNKNOWN, S.SENDING: None}
    _, token = await send(ledger, outcome.get(state, RETRY))
    if state in {S.CLAIMED, S.BLOCKED}:
        claim = await take(ledger)
        if state is S.BLOCKED:
            await ledger.block(claim, "w", RuleDecision(rule="x", reason="y"))
    return token


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("state", sorted(set(S) - {S.PLACED, S.FINISHED}))
async def test_evidence_counts_from_any_state(
    ledger: Ledger, clock: Clock, state: ContactState, over: bool
) -> None:
    """Evidence of a call places or finishes a contact from any state, and ends its claim."""
    (number,) = await begin(ledger)
    token = await put_into(ledger, state, clock)
    assert await counted(ledger) == {state.value: 1}

    assert (
        await ledger.record_event(CallEvidence(token=token, request_id=None, at=1.0, over=over))
        == "spring"
    )

    found = await ledger.find("spring", number)
    assert found is not None
    assert found.state is (S.FINISHED if over else S.PLACED)
    assert await ledger.claim("spring", "w", most=1, lease=LEASE) == []
    assert await ledger.reap("spring") == Reaped(released=0, unknown=0)


async def test_who_claimed_it_meanwhile_must_not_send(ledger: Ledger) -> None:
    """Evidence of a call makes a current claim void."""
    await begin(ledger)
    _, token = await send(ledger, RETRY)
    claim = await take(ledger)
    await ledger.record_event(CallEvidence(token=token, request_id=None, at=1.0))

    assert await intend(ledger, claim, new_token()) is None
    assert await ledger.release(claim, "w") is False
    assert await counted(ledger) == {"placed": 1}


async def test_an_event_of_a_send_that_was_thought_absent_counts_under_limits(
    ledger: Ledger,
) -> None:
    """A rejected send that an event proves placed counts towards caps."""
    numbers = await begin(ledger, 2)
    _, token = await send(ledger, REJECTED)
    await ledger.record_event(CallEvidence(token=token, request_id=None, at=1.0, over=True))
    await ledger.create("autumn", {})
    await ledger.load("autumn", [NewContact(number=numbers[0])])

    per_number = await refused(ledger, SendLimits(per_number=[(1, DAY)]), name="autumn")
    per_day = await refused(ledger, SendLimits(per_day=1))

    assert (per_number.rule, per_day.rule) == ("per_number", "per_day")


@pytest.mark.parametrize("by_event", [True, False])
async def test_two_calls_to_one_contact_are_seen(ledger: Ledger, by_event: bool) -> None:
    """The history shows both tokens of a contact that was called twice."""
    (number,) = await begin(ledger)
    _, first = await send(ledger, UNKNOWN)
    await ledger.redial_unknown("spring")
    _, second = await send(ledger)
    await ledger.record_event(
        CallEvidence(token=first, request_id=None, at=1.0, over=True, cost=0.5)
    )
    if by_event:
        await ledger.record_event(
            CallEvidence(token=second, request_id=None, at=2.0, over=True, cost=0.25)
        )
    else:
        await ledger.settle(second, PLACED)

    found = await ledger.find("spring", number)
    assert found is not None
    accepted = [p.token for p in found.history if p.what == "accept"]

    assert accepted == [first, second]
    assert (found.state, found.sends) == (S.FINISHED, 2)
    assert found.cost == (0.75 if by_event else 0.5)
    assert (await ledger.state("spring")).cost == found.cost


@pytest.mark.parametrize("outcome", [RETRY, REJECTED, UNKNOWN])
async def test_the_end_of_a_second_send_does_not_hide_the_first(
    ledger: Ledger, outcome: SendResult
) -> None:
    """Once a contact is placed, the result of a second send does not change its state."""
    await begin(ledger)
    _, first = await send(ledger, UNKNOWN)
    await ledger.redial_unknown("spring")
    _, second = await send(ledger)
    await ledger.record_event(CallEvidence(token=first, request_id=None, at=1.0))

    assert await ledger.settle(second, outcome) is False
    assert await counted(ledger) == {"placed": 1}


async def test_a_second_send_that_is_left_behind_does_not_hide_the_first(
    ledger: Ledger, clock: Clock
) -> None:
    """Once a contact is placed, reaping a second send does not change its state."""
    await begin(ledger)
    _, first = await send(ledger, UNKNOWN)
    await ledger.redial_unknown("spring")
    await send(ledger)
    await ledger.record_event(CallEvidence(token=first, request_id=None, at=1.0))
    clock.time += LEASE + 1
    await ledger.reap("spring")

    assert await counted(ledger) == {"placed": 1}


# -- unknown contacts


async def test_a_decision_dials_unknown_ones_again(ledger: Ledger) -> None:
    """redial_unknown() makes all or some unknown contacts pending; caps still count them."""
    numbers = await begin(ledger, 4)
    for outcome in (UNKNOWN, UNKNOWN, UNKNOWN, PLACED):
        await send(ledger, outcome)

    assert await ledger.redial_unknown("spring", [numbers[1], numbers[3], FIRST - 1]) == 1
    assert await counted(ledger) == {"unknown": 2, "placed": 1, "pending": 1}

    refusal = await refused(ledger, SendLimits(per_number=[(1, DAY)]))

    assert refusal.rule == "per_number"
    assert await ledger.redial_unknown("spring") == 2
    assert await ledger.redial_unknown("spring") == 0
    assert await counted(ledger) == {"placed": 1, "pending": 3}


# -- contacts that were certainly not placed


@pytest.mark.parametrize(("state", "outcome"), [(S.REJECTED, REJECTED), (S.FAILED, FAILED)])
async def test_a_decision_has_unplaced_contacts_tried_again(
    ledger: Ledger, state: ContactState, outcome: SendResult
) -> None:
    """reopen() makes all or some rejected or failed contacts pending, and no others."""
    numbers = await begin(ledger, 5)
    for result in (outcome, outcome, outcome, UNKNOWN, PLACED):
        await send(ledger, result)
    other = (S.REJECTED, S.FAILED)[state is S.REJECTED]

    assert await ledger.reopen("spring", other) == 0
    assert await ledger.reopen("spring", state, [numbers[0], numbers[3], FIRST - 1]) == 1
    assert await counted(ledger) == {"pending": 1, state: 2, "unknown": 1, "placed": 1}
    assert await ledger.reopen("spring", state, []) == 0
    assert await ledger.reopen("spring", state) == 2
    assert await ledger.reopen("spring", state) == 0

    found = await ledger.find("spring", numbers[0])
    assert found is not None
    assert (found.state, found.reason, found.sends) == (S.PENDING, "", 1)
    assert found.history[-1].what == "reopen"


@pytest.mark.parametrize(
    ("reason", "moved"),
    [("", 3), ("404", 2), ("(404)", 1), ("%", 1), ("NOT", 0), ("\x00404", 2)],
)
async def test_contacts_are_reopened_by_their_reason(
    ledger: Ledger, reason: str, moved: int
) -> None:
    """A reason selects by the text as it is written, without patterns."""
    await begin(ledger, 3)
    for detail in ("refused (404): not found", "404 _", "100 % wrong"):
        await send(ledger, SendResult(state=S.REJECTED, detail=detail))

    assert await ledger.reopen("spring", S.REJECTED, reason=reason) == moved


@pytest.mark.parametrize("state", [S.UNKNOWN, S.PENDING, S.FINISHED, "burnt"])
async def test_no_other_state_is_reopened(ledger: Ledger, state: Any) -> None:
    """reopen() refuses every state in which a phone may have rung, or one that is final."""
    await begin(ledger)

    with pytest.raises(ConfigurationError, match="rejected"):
        await ledger.reopen("spring", state)


async def test_who_may_have_rung_before_is_not_reopened(ledger: Ledger) -> None:
    """A contact that was rejected after an unknown send stays: its phone may have rung."""
    numbers = await begin(ledger, 2)
    for _ in numbers:
        await send(ledger, UNKNOWN)
    await ledger.redial_unknown("spring")
    for outcome in (REJECTED, FAILED):
        await send(ledger, outcome)

    assert await ledger.reopen("spring", S.REJECTED) == 0
    assert await ledger.reopen("spring", S.FAILED, numbers) == 0
    assert await counted(ledger) == {"rejected": 1, "failed": 1}


async def test_evidence_comes_before_a_reopened_contact(ledger: Ledger) -> None:
    """An event of a send that was called rejected makes its reopened contact placed for good."""
    await begin(ledger)
    _, token = await send(ledger, REJECTED)
    await ledger.reopen("spring", S.REJECTED)
    claim = await take(ledger)
    await ledger.record_event(CallEvidence(token=token, request_id=None, at=1.0))

    assert await intend(ledger, claim, new_token()) is None
    assert await counted(ledger) == {"placed": 1}


async def test_sends_that_do_not_count_use_up_no_attempts(ledger: Ledger) -> None:
    """A claim names its attempts: sends without those that do not count."""
    await begin(ledger)
    excused = SendResult(state=S.PENDING, counts=False)
    attempts = []
    for outcome in (excused, RETRY, excused, RETRY, FAILED):
        claim, token = await send(ledger, outcome)
        assert await ledger.settle(token, excused) is False
        attempts.append((claim.sends, claim.attempts))
    await ledger.reopen("spring", S.FAILED)
    claim = await take(ledger)

    assert attempts == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2)]
    assert (claim.sends, claim.attempts) == (5, 0)


OLDER = 600.0
# How long after a call's end TeleCMI re-delivers its record, in seconds.
RESENT = 1800.0
POLICIES = {"retry_after_proof": "pending", "give_up": "failed"}


async def leave_one_unknown(ledger: Ledger, clock: Clock) -> float:
    """Load three contacts, leave the first send unknown; return its deadline."""
    await begin(ledger, 3)
    await send(ledger, UNKNOWN)
    send_by = clock.time + FENCE
    clock.time += 1
    return send_by


@pytest.mark.parametrize("policy", POLICIES)
async def test_absence_is_proven_by_what_is_heard_of_others(
    ledger: Ledger, clock: Clock, policy: str
) -> None:
    """A send is proven absent once late, if another send's event came after its deadline."""
    send_by = await leave_one_unknown(ledger, clock)
    _, other = await send(ledger, PLACED)
    clock.time = send_by + OLDER + 1
    unproven = await ledger.resolve_unknown("spring", older_than=OLDER, policy=policy)
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )

    assert unproven == 0
    assert await ledger.resolve_unknown("spring", older_than=OLDER, policy="hold") == 0
    assert await ledger.resolve_unknown("spring", older_than=OLDER, policy=policy) == 1
    assert await ledger.resolve_unknown("spring", older_than=OLDER, policy=policy) == 0
    # The third contact was never sent.
    assert await counted(ledger) == (
        {"finished": 1, "pending": 2} if policy == "retry_after_proof"
        else {"finished": 1, "pending": 1, "failed": 1}
    )  # fmt: skip


async def test_nothing_is_proven_before_it_is_late(ledger: Ledger, clock: Clock) -> None:
    """Nothing is proven before `older_than` has passed."""
    send_by = await leave_one_unknown(ledger, clock)
    _, other = await send(ledger, PLACED)
    clock.time = send_by + OLDER - 1
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )

    assert (
        await ledger.resolve_unknown("spring", older_than=OLDER, policy="retry_after_proof")
        == 0
    )
    assert (await counted(ledger))["unknown"] == 1


async def test_what_was_heard_too_early_proves_nothing(ledger: Ledger, clock: Clock) -> None:
    """An event before the unknown send's deadline proves nothing."""
    send_by = await leave_one_unknown(ledger, clock)
    _, other = await send(ledger, PLACED)
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )
    clock.time = send_by + OLDER + 1

    assert (
        await ledger.resolve_unknown("spring", older_than=OLDER, policy="retry_after_proof")
        == 0
    )


async def test_an_event_soon_afterwards_is_enough(ledger: Ledger, clock: Clock) -> None:
    """An event of another send soon after the deadline is enough for a proof."""
    send_by = await leave_one_unknown(ledger, clock)
    _, other = await send(ledger, PLACED)
    clock.time = send_by + 1
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )
    clock.time = send_by + OLDER + 1

    assert (
        await ledger.resolve_unknown("spring", older_than=OLDER, policy="retry_after_proof")
        == 1
    )


@pytest.mark.parametrize("later", [RESENT + 1, 4 * RESENT + 1])
async def test_what_was_heard_much_later_proves_nothing(
    ledger: Ledger, clock: Clock, later: float
) -> None:
    """An event of a call placed after TeleCMI's last re-delivery proves nothing."""
    older = 4 * RESENT
    send_by = await leave_one_unknown(ledger, clock)
    clock.time = send_by + RESENT + 1
    _, other = await send(ledger, PLACED)
    clock.time = send_by + later
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )
    clock.time = send_by + older + 1

    assert (
        await ledger.resolve_unknown("spring", older_than=older, policy="retry_after_proof")
        == 0
    )


async def test_a_record_that_did_not_come_casts_doubt(ledger: Ledger, clock: Clock) -> None:
    """A missing call record of another send of the same time prevents the proof."""
    send_by = await leave_one_unknown(ledger, clock)
    _, other = await send(ledger, PLACED)
    _, silent = await send(ledger, PLACED)
    clock.time = send_by + 10
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )
    clock.time = send_by + OLDER + 1
    doubtful = await ledger.resolve_unknown(
        "spring", older_than=OLDER, policy="retry_after_proof"
    )
    await ledger.record_event(
        CallEvidence(token=silent, request_id=None, at=clock.time, over=True)
    )

    assert doubtful == 0
    assert (
        await ledger.resolve_unknown("spring", older_than=OLDER, policy="retry_after_proof")
        == 1
    )


async def test_a_record_of_another_time_casts_no_doubt(ledger: Ledger, clock: Clock) -> None:
    """A missing call record of a much later send does not prevent the proof."""
    send_by = await leave_one_unknown(ledger, clock)
    _, other = await send(ledger, PLACED)
    clock.time = send_by + 10
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )
    clock.time = send_by + RESENT + OLDER + 1
    await send(ledger, PLACED)

    assert (
        await ledger.resolve_unknown("spring", older_than=OLDER, policy="retry_after_proof")
        == 1
    )


async def test_a_send_of_another_time_proves_nothing(ledger: Ledger, clock: Clock) -> None:
    """An event of a send made a day later proves nothing."""
    send_by = await leave_one_unknown(ledger, clock)
    clock.time = send_by + OLDER + DAY
    _, other = await send(ledger, PLACED)
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )

    assert (
        await ledger.resolve_unknown("spring", older_than=OLDER, policy="retry_after_proof")
        == 0
    )


async def test_an_absolved_send_counts_no_more_and_evidence_still_does(
    ledger: Ledger, clock: Clock
) -> None:
    """A send proven absent counts towards no cap, and later evidence still places it."""
    send_by = await leave_one_unknown(ledger, clock)
    _, other = await send(ledger, PLACED)
    clock.time = send_by + OLDER + 1
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )
    await ledger.resolve_unknown("spring", older_than=OLDER, policy="retry_after_proof")
    limits = SendLimits(per_number=[(1, 10 * DAY)])
    first, second = await ledger.claim("spring", "w", most=2, lease=LEASE)
    absent = first if first.sends else second
    found = await ledger.find("spring", absent.number)
    assert found is not None
    token = next(p.token for p in found.history if p.what == "intend")

    assert isinstance(await intend(ledger, absent, new_token(), limits=limits), Intent)
    assert (
        await ledger.record_event(CallEvidence(token=token, request_id=None, at=clock.time))
        == "spring"
    )
    assert (await counted(ledger))["placed"] == 1


async def test_an_answer_that_comes_after_the_proof_still_counts(
    ledger: Ledger, clock: Clock
) -> None:
    """A reply that arrives after the proof of absence still places the contact."""
    await begin(ledger, 2)
    _, token = await send(ledger)
    _, other = await send(ledger, PLACED)
    clock.time += FENCE + OLDER + 1
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )
    await ledger.reap("spring")
    await ledger.resolve_unknown("spring", older_than=OLDER, policy="retry_after_proof")
    before = await counted(ledger)

    assert await ledger.settle(token, PLACED) is True
    assert before == {"finished": 1, "pending": 1}
    assert await counted(ledger) == {"finished": 1, "placed": 1}


async def test_an_absolved_send_that_was_redialled_moves_nothing(
    ledger: Ledger, clock: Clock
) -> None:
    """Proving a send absent does not move a contact that was already redialled."""
    send_by = await leave_one_unknown(ledger, clock)
    await ledger.redial_unknown("spring")
    _, other = await send(ledger, PLACED)
    clock.time = send_by + OLDER + 1
    await ledger.record_event(
        CallEvidence(token=other, request_id=None, at=clock.time, over=True)
    )
    before = await counted(ledger)

    assert (
        await ledger.resolve_unknown("spring", older_than=OLDER, policy="retry_after_proof")
        == 0
    )
    assert await counted(ledger) == before


async def test_a_policy_is_one_of_three(ledger: Ledger) -> None:
    """An invalid policy is rejected."""
    await ledger.create("spring", {})

    with pytest.raises(ConfigurationError, match="retry_after_proof"):
        await ledger.resolve_unknown("spring", older_than=1.0, policy="retry")


# -- shared limits


async def test_no_limit_is_passed_by_who_is_under_several(ledger: Ledger, clock: Clock) -> None:
    """With several limits, all are reserved or none, and no limit is exceeded."""
    account, slow = ("account", 0.1), ("campaign", 1.0)
    starts: list[float] = []
    for turn in range(60):
        waits = await ledger.reserve(
            [account, slow] if turn % 3 == 0 else [account], longest=1.5, most=1 + turn % 2
        )
        starts += [clock.time + wait for wait in waits]
        clock.time += 0.03

    starts.sort()

    assert len(starts) > 10
    assert min(b - a for a, b in itertools.pairwise(starts)) > 0.1 - 1e-6


async def test_starts_far_in_the_future_come_due_when_a_person_says_so(
    ledger: Ledger, clock: Clock
) -> None:
    """Of limits that are due far away, those that are named come due soon; others stay."""
    for key, interval in (("far", 5_000.0), ("other", 5_000.0), ("near", 500.0)):
        assert await ledger.reserve([(key, interval)], longest=1.0)

    named = [("far", 90.0), ("near", 90.0), ("new", 90.0)]
    await ledger.advance_starts(named, beyond=600.0)

    waits = {
        key: (await ledger.reserve([(key, 1.0)], longest=1e9))[0]
        for key in ("far", "other", "near", "new")
    }
    assert {key: round(wait, -1) for key, wait in waits.items()} == {
        "far": 90,
        "other": 5_000,
        "near": 500,
        "new": 0,
    }


async def test_the_clock_is_the_ledgers(ledger: Ledger, clock: Clock) -> None:
    """now() is the ledger's own clock."""
    clock.time += 1234.5

    assert await ledger.now() == clock.time


# -- concurrency


async def test_of_many_workers_each_contact_has_one(
    ledger: Ledger, another: Callable[[], Any]
) -> None:
    """Twenty workers on two connections claim, send and count each contact once."""
    await begin(ledger, 200)
    sent: list[int] = []

    async def work(ledger: Ledger, worker: str) -> None:
        while claims := await ledger.claim("spring", worker, most=3, lease=LEASE):
            for claim in claims:
                token = new_token()
                assert isinstance(await intend(ledger, claim, token, worker), Intent)
                sent.append(claim.contact)
                assert await ledger.settle(token, PLACED)

    async with another() as other, anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(work, (ledger, other)[number % 2], f"w{number}")

    assert (len(sent), len(set(sent))) == (200, 200)
    assert await counted(ledger) == {"placed": 200}
    assert (await ledger.state("spring")).sends == 200


# -- idempotency keys

KEYS = {"region": "global", "lease": 30.0, "lifetime": 3600.0}


async def claim_key(ledger: Ledger, token: str, key: str = "order-42", asked: str = "a") -> Any:
    """Claim a key; return the token of the call that has it, and its state."""
    found = await ledger.claim_key(key, asked, token, **KEYS)  # type: ignore[arg-type]  # as above
    return found.token, found.state


async def test_one_call_gets_a_key(another: Callable[[], Any]) -> None:
    """Of many claims of one key, through two ledgers, the first gets it, and all see its call."""
    claims: list[Any] = []

    async def claim(ledger: Ledger, token: str) -> None:
        claims.append((token, *await claim_key(ledger, token)))

    async with another() as one, another() as two, anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(claim, two if number % 2 else one, f"t{number}")

    assert len({(token, state) for _, token, state in claims}) == 1
    assert len([1 for asked, token, _ in claims if asked == token]) == 1


async def test_a_key_keeps_its_call_until_that_was_not_placed(ledger: Ledger) -> None:
    """A key is claimed again by its own call, or after a call that was certainly not placed."""
    assert await claim_key(ledger, "t1") == ("t1", KeyState.SENDING)
    assert await claim_key(ledger, "t1") == ("t1", KeyState.SENDING)
    assert await claim_key(ledger, "t2") == ("t1", KeyState.SENDING)

    assert await ledger.settle_key("t1", KeyState.ABSENT, detail="refused")
    assert await claim_key(ledger, "t2", asked="another") == ("t1", KeyState.ABSENT)
    assert await claim_key(ledger, "t2") == ("t2", KeyState.SENDING)

    assert await ledger.settle_key("t2", KeyState.PLACED, request_id="r1")
    assert await claim_key(ledger, "t3") == ("t2", KeyState.PLACED)
    assert await ledger.find_key(token="t1") is None  # a reference
    found = await ledger.find_key(token="t2")  # a reference
    assert found == await ledger.find_key(key="order-42")
    assert found == KeyedCall(
        token="t2",  # a reference
        state=KeyState.PLACED,
        fingerprint="a",
        region="global",
        request_id="r1",
    )


async def test_a_key_whose_lease_is_over_is_unknown_for_good(
    ledger: Ledger, clock: Clock
) -> None:
    """After its lease a call without an outcome is unknown, and only a proof changes that."""
    await claim_key(ledger, "t1")
    clock.time += 30.5

    assert await claim_key(ledger, "t2") == ("t1", KeyState.UNKNOWN)
    # It is not gone after all: its next attempt goes on.
    assert await claim_key(ledger, "t1") == ("t1", KeyState.SENDING)
    assert await ledger.settle_key("t1", KeyState.UNKNOWN, detail="read timed out")
    assert await claim_key(ledger, "t1") == ("t1", KeyState.UNKNOWN)

    assert await ledger.settle_key("t1", KeyState.PLACED, request_id="r1")
    assert not await ledger.settle_key("t1", KeyState.UNKNOWN)
    assert not await ledger.settle_key("t1", KeyState.ABSENT)
    assert await claim_key(ledger, "t2") == ("t1", KeyState.PLACED)


async def test_a_call_that_was_thought_absent_is_placed_by_a_proof(ledger: Ledger) -> None:
    """Evidence that a call was placed counts in every state, and its first id stays."""
    await claim_key(ledger, "t1")
    await ledger.settle_key("t1", KeyState.ABSENT)

    assert await ledger.settle_key("t1", KeyState.PLACED, request_id="r1")
    assert await ledger.settle_key("t1", KeyState.PLACED, request_id="r2")

    found = await ledger.find_key(key="order-42")
    assert found is not None
    assert (found.state, found.request_id) == (KeyState.PLACED, "r1")
    assert not await ledger.settle_key("t9", KeyState.PLACED, request_id="r9")


async def test_keys_are_forgotten_after_their_lifetime(ledger: Ledger, clock: Clock) -> None:
    """A key may be used anew when its lifetime is over, and old keys are removed."""
    for number in range(8):
        await claim_key(ledger, f"t{number}", f"key {number}")
    clock.time += 3601

    assert await ledger.find_key(key="key 1") is None
    assert await claim_key(ledger, "u1", "key 1", asked="other") == ("u1", KeyState.SENDING)
    assert await claim_key(ledger, "u2", "key 2", asked="other") == ("u2", KeyState.SENDING)


@pytest.mark.parametrize("state", ["sending", "placed?", None])
async def test_a_key_is_settled_by_an_outcome_only(ledger: Ledger, state: Any) -> None:
    """What is no outcome is refused."""
    with pytest.raises(ConfigurationError, match="state must be"):
        await ledger.settle_key("t1", state)


# -- redial of those who did not answer

MISSED_AGAIN = "not answered: redial {} of {}"


async def record_of(ledger: Ledger, token: str, *, answered: bool, at: float) -> None:
    """Record a call's detail record."""
    await ledger.record_event(
        CallEvidence(
            token=token,
            request_id=f"r-{token}",
            at=at,
            over=True,
            answered=answered,
            talk_seconds=7 if answered else 0,
        )
    )


async def call_once(ledger: Ledger, clock: Clock, *, answered: bool | None) -> str:
    """Dial a contact that is due, and record how its call went, if that is known."""
    (claim,) = await ledger.claim("spring", "w", most=1, lease=LEASE)
    token = new_token()
    sent = await ledger.intend(claim, "w", token, limits=SendLimits(), fence=FENCE, lease=LEASE)
    assert isinstance(sent, Intent)
    assert await ledger.settle(token, PLACED)
    if answered is not None:
        await record_of(ledger, token, answered=answered, at=clock.time)
    return token


@pytest.fixture
async def one_contact(ledger: Ledger) -> Ledger:
    """A ledger whose campaign has one contact."""
    await ledger.create("spring", {"a": 1})
    await ledger.load("spring", [NewContact(number=FIRST)])
    return ledger


async def test_a_missed_contact_is_dialled_again_after_its_wait(
    one_contact: Ledger, clock: Clock
) -> None:
    """The record of a missed call makes a contact pending, as often as there are waits."""
    ledger = one_contact
    for done, wait in enumerate((60.0, 3600.0)):
        await call_once(ledger, clock, answered=False)
        assert await ledger.redial_missed("spring", [60.0, 3600.0]) == 1
        assert await ledger.redial_missed("spring", [60.0, 3600.0]) == 0
        due = await ledger.next_due("spring")
        assert due == pytest.approx(clock.time + wait, abs=5)
        assert await ledger.claim("spring", "w", most=1, lease=LEASE) == []
        contact = await ledger.find("spring", FIRST)
        assert contact is not None
        assert (contact.state, contact.request_id) == (S.PENDING, None)
        assert contact.history[-1].what == "redial_missed"
        assert contact.history[-1].detail == MISSED_AGAIN.format(done + 1, 2)
        clock.time += wait + 10
    (claim,) = await ledger.claim("spring", "w", most=1, lease=LEASE)
    assert (claim.redials, claim.sends, claim.attempts) == (2, 2, 0)
    assert await ledger.release(claim, "w")
    await call_once(ledger, clock, answered=False)

    assert await ledger.redial_missed("spring", [60.0, 3600.0]) == 0
    contact = await ledger.find("spring", FIRST)
    assert contact is not None
    assert (contact.state, contact.sends, contact.answered) == (S.FINISHED, 3, False)


@pytest.mark.parametrize("answered", [True, None], ids=["answered", "no record"])
async def test_only_a_record_that_nobody_answered_is_a_reason(
    one_contact: Ledger, clock: Clock, answered: bool | None
) -> None:
    """An answered call, and one without a record, are never dialled again."""
    await call_once(one_contact, clock, answered=answered)

    assert await one_contact.redial_missed("spring", [1.0]) == 0
    assert await one_contact.redial_missed("spring", None) == 0


async def test_what_may_ring_prevents_a_redial(one_contact: Ledger, clock: Clock) -> None:
    """While any call of a contact may be live or unknown, it is not dialled again."""
    ledger = one_contact
    (claim,) = await ledger.claim("spring", "w", most=1, lease=LEASE)
    first = new_token()
    await ledger.intend(claim, "w", first, limits=SendLimits(), fence=FENCE, lease=LEASE)
    await ledger.settle(first, UNKNOWN)
    await ledger.redial_unknown("spring")
    await call_once(ledger, clock, answered=False)

    assert await ledger.redial_missed("spring", [1.0]) == 0
    await record_of(ledger, first, answered=False, at=clock.time)
    assert await ledger.redial_missed("spring", [1.0]) == 1


@pytest.mark.parametrize(
    "result", [RETRY, SendResult(state=S.REJECTED), SendResult(state=S.FAILED)]
)
async def test_an_answer_that_is_known_late_ends_a_redial(
    one_contact: Ledger, clock: Clock, result: SendResult
) -> None:
    """A contact whose redial was not placed is finished, if its first call was answered after all."""
    ledger = one_contact
    first = await call_once(ledger, clock, answered=False)
    await ledger.redial_missed("spring", [1.0])
    clock.time += 10
    (claim,) = await ledger.claim("spring", "w", most=1, lease=LEASE)
    second = new_token()
    await ledger.intend(claim, "w", second, limits=SendLimits(), fence=FENCE, lease=LEASE)
    await record_of(ledger, first, answered=True, at=clock.time)
    await ledger.settle(second, result)
    contact = await ledger.find("spring", FIRST)

    assert contact is not None
    assert (contact.state, contact.answered) == (S.FINISHED, True)
    assert contact.history[-1].detail == "another of its calls was answered"
    assert await ledger.redial_missed("spring", [1.0]) == 0


async def test_repeats_of_a_record_leave_the_next_call_alone(
    one_contact: Ledger, clock: Clock
) -> None:
    """TeleCMI repeats records for half an hour: they change no later state of the contact."""
    ledger = one_contact
    first = await call_once(ledger, clock, answered=False)
    await ledger.redial_missed("spring", [1.0])
    await record_of(ledger, first, answered=False, at=clock.time + 1)
    contact = await ledger.find("spring", FIRST)
    assert contact is not None
    assert contact.state is S.PENDING
    clock.time += 10
    second = await call_once(ledger, clock, answered=None)
    await record_of(ledger, first, answered=False, at=clock.time + 2)
    contact = await ledger.find("spring", FIRST)
    assert contact is not None
    assert contact.state is S.PLACED

    await record_of(ledger, second, answered=True, at=clock.time + 3)
    contact = await ledger.find("spring", FIRST)
    assert contact is not None
    assert (contact.state, contact.answered, contact.talk_seconds) == (S.FINISHED, True, 7)


async def test_proof_of_an_answer_stops_a_redial(one_contact: Ledger, clock: Clock) -> None:
    """A later record that says that somebody answered finishes the contact, even if claimed."""
    ledger = one_contact
    first = await call_once(ledger, clock, answered=False)
    await ledger.redial_missed("spring", [1.0])
    clock.time += 10
    (claim,) = await ledger.claim("spring", "w", most=1, lease=LEASE)
    await record_of(ledger, first, answered=True, at=clock.time)

    assert (
        await ledger.intend(claim, "w", "t2", limits=SendLimits(), fence=FENCE, lease=LEASE)
        is None
    )
    contact = await ledger.find("spring", FIRST)
    assert contact is not None
    assert (contact.state, contact.answered, contact.sends) == (S.FINISHED, True, 1)


async def test_a_redial_that_would_be_too_late_is_none(ledger: Ledger, clock: Clock) -> None:
    """A contact whose ``not_after`` would be over stays finished, as missed."""
    await ledger.create("spring", {"a": 1})
    await ledger.load("spring", [NewContact(number=FIRST, not_after=clock.time + 100)])
    await call_once(ledger, clock, answered=False)

    assert await ledger.redial_missed("spring", [200.0]) == 0
    assert await ledger.redial_missed("spring", [50.0]) == 1


async def test_a_person_has_missed_contacts_dialled_again(ledger: Ledger, clock: Clock) -> None:
    """Without waits the chosen contacts are due at once, however often they were dialled."""
    await ledger.create("spring", {"a": 1})
    await ledger.load("spring", [NewContact(number=FIRST + n) for n in range(3)])
    for _ in range(3):
        await call_once(ledger, clock, answered=False)

    many = (*range(FIRST + 9, FIRST + 100_009), FIRST, f"+{FIRST + 1}")
    assert await ledger.redial_missed("spring", None, many) == 2
    assert await ledger.redial_missed("spring", None) == 1
    assert len(await ledger.claim("spring", "w", most=9, lease=LEASE)) == 3
    with pytest.raises(InvalidCall):
        await ledger.redial_missed("spring", None, ["no number"])
    with pytest.raises(ConfigurationError, match="no campaign named"):
        await ledger.redial_missed("summer", None)


async def test_workers_count_redials_as_one(another: Callable[[], Any], clock: Clock) -> None:
    """Of many workers that look at once, one moves a contact, once."""
    found: list[int] = []

    async def look(ledger: Ledger) -> None:
        found.append(await ledger.redial_missed("spring", [1.0, 1.0]))

    async with another() as one, another() as two:
        await one.create("spring", {"a": 1})
        await one.load("spring", [NewContact(number=FIRST)])
        await call_once(one, clock, answered=False)
        async with anyio.create_task_group() as group:
            for ledger in (one, two) * 5:
                group.start_soon(look, ledger)

    assert sum(found) == 1


# -- what an operator asks


async def test_a_state_has_the_rate_of_the_last_minute_and_the_time_left(
    ledger: Ledger, clock: Clock
) -> None:
    """The rate is measured from the first request of the last minute on; older ones are out."""
    await begin(ledger, 12)
    fresh = await ledger.state("spring")
    await send(ledger, SendResult(state=S.PLACED))
    first = await ledger.state("spring")
    clock.time += 30
    await send(ledger, SendResult(state=S.PLACED))
    await take(ledger)
    young = await ledger.state("spring")
    clock.time += 45
    late = await ledger.state("spring")

    assert (fresh.rate, fresh.last_start, fresh.time_left, fresh.workers) == (0, None, None, 0)
    assert (first.rate, first.last_start, first.at) == (0.0, clock.time - 75, clock.time - 75)
    assert (first.workers, first.time_left) == (0, None)
    assert young.rate == pytest.approx(1 / 30)
    assert (young.workers, young.left, young.live) == (1, 10, 2)
    assert young.time_left == pytest.approx(300)
    assert (late.rate, late.time_left) == (0, None)
    assert late == young  # nothing happened in between


async def test_the_time_left_is_not_shorter_than_the_longest_wait(
    ledger: Ledger, clock: Clock
) -> None:
    """A contact that may be dialled only tomorrow is not dialled in ten seconds."""
    await begin(ledger, 4)
    refusal = RuleDecision(rule="per_number", reason="twice a day", until=clock.time + DAY)
    await ledger.block(await take(ledger), "w", refusal)
    for _ in range(2):
        await send(ledger, SendResult(state=S.PLACED))
    await take(ledger)
    state = await ledger.state("spring")
    await ledger.set_status("spring", "paused")

    assert state.time_left == pytest.approx(DAY)
    assert (await ledger.state("spring")).time_left is None


async def test_a_worker_counts_until_its_lease_is_over(ledger: Ledger, clock: Clock) -> None:
    """Workers are counted once each, by claims and by requests, though nothing was reaped."""
    await begin(ledger, 6)
    for worker in ("v", "w"):
        await ledger.claim("spring", worker, most=2, lease=60)
    (claim,) = await ledger.claim("spring", "x", most=1, lease=60)
    await ledger.intend(claim, "x", new_token(), limits=SendLimits(), fence=30, lease=90)
    seen = [(await ledger.state("spring")).workers]
    for seconds in (30, 31, 30):
        clock.time += seconds
        await ledger.renew("w", lease=31)
        seen.append((await ledger.state("spring")).workers)

    assert seen == [3, 3, 2, 1]


async def test_the_reason_why_the_next_contact_waits_is_in_the_state(
    ledger: Ledger, clock: Clock
) -> None:
    """The rule that holds up the next contact is named until it is due."""
    await begin(ledger)
    refusal = RuleDecision(rule="calling_window", reason="it is closed", until=clock.time + 9)
    await ledger.block(await take(ledger), "w", refusal)
    waits = (await ledger.state("spring")).waits_for
    clock.time += 9

    assert waits == "calling_window: it is closed"
    assert (await ledger.state("spring")).waits_for == ""


async def test_answers_and_talk_time_are_of_calls_whose_end_is_known(
    ledger: Ledger, clock: Clock
) -> None:
    """A call counts once its record says how it ended; repeats and corrections count once."""
    await begin(ledger, 4)
    tokens = [(await send(ledger, SendResult(state=S.PLACED)))[1] for _ in range(4)]
    seen = []
    for token, over, answered, talk in (
        (0, False, True, None),  # answered, and not over: it would only raise the rate
        (0, True, True, 40),
        (0, True, True, 40),
        (1, True, False, 0),
        (2, True, None, None),  # a record that does not say
        (1, True, True, 5),  # the proof of an answer that came later
        (2, True, False, None),
        (3, True, True, 7),
        (3, False, True, 9),
    ):
        await ledger.record_event(CallEvidence(
            token=tokens[token], request_id=None, at=clock.time, over=over, answered=answered,
            talk_seconds=talk, cost=0.5,
        ))  # fmt: skip
        state = await ledger.state("spring")
        seen.append((state.ended, state.answered, state.talk_seconds))

    assert seen == [
        (0, 0, 0), (1, 1, 40), (1, 1, 40), (2, 1, 40), (2, 1, 40), (2, 2, 45), (3, 2, 45),
        (4, 3, 52), (4, 3, 54),
    ]  # fmt: skip
    assert state.answer_rate == 0.75
    assert (state.cost, state.unpriced) == (2.0, 0)

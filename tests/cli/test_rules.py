"""Arguments for campaign rules and caps, and exit codes of commands that reach a cap."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from consoles import FROM, Console, console, serving, zone_at_ten

from telecmi_async import Hangup
from telecmi_async.campaigns import CampaignRules, CampaignSettings, CostCap, DailyCap
from telecmi_async.cli import Exit, main
from telecmi_async.ledger import (
    CallEvidence,
    NewContact,
    RuleDecision,
    SendLimits,
    SqliteLedger,
)
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = range(19175550001, 19175550005)
DIAL = ["dial", "people.csv", "--flow", "flow.json", "--cps", "200", "--ledger", "l.db"]
ANY = ["--window", "any"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    zone = zone_at_ten()
    (tmp_path / "people.csv").write_text(
        "phone,timezone\n" + "".join(f"+{n},{zone}\n" for n in NUMBERS)
    )
    (tmp_path / "flow.json").write_text('[{"action": "hangup"}]')
    return tmp_path


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


def settings(name: str = "people") -> CampaignSettings:
    """Return the settings of a campaign in the ledger."""

    async def look() -> CampaignSettings:
        async with SqliteLedger("l.db") as ledger:
            return CampaignSettings.parse(await ledger.settings(name))

    return anyio.run(look)


def test_all_rules_can_be_written() -> None:
    """Each campaign rule has an argument, is shown in the plan, and is stored."""
    with serving(Simulator()) as environ:
        code, terminal = ran(
            *DIAL,
            *("--yes", "4", "--window", "00:00-24:00", "--holiday", "2001-01-01"),
            *("--per-number", "9/24h", "--per-number", "20/7d", "--per-number", "5/90m"),
            *("--per-day", "500@Asia/Kolkata", "--max-cost", "9.5", "--max-live-calls", "9"),
            "--without-webhooks",
            *("--not-after", "2099-12-24T18:00+05:30"),
            environ=environ,
        )
    rules = settings().rules

    assert code == Exit.OK, terminal.err
    assert rules.window is not None
    assert (rules.window.start, rules.window.end) == ("00:00", "24:00")
    assert [day.isoformat() for day in rules.window.holidays] == ["2001-01-01"]
    assert [(cap.count, cap.per) for cap in rules.per_number] == [
        (9, 86_400), (20, 604_800), (5, 5_400)
    ]  # fmt: skip
    assert rules.per_day is not None
    assert (rules.per_day.count, rules.per_day.timezone) == (500, "Asia/Kolkata")
    assert rules.cost is not None
    assert rules.cost.most == 9.5
    for said in (
        "calls start 00:00-24:00",
        "closed on holidays (1)",
        "a number at most 9 times in ",
        "at most 500 a day (Asia/Kolkata)",
        "no more once they have cost 9.5",
        "none after 2099-12-24 12:30:00+00:00",
        "the do-not-call list applies",
        "without webhooks the cost of calls is unknown",
        "without webhooks a call counts as live for 91 minutes",
    ):
        assert said in terminal.err


def test_a_campaign_may_be_closed_on_some_days() -> None:
    """On a closed day no call is placed, and a dry run continues on the next open day."""
    days = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
    day_after_tomorrow = days[(int(time.strftime("%w", time.gmtime())) + 2) % 7]
    closed = ["--window", "00:00-24:00", "--days", day_after_tomorrow.upper()]
    with serving(Simulator()) as environ:
        code, terminal = ran(*DIAL, *closed, "--yes", "4", environ=environ)
        rehearsed, _ = ran(*DIAL, *closed, "--dry-run", environ=environ)

    assert code == Exit.OUTSIDE_HOURS
    assert "no contact may be called now; the first may at 20" in terminal.err
    assert rehearsed == Exit.OK


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--window", "9-21"],
            "--window must be a time",
        ),
        (
            ["--window", "9"],
            '--window must be hours of a day, such as 09:00-21:00, or any, not "9"',
        ),
        (
            ["--days", "monday"],
            '--days must be days of the week, such as mon,tue,sat, not "monday"',
        ),
        (
            ["--holiday", "christmas"],
            '--holiday must be a date, such as 2026-12-25, not "christmas"',
        ),
        (["--window", "any", "--days", "mon"], "--days and --holiday need a --window of hours"),
        (["--per-number", "often"], "--per-number must be how many calls in how many minutes"),
        (["--per-number", "0/1d"], "--per-number must be a whole number"),
        (["--per-day", "x"], "--per-day must be a number, and perhaps a time zone"),
        (["--per-day", "0"], "--per-day must be a whole number"),
        (["--per-day", "5@Mars"], "--per-day must be a time zone"),
        (["--max-cost", "-1"], "--max-cost must be a number above 0"),
        (
            ["--not-after", "soon"],
            "--not-after must be a date, a time and its distance from UTC",
        ),
        (["--not-after", "2026-01-01T10:00"], "--not-after must be a date, a time and its"),
        (
            ["--cps", "0"],
            "--cps must be a number above 0",
        ),
    ],
)
def test_a_rule_that_is_none_is_refused(arguments: list[str], message: str) -> None:
    """An invalid rule is rejected in one line, with its argument and a valid form."""
    with serving(Simulator()) as environ:
        code, terminal = ran(*DIAL, *arguments, environ=environ)

    assert code == Exit.USAGE
    assert terminal.err.startswith(f"telecmi-async dial: {message}") or message in terminal.err
    assert terminal.err.count("\n") == 1


def test_a_full_day_ends_with_a_code_of_its_own() -> None:
    """When the daily cap is reached, the rest stays pending, and the exit code is 5."""
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = ran(*DIAL, *ANY, "--per-day", "2", "--yes", "4", environ=environ)
        again, _ = ran("resume", "--ledger", "l.db", environ=environ)

    assert code == again == Exit.QUOTA
    assert "The calls of this day are made: `resume` goes on tomorrow." in terminal.err
    assert "pending            2" in terminal.out
    assert simulator.numbers() == simulator.requests == 2


def test_what_happened_since_does_not_hide_a_full_day() -> None:
    """A later claim does not hide that the daily cap postponed a contact."""

    async def put_off() -> None:
        begun = CampaignSettings(
            flow=[Hangup()], from_=int(FROM), rules=CampaignRules(per_day=DailyCap(1))
        ).dump()
        async with SqliteLedger("l.db") as ledger:
            await ledger.create("people", begun)
            await ledger.load("people", [NewContact(number=NUMBERS[0])])
            now = await ledger.now()
            (claim,) = await ledger.claim("people", "w", most=1, lease=60)
            full = RuleDecision(rule="per_day", reason="it is full", until=now)
            await ledger.block(claim, "w", full)
            (claim,) = await ledger.claim("people", "w", most=1, lease=60)
            await ledger.release(claim, "w", not_before=now + 60)

    anyio.run(put_off)
    with serving(Simulator()) as environ:
        code, terminal = ran("resume", "--ledger", "l.db", environ=environ)

    assert code == Exit.QUOTA
    assert "The calls of this day are made" in terminal.err


def test_a_number_that_was_called_lately_ends_with_that_code() -> None:
    """A cap per number holds across campaigns, and the exit code is 5."""
    simulator = Simulator()
    with serving(simulator) as environ:
        ran(*DIAL, *ANY, "--yes", "4", environ=environ)
        code, terminal = ran(
            *DIAL,
            *ANY,
            "--name",
            "second",
            "--per-number",
            "1/7d",
            "--yes",
            "4",
            environ=environ,
        )

    assert code == Exit.QUOTA
    assert "`why` names the rule" in terminal.err
    assert simulator.numbers() == simulator.requests == 4


def test_a_cost_cap_stops_a_campaign() -> None:
    """When the cost cap is reached the campaign is stopped, and the exit code is 5, until it is raised."""

    async def spend() -> None:
        rules = CampaignRules(cost=CostCap(0.5))
        begun = CampaignSettings(flow=[Hangup()], from_=int(FROM), rules=rules)
        async with SqliteLedger("l.db") as ledger:
            await ledger.create("people", begun.dump())
            await ledger.load("people", [NewContact(number=number) for number in NUMBERS])
            (claim,) = await ledger.claim("people", "w", most=1, lease=60)
            await ledger.intend(claim, "w", "tcm_1", limits=SendLimits(), fence=30, lease=90)
            at = await ledger.now()
            await ledger.record_event(
                CallEvidence(token="tcm_1", request_id="r", at=at, over=True, cost=0.5)
            )

    anyio.run(spend)
    simulator = Simulator()
    with serving(simulator) as environ:
        argv = ("resume", "--ledger", "l.db", "--without-webhooks")
        code, terminal = ran(*argv, environ=environ)
        status, seen = ran("status", "--ledger", "l.db", "--json")
        requests = simulator.requests
        raised, _ = ran("change", "--ledger", "l.db", "--max-cost", "90")
        resumed, _ = ran(*argv, environ=environ)
    state = json.loads(seen.out)

    assert code == status == Exit.QUOTA
    assert "Stopped: the calls of this campaign have cost 0.5 of 0.5" in terminal.err
    # To go on as usual would end with 5 again.
    assert "To go on: telecmi-async resume" not in terminal.err + seen.err
    for words in (terminal.err, seen.err):
        assert "telecmi-async change --ledger l.db --name people --max-cost SUM" in words
    assert (state["status"], state["counts"]["pending"]) == ("stopped", 3)
    assert requests == 0
    # A raised cap lets the others be called.
    assert (raised, resumed) == (Exit.OK, Exit.OK)
    assert simulator.requests == 3


def test_other_settings_are_refused_before_anybody_is_asked() -> None:
    """Settings that differ from the stored campaign's are rejected before confirmation."""
    simulator = Simulator()
    with serving(simulator) as environ:
        ran(*DIAL, *ANY, "--yes", "4", environ=environ)
        code, terminal = ran(*DIAL, "--per-day", "9", "--cps", "5", environ=environ)

    assert code == Exit.USAGE
    assert (
        "other settings (the rules, such as --window, --cps or --max-live-calls): `resume"
        in terminal.err
    )
    assert "rows " not in terminal.err
    assert simulator.requests == 4


def test_what_is_too_old_is_blocked() -> None:
    """No contact is called after ``--not-after``."""
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = ran(
            *DIAL, *ANY, "--not-after", "2001-01-01T00:00+00:00", "--yes", "4", "--wait",
            environ=environ,
        )  # fmt: skip
        _, why = ran("why", str(NUMBERS[0]), "--ledger", "l.db")

    assert code == Exit.PARTLY
    assert "blocked            4" in terminal.out
    assert "is blocked (a rule forbids it): it has expired" in why.out
    assert simulator.requests == 0

"""`change`, `add`, `withdraw`, `history` and `do-not-call`: a campaign that is steered."""

from __future__ import annotations

import getpass
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cli_campaign import NUMBERS, ROWS, begin, in_ledger
from consoles import Console, console

from telecmi_async.campaigns import CallingWindow, CampaignRules, CampaignSettings
from telecmi_async.cli import Exit, main
from telecmi_async.ledger import ContactState, Ledger, SendLimits, SendResult

NEW = "19175550009"
ON_LEDGER = ["--ledger", "l.db"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a campaign of four contacts."""
    monkeypatch.chdir(tmp_path)
    in_ledger(begin)
    return tmp_path


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command on the ledger; return its exit code and what it wrote."""
    terminal = console(**given)
    return main([*argv, *ON_LEDGER], terminal=terminal), terminal


def settings() -> CampaignSettings:
    """Return the campaign's present settings."""
    return CampaignSettings.parse(in_ledger(lambda ledger: ledger.settings("people")))


def states() -> dict[str, int]:
    """Return how many contacts are in each state that has some."""
    counts = in_ledger(lambda ledger: ledger.state("people")).counts
    return {str(state): count for state, count in counts.items() if count}


# --- change -----------------------------------------------------------------------------


def test_only_what_is_given_is_changed() -> None:
    """Each option of `change` replaces its setting; all others stay."""
    ran("change", "--window", "10:00-18:00", "--days", "mon,tue", "--per-number", "1/1d")
    before = settings()
    code, terminal = ran("change", "--cps", "7", "--max-live-calls", "3", "--max-cost", "9")
    after = settings()
    ran(
        "change",
        "--unknown",
        "give_up",
        "--pause-after-refusals",
        "0",
        "--redial-missed",
        "2/2h",
    )
    last = settings()

    assert code == Exit.OK
    assert terminal.out.startswith("people: pace.calls_per_second 20 → 7; ")
    assert "Workers need webhooks for a cost cap and a limit of live calls" in terminal.err
    assert (after.pace.calls_per_second, after.pace.max_live_calls) == (7, 3)
    assert after.pace.max_in_flight == before.pace.max_in_flight
    assert after.rules.cost is not None
    assert after.rules.window == before.rules.window
    assert after.rules.per_number == before.rules.per_number
    assert (last.unknown, last.pause_after_refusals) == ("give_up", None)
    assert last.redial is not None
    assert last.rules == after.rules


def test_one_part_of_the_window_keeps_the_others() -> None:
    """Hours, days and holidays of a calling window are changed one by one, or it is removed."""
    ran("change", "--window", "10:00-18:00", "--days", "mon,tue", "--holiday", "2026-12-25")
    ran("change", "--days", "wed")
    by_day = settings().rules.window
    ran("change", "--window", "11:00-12:00")
    by_hour = settings().rules.window
    ran("change", "--window", "any")
    removed = settings().rules.window
    code, refused = ran("change", "--days", "mon")

    days = partial(CallingWindow, days=("wed",), holidays=("2026-12-25",))
    assert (by_day, by_hour) == (days("10:00", "18:00"), days("11:00", "12:00"))
    assert removed is None
    assert code == Exit.USAGE
    assert "--days and --holiday need a --window of hours, not any" in refused.err


def test_redials_can_be_switched_off() -> None:
    """``--redial-missed off`` ends redials; without the option they stay."""
    ran("change", "--redial-missed", "2/2h")
    ran("change", "--cps", "3")
    kept = settings().redial
    _, longer = ran("change", "--redial-missed", "30m,2h", "--redial-from", NEW)
    code, terminal = ran("change", "--redial-missed", "off", "--json")
    alone, refused = ran("change", "--redial-from", NEW)

    assert kept is not None
    assert longer.out == (
        "people: redial.after 7200 → 1800, 7200; redial.from none → •••••••0009\n"
    )
    assert code == Exit.OK
    assert json.loads(terminal.out)["changed"] == ["redial"]
    assert settings().redial is None
    assert alone == Exit.USAGE
    assert "--redial-from needs --redial-missed" in refused.err


def test_nothing_given_changes_nothing() -> None:
    """`change` without a setting, or with the present one, says so and writes no history."""
    _, nothing = ran("change")
    _, same = ran("change", "--cps", "20")
    _, past = ran("history")

    assert nothing.out == same.out == "people: nothing was to be changed\n"
    assert "changed" not in past.out


@pytest.mark.parametrize(
    "given", [["--cps", "0"], ["--window", "9"], ["--redial-missed", "2/"]]
)
def test_a_wrong_setting_changes_nothing(given: list[str]) -> None:
    """An option that is refused leaves the others as they were, too."""
    before = settings()
    code, terminal = ran("change", "--max-cost", "3", *given)

    assert code == Exit.USAGE
    assert f"{given[0]} must be" in terminal.err
    assert settings() == before


def test_numbers_that_are_not_called_may_be_added_by_a_change() -> None:
    """``--do-not-call`` adds the file's numbers to the ledger's list."""
    Path("never.csv").write_text(f"phone\n+{NUMBERS[0]}\n")
    code, terminal = ran("change", "--do-not-call", "never.csv")
    _, listed = ran("do-not-call", "list", "--reveal")

    assert code == Exit.OK
    assert "Not called any more: 1 numbers." in terminal.err
    assert listed.out.startswith(str(NUMBERS[0]))


# --- add --------------------------------------------------------------------------------


def test_only_new_contacts_are_added_once_confirmed() -> None:
    """`add` shows the plan, counts contacts that the campaign does not have, and asks."""
    Path("more.csv").write_text(f"{ROWS}+{NEW},New\n12,bad\n")
    ran("change", "--redial-missed", "2/2h")
    asked, plan = ran("add", "more.csv")
    wrong, _ = ran("add", "more.csv", "--yes", "4")
    before = states()
    code, terminal = ran("add", "more.csv", "--yes", "1", "--json", "--rejected", "bad.csv")
    again, none = ran("add", "more.csv", "--yes", "0")

    assert (asked, wrong) == (Exit.USAGE, Exit.USAGE)
    assert "to dial    1\n" in plan.err
    assert "at most    3 calls, redials included" in plan.err
    assert "webhooks" not in plan.err
    assert before == {"pending": 4}
    assert code == Exit.OK
    assert json.loads(terminal.out)["added"] == 1
    assert states() == {"pending": 5}
    assert Path("bad.csv").read_text().splitlines()[1].startswith("7,")
    assert again == Exit.FAILED
    assert "no contact of the file is new" in none.err


def test_a_file_that_does_not_fit_the_flow_is_not_added() -> None:
    """`add` requires the columns of the campaign's own flow, as `dial` does."""
    Path("more.csv").write_text(f"phone,city\n+{NEW},Rome\n")
    code, terminal = ran("add", "more.csv", "--yes", "1")

    assert code == Exit.USAGE
    assert 'needs the column "name"' in terminal.err
    assert states() == {"pending": 4}


def test_contacts_of_a_paused_campaign_wait() -> None:
    """`add` says that a paused campaign needs `resume`."""
    Path("more.csv").write_text(f"phone,name\n+{NEW},New\n")
    ran("pause")
    code, terminal = ran("add", "more.csv", "--yes", "1")

    assert code == Exit.OK
    assert terminal.out == "added: 1\n"
    assert "The campaign is paused: `resume` dials them." in terminal.err


# --- withdraw ---------------------------------------------------------------------------


async def send_one(ledger: Ledger) -> None:
    """Place the first contact's call."""
    (claim,) = await ledger.claim("people", "w", most=1, lease=60)
    await ledger.intend(claim, "w", "tcm_1", limits=SendLimits(), fence=30, lease=90)
    await ledger.settle("tcm_1", SendResult(state=ContactState.PLACED))


def test_withdrawn_contacts_are_not_called() -> None:
    """`withdraw` blocks contacts by number and by file, with the reason; `retry-blocked` undoes it."""
    Path("wrong.csv").write_text(f"phone\n+{NUMBERS[2]}\n")
    code, terminal = ran(
        "withdraw", f"+{NUMBERS[1]}", "--file", "wrong.csv", "--why", "moved", "--by", "asha"
    )
    partly, _ = ran("withdraw", str(NUMBERS[3]), NEW)
    _, why = ran("why", str(NUMBERS[1]))

    withdrawn = states()
    back, _ = ran("retry-blocked", str(NUMBERS[1]), "--reason", "moved", "--yes", "1")

    assert (code, partly, back) == (Exit.OK, Exit.PARTLY, Exit.OK)
    assert terminal.out == "blocked            2\n"
    assert "withdrawn by asha: moved" in why.out
    assert withdrawn == {"pending": 1, "blocked": 3}
    assert states() == {"pending": 2, "blocked": 2}


def test_a_withdrawn_contact_whose_phone_may_ring_is_said() -> None:
    """The exit code of `withdraw` is 7 if a call is under way."""
    in_ledger(send_one)
    code, terminal = ran("withdraw", str(NUMBERS[0]), "--json")

    assert code == Exit.UNKNOWN
    assert json.loads(terminal.out)["placed"] == 1
    assert "1 were sent before: their phones may ring" in terminal.err


def test_withdrawing_none_is_refused() -> None:
    """`withdraw` needs a number, and one that the campaign has."""
    nothing, refused = ran("withdraw")
    other, missing = ran("withdraw", NEW)

    assert (nothing, other) == (Exit.USAGE, Exit.FAILED)
    assert "name some, or give --file numbers.csv" in refused.err
    assert "the campaign has none of these contacts" in missing.err


# --- do-not-call ------------------------------------------------------------------------


def test_the_list_is_kept_from_the_command_line() -> None:
    """Numbers are added, imported, listed masked or in full, and removed."""
    Path("never.csv").write_text(f"phone\n+{NUMBERS[1]}\n+{NUMBERS[2]}\n")
    added, one = ran(
        "do-not-call", "add", f"+{NUMBERS[0]}", "--source", "phone", "--by", "asha"
    )
    imported, two = ran("do-not-call", "import", "never.csv", "--json")
    _, listed = ran("do-not-call", "list")
    _, rows = ran("do-not-call", "list", "--reveal", "--json")
    removed, gone = ran("do-not-call", "remove", str(NUMBERS[0]), "--json")
    partly, missing = ran("do-not-call", "remove", str(NUMBERS[0]), str(NUMBERS[1]))
    found = [json.loads(row) for row in rows.out.splitlines()]

    assert added == imported == removed == Exit.OK
    assert one.out == "added: 1, on the list before: 0\n"
    assert json.loads(two.out) == {"added": 2, "known": 0}
    assert "phone, by asha" in listed.out
    assert "1917" not in listed.out
    assert [each["number"] for each in found] == [str(number) for number in NUMBERS[:3]]
    assert [each["source"] for each in found] == ["phone", "never.csv", "never.csv"]
    assert json.loads(gone.out) == {"removed": 1, "missing": 0}
    assert partly == Exit.PARTLY
    assert missing.out == "removed: 1, not on the list: 1\n"


def test_a_list_that_cannot_be_read_adds_none() -> None:
    """If a row of the file is no number, `import` adds none of them."""
    Path("never.csv").write_text(f"phone\n+{NUMBERS[1]}\n12\n")
    code, terminal = ran("do-not-call", "import", "never.csv")
    _, listed = ran("do-not-call", "list")

    assert code == Exit.USAGE
    assert "never.csv, row 3" in terminal.err
    assert listed.out == ""


@pytest.mark.parametrize("command", ["add", "remove"])
def test_the_list_needs_a_number(command: str) -> None:
    """`do-not-call add` and `remove` without a number are usage errors."""
    code, terminal = ran("do-not-call", command)

    assert code == Exit.USAGE
    assert "no number is given" in terminal.err


def test_the_list_of_a_misspelt_ledger_is_not_made(folder: Path) -> None:
    """A number is not put on the list of a ledger that does not exist: calls would go on."""
    terminal = console()
    code = main(["do-not-call", "add", NEW, "--ledger", "other.db"], terminal=terminal)

    assert code == Exit.USAGE
    assert not (folder / "other.db").exists()


# --- history ----------------------------------------------------------------------------


def test_history_says_who_changed_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """`history` has a line for each change, with the user's name unless one is given."""

    def no_user() -> str:
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", lambda: "ravi")
    ran("change", "--cps", "5", "--by", "asha")
    ran("withdraw", str(NUMBERS[0]), "--why", "moved")
    monkeypatch.setattr(getpass, "getuser", no_user)
    ran("do-not-call", "add", NEW)
    _, said = ran("history")
    _, rows = ran("history", "--json")
    found = [json.loads(row) for row in rows.out.splitlines()]

    assert "asha changed: pace.calls_per_second 20 → 5\n" in said.out
    assert "ravi withdrew 1 contact: moved\n" in said.out
    assert [each["what"] for each in found] == [
        "load", "settings", "withdraw", "add_do_not_call",
    ]  # fmt: skip
    assert [each["by"] for each in found] == ["", "asha", "ravi", ""]
    assert NEW not in said.out + rows.out
    assert all(each["at"].startswith("20") for each in found)
    assert CampaignRules() == settings().rules

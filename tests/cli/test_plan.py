"""The plan of `dial`: what it counts, shows and confirms before the first call."""

from __future__ import annotations

import io
import json
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cli_campaign import FLOW, NUMBERS, ROWS
from consoles import FROM, Console, Watched, console, interrupted, serving

from telecmi_async._internal.telecmi import BASE_URL
from telecmi_async.campaigns import CallingWindow, CampaignRules, CampaignSettings
from telecmi_async.campaigns.contacts import ContactsFile
from telecmi_async.cli import Exit, main
from telecmi_async.cli.account import target_words
from telecmi_async.cli.plan import Plan, ToDial
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()
DIAL = ["dial", "people.csv", "--flow", "flow.json", "--cps", "200", "--ledger", "l.db"]
ANY = ["--window", "any"]
GREETING = '[{"action": "speak", "text": "Hello {name} of {city|your town}{note|}!"}]'
PEOPLE = """\
phone,name,city,note
+19175550001,Ada,Rome,
+19175550002,,Rome,x
+19175550003,\u200b,Rome,x
+19175550004,Cy, ,.
+19175550005,Di,Bonn,x
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text(ROWS)
    (tmp_path / "flow.json").write_text(FLOW)
    return tmp_path


def dialled(environ: Mapping[str, str], *more: str) -> tuple[int, Console]:
    """Run `dial` with more arguments; return its exit code and what it wrote."""
    terminal = console(environ)
    return main([*DIAL, *more], terminal=terminal), terminal


def planned(rows: str, window: CallingWindow | None) -> tuple[str, dict[str, object]]:
    """Return the plan for a contacts file at a fixed time: as it is shown, and as JSON."""
    settings = CampaignSettings(
        flow=[{"action": "hangup"}], from_=FROM, rules=CampaignRules(window=window)
    )
    plan = Plan(
        name="p", settings=settings, target="x", country=None, receives=True, forbidden=[]
    )
    plan.read(ContactsFile(io.BytesIO(rows.encode())), NOON)
    terminal = console()
    to_dial = ToDial(1, 1, 1)
    plan.show(terminal, to_dial)
    return terminal.err, plan.as_json(to_dial)


# --- cells without text -----------------------------------------------------------------


def test_cells_without_text_are_counted_and_not_called(folder: Path) -> None:
    """The plan counts rows that use a default and rows refused for an empty cell, and shows them."""
    (folder / "people.csv").write_text(PEOPLE, "utf-8")
    (folder / "flow.json").write_text(GREETING)
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = dialled(environ, *ANY, "--yes", "3", "--json")
    plan = json.loads(terminal.out)["plan"]

    assert code == Exit.OK
    assert sorted(str(call.pcmo[0]["text"]) for call in simulator.calls) == [
        "Hello Ada of Rome!", "Hello Cy of your town.!", "Hello Di of Bonnx!",
    ]  # fmt: skip
    assert "rejected   2 empty cell\n" in terminal.err
    defaults = 'defaults   used for 2 contacts: 1 without "note", 1 without "city"\n'
    assert defaults in terminal.err
    for row in (3, 4):
        assert (
            f'row {row}: cannot be dialled: action 1, text needs text in the column "name"'
            in (terminal.err)
        )
    assert {name: plan[name] for name in ("rows", "contacts", "to_dial", "open_now")} == {
        "rows": 5, "contacts": 3, "to_dial": 3, "open_now": 3,
    }  # fmt: skip
    assert (plan["defaulted"], plan["defaults"]) == (2, {"note": 1, "city": 1})
    assert plan["rejected"] == {"empty_cell": 2}
    assert [(each["row"], each["kind"]) for each in plan["rejected_rows"]] == [
        (3, "empty_cell"), (4, "empty_cell"),
    ]  # fmt: skip
    assert "which is empty: fill it in" in plan["rejected_rows"][0]["reason"]


def test_a_list_without_any_text_calls_nobody(folder: Path) -> None:
    """If every row lacks a text that the flow needs, the command ends before any call."""
    (folder / "people.csv").write_text("phone,name\n+19175550001,\n+19175550002,  \n")
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = dialled(environ, *ANY, "--yes", "2")

    assert code == Exit.USAGE
    assert "2 empty cell" in terminal.err
    assert "no row of the file can be dialled" in terminal.err
    assert simulator.requests == 0


def test_a_default_for_a_column_that_the_file_lacks_is_refused(folder: Path) -> None:
    """A misspelt column with a default is an error, or everyone would get the default."""
    (folder / "flow.json").write_text(FLOW.replace("{name}", "{nmae|there}"))
    with serving(Simulator()) as environ:
        code, terminal = dialled(environ, *ANY, "--yes", "4")

    assert code == Exit.USAGE
    assert 'needs the column "nmae"' in terminal.err
    assert 'did you mean "name"? (in the contacts file)' in terminal.err


@pytest.mark.parametrize("rows", [ROWS, '{"phone": "+19175550001", "name": "Ada"}\n'])
def test_the_column_of_numbers_cannot_be_spoken(folder: Path, rows: str) -> None:
    """A flow that needs the column of numbers is refused with a sentence, in CSV and JSON lines."""
    (folder / "people.csv").write_text(rows)
    (folder / "flow.json").write_text(FLOW.replace("{name}", "{phone}"))
    with serving(Simulator()) as environ:
        code, terminal = dialled(environ, *ANY, "--yes", "4")

    assert code == Exit.USAGE
    assert 'needs the column "phone", which holds the numbers that are dialled' in terminal.err


def test_a_flow_without_columns_uses_no_default() -> None:
    """Without columns in the flow, and without a window, neither is mentioned."""
    words, plan = planned("phone\n+19175550001\n", None)

    assert "defaults" not in words
    assert "hours " not in words
    assert (plan["defaulted"], plan["defaults"], plan["hours_a_day"]) == (0, {}, {})


def test_flow_check_says_what_must_hold_text(folder: Path) -> None:
    """`flow check` names the columns, and those without a default."""
    terminal, plain = console(), console()
    (folder / "flow.json").write_text(GREETING)

    assert main(["flow", "check", "flow.json", "--json"], terminal=terminal) == Exit.OK
    assert main(["flow", "check", "flow.json"], terminal=plain) == Exit.OK

    assert json.loads(terminal.out) == {
        "actions": ["speak"], "columns": ["city", "name", "note"], "required": ["name"],
    }  # fmt: skip
    assert plain.out.endswith("columns: city, name, note\nmust hold text: name\n")


# --- hours of the window ----------------------------------------------------------------


def test_the_plan_says_for_how_many_hours_contacts_may_be_called() -> None:
    """Contacts are counted by their hours of window a day, and few hours are explained."""
    words, plan = planned(
        "phone,timezone\n+19175550001,America/New_York\n+19175550002,\n+19175550003,\n"
        "+919876543210,\n+79161234567,\n",
        CallingWindow("09:00", "21:00"),
    )

    assert plan["hours_a_day"] == {"12": 2, "5.5": 2, "2": 1}
    assert (
        "hours      12 a day for 2 contacts, 5.5 a day for 2 contacts, 2 a day for 1" in words
    )
    assert "note       3 have less than 8 hours a day, since the window is open only" in words
    assert "a column timezone, such as America/New_York, gives" in words


@pytest.mark.parametrize(
    ("rows", "window"),
    [
        ("+919876543210\n", CallingWindow("12:00", "14:00")),  # short, and one time zone
        ("+77271234567\n", CallingWindow("12:00", "14:00")),  # several zones of the same time
        ("+5511912345678\n", CallingWindow("08:00", "22:00")),  # several, and enough hours
    ],
)
def test_a_window_that_is_short_for_all_is_not_explained(
    rows: str, window: CallingWindow
) -> None:
    """A note about time zones appears only where they take hours away, and few are left."""
    words, plan = planned(f"phone\n{rows}", window)

    assert plan["hours_a_day"]
    assert "note" not in words


# --- going on ---------------------------------------------------------------------------


def test_the_same_command_goes_on_after_an_interruption(folder: Path) -> None:
    """``--yes`` with the campaign's count goes on with what is left, and so does its own count."""
    arrived = threading.Event()
    simulator = Watched(arrived)
    slow = [*ANY, "--yes", "4", "--cps", "4"]
    with serving(simulator) as environ:
        with interrupted(arrived):
            first, _ = dialled(environ, *slow)
        before = simulator.numbers()
        more = "".join(f"+1917555000{n},N\n" for n in range(5, 9))
        (folder / "people.csv").write_text(ROWS + more)
        grown, refused = dialled(environ, *slow)
        (folder / "people.csv").write_text(ROWS)
        second, terminal = dialled(environ, *slow)

    assert (first, grown, second) == (Exit.INTERRUPTED, Exit.USAGE, Exit.OK)
    assert before < 4
    assert f"--yes 4 was given, and {8 - before} would be called (of 8 in the campaign)" in (
        refused.err
    )
    assert f"to dial    {4 - before}\n" in terminal.err
    assert [simulator.placed(number) for number in NUMBERS] == [1, 1, 1, 1]


def test_what_is_left_may_be_confirmed_by_its_own_count(folder: Path) -> None:
    """Going on, ``--yes`` may be the number of contacts that are left; any other is refused."""
    simulator = Simulator()
    with serving(simulator) as environ:
        dialled(environ, *ANY, "--yes", "4")
        (folder / "people.csv").write_text(f"{ROWS}+19175550008,N\n+19175550009,N\n")
        wrong = [dialled(environ, *ANY, "--yes", str(given))[0] for given in (0, 1, 3, 4, 5, 7)]
        sent = simulator.requests
        right, _ = dialled(environ, *ANY, "--yes", "2")

    assert wrong == [Exit.USAGE] * 6
    assert sent == 4
    assert right == Exit.OK
    assert simulator.numbers() == simulator.requests == 6


# --- what is confirmed ------------------------------------------------------------------


def test_the_plan_shows_its_target_and_one_filled_text(folder: Path) -> None:
    """On the operator's terminal: where calls go, the caller id, and what one contact hears."""
    (folder / "flow.json").write_text(GREETING)
    (folder / "people.csv").write_text(PEOPLE, "utf-8")
    with serving(Simulator()) as environ:
        terminal = console(environ, typed="no\n", tty=True)
        code = main([*DIAL, *ANY], terminal=terminal)
        _, piped = dialled(environ, *ANY, "--yes", "3")
        host = environ["TELECMI_BASE_URL"].split("/")[2]

    words = " ".join(terminal.err.split())
    assert code == Exit.FAILED
    assert f"target {host}, by TELECMI_BASE_URL: no phone rings if that is a simulator" in words
    assert 'flow speak "Hello {name} of {city|your town}{note|}!"' in words
    assert 'example row 2, 19175550001: speak "Hello Ada of Rome!"' in words
    assert f"from {FROM} " in words
    assert (
        "webhooks none: you will not learn who answered, unless `hook listen` records" in words
    )
    assert max(map(len, terminal.err.splitlines())) < 80
    # A pipe or a file gets no number and no name of a person.
    assert f"target     {host}, by TELECMI_BASE_URL" in piped.err
    assert "from       •••••••0000" in piped.err
    assert "example    row 2: on a terminal its text is shown" in piped.err
    assert not any(each in piped.err for each in ("Ada", "1917555", FROM))


def test_a_dry_run_has_no_other_target() -> None:
    """The plan of a dry run says that no phone rings, whatever the environment names."""
    code, terminal = dialled(
        {"TELECMI_BASE_URL": "https://rest.telecmi.com/v2"}, *ANY, "--dry-run"
    )

    assert code == Exit.OK
    assert (
        "target     a simulator in this process (--dry-run): no phone rings\n" in terminal.err
    )
    assert "webhooks   received here" in terminal.err


def test_telecmi_itself_is_named() -> None:
    """A base URL of TeleCMI's own host means that phones ring; any other host may be a simulator."""
    assert target_words(BASE_URL) == "rest.telecmi.com, TeleCMI itself: phones ring"
    for other in ("https://rest.telecmi.com.example/v2", "https://rest.telecmi.com:8443/v2"):
        assert "by TELECMI_BASE_URL" in target_words(other)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("09:00", "now        all 1 may be called at this time\n"),
        (
            "13:00",
            (
                "now        0 may be called now, 1 are outside their hours: the first of them may be called at "
                "2026-11-24 13:00 UTC\n"
            ),
        ),
    ],
)
def test_the_plan_says_who_may_be_called_now(start: str, words: str) -> None:
    """With a window, the plan counts contacts within and outside it, and names its next opening."""
    rows = "phone,timezone\n+19175550001,UTC\n"

    shown, _ = planned(rows, CallingWindow(start, "21:00"))

    assert words in shown
    assert f"calls start {start}-21:00" in shown


# --- a dry run --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "given", "shown"),
    [
        ({"TELECMI_FROM": "+1 917 000 1234"}, [], "1234"),
        ({"TELECMI_FROM": "19170001234"}, ["--from", "19170005678"], "5678"),
        ({"TELECMI_FROM": " "}, [], "0199"),
        ({}, [], "0199"),
    ],
)
def test_a_dry_run_has_the_caller_id_of_the_real_one(
    environ: dict[str, str], given: list[str], shown: str
) -> None:
    """A dry run takes TELECMI_FROM as a real run does, and an invented number without it."""
    code, terminal = dialled(environ, *ANY, "--dry-run", *given)

    assert code == Exit.OK
    assert f"from       •••••••{shown}\n" in terminal.err


def test_a_dry_run_refuses_a_wrong_caller_id() -> None:
    """A caller id that is no number is found out by the dry run."""
    code, terminal = dialled({"TELECMI_FROM": "reception"}, *ANY, "--dry-run")

    assert code == Exit.USAGE
    assert "is not a phone number" in terminal.err

"""The campaign commands: ``dial``, ``resume``, ``status``, ``export``, ``why`` and others."""

from __future__ import annotations

import csv
import json
import re
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from cli_campaign import FLOW, NUMBERS, ROWS, begin, in_ledger, wait_for
from consoles import (
    FROM,
    Console,
    Watched,
    console,
    interrupted,
    serving,
    zone_at_ten,
)
from fault_server import closed_port
from free_ports import free_port

from telecmi_async._internal.messages import mask
from telecmi_async.campaigns import Campaign, CampaignRules, CampaignSettings, CostCap
from telecmi_async.cli import Exit, main
from telecmi_async.cli.exits import exit_of
from telecmi_async.cli.running import exit_for
from telecmi_async.cli.state_words import (
    MOVE_WORDS,
    campaign_words,
    history_words,
)
from telecmi_async.errors import CallCancelled, StoreError
from telecmi_async.ledger import (
    CallEvidence,
    CampaignState,
    ContactState,
    NewContact,
    SendLimits,
    SendResult,
    SqliteLedger,
)
from telecmi_async.ledger.states import STATE_MEANINGS, Move
from telecmi_async.simulator import Fault, Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from telecmi_async.ledger import Ledger

pytestmark = pytest.mark.usefixtures("loop")


@pytest.fixture(params=["asyncio", "trio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands on each event loop, although they ask for asyncio only."""
    monkeypatch.setattr(anyio, "run", partial(anyio.run, backend=request.param))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text(ROWS)
    (tmp_path / "flow.json").write_text(FLOW)
    return tmp_path


DIAL = ["dial", "people.csv", "--flow", "flow.json", "--cps", "200", "--ledger", "l.db"]
ANY = ["--window", "any"]


def dialled(
    environ: Mapping[str, str], *more: str, typed: str = "", tty: bool = False
) -> tuple[int, Console]:
    """Run `dial` with more arguments; return its exit code and what it wrote."""
    terminal = console(environ, typed=typed, tty=tty)
    return main([*DIAL, *more], terminal=terminal), terminal


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


async def leave_unknown(ledger: Ledger, most: int = 1) -> None:
    """Have sends of a campaign end as unknown."""
    for claim in await ledger.claim("people", "w", most=most, lease=60):
        token = f"tcm_{claim.contact}"
        await ledger.intend(claim, "w", token, limits=SendLimits(), fence=30, lease=90)
        await ledger.settle(token, SendResult(state=ContactState.UNKNOWN, detail="no answer"))


async def unknown_ledger(ledger: Ledger) -> None:
    """Create a campaign with two unknown sends."""
    await begin(ledger)
    await leave_unknown(ledger, 2)


# --- dial -------------------------------------------------------------------------------


def test_everybody_in_a_file_is_called_once(folder: Path) -> None:
    """`dial` shows its plan and dials each number of the file once."""
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = dialled(environ, *ANY, "--yes", "4", "--json")
    result = json.loads(terminal.out)

    assert code == Exit.OK
    assert result["counts"]["placed"] == result["contacts"] == result["sends"] == 4
    assert [simulator.placed(number) for number in NUMBERS] == [1, 1, 1, 1]
    assert {call.from_ for call in simulator.calls} == {int(FROM)}
    assert sorted(str(call.pcmo[0]["text"]) for call in simulator.calls) == [
        f"Hello N{n}" for n in range(4)
    ]
    assert "rows       4, of which 4 can be dialled" in terminal.err
    assert "countries  4 US/CA" in terminal.err
    assert "4 of 4" in terminal.err
    assert "9175550" not in terminal.err + terminal.out


def test_the_same_command_again_calls_only_who_is_new(folder: Path) -> None:
    """`dial` with a file that has grown dials only the new contacts."""
    simulator = Simulator()
    with serving(simulator) as environ:
        dialled(environ, *ANY, "--yes", "4")
        nothing_new, quiet = dialled(environ, *ANY)
        (folder / "people.csv").write_text(f"{ROWS}+19175550009,N\n")
        code, terminal = dialled(environ, *ANY, "--yes", "1")

    assert nothing_new == code == Exit.OK
    assert "nothing is left to be done" in quiet.err
    assert "to dial    1\n" in terminal.err
    assert simulator.numbers() == simulator.requests == 5


def test_what_was_being_sent_is_not_to_be_dialled(folder: Path) -> None:
    """The count to confirm excludes contacts that a dead worker was sending."""

    async def cut_off(ledger: Ledger) -> None:
        await begin(ledger)
        (claim,) = await ledger.claim("people", "w", most=1, lease=60)
        await ledger.intend(claim, "w", "tcm_1", limits=SendLimits(), fence=30, lease=90)

    in_ledger(cut_off)
    with serving(Simulator()) as environ:
        code, terminal = dialled(environ, *ANY, "--cps", "20")

    assert code == Exit.USAGE
    assert "to dial    3\n" in terminal.err
    assert "add --yes 3" in terminal.err


def test_what_is_rejected_is_shown_before_anybody_is_called(folder: Path) -> None:
    """Rejected rows are counted and explained in the plan, without their numbers."""
    bad = "".join(f"9175550{n:03},N\n" for n in range(12))
    (folder / "people.csv").write_text(f"{ROWS}+19175550001,again\n{bad}")
    with serving(Simulator()) as environ:
        code, terminal = dialled(environ, *ANY)

    assert code == Exit.USAGE
    assert "there is no terminal to ask on: add --yes 4" in terminal.err
    assert "12 no country code, 1 duplicate" in terminal.err
    assert "--country 91, or another, reads numbers without a country code" in terminal.err
    assert "row 6: holds the same number as row 2" in terminal.err
    assert "… and 3 more rows" in terminal.err
    assert terminal.err.index("… and 3 more rows") < terminal.err.index(
        "--country 91, or another, reads"
    )
    assert "917555" not in terminal.err


def test_a_file_without_contacts_calls_nobody(folder: Path) -> None:
    """A file without a valid row is an error and creates no ledger."""
    (folder / "people.csv").write_text("phone,name\nx,N\n")
    with serving(Simulator()) as environ:
        code, terminal = dialled(environ, *ANY, "--yes", "0")

    assert code == Exit.USAGE
    assert "no row of the file can be dialled" in terminal.err
    assert not (folder / "l.db").exists()


def test_many_countries_are_not_all_listed(folder: Path) -> None:
    """The plan lists only the countries with most contacts."""
    codes = ["49301234567", "33123456789", "34912345678", "390612345678", "41441234567"]
    codes += ["43112345678", "3222345678", "4521234567", "919876543210", "61212345678"]
    (folder / "people.csv").write_text("phone\n" + "".join(f"+{code}\n" for code in codes))
    (folder / "flow.json").write_text('[{"action": "hangup"}]')
    with serving(Simulator()) as environ:
        _, terminal = dialled(environ, *ANY, "--max-live-calls", "3", "--without-webhooks")

    assert "and 2 more\n" in terminal.err
    assert "at most 3 live" in terminal.err


@pytest.mark.parametrize(
    ("rows", "typed", "code"),
    [(4, "yes\n", 0), (4, "4\n", 1), (11, "11\n", 0), (11, "yes\n", 1), (11, "12\n", 1)],
)
def test_the_count_is_confirmed(folder: Path, rows: int, typed: str, code: int) -> None:
    """Up to ten calls are confirmed with "yes", more by typing their number."""
    (folder / "people.csv").write_text(
        "phone,name\n" + "".join(f"+1917555{n:04},N\n" for n in range(rows))
    )
    simulator = Simulator()
    with serving(simulator) as environ:
        ended, terminal = dialled(environ, *ANY, typed=typed, tty=True)

    assert ended == code
    assert simulator.numbers() == (0 if code else rows)
    assert ("no call was placed" in terminal.err) == bool(code)


def test_a_count_that_is_not_the_plans_is_refused(folder: Path) -> None:
    """``--yes`` with a number other than the plan's places no call."""
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = dialled(environ, *ANY, "--yes", "5")

    assert code == Exit.USAGE
    assert "--yes 5 was given, and 4 would be called" in terminal.err
    assert simulator.requests == 0


@pytest.mark.parametrize(
    ("change", "environ", "message"),
    [
        (["--flow", "-", "--secret-stdin"], {}, "stdin cannot hold both"),
        (["--flow", "none.json"], {}, "cannot read the call flow none.json: No such file"),
        (
            ["--from", "x"],
            {},
            'the caller id (--from, or TELECMI_FROM) is not a phone number: "x" is not',
        ),
        (["--country", "999"], {}, "country must be a country calling code"),
        (
            [],
            {"TELECMI_FROM": ""},
            "the environment variable TELECMI_FROM is not set; --from gives",
        ),
        (["--cps", "0"], {}, "--cps must be a number above 0"),
        (["--max-cost", "-1"], {}, "--max-cost must be a number above 0"),
        (["--ledger", "postgresql://me:pass1234@host/db"], {}, "all users of this machine see"),
        (["--ledger", ""], {}, "no ledger: give --ledger FILE"),
        (["--webhook-port", "0"], {}, "TELECMI_WEBHOOK_TOKEN is not set"),
    ],
)
def test_what_cannot_be_used_is_refused(
    folder: Path, change: list[str], environ: dict[str, str], message: str
) -> None:
    """An invalid argument is named, and no call is placed."""
    simulator = Simulator()
    with serving(simulator) as account:
        code, terminal = dialled(account | environ, *ANY, "--yes", "4", *change)

    assert code == Exit.USAGE
    assert message in terminal.err.splitlines()[-1]
    assert "pass1234" not in terminal.err
    assert simulator.requests == 0


def test_a_flow_needs_columns_of_the_file(folder: Path) -> None:
    """A flow that uses a column missing from the file is rejected."""
    (folder / "flow.json").write_text(FLOW.replace("name", "surname"))
    with serving(Simulator()) as environ:
        code, terminal = dialled(environ, *ANY)

    assert code == Exit.USAGE
    assert '"surname"' in terminal.err
    assert "in the contacts file" in terminal.err


def test_contacts_may_be_json_lines(folder: Path) -> None:
    """In a file of JSON lines, each row is checked for the flow's columns."""
    (folder / "people.csv").write_text(
        '{"phone": "+19175550001", "name": "A"}\n{"phone": "+19175550002"}\n'
    )
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = dialled(environ, *ANY, "--yes", "1")

    assert code == Exit.OK
    assert simulator.numbers() == 1
    assert "1 empty cell" in terminal.err


def test_a_file_without_a_header_is_told(folder: Path) -> None:
    """The plan notes that the file has no header."""
    (folder / "people.csv").write_text("+19175550001,N\n+19175550002,M\n")
    (folder / "flow.json").write_text('[{"action": "hangup"}]')
    with serving(Simulator()) as environ:
        _, terminal = dialled(environ, *ANY)

    assert "note       it has no header" in terminal.err


def test_a_window_that_is_not_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid calling window is rejected."""
    assert main([*DIAL, "--window", "9-21"]) == Exit.USAGE
    assert "--window must be a time" in capsys.readouterr().err


def test_numbers_on_the_list_are_not_called(folder: Path) -> None:
    """A number in the do-not-call file is blocked, and the exit code is 3."""
    (folder / "never.csv").write_text("phone\n+19175550002\n+19175550002\n")
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = dialled(environ, *ANY, "--do-not-call", "never.csv", "--yes", "4")

    assert code == Exit.PARTLY
    assert "do not     call 1 more numbers" in terminal.err
    assert simulator.numbers() == 3
    assert simulator.placed(19175550002) == 0


@pytest.mark.parametrize("header", ["phone\n", ""])
@pytest.mark.parametrize(
    "entry",
    ["9.19E+11", "+44 (0)20 7946 0958", "9175550002", "+19175550002x5", "+19175550002 / 03"],
)
def test_a_list_that_cannot_be_read_in_full_calls_nobody(
    folder: Path, entry: str, header: str
) -> None:
    """A do-not-call file with an invalid row is an error, and no call is placed."""
    (folder / "never.csv").write_text(f"{header}{entry}\n+19175550002\n")
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = dialled(environ, *ANY, "--do-not-call", "never.csv", "--yes", "4")

    assert code == Exit.USAGE
    assert f"never.csv, row {2 if header else 1}: " in terminal.err
    assert "nothing is done until every number" in terminal.err
    assert "555000" not in terminal.err
    assert simulator.requests == 0


@pytest.mark.parametrize(
    "spelt", ["tel:+1-917-555-0002", "p:0019175550002", "1917\u20115550002"]
)
def test_a_number_is_found_however_it_is_written(folder: Path, spelt: str) -> None:
    """The do-not-call file, `why` and `retry-unknown` read numbers as the contacts file does."""
    (folder / "never.csv").write_text(f"phone\n{spelt}\n", "utf-8")
    simulator = Simulator()
    with serving(simulator) as environ:
        _, _ = dialled(environ, *ANY, "--do-not-call", "never.csv", "--yes", "4")
    code, terminal = ran("why", spelt, "--ledger", "l.db")
    _, retried = ran("retry-unknown", spelt, "--ledger", "l.db", "--yes", "0")

    assert simulator.placed(19175550002) == 0
    assert code == Exit.OK
    assert terminal.out.startswith("•••••••0002 in people is blocked")
    assert "no such contact is unknown" in retried.err


def closed_now(folder: Path) -> list[str]:
    """Write contacts whose local time is about ten; return a window that opens at noon."""
    zone = zone_at_ten()
    (folder / "people.csv").write_text(
        "phone,name,timezone\n" + "".join(f"+{number},N,{zone}\n" for number in NUMBERS)
    )
    return ["--window", "12:00-13:00"]


def test_outside_the_calling_hours_nobody_is_called(folder: Path) -> None:
    """Outside the calling window no call is placed, and the exit code says so."""
    simulator = Simulator()
    window = closed_now(folder)
    with serving(simulator) as environ:
        code, terminal = dialled(environ, *window, "--yes", "4")

    assert code == Exit.OUTSIDE_HOURS
    assert "no contact may be called now; the first may at 20" in terminal.err
    opening = (
        r"now        0 may be called now, 4 are outside their hours: the first of them may be "
    )
    assert re.search(opening + r"called at 20\d\d-\d\d-\d\d \d\d:00 UTC\n", terminal.err)
    assert simulator.requests == 0


def test_who_may_never_be_called_has_no_time_named(folder: Path) -> None:
    """If no contact can ever be called, the plan names no time."""
    window = closed_now(folder)
    zones = "Pacific/Kiritimati"
    (folder / "people.csv").write_text(f"phone,name,timezone\n+19175550001,N,{zones}\n")
    with serving(Simulator()) as environ, pytest.MonkeyPatch.context() as patch:
        patch.setattr("telecmi_async.campaigns.CallingWindow.opening", lambda *_: None)
        code, terminal = dialled(environ, *window, "--yes", "1")

    assert code == Exit.OUTSIDE_HOURS
    assert "0 may be called now, 1 never, by the rules below" in terminal.err
    assert "no contact in the file may be called, now or later" in terminal.err


def test_a_dry_run_calls_nobody(folder: Path) -> None:
    """A dry run executes the plan on a simulator, without an account or a ledger."""
    code, terminal = dialled({}, *ANY, "--dry-run", "--cps", "1", "--json")
    result = json.loads(terminal.out)

    assert code == Exit.OK
    assert result["counts"]["finished"] == 4
    assert "A dry run, on a simulator, at 200 a second: no phone rings." in terminal.err
    assert not (folder / "l.db").exists()


def test_a_dry_run_does_not_wait_for_the_window(folder: Path) -> None:
    """A dry run does not wait for the calling window to open."""
    code, terminal = dialled({}, *closed_now(folder), "--dry-run")

    assert code == Exit.OK
    assert "finished           4" in terminal.out


def test_what_is_heard_of_calls_is_in_the_ledger(folder: Path) -> None:
    """With a webhook port, `dial` waits for call records and reports costs."""
    simulator = Simulator(life="immediate")
    token = "t" * 43

    def send_webhooks_to(port: int) -> None:
        simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/{token}")

    with serving(simulator) as environ:
        environ["TELECMI_WEBHOOK_TOKEN"] = token
        port = free_port()
        send_webhooks_to(port)
        code, terminal = dialled(environ, *ANY, "--yes", "4", "--webhook-port", str(port))

    assert code == Exit.OK
    assert f"Listening for webhooks on 127.0.0.1 port {port}." in terminal.err
    assert "finished           4" in terminal.out
    assert "cost " in terminal.out


def test_unknown_fates_have_their_own_code(folder: Path) -> None:
    """A call with a lost reply is unknown, and has its own exit code."""
    simulator = Simulator()
    simulator.faults.add(Fault("reply_lost", to=NUMBERS[0]))
    with serving(simulator) as environ:
        code, terminal = dialled(environ, *ANY, "--yes", "4")

    assert code == Exit.UNKNOWN
    assert "unknown            1" in terminal.out
    assert "Of 1 it is not known whether a phone rang" in terminal.err


@pytest.mark.usefixtures("campaigns_poll_often")
def test_refused_credentials_end_a_campaign(folder: Path) -> None:
    """Refused credentials end the command, and all contacts stay pending."""
    with serving(Simulator()) as environ:
        environ["TELECMI_SECRET"] = "not-the-right-one"
        code, terminal = dialled(environ, *ANY, "--yes", "4")
        status, _ = ran("status", "--ledger", "l.db")

    assert code == Exit.CREDENTIALS
    assert "TeleCMI refused the credentials" in terminal.err
    assert "pending            4" in terminal.out
    assert status == Exit.PARTLY
    assert "not-the-right-one" not in terminal.err


@pytest.mark.usefixtures("campaigns_poll_often")
def test_equal_refusals_end_a_campaign_and_can_be_tried_again(folder: Path) -> None:
    """A wrong address ends the command with its reason; then the rejected are tried again."""
    simulator = Simulator()
    few = (*ANY, "--yes", "4", "--pause-after-refusals", "2", "--cps", "2")
    with serving(simulator) as environ:
        right = environ["TELECMI_BASE_URL"]
        environ["TELECMI_BASE_URL"] = f"{right}/wrong"
        code, terminal = dialled(environ, *few)
        _, seen = ran("status", "--ledger", "l.db")
        _, still = ran("status", "--ledger", "l.db", "--json")
        rejected = json.loads(still.out)["counts"]["rejected"]
        none, _ = ran("retry-rejected", "--ledger", "l.db", "--reason", "418", "--yes", "0")
        again, asked = ran("retry-rejected", "--ledger", "l.db", "--yes", str(rejected))
        environ["TELECMI_BASE_URL"] = right
        resumed, _ = ran("resume", "--ledger", "l.db", environ=environ)

    assert code == Exit.PARTLY
    assert "2 equal refusals in a row (HTTP 404)" in terminal.err
    assert (
        "If TELECMI_BASE_URL is a simulator: it refuses numbers such as …9930" in terminal.err
    )
    assert "`retry-rejected` has them tried again" in terminal.err
    assert "people: paused (2 equal refusals in a row (HTTP 404): not found)" in seen.err
    assert rejected < 4
    assert (none, again, asked.out) == (
        Exit.FAILED,
        Exit.OK,
        f"to be dialled again: {rejected}\n",
    )
    assert resumed == Exit.OK
    assert simulator.numbers() == 4


@pytest.mark.usefixtures("campaigns_poll_often")
def test_without_a_network_a_campaign_ends_as_not_reached(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If TeleCMI cannot be reached for long, the exit code says so, and no contact is used up."""
    monkeypatch.setattr("telecmi_async.pacing.circuit_breaker._MOST", 2)
    monkeypatch.setattr("telecmi_async.cli.running._OUTAGE", 0.0)
    with serving(Simulator()) as environ:
        environ["TELECMI_BASE_URL"] = f"http://127.0.0.1:{closed_port()}"
        code, terminal = dialled(environ, *ANY, "--yes", "4")

    assert code == Exit.UNAVAILABLE
    assert "TeleCMI cannot be reached (ConnectError (connection refused) at" in terminal.err
    assert "who was not called is left to be dialled" in terminal.err
    assert "pending            4" in terminal.out


def test_the_secret_may_come_from_stdin(folder: Path) -> None:
    """``--secret-stdin`` reads the secret from stdin, and then needs ``--yes``."""
    simulator = Simulator()
    with serving(simulator) as environ:
        secret = environ.pop("TELECMI_SECRET") + "\n"
        more = (*ANY, "--secret-stdin")
        asked, _ = dialled(environ, *more, typed=secret, tty=True)
        code, _ = dialled(environ, *more, "--yes", "4", typed=secret)

    assert asked == Exit.USAGE
    assert code == Exit.OK
    assert simulator.numbers() == 4


# --- resume -----------------------------------------------------------------------------


def test_a_campaign_is_resumed(folder: Path) -> None:
    """`resume` dials the remaining contacts without confirmation."""
    in_ledger(begin)
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = ran("resume", "--ledger", "l.db", "--json", environ=environ)

    assert code == Exit.OK
    assert json.loads(terminal.out)["counts"]["placed"] == 4
    assert simulator.numbers() == simulator.requests == 4


def test_a_paused_campaign_goes_on(folder: Path) -> None:
    """`pause` pauses a campaign, and `resume` continues it."""
    in_ledger(begin)
    paused, terminal = ran("pause", "--ledger", "l.db", "--json")
    _, seen = ran("status", "--ledger", "l.db")
    with serving(Simulator()) as environ:
        code, _ = ran("resume", "--ledger", "l.db", environ=environ)

    assert paused == code == Exit.OK
    assert "people is paused; what was sent goes on." in terminal.err
    paused_now = json.loads(terminal.out)
    assert (paused_now["status"], paused_now["asked"]) == ("paused", "paused")
    assert "people: paused (from the command line)" in seen.err


@pytest.mark.usefixtures("campaigns_poll_often")
def test_a_worker_waits_while_its_campaign_is_paused(folder: Path) -> None:
    """A worker shows that another process paused or resumed its campaign."""
    in_ledger(begin)
    (folder / "people.csv").write_text(ROWS)
    simulator = Simulator(latency=0.2)

    def pause_and_resume() -> None:
        async def set_statuses() -> None:
            async with SqliteLedger(folder / "l.db") as ledger:
                while (await ledger.state("people")).sends < 1:  # noqa: ASYNC110  # a file cannot notify
                    await anyio.sleep(0.01)
                await ledger.set_status("people", "paused", "lunch")
                await anyio.sleep(1.5)
                await ledger.set_status("people", "running")

        anyio.run(set_statuses)

    with serving(simulator) as environ:
        thread = threading.Thread(target=pause_and_resume)
        thread.start()
        terminal = console(environ)
        code = main(["resume", "--ledger", "l.db"], terminal=terminal)
        thread.join()

    assert code == Exit.OK
    assert simulator.numbers() == 4
    assert "Paused (lunch): waiting for `resume`.\nGoing on." in terminal.err


def test_resume_needs_a_caller_id(folder: Path) -> None:
    """A campaign without a caller id needs TELECMI_FROM."""

    async def begun(ledger: Ledger) -> None:
        await ledger.create("people", CampaignSettings(flow=json.loads(FLOW)).dump())

    in_ledger(begun)
    with serving(Simulator()) as environ:
        with_one, _ = ran("resume", "--ledger", "l.db", environ=environ)
        del environ["TELECMI_FROM"]
        code, terminal = ran("resume", "--ledger", "l.db", environ=environ)

    assert with_one == Exit.OK
    assert code == Exit.USAGE
    assert "the caller id is missing: set TELECMI_FROM" in terminal.err


@pytest.mark.usefixtures("campaigns_poll_often")
@pytest.mark.parametrize(
    ("patient", "code"), [(False, Exit.OUTSIDE_HOURS), (True, Exit.PARTLY)]
)
def test_who_is_due_much_later_is_left(folder: Path, *, patient: bool, code: Exit) -> None:
    """Once no contact is due within the hour the command ends, except with ``--wait``."""

    async def postponed(ledger: Ledger) -> None:
        await begin(ledger)
        later = await ledger.now() + 7_200
        await ledger.load("people", [NewContact(number=19175550009, not_before=later)])

    in_ledger(postponed)
    simulator = Simulator()

    def stop() -> None:
        wait_for(lambda: simulator.numbers() == 4)
        time.sleep(0.5)  # without --wait it would end before
        in_ledger(lambda ledger: ledger.set_status("people", "stopped"))

    stopper = threading.Thread(target=stop)
    if patient:
        stopper.start()
    with serving(simulator) as environ:
        argv = ["resume", "--ledger", "l.db", *(["--wait"] if patient else [])]
        ended, terminal = ran(*argv, environ=environ)
    if patient:
        stopper.join()

    assert ended == code
    assert simulator.numbers() == 4
    assert (
        "No contact that is left may be called within the hour" in terminal.err
    ) is not patient


# --- Ctrl-C -----------------------------------------------------------------------------


def test_an_interrupt_in_the_program_itself_is_counted(folder: Path) -> None:
    """Ctrl-C in the main thread makes the worker leave, and the exit code is 130."""
    in_ledger(partial(begin, pace=0.5))
    arrived = threading.Event()
    simulator = Watched(arrived)
    with serving(simulator) as environ, interrupted(arrived):
        code, _ = ran("resume", "--ledger", "l.db", environ=environ)

    assert code == Exit.INTERRUPTED
    assert simulator.requests < 4


@pytest.mark.usefixtures("campaigns_poll_often")
def test_a_ledger_that_fails_for_a_while_ends_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dialling stops while the ledger fails, with a message, and then continues."""
    no_claim, no_look = iter([True] * 2), iter([True] * 2)
    claim, next_due = SqliteLedger.claim, SqliteLedger.next_due

    async def claim_or_fail(*given: Any, **more: Any) -> Any:
        if next(no_claim, False):
            raise StoreError("the disk is full")
        return await claim(*given, **more)

    async def due_or_fail(*given: Any) -> Any:
        if next(no_look, False):
            raise StoreError("the disk is full")
        return await next_due(*given)

    in_ledger(begin)
    monkeypatch.setattr(SqliteLedger, "claim", claim_or_fail)
    monkeypatch.setattr(SqliteLedger, "next_due", due_or_fail)
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = ran("resume", "--ledger", "l.db", environ=environ)

    assert code == Exit.OK
    assert simulator.numbers() == simulator.requests == 4
    assert "the ledger fails, nothing is dialled: the disk is full\n" in terminal.err
    assert "the ledger works again, dialling goes on" in terminal.err


@pytest.mark.parametrize("grouped", [False, True])
def test_a_failure_comes_out_as_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, grouped: bool
) -> None:
    """An error of a run, also in an exception group, sets the exit code and message."""

    async def run(*_: object, **__: object) -> None:
        failure = StoreError("the disk is full")
        raise ExceptionGroup("many", [failure]) if grouped else failure

    in_ledger(begin)
    monkeypatch.setattr(Campaign, "run", run)
    with serving(Simulator()) as environ:
        code, terminal = ran("resume", "--ledger", "l.db", environ=environ)

    assert code == Exit.UNAVAILABLE
    assert terminal.err.endswith("telecmi-async resume: the disk is full\n")


# --- reading a ledger -------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv", [["status"], ["pause"], ["resume"], ["export"], ["why", "+19175550001"]]
)
def test_what_is_not_there_is_named(folder: Path, argv: list[str]) -> None:
    """A missing ledger or campaign is an error and is not created."""
    with serving(Simulator()) as environ:
        none, no_ledger = ran(*argv, "--ledger", "l.db", environ=environ)
        in_ledger(begin)
        other, no_campaign = ran(*argv, "--ledger", "l.db", "--name", "x", environ=environ)

    assert none == other == Exit.USAGE
    assert "there is no ledger l.db" in no_ledger.err
    assert "there is no campaign 'x' in this ledger" in no_campaign.err


def test_several_campaigns_need_a_name(folder: Path) -> None:
    """`status` shows all campaigns; a command that acts on one needs its name."""

    async def two(ledger: Ledger) -> None:
        await begin(ledger)
        await begin(ledger, "second")

    in_ledger(two)
    environ = {"TELECMI_LEDGER": "l.db"}
    code, terminal = ran("status", environ=environ)
    _, as_json = ran("status", "--json", environ=environ)
    _, one = ran("status", "--name", "second", environ=environ)
    refused, which = ran("pause", environ=environ)

    assert code == Exit.OK
    assert terminal.out.splitlines() == [
        f"{name}: 4 of 4 to be dialled; contacts are left, and no worker holds one now"
        for name in ("people", "second")
    ]
    assert [json.loads(line)["campaign"] for line in as_json.out.splitlines()] == [
        "people",
        "second",
    ]
    assert "pending            4" in one.out
    assert refused == Exit.USAGE
    assert "it has people, second: give --name" in which.err


def test_an_empty_ledger_has_no_campaign(folder: Path) -> None:
    """A ledger without campaigns is an error that says so."""
    in_ledger(lambda ledger: ledger.now())
    code, terminal = ran("status", "--ledger", "l.db")

    assert code == Exit.USAGE
    assert "it has none" in terminal.err


def test_a_ledger_may_be_named_in_a_file(folder: Path) -> None:
    """``TELECMI_LEDGER_FILE`` names a file that holds the ledger's location."""
    in_ledger(begin)
    (folder / "place").write_text("l.db\n")
    code, _ = ran("status", environ={"TELECMI_LEDGER_FILE": "place"})
    missing, terminal = ran("status", environ={"TELECMI_LEDGER_FILE": "nowhere"})
    (folder / "place").write_bytes(b"\xff")
    binary, no_text = ran("status", environ={"TELECMI_LEDGER_FILE": "place"})

    assert code == Exit.PARTLY
    assert missing == binary == Exit.USAGE
    assert "TELECMI_LEDGER_FILE names: No such file" in terminal.err
    assert "it is no text" in no_text.err


def test_a_database_is_opened_by_its_own_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL URL opens the PostgreSQL ledger, and a password is not shown."""
    opened: list[str] = []

    def make(place: str, *, migrate: bool) -> None:
        assert not migrate
        opened.append(place)
        raise StoreError("no server")

    monkeypatch.setattr("telecmi_async.cli.ledgers.PostgresLedger", make)
    code, _ = ran("status", "--ledger", "postgresql://host/db")
    again, terminal = ran(
        "status", environ={"TELECMI_LEDGER": "postgres://me:pass1234@host/db"}
    )

    assert code == again == Exit.UNAVAILABLE
    assert opened == ["postgresql://host/db", "postgres://me:pass1234@host/db"]
    assert "pass1234" not in terminal.err


def test_contacts_are_exported_masked_and_safe(folder: Path) -> None:
    """Exported CSV has masked numbers and no formulas."""
    in_ledger(
        partial(begin, name="people", note="=cmd()", phone="+91 98765 43210", due="2026-11-30")
    )
    code, terminal = ran("export", "--ledger", "l.db")
    rows = list(csv.DictReader(terminal.out.splitlines()))

    assert code == Exit.OK
    assert [row["number"] for row in rows] == [mask(number) for number in NUMBERS]
    assert {row["column.note"] for row in rows} == {"'=cmd()"}
    assert "98765" not in terminal.out
    assert {row["state"] for row in rows} == {"pending"}
    assert {row["column.due"] for row in rows} == {"2026-11-30"}
    assert terminal.err == (
        "Masked numbers in: number (4), phone (4). --reveal writes them in full.\n"
    )


def test_numbers_are_exported_in_full_on_request(folder: Path) -> None:
    """``--reveal`` exports full numbers, and ``--state`` selects rows."""
    in_ledger(unknown_ledger)
    code, terminal = ran(
        "export", "--ledger", "l.db", "--json", "--reveal", "--state", "unknown"
    )
    _, table = ran("export", "--ledger", "l.db", "--reveal", "--output", "out.csv")
    rows = [json.loads(line) for line in terminal.out.splitlines()]

    assert code == Exit.OK
    assert [row["number"] for row in rows] == [str(number) for number in NUMBERS[:2]]
    assert rows[0]["columns"] == {"name": "N"}
    assert rows[0]["sent_at"].endswith("+00:00")
    assert table.out == terminal.err == table.err == ""
    assert (folder / "out.csv").read_text().count("\n") == 5


def test_a_file_that_cannot_be_written_is_named(folder: Path) -> None:
    """`export` names an output file that it cannot write."""
    in_ledger(begin)
    code, terminal = ran("export", "--ledger", "l.db", "--output", "no/out.csv")

    assert code == Exit.USAGE
    assert "cannot write no/out.csv: No such file" in terminal.err


def test_why_tells_a_numbers_story(folder: Path) -> None:
    """`why` shows the history of a number in words and as JSON."""

    async def history(ledger: Ledger) -> None:
        await unknown_ledger(ledger)
        at = await ledger.now()
        token = "tcm_1"
        await ledger.record_event(
            CallEvidence(
                token=token, request_id="r", at=at, over=True, answered=True, talk_seconds=7
            )
        )
        token = "tcm_2"
        await ledger.record_event(
            CallEvidence(token=token, request_id="s", at=at, over=True, answered=False)
        )

    in_ledger(history)
    code, answered = ran("why", str(NUMBERS[0]), "--ledger", "l.db")
    _, missed = ran("why", str(NUMBERS[1]), "--ledger", "l.db", "--name", "people")
    _, untouched = ran("why", str(NUMBERS[2]), "--ledger", "l.db")
    _, as_json = ran("why", str(NUMBERS[0]), "--ledger", "l.db", "--json")
    unknown, other = ran("why", "+14155550100", "--ledger", "l.db")

    assert code == Exit.OK
    assert answered.out.startswith(f"{mask(NUMBERS[0])} in people is finished")
    assert "  sent once\n  answered, 7 s\n  cost unknown\n" in answered.out
    told = [line.split("UTC  ")[-1] for line in answered.out.splitlines()[4:]]
    assert told == [
        "a worker took it (w)", "a request is about to leave (w)",
        "no trustworthy answer came: no answer", "TeleCMI has the call", "the call is over",
    ]  # fmt: skip
    assert "not answered" in missed.out
    assert "cost" not in untouched.out
    assert "nothing was ever sent" in untouched.out
    assert [each["what"] for each in json.loads(as_json.out)["history"]][:3] == [
        "claim",
        "intend",
        "mark_unknown",
    ]
    assert unknown == Exit.FAILED
    assert "is in no campaign" in other.err
    assert "917555" not in answered.out + as_json.out


def test_every_move_and_state_has_words() -> None:
    """Each state, move and rule is told in words; a detail that says the same is not repeated."""
    assert STATE_MEANINGS.keys() == set(ContactState)
    assert MOVE_WORDS.keys() == set(Move)
    assert (
        history_words("postpone", "calling_window: it is closed") == "has to wait: it is closed"
    )
    assert history_words("reject", "TeleCMI refused the call (404): no") == (
        "not placed: TeleCMI refused the call (404): no"
    )
    assert history_words("event", "wrapped_up") == "event: wrapped_up"
    assert history_words("event", "") == "event"
    assert history_words("claim", "") == "a worker took it"


@pytest.mark.parametrize(
    ("counts", "more", "said"),
    [
        ({}, {}, "it has no contacts"),
        ({"pending": 2}, {}, "contacts are left, and no worker holds one now"),
        ({"pending": 2, "claimed": 1}, {}, "running"),
        ({"sending": 1}, {}, "running"),
        ({"sending": 1, "pending": 1}, {"asked": "paused", "status": "paused", "why": "lunch"},
         "paused (lunch), awaiting what was sent"),
        ({"pending": 1}, {"asked": "stopped", "status": "stopped"}, "stopped"),
        ({"pending": 1}, {"status": "waiting for a window"},
         "waiting: no contact that is left may be called before 1970-01-02 00:00 UTC"),
        ({"pending": 1, "finished": 9}, {"cost": 20.0},
         "not running, since its calls have cost as much as they may"),
        ({"placed": 1}, {"status": "waiting for records"},
         "dialled: how some of the calls went may still become known"),
        ({"finished": 4}, {"status": "done", "cost": 20.0}, "done"),
        ({"finished": 4, "unknown": 3}, {"status": "done"},
         "done, but it is not known whether 3 of the phones rang"),
    ],
)  # fmt: skip
def test_status_says_what_the_ledger_proves(
    counts: dict[str, int], more: dict[str, Any], said: str
) -> None:
    """A campaign runs if a worker holds a contact; otherwise `status` says what it waits for."""
    state = CampaignState(
        **{
            "name": "people", "status": "dialling", "asked": "running", "why": "", "sends": 0,
            "cost": None, **more,
            "counts": {each: counts.get(str(each), 0) for each in ContactState},
        }
    )  # fmt: skip
    rules = CampaignRules(cost=CostCap(20))

    assert campaign_words(state, rules, 86_400.0) == said


# --- retry-unknown ----------------------------------------------------------------------


@pytest.mark.parametrize(("numbers", "count"), [([], 2), ([str(NUMBERS[0])], 1)])
def test_unknown_contacts_are_dialled_again_by_decision(
    folder: Path, numbers: list[str], count: int
) -> None:
    """`retry-unknown` makes all or the named unknown contacts pending, once confirmed."""
    in_ledger(unknown_ledger)
    asked, _ = ran("retry-unknown", *numbers, "--ledger", "l.db")
    code, terminal = ran("retry-unknown", *numbers, "--ledger", "l.db", "--yes", str(count))
    state = in_ledger(lambda ledger: ledger.state("people"))

    assert asked == Exit.USAGE
    assert code == Exit.OK
    assert terminal.out == f"to be dialled again: {count}\n"
    assert state.counts[ContactState.UNKNOWN] == 2 - count


def test_a_decision_may_be_told_as_json(folder: Path) -> None:
    """`retry-unknown --json` prints how many contacts are pending again."""
    in_ledger(unknown_ledger)
    _, terminal = ran("retry-unknown", "--ledger", "l.db", "--yes", "2", "--json")

    assert json.loads(terminal.out) == {"campaign": "people", "pending_again": 2}


def test_nothing_unknown_is_nothing_to_retry(folder: Path) -> None:
    """`retry-unknown` fails for a contact that is not unknown."""
    in_ledger(unknown_ledger)
    code, terminal = ran("retry-unknown", str(NUMBERS[3]), "--ledger", "l.db", "--yes", "0")

    assert code == Exit.FAILED
    assert "no such contact is unknown in this campaign\n" in terminal.err


def test_what_is_being_sent_is_not_yet_unknown(folder: Path) -> None:
    """`retry-unknown` skips sends whose lease is not over."""

    async def cut_off(ledger: Ledger) -> None:
        await begin(ledger)
        (claim,) = await ledger.claim("people", "w", most=1, lease=60)
        await ledger.intend(claim, "w", "tcm_1", limits=SendLimits(), fence=30, lease=90)

    in_ledger(cut_off)
    code, terminal = ran("retry-unknown", "--ledger", "l.db", "--yes", "1")

    assert code == Exit.FAILED
    assert "; 1 are being sent: if their worker is gone, they count as unknown" in terminal.err


def test_a_command_that_reads_goes_on_where_nothing_may_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If expired leases cannot be taken back, `status` prints what there is; `pause` ends."""

    async def refused(*_: object) -> int:
        raise StoreError("the ledger may only be read")

    in_ledger(unknown_ledger)
    monkeypatch.setattr(SqliteLedger, "reap", refused)
    code, read = ran("status", "--ledger", "l.db")
    ended, written = ran("pause", "--ledger", "l.db")

    assert code == Exit.UNKNOWN
    assert "unknown            2\n" in read.out
    assert ended == Exit.UNAVAILABLE
    assert "the ledger may only be read" in written.err


# --- retry-rejected, retry-failed -------------------------------------------------------


async def ended_ledger(ledger: Ledger, state: ContactState) -> None:
    """Begin a campaign in which each contact ended so, the first one after an unknown send."""
    await begin(ledger)
    await leave_unknown(ledger)
    await ledger.redial_unknown("people")
    for n in range(4):
        (claim,) = await ledger.claim("people", "w", most=1, lease=60)
        await ledger.intend(claim, "w", f"tcm_r{n}", limits=SendLimits(), fence=30, lease=90)
        await ledger.settle(f"tcm_r{n}", SendResult(state=state, detail=f"code {n % 2}"))


@pytest.mark.parametrize("state", [ContactState.REJECTED, ContactState.FAILED])
def test_unplaced_contacts_are_tried_again_by_decision(
    folder: Path, state: ContactState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`retry-rejected` and `retry-failed` show the reasons, and leave who may have rung."""
    in_ledger(lambda ledger: ended_ledger(ledger, state))
    monkeypatch.setattr("telecmi_async.cli.commands.retry._MOST_REASONS", 1)
    command = f"retry-{state}"
    none, left = ran(command, str(NUMBERS[0]), "--ledger", "l.db", "--yes", "1")
    asked, shown = ran(command, "--ledger", "l.db")
    some, one = ran(command, str(NUMBERS[3]), "--ledger", "l.db", "--yes", "1")
    by_reason, zero = ran(
        command, "--reason", "code 0", "--ledger", "l.db", "--yes", "2", "--json"
    )
    counts = in_ledger(lambda ledger: ledger.state("people")).counts
    other, _ = ran(
        f"retry-{'failed' if state == 'rejected' else 'rejected'}", "--ledger", "l.db"
    )

    assert (asked, other) == (Exit.USAGE, Exit.FAILED)
    assert "2 code 0\nand 1 more reasons\n" in shown.err
    assert (none, left.out) == (Exit.OK, "to be dialled again: 0\n")
    assert "They are pending" not in left.err
    assert (some, one.out) == (Exit.OK, "to be dialled again: 1\n")
    assert by_reason == Exit.OK
    assert json.loads(zero.out)["pending_again"] == 1
    assert "1 were left: a phone may have rung at an earlier request" in zero.err
    assert (counts[state], counts[ContactState.PENDING]) == (2, 2)


# --- exit codes -------------------------------------------------------------------------


def test_an_interrupt_comes_before_what_is_unknown() -> None:
    """The exit code of Ctrl-C comes before unknown, and unknown before others."""
    counts = dict.fromkeys(ContactState, 0) | {ContactState.UNKNOWN: 1}
    state = CampaignState(
        name="x", status="done", asked="running", why="", counts=counts, sends=1, cost=0.0
    )

    assert exit_for(state, CampaignRules(), Exit.INTERRUPTED) is Exit.INTERRUPTED
    assert exit_for(state, CampaignRules(), Exit.CREDENTIALS) is Exit.UNKNOWN
    assert exit_of(CallCancelled("x")) is Exit.FAILED

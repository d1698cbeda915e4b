"""`dial --redial-missed` and `retry-missed`: who did not answer is called again."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cli_campaign import FLOW, NUMBERS, ROWS, begin, in_ledger
from consoles import FROM, Console, console, serving
from free_ports import free_port

from telecmi_async.campaigns import CampaignSettings, Redial
from telecmi_async.campaigns.contacts import ContactsFile
from telecmi_async.cli import Exit, main
from telecmi_async.cli.dialling import count_to_dial
from telecmi_async.cli.plan import Plan, ToDial
from telecmi_async.ledger import (
    CallEvidence,
    ContactState,
    Ledger,
    SendLimits,
    SendResult,
    SqliteLedger,
)
from telecmi_async.simulator import Callee, Simulator, Webhooks

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "t" * 43
OTHER = "19170000005"
DIAL = [
    "dial", "people.csv", "--flow", "flow.json", "--cps", "200", "--ledger", "l.db",
    "--window", "any",
]  # fmt: skip


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text(ROWS)
    (tmp_path / "flow.json").write_text(FLOW)
    return tmp_path


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


def over(token: str, at: float, answered: bool) -> CallEvidence:  # of one test
    """Return the evidence of a call's record."""
    return CallEvidence(token=token, request_id=None, at=at, over=True, answered=answered)


async def end_calls(
    ledger: Ledger, *answered: bool | None, settings: CampaignSettings | None = None
) -> None:
    """Dial one contact for each value; its record says so, and for ``None`` none arrives."""
    if settings is not None:
        await ledger.create("people", settings.dump())
    await begin(ledger)
    for n, value in enumerate(answered):
        (claim,) = await ledger.claim("people", "w", most=1, lease=60)
        await ledger.intend(claim, "w", f"tcm_{n}", limits=SendLimits(), fence=30, lease=90)
        await ledger.settle(f"tcm_{n}", SendResult(state=ContactState.PLACED))
        if value is not None:
            await ledger.record_event(over(f"tcm_{n}", await ledger.now(), value))


# --- the options ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "missed", "after"),
    [
        ("2/2h", 2, [7_200]),
        ("20/1d", 20, [86_400]),
        ("90m", 1, [5_400]),
        ("30m, 2h, 1d", 3, [1_800, 7_200, 86_400]),
        ("3/30m,2h", 3, [1_800, 7_200]),
    ],
)
def test_redials_can_be_written(given: str, missed: int, after: list[int]) -> None:
    """A number with a time, or a time for each redial, is stored, and shown in the plan's JSON."""
    simulator, port = Simulator(life="immediate", magic=False), free_port()
    simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/{TOKEN}")
    with serving(simulator) as environ:
        environ["TELECMI_WEBHOOK_TOKEN"] = TOKEN
        code, terminal = ran(
            *DIAL,
            *(
                "--redial-missed",
                given,
                "--redial-from",
                f"+{OTHER}",
                "--redial-from",
                "919876543210",
            ),
            *("--webhook-port", str(port), "--yes", "4", "--json"),
            environ=environ,
        )
    settings = CampaignSettings.parse(in_ledger(lambda ledger: ledger.settings("people")))
    plan = json.loads(terminal.out)["plan"]

    assert code == Exit.OK, terminal.err
    assert settings.redial == Redial(missed=missed, after=after, from_=[OTHER, "919876543210"])
    assert plan["redial_after"] == settings.redial.waits
    assert plan["calls_at_most"] == 4 * (1 + missed)
    assert OTHER not in terminal.err


@pytest.mark.parametrize(
    "given",
    ["2x2h", "2/", "/2h", "0/2h", "2/-1h", "9999/2h", "21/2h", "1/1h,2h", "2/0h", "2/2s", "2/1.5h", "1h,", ""],
)  # fmt: skip
def test_redials_that_cannot_be_are_refused(given: str) -> None:
    """A wrong ``--redial-missed`` is one line with the option, two valid forms and what was given."""
    code, terminal = ran(*DIAL, f"--redial-missed={given}", "--dry-run")

    assert code == Exit.USAGE
    assert terminal.err == (
        "telecmi-async dial: --redial-missed must be how many more calls, 20 at most, and how "
        "long after the last one ended, such as 2/2h; or a time for each call, such as "
        f'30m,2h,1d, not "{given}"\n'
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--redial-from", OTHER], "--redial-from needs --redial-missed, such as 2/2h"),
        (["--redial-missed", "1h", "--redial-from", "12"], "--redial-from has 2 digits"),
        (["--redial-missed", "1h", "--redial-from", "1917x"], "--redial-from "),
    ],
)
def test_a_wrong_caller_id_of_redials_is_refused(given: list[str], message: str) -> None:
    """A wrong ``--redial-from`` is named as the option, not as a field of the API."""
    code, terminal = ran(*DIAL, *given, "--dry-run")

    assert code == Exit.USAGE
    assert terminal.err.startswith(f"telecmi-async dial: {message}")
    assert "Redial." not in terminal.err


# --- the plan ---------------------------------------------------------------------------


def test_the_plan_says_what_redials_come_to_at_most() -> None:
    """The plan and the question say when missed calls are redialled, how many calls, and until when."""
    given = ["--redial-missed", "30m,2h,1d", "--redial-from", OTHER, "--without-webhooks"]
    limits = ["--max-cost", "3", "--not-after", "2099-12-24T18:00+00:00"]
    with serving(Simulator()) as environ:
        code, terminal = ran(*DIAL, *given, *limits, environ=environ, typed="no\n", tty=True)
        _, unlimited = ran(
            *DIAL, "--redial-missed", "1/2h", "--without-webhooks", environ=environ
        )
    shown = " ".join(terminal.err.split())

    assert code == Exit.FAILED
    assert (
        "redials up to 3 more calls to those who do not answer, 30 minutes, 2 hours, 1 day after "
        f"the last call ended, from {OTHER} "
    ) in shown
    assert "at most 16 calls, redials included; a cost of 3; until 2099-12-24 18:00 " in shown
    assert "Call 4 (at most 16 calls)? Type yes: " in shown
    assert "up to 1 more call to those who do not answer, 2 hours after" in unlimited.err
    assert (
        "at most    8 calls, redials included; any cost (--max-cost limits it); at any time "
        "(--not-after limits it)\n"
    ) in unlimited.err


def test_what_is_left_of_redials_is_counted() -> None:
    """A campaign that goes on counts each contact's redials that are left, and who is due."""
    settings = CampaignSettings(flow=json.loads(FLOW), from_=FROM, redial=Redial(missed=2))
    file = ContactsFile("people.csv")
    plan = Plan(
        name="people", settings=settings, target="x", country=None, receives=True, forbidden=[]
    )
    plan.read(file, time.time())

    async def count(ledger: Ledger) -> list[ToDial]:
        counted = [await count_to_dial(ledger, plan, file)]
        await end_calls(ledger, True, False, None, settings=settings)
        counted.append(await count_to_dial(ledger, plan, file))
        await ledger.redial_missed("people", [0, 0])
        counted.append(await count_to_dial(ledger, plan, file))
        return counted

    assert in_ledger(count) == [
        ToDial(count=4, total=4, calls=12, new=4),
        # The missed one twice, the one that is live twice if it is missed, the other one thrice.
        ToDial(count=2, total=4, calls=7),
        # The redial that is pending is one of the two.
        ToDial(count=2, total=4, calls=7),
    ]


# --- from the first call to the last redial ------------------------------------------------


@pytest.mark.usefixtures("campaigns_poll_often")
def test_missed_calls_are_redialled_when_they_are_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dial` ends while redials are due later, `resume` makes them, from their own caller ids."""
    missed: dict[int | str, Callee] = {
        number: Callee(ending="missed") for number in NUMBERS[:2]
    }
    simulator, port = Simulator(life="immediate", magic=False, callees=missed), free_port()
    simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/{TOKEN}")
    given = ("--webhook-port", str(port))
    redial = ("--redial-missed", "2h,3d", "--redial-from", OTHER)
    with serving(simulator) as environ:
        environ["TELECMI_WEBHOOK_TOKEN"] = TOKEN
        first, dialled = ran(*DIAL, *redial, *given, "--yes", "4", environ=environ)
        _, seen = ran("status", "--ledger", "l.db")
        _, why = ran("why", str(NUMBERS[0]), "--ledger", "l.db")
        same, again = ran(*DIAL, *redial, *given, environ=environ)
        resumed = []
        for hours in (3, 100):
            ahead = partial(SqliteLedger, clock=partial(later, hours * 3_600))
            monkeypatch.setattr("telecmi_async.cli.ledgers.SqliteLedger", ahead)
            resumed.append(ran("resume", "--ledger", "l.db", *given, environ=environ)[0])
        _, rows = ran("export", "--ledger", "l.db", "--json")

    assert first == Exit.OUTSIDE_HOURS, dialled.err
    assert (
        "Redials are due later: `resume` goes on then, or --wait waits for them." in dialled.err
    )
    assert "finished           2\n" in dialled.out
    assert "no contact that is left may be called before" in seen.err
    assert "to be dialled again: not answered: redial 1 of 2" in why.out
    assert same == Exit.USAGE
    assert "to dial    2\n" in again.err
    assert "at most    4 calls, redials included" in again.err
    assert resumed == [Exit.OUTSIDE_HOURS, Exit.OK]
    assert [simulator.placed(number) for number in NUMBERS] == [3, 3, 1, 1]
    assert [str(call.from_) for call in simulator.calls] == [FROM] * 4 + [OTHER] * 4
    assert [json.loads(row)["redials"] for row in rows.out.splitlines()] == [2, 2, 0, 0]


def later(seconds: float) -> float:
    """Return the time in so many seconds."""
    return time.time() + seconds


@pytest.mark.usefixtures("campaigns_poll_often")
def test_other_redials_are_other_settings() -> None:
    """`dial` with another ``--redial-missed`` names the option that differs."""
    with serving(Simulator(magic=False)) as environ:
        ran(*DIAL, "--yes", "4", environ=environ)
        code, terminal = ran(
            *DIAL, "--redial-missed", "1h", "--without-webhooks", environ=environ
        )

    assert code == Exit.USAGE
    assert "other settings (--redial-missed or --redial-from)" in terminal.err


# --- by hand ------------------------------------------------------------------------------


@pytest.mark.parametrize(("numbers", "count"), [([], 2), ([f"+{NUMBERS[1]}"], 1)])
def test_missed_contacts_are_redialled_by_decision(numbers: list[str], count: int) -> None:
    """`retry-missed` makes contacts pending whose record says that nobody answered, no others."""
    in_ledger(lambda ledger: end_calls(ledger, True, False, False, None))
    asked, _ = ran("retry-missed", *numbers, "--ledger", "l.db")
    code, terminal = ran(
        "retry-missed", *numbers, "--ledger", "l.db", "--yes", str(count), "--json"
    )
    counts = in_ledger(lambda ledger: ledger.state("people")).counts

    assert (asked, code) == (Exit.USAGE, Exit.OK)
    assert json.loads(terminal.out) == {"campaign": "people", "pending_again": count}
    assert f"{count} not answered\n" in terminal.err
    assert "`resume` dials them." in terminal.err
    assert counts[ContactState.PENDING] == count
    assert (counts[ContactState.FINISHED], counts[ContactState.PLACED]) == (3 - count, 1)


def test_none_missed_is_none_to_redial() -> None:
    """`retry-missed` fails for contacts that answered, or wait for a redial already."""
    in_ledger(lambda ledger: end_calls(ledger, True, False))
    answered, terminal = ran("retry-missed", str(NUMBERS[0]), "--ledger", "l.db", "--yes", "1")
    ran("retry-missed", "--ledger", "l.db", "--yes", "1")
    again, _ = ran("retry-missed", "--ledger", "l.db", "--yes", "1")

    assert (answered, again) == (Exit.FAILED, Exit.FAILED)
    assert "no such contact was called without an answer" in terminal.err
    assert "is pending already" in terminal.err


def test_a_missed_contact_whose_other_call_may_ring_is_left() -> None:
    """`retry-missed` says how many stay as they are, and why."""

    async def twice(ledger: Ledger) -> None:
        await begin(ledger)
        (claim,) = await ledger.claim("people", "w", most=1, lease=60)
        await ledger.intend(claim, "w", "tcm_1", limits=SendLimits(), fence=30, lease=90)
        await ledger.settle("tcm_1", SendResult(state=ContactState.UNKNOWN))
        await ledger.redial_unknown("people")
        (claim,) = await ledger.claim("people", "w", most=1, lease=60)
        await ledger.intend(claim, "w", "tcm_2", limits=SendLimits(), fence=30, lease=90)
        await ledger.settle("tcm_2", SendResult(state=ContactState.PLACED))
        await ledger.record_event(over("tcm_2", await ledger.now(), answered=False))

    in_ledger(twice)
    code, terminal = ran("retry-missed", "--ledger", "l.db", "--yes", "1")

    assert code == Exit.OK
    assert terminal.out == "to be dialled again: 0\n"
    assert (
        "1 were left: another of their calls may still ring, or it is too late" in terminal.err
    )
    assert "`resume`" not in terminal.err

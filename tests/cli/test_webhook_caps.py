"""Caps that only webhooks measure, how a campaign is resumed with them, and unknown costs."""

from __future__ import annotations

import json
import shlex
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from cli_campaign import FLOW, NUMBERS, ROWS, in_ledger
from consoles import FROM, Console, console, serving
from free_ports import free_port

from telecmi_async.campaigns import CampaignRules, CampaignSettings, CostCap, Pace
from telecmi_async.cli import Exit, main
from telecmi_async.ledger import CallEvidence, NewContact, SendLimits, SendResult
from telecmi_async.ledger.states import ContactState
from telecmi_async.simulator import Simulator, Webhooks

if TYPE_CHECKING:
    from pathlib import Path

    from telecmi_async.ledger import Ledger

pytestmark = pytest.mark.usefixtures("folder")

TOKEN = "t" * 43
DIAL = [
    "dial", "people.csv", "--flow", "flow.json", "--cps", "200", "--ledger", "l.db",
    "--window", "any",
]  # fmt: skip
CAPS = pytest.mark.parametrize(
    ("cap", "named"),
    [
        (["--max-cost", "2"], "a cost cap"),
        (["--max-live-calls", "2"], "a limit of live calls"),
        (["--max-cost", "2", "--max-live-calls", "2"], "a cost cap and a limit of live calls"),
        (["--max-cost", "2", "--webhook-host", "0.0.0.0"], "a cost cap"),
        (["--redial-missed", "2/2h"], "redials"),
    ],
    ids=["cost", "live", "both", "a host only", "redials"],
)


@pytest.fixture
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


async def begin_capped(ledger: Ledger, sent: tuple[float | None, ...] = ()) -> None:
    """Create a paused campaign with a cost cap; calls of these costs were placed."""
    settings = CampaignSettings(
        flow=json.loads(FLOW),
        from_=FROM,
        pace=Pace(calls_per_second=200),
        rules=CampaignRules(cost=CostCap(20)),
    )
    await ledger.create("people", settings.dump())
    contacts = [NewContact(number=number, columns={"name": "N"}) for number in NUMBERS]
    await ledger.load("people", contacts)
    for claim in await ledger.claim("people", "w", most=len(sent), lease=60) if sent else ():
        token = f"tcm_{claim.contact}"
        await ledger.intend(claim, "w", token, limits=SendLimits(), fence=30, lease=90)
        await ledger.settle(token, SendResult(state=ContactState.PLACED))
        cost = sent[claim.contact - 1]
        await ledger.record_event(
            CallEvidence(token=token, request_id=None, at=1.0, over=True, cost=cost)
        )
    await ledger.set_status("people", "paused", "lunch")


@CAPS
def test_a_cap_without_webhooks_is_refused_before_anybody_is_asked(
    cap: list[str], named: str, folder: Path
) -> None:
    """`dial` with a cap and without webhooks ends with 2, and no ledger is made."""
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = ran(*DIAL, *cap, "--yes", "4", environ=environ)

    assert code == Exit.USAGE
    assert f"'people' needs webhooks for {named}: give" in terminal.err
    for argument in ("--webhook-url", "--webhook-port", "--without-webhooks"):
        assert argument in terminal.err
    assert not (folder / "l.db").exists()
    assert simulator.requests == 0


@CAPS
def test_a_dry_run_hears_by_itself(cap: list[str], named: str) -> None:
    """A dry run with a cap needs no webhooks."""
    code, terminal = ran(*DIAL, *cap, "--dry-run", environ={"TELECMI_FROM": FROM})

    assert named
    assert code == Exit.OK, terminal.err


@pytest.mark.parametrize(
    "given", [["--webhook-port", "1"], ["--webhook-url", "https://x.example"]]
)
@pytest.mark.parametrize(
    "command", [DIAL, ["resume", "--ledger", "l.db"]], ids=["dial", "resume"]
)
def test_webhooks_are_given_or_given_up(given: list[str], command: list[str]) -> None:
    """`--without-webhooks` beside an address of webhooks is refused."""
    in_ledger(begin_capped)
    with serving(Simulator()) as environ:
        code, terminal = ran(*command, *given, "--without-webhooks", environ=environ)

    assert code == Exit.USAGE
    assert "--without-webhooks excludes" in terminal.err


def test_resume_without_what_the_cap_needs_is_refused() -> None:
    """`resume` of a campaign with a cost cap and without webhooks ends with 2, and dials nobody."""
    in_ledger(begin_capped)
    simulator = Simulator()
    with serving(simulator) as environ:
        code, terminal = ran("resume", "--ledger", "l.db", environ=environ)
        _, seen = ran("status", "--ledger", "l.db", "--json")
        requests = simulator.requests
        aloud, _ = ran("resume", "--ledger", "l.db", "--without-webhooks", environ=environ)
    state = json.loads(seen.out)

    assert code == Exit.USAGE
    assert "'people' needs webhooks for a cost cap: give" in terminal.err
    assert (state["status"], state["asked"], state["why"]) == ("paused", "paused", "lunch")
    assert (requests, aloud, simulator.requests) == (0, Exit.OK, 4)


def test_what_is_printed_for_resuming_can_be_run() -> None:
    """The printed `resume` has what `dial` was given; `status` says that webhooks are needed."""
    simulator, port = Simulator(life="immediate"), free_port()
    simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/{TOKEN}")
    given = (
        *("--webhook-url", f"http://127.0.0.1:{port}/", "--webhook-port", str(port)),
        *("--webhook-host", "localhost"),
    )
    with serving(simulator) as environ:
        environ["TELECMI_WEBHOOK_TOKEN"] = TOKEN
        # One call a day: the others are left.
        argv = ("--per-day", "1", "--max-cost", "20", "--yes", "4", *given)
        left, terminal = ran(*DIAL, *argv, environ=environ)
        line = terminal.err.partition("To go on: telecmi-async ")[2].splitlines()[0]
        again, resumed = ran(*shlex.split(line), environ=environ)
        _, seen = ran("status", "--ledger", "l.db")

    assert (left, again) == (Exit.QUOTA, Exit.QUOTA), terminal.err + resumed.err
    assert shlex.split(line) == [
        "resume", "--ledger", "l.db", "--name", "people", *given,
    ]  # fmt: skip
    assert f"To go on: telecmi-async {line}\n" in resumed.err
    assert "resume --ledger l.db --name people --webhook-url URL\n" in seen.err
    assert TOKEN not in terminal.err + resumed.err


def test_what_was_given_up_is_printed_for_resuming() -> None:
    """The printed `resume` repeats `--without-webhooks` and `--secret-stdin`."""
    with serving(Simulator()) as environ:
        secret = environ.pop("TELECMI_SECRET") + "\n"
        argv = ("--per-day", "1", "--max-cost", "20", "--without-webhooks", "--secret-stdin")
        _, terminal = ran(*DIAL, *argv, "--yes", "4", environ=environ, typed=secret)

    assert "--name people --without-webhooks --secret-stdin\n" in terminal.err


@pytest.mark.parametrize(
    ("sent", "printed", "cost", "unpriced"),
    [
        ((), None, 0.0, 0),
        ((None,), "cost         unknown\n", None, 1),
        ((0.0,), "cost            0.00\n", 0.0, 0),
        ((0.25, None, 0.5), "cost       0.75, unknown for 1 call\n", 0.75, 1),
    ],
    ids=str,
)
def test_an_unknown_cost_is_said_to_be_unknown(
    sent: tuple[float | None, ...], printed: str | None, cost: float | None, unpriced: int
) -> None:
    """A cost that is not known is "unknown", in JSON null, and never zero."""
    in_ledger(partial(begin_capped, sent=sent))
    _, terminal = ran("status", "--ledger", "l.db")
    _, as_json = ran("status", "--ledger", "l.db", "--json")
    _, rows = ran("export", "--ledger", "l.db", "--json", "--state", "finished")
    state = json.loads(as_json.out)

    assert (state["cost"], state["unpriced"]) == (cost, unpriced)
    assert [json.loads(row)["cost"] for row in rows.out.splitlines()] == list(sent)
    if printed is None:
        assert "cost" not in terminal.out
    else:
        assert printed in terminal.out


@pytest.mark.parametrize(
    ("talk", "cost", "said"),
    [
        (None, None, "  answered\n  cost unknown\n"),
        (0, 0.0, "  answered, 0 s\n  cost 0.00\n"),
        (7, 0.25, "  answered, 7 s\n  cost 0.25\n"),
    ],
)
def test_what_is_not_known_of_a_call_is_not_zero(
    talk: int | None, cost: float | None, said: str
) -> None:
    """`why` shows no zero for a cost or a duration that the record does not have."""

    async def end(ledger: Ledger) -> None:
        await begin_capped(ledger, (None,))
        await ledger.record_event(
            CallEvidence(
                token="tcm_1",
                request_id=None,
                at=2.0,
                over=True,
                answered=True,
                talk_seconds=talk,
                cost=cost,
            )
        )

    in_ledger(end)
    _, terminal = ran("why", str(NUMBERS[0]), "--ledger", "l.db")

    assert said in terminal.out


def test_a_finished_campaign_is_done() -> None:
    """`status` says what a campaign is doing, beside what was asked of it."""
    with serving(Simulator()) as environ:
        ran(*DIAL, "--yes", "4", environ=environ)
        _, waiting = ran("status", "--ledger", "l.db", "--json")

    async def end(ledger: Ledger) -> None:
        for number in NUMBERS:
            contact = await ledger.find("people", number)
            assert contact is not None
            request_id = contact.request_id
            await ledger.record_event(
                CallEvidence(token=None, request_id=request_id, at=1.0, over=True)
            )

    in_ledger(end)
    _, done = ran("status", "--ledger", "l.db", "--json")
    _, words = ran("status", "--ledger", "l.db")

    found = [json.loads(each.out) for each in (waiting, done)]
    assert [each["status"] for each in found] == ["waiting for records", "done"]
    assert [each["asked"] for each in found] == ["running", "running"]
    assert "people: done\n" in words.err

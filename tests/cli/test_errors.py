"""How commands end: exit codes, messages for people, objects for programs."""

from __future__ import annotations

import errno
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from consoles import FLOW, FROM, TO, Console, console, fail_in, serving
from every_command import every_command, options_of

from telecmi_async import CallService, RetryPolicy, errors
from telecmi_async.cli import Exit, calling, main
from telecmi_async.cli.commands import flow
from telecmi_async.cli.exits import Stop, exit_of
from telecmi_async.simulator import Fault, Simulator

if TYPE_CHECKING:
    from pathlib import Path


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `flow check` raise this error."""
    fail_in(monkeypatch, flow.check, error)


def test_every_command_takes_json() -> None:
    """Every command has ``--json``."""
    without = [name for name, each in every_command() if "--json" not in options_of(each)]

    assert without == []


@pytest.mark.parametrize(
    ("argv", "kind", "code", "message"),
    [
        (
            ["flow", "check", "none.json"],
            "InvalidCall",
            2,
            "cannot read the call flow none.json",
        ),
        (["status"], "Usage", 2, "no ledger: give --ledger FILE"),
        (
            ["why", "x", "--ledger", "l.db"],
            "InvalidCall",
            2,
            'the number is not a phone number: "x"',
        ),
        (["why", "+91", "98765", "43210"], "Usage", 2, "blanks in quotation marks"),
        (["why", "--x=919876543210", "1"], "Usage", 2, 'there is no option "--x"'),
        (["dial"], "Usage", 2, "CONTACTS and --flow are missing"),
        (
            ["export", "--format", "xml"],
            "Usage",
            2,
            '--format must be "csv" or "jsonl", not "xml"',
        ),
        (["call", "--to", "1"], "Usage", 2, "--flow is missing"),
        (["demo", "--cps", "0"], "Usage", 2, "--cps must be a number above 0"),
        (["simulate", "--port", "70000"], "Usage", 2, "--port must be a whole number from 0"),
        (["hook", "listen"], "ConfigurationError", 2, "TELECMI_WEBHOOK_TOKEN is not set"),
        (
            ["hook", "replay", "x", "--forward-to", "x"],
            "ConfigurationError",
            2,
            "give an address",
        ),
        (
            ["resume", "--ledger", "l.db"],
            "Credentials",
            4,
            "TELECMI_APP_ID and TELECMI_SECRET are not set",
        ),
        (["pause", "--ledger", "l.db"], "Usage", 2, "there is no ledger l.db"),
        (["retry-unknown", "--ledger", "l.db"], "Usage", 2, "there is no ledger l.db"),
    ],
)
def test_an_error_is_an_object(argv: list[str], kind: str, code: int, message: str) -> None:
    """With ``--json``, an error is one object on stdout, and stderr has the same message."""
    ended, terminal = ran(*argv, "--json")
    printed = json.loads(terminal.out)
    plain, words = ran(*argv)

    assert ended == plain == printed["error"]["exit_code"] == code
    assert list(printed) == ["error"]
    assert printed["error"]["type"] == kind
    assert message in printed["error"]["message"]
    assert printed["error"]["message"] in terminal.err
    assert words.out == ""


@pytest.mark.parametrize(
    ("error", "code", "kind", "message"),
    [
        (Stop(Exit.OUTSIDE_HOURS, "later"), Exit.OUTSIDE_HOURS, "OutsideHours", "later"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "Interrupted", "interrupted"),
        (OSError(errno.ENOSPC, "No space left"), Exit.PARTLY, "OSError", "No space left"),
        (OSError("odd"), Exit.PARTLY, "OSError", "odd"),
        (
            errors.RateLimited("too many", status=429, code=429),
            Exit.QUOTA,
            "RateLimited",
            "TeleCMI refused the call (429): too many",
        ),
        (
            ExceptionGroup("g", [ExceptionGroup("h", [errors.StoreError("gone")])]),
            Exit.UNAVAILABLE,
            "StoreError",
            "gone",
        ),
        (
            BaseExceptionGroup("g", [errors.StoreError("gone"), KeyboardInterrupt()]),
            Exit.INTERRUPTED,
            "Interrupted",
            "interrupted",
        ),
    ],
)
def test_what_is_expected_has_no_traceback(
    error: BaseException, code: Exit, kind: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expected errors, also in exception groups, give a message and an exit code."""
    raising(monkeypatch, error)
    ended, terminal = ran("flow", "check", "-", "--json")
    printed = json.loads(terminal.out)["error"]

    assert ended == code
    assert printed == {"type": kind, "message": message, "exit_code": code}
    assert terminal.err == f"telecmi-async flow check: {message}\n"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), ExceptionGroup("g", [errors.StoreError("x"), KeyError()])]
)
def test_a_fault_of_the_program_is_not_hidden(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unexpected errors, also among expected ones, are raised."""
    raising(monkeypatch, error)

    with pytest.raises(type(error)):
        ran("flow", "check", "-")


def test_every_error_of_the_package_has_a_code() -> None:
    """No error after which a phone may have rung has the exit code OK or FAILED."""
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    kinds = [each for each in found if issubclass(each, errors.TelecmiError)]
    raised = [each.__new__(each) for each in kinds if each is not errors.TelecmiError]

    assert len(raised) > 10
    assert exit_of(None) is Exit.OK
    assert {
        type(each)
        for each in raised
        if not each.safe_to_redial and exit_of(each) in {Exit.OK, Exit.FAILED}
    } == set()


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `call` try once."""
    monkeypatch.setattr(
        calling, "CallService", partial(CallService, retry=RetryPolicy(attempts=1))
    )


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("missing_property", Exit.FAILED),
        ("credentials", Exit.CREDENTIALS),
        ("rate_limited", Exit.QUOTA),
        ("reply_lost", Exit.UNKNOWN),
        ("no_request_id", Exit.UNKNOWN),
    ],
)
def test_call_ends_with_what_became_of_it(fault: str, code: Exit, tmp_path: Path) -> None:
    """`call` reports whether a phone may have rung, by exit code and in JSON."""
    (tmp_path / "flow").write_text(FLOW)
    simulator = Simulator()
    simulator.faults.add(Fault(fault))
    with serving(simulator) as environ:
        ended, terminal = ran(
            "call", "--to", TO, "--flow", str(tmp_path / "flow"), "--yes", "--json",
            environ=environ,
        )  # fmt: skip
    printed = json.loads(terminal.out)

    assert ended == printed["error"]["exit_code"] == code
    assert printed["error"]["safe_to_redial"] is (code is not Exit.UNKNOWN)
    assert printed["request_id"] is None


def test_call_warns_of_what_only_dial_fills_in() -> None:
    """`call` warns of a placeholder in the flow that only `dial` fills in."""
    flow = '[{"action": "speak", "text": "Hello {name}"}]'
    terminal = console(
        {"TELECMI_FROM": FROM, "TELECMI_APP_ID": "1", "TELECMI_SECRET": "s"}, typed=flow
    )
    code = main(["call", "--to", TO, "--flow", "-"], terminal=terminal)

    assert code == Exit.USAGE
    assert (
        "note          {name} is sent as it stands: only `dial` fills it in\n" in terminal.err
    )

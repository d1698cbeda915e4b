"""`call --wait`, `flow new`, `dial --rejected`, and what a terminal must not obey."""

from __future__ import annotations

import csv
import json
import re
import stat
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cli_campaign import begin, in_ledger
from consoles import FLOW, FROM, TO, Console, Stream, console, interrupted, serving
from free_ports import free_port

from telecmi_async import CallHandle, CallResult, CdrPoller, Flow, RequestFailed
from telecmi_async.cli import Exit, calling, main
from telecmi_async.cli.output.display import PlainLines
from telecmi_async.simulator import Simulator, Webhooks
from telecmi_async.voice import Streams

TOKEN = "a-token-that-is-long-enough-for-anything"
# ESC, a C1 control, bidi overrides and isolates, a line feed, and an invisible tag.
HOSTILE = "a\x1b[31m\x9b2J\u202e\u2066\r\n\U000e0041z"
HARMLESS = r"a\u001b[31m\u009b2J\u202e\u2066\u000d\u000a\udb40\udc41z"
OBEYED = ("\x1b", "\x9b", "\u202e", "\u2066", "\r", "\U000e0041")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a call flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.json").write_text(FLOW)
    return tmp_path


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


CALL = ["call", "--to", TO, "--flow", "flow.json", "--yes", "--wait"]


@pytest.mark.parametrize(("share", "code"), [(1.0, Exit.OK), (0.0, Exit.PARTLY)])
def test_a_call_is_followed_by_webhooks(share: float, code: Exit) -> None:
    """`call --wait` prints stages and the result, and the exit code says who answered."""
    simulator, port = Simulator(speed=500, magic=False, answered_share=share), free_port()
    simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/{TOKEN}")
    with serving(simulator) as environ:
        environ["TELECMI_WEBHOOK_TOKEN"] = TOKEN
        ended, terminal = ran(*CALL, "--webhook-port", str(port), "--json", environ=environ)
    result = json.loads(terminal.out)

    assert ended == code
    assert (result["answered"], result["error"]) == (share == 1.0, None)
    assert result["stage"] == ("completed" if share else "missed")
    assert "received here: the call is followed to its end" in terminal.err
    assert f"  {result['stage']}\n" in terminal.err
    talked = f"answered, {result['talk_seconds']} s" if share else "not answered"
    assert f"The call was {talked}; cost: {result['cost']:g}." in terminal.err


def test_a_call_is_followed_by_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without webhooks the record is looked up."""
    monkeypatch.setattr(calling, "CdrPoller", partial(CdrPoller, first=0.05, longest=0.05))
    with serving(Simulator(speed=500, magic=False)) as environ:
        ended, terminal = ran(*CALL, environ=environ)

    assert ended == Exit.OK
    assert "its record is looked up" in terminal.err
    assert "The call was answered," in terminal.err
    assert len(terminal.out.split()) == 1


def test_a_call_whose_end_cannot_be_learnt_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """If following fails, the exit code says that a phone may have rung."""

    def events(_: CallHandle) -> Any:
        raise RequestFailed("TeleCMI refuses to look the call up")

    monkeypatch.setattr(CallHandle, "events", events)
    with serving(Simulator()) as environ:
        ended, terminal = ran(*CALL, environ=environ)

    assert ended == Exit.UNKNOWN
    assert "How it goes on is not known: TeleCMI refuses" in terminal.err


def test_a_call_that_was_only_hung_up_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no event says whether the call was answered, the exit code does not either."""
    monkeypatch.setattr(calling, "CdrPoller", partial(CdrPoller, first=0.05, longest=0.05))
    monkeypatch.setattr(CallResult, "answered", None)
    with serving(Simulator(speed=500, magic=False)) as environ:
        ended, terminal = ran(*CALL, environ=environ)

    assert ended == Exit.UNKNOWN
    assert "whether it was answered is not known" in terminal.err


def test_a_call_that_is_not_accepted_is_not_followed() -> None:
    """A refused call ends as without ``--wait``."""
    with serving(Simulator()) as environ:
        environ["TELECMI_SECRET"] = "another"
        ended, terminal = ran(*CALL, environ=environ)

    assert ended == Exit.CREDENTIALS
    assert "no phone rang" in terminal.err


def test_webhooks_of_a_call_need_wait() -> None:
    """Webhook options without ``--wait`` are a usage error."""
    ended, terminal = ran(*CALL[:-1], "--webhook-port", "0", environ={"TELECMI_FROM": FROM})

    assert ended == Exit.USAGE
    assert "need --wait" in terminal.err


@pytest.mark.parametrize("kind", ["message", "menu", "bridge", "record", "stream"])
def test_a_new_flow_can_be_checked(kind: str) -> None:
    """`flow new` writes a flow that `flow check` accepts."""
    code, terminal = ran("flow", "new", "new.json", "--kind", kind, "--json")
    checked, _ = ran("flow", "check", "new.json")
    plain, written = ran("flow", "new", "other.json", "--kind", kind)

    assert code == checked == plain == Exit.OK
    assert written.out == ""
    assert json.loads(terminal.out) == {"file": "new.json", "kind": kind}
    assert "`flow check new.json` checks it" in terminal.err


def test_a_new_flow_streams_as_streams_do() -> None:
    """The address in a new flow is completed for each call, as that of `Streams.flow`."""
    ran("flow", "new", "bot.json", "--kind", "stream")
    streams = Streams("wss://voice.example.com/talk")

    assert Flow.parse(Path("bot.json").read_bytes()) == streams.flow().hangup()


def test_a_new_flow_overwrites_nothing() -> None:
    """`flow new` refuses a file that exists."""
    code, terminal = ran("flow", "new")

    assert code == Exit.USAGE
    assert "cannot write flow.json: File exists" in terminal.err
    assert Path("flow.json").read_text() == FLOW


DIAL = ["dial", "people.csv", "--flow", "flow.json", "--dry-run", "--rejected", "bad.csv"]
ROWS = 'phone,name\n+19175550001,A\n12,"B\nb"\n=1+1,C\n+19175550001,D\n+19175550004,E\n'


@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_rejected_rows_are_written_for_the_user_alone(mask: int, folder: Path) -> None:
    """Each rejected row has its line, kind, reason and text; only the user may read the file."""
    Path("people.csv").write_text(ROWS)
    Path("bad.csv").touch(mask)
    Path("bad.csv").chmod(0o666)
    code, _ = ran(*DIAL)
    rows = list(csv.DictReader(Path("bad.csv").read_text().splitlines()))

    assert code == Exit.OK
    assert stat.S_IMODE((folder / "bad.csv").stat().st_mode) == 0o600
    assert [(row["row"], row["kind"]) for row in rows] == [
        ("3", "no_country_code"),
        ("5", "not_a_number"),
        ("6", "duplicate"),
    ]
    assert [row["text"] for row in rows] == ['12,"B', "'=1+1,C", "+19175550001,D"]
    assert all(row["reason"] for row in rows)


def test_rejected_rows_are_written_before_anything_is_sent() -> None:
    """The file is there even if no row can be dialled; an earlier list is replaced."""
    Path("people.csv").write_text("phone\n12\n")
    for _ in range(2):
        code, _ = ran(*DIAL)

        assert code == Exit.USAGE
        assert Path("bad.csv").read_text().count("no_country_code") == 1


@pytest.mark.parametrize("name", ["people.csv", "flow.json", "folder", "none/bad.csv"])
def test_rejected_rows_overwrite_no_other_file(name: str) -> None:
    """``--rejected`` refuses a file that is no such list, and a path that cannot be written."""
    Path("people.csv").write_text(ROWS)
    Path("folder").mkdir()
    code, terminal = ran(*DIAL[:-1], name)

    assert code == Exit.USAGE
    assert "--rejected" in terminal.err
    assert (Path("people.csv").read_text(), Path("flow.json").read_text()) == (ROWS, FLOW)


def test_nothing_raw_reaches_a_terminal() -> None:
    """Control characters in names, files and messages are printed escaped."""
    in_ledger(partial(begin, name=HOSTILE))
    Path("people.csv").write_text(f"phone\n{HOSTILE}\n")
    texts = [
        terminal.out + terminal.err
        for tty in (False, True)
        for argv in (
            ["status", "--ledger", "l.db"],
            ["flow", "check", HOSTILE],
            ["pause", "--ledger", "l.db", "--name", HOSTILE],
            ["dial", HOSTILE, "--flow", "flow.json", "--dry-run"],
            ["dial", "people.csv", "--flow", "flow.json", "--dry-run", "--name", HOSTILE],
            ["export", f"--{HOSTILE}"],
            [HOSTILE],
        )
        for _, terminal in [ran(*argv, tty=tty)]
    ]

    assert not any(each in text for text in texts for each in OBEYED)
    assert [text for text in texts if r"\u001b" not in text] == []


def test_a_line_stays_one_line() -> None:
    """A text with line feeds cannot forge a line of output, and JSON means the same."""
    terminal = console(tty=True)
    terminal.put(HOSTILE)
    terminal.put((json.dumps(HOSTILE, ensure_ascii=False), "green"))
    terminal.say(HOSTILE)
    PlainLines(terminal, 1.0).note(HOSTILE)
    first, as_json, note = terminal.out.splitlines()

    assert first == note == HARMLESS
    assert terminal.err == f"{HARMLESS}\n"
    assert json.loads(as_json) == HOSTILE


def test_exported_cells_are_as_they_were_in_a_pipe_and_harmless_on_a_terminal() -> None:
    """`export` changes no data that goes to a program, and escapes it on a terminal."""
    in_ledger(partial(begin, name="people", note="x\x1b[31m\u202e"))
    _, piped = ran("export", "--ledger", "l.db")
    shown = Console(
        stdin=Stream(), stdout=Stream(tty=True), stderr=Stream(tty=True), environ={}
    )
    main(["export", "--ledger", "l.db"], terminal=shown)

    assert "x\x1b[31m\u202e" in piped.out
    assert r"x\u001b[31m\u202e" in shown.out
    assert not any(each in shown.out for each in OBEYED)


# --- simulate ---------------------------------------------------------------------------


def test_a_message_that_was_not_delivered_is_a_line_like_the_others() -> None:
    """`simulate` prints an undelivered message with the time, and the call's masked number."""
    port, shown, terminal = free_port(), threading.Event(), console()

    def dial() -> None:
        until = time.monotonic() + 15
        while "Your program finds it" not in terminal.err and time.monotonic() < until:
            time.sleep(0.02)
        environ = {
            "TELECMI_APP_ID": "1", "TELECMI_SECRET": "simulated-secret", "TELECMI_FROM": FROM,
            "TELECMI_BASE_URL": f"http://127.0.0.1:{port}/v2",
        }  # fmt: skip
        found = dict(re.findall(r"export (\w+)=(\S+)", terminal.out))
        ran("call", "--to", TO, "--flow", "flow.json", "--yes", environ={**environ, **found})
        while "not delivered" not in terminal.err and time.monotonic() < until:
            time.sleep(0.02)
        shown.set()

    dialler = threading.Thread(target=dial)
    dialler.start()
    with interrupted(shown):
        code = main(
            ["simulate", "--port", str(port), "--webhooks", "http://127.0.0.1:1/t"],
            terminal=terminal,
        )
    dialler.join()

    assert code == Exit.INTERRUPTED
    assert re.search(
        r"^\d\d:\d\d:\d\d  a message \(started, •+0001\) was not delivered; failed: ConnectError$",
        terminal.err,
        re.MULTILINE,
    )
    assert terminal.err.count("not delivered") == 1

"""The commands ``flow``, ``hook`` and ``doctor``, and how secrets are read."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from attrs import evolve
from consoles import Console, Stream, console, fail_in, interrupted, serving
from free_ports import free_port

from telecmi_async.cli import Exit, http_request, main
from telecmi_async.cli import checks as doctor
from telecmi_async.cli.commands import flow
from telecmi_async.cli.http_request import HttpAnswer, Unreachable, send_request
from telecmi_async.cli.interrupts import Interrupts, interrupts
from telecmi_async.cli.webhook_server import serve_webhooks
from telecmi_async.events.receiver import Receiver
from telecmi_async.ledger import SqliteLedger
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "t" * 43
EVENT = {"type": "ping", "to": "919876543210", "from": 919876543211, "legs": [919876543212]}


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


# --- flow -------------------------------------------------------------------------------

FLOW = json.dumps(
    [
        {"action": "speak", "text": "Hello {name}"},
        {
            "action": "bridge",
            "from": 919876543210,
            "connect": [{"type": "pstn", "number": 919876543211}],
        },
    ]
)


def test_a_flow_is_checked() -> None:
    """`flow check` prints the flow's actions and the columns it uses."""
    code, terminal = ran("flow", "check", "-", typed=FLOW)
    _, as_json = ran("flow", "check", "-", "--json", typed=FLOW)
    bad, refused = ran("flow", "check", "-", typed='[{"action": "speek"}]')
    _, none = ran("flow", "check", "-", typed='[{"action": "hangup"}]')

    assert code == Exit.OK
    assert terminal.out == "2 actions: speak, bridge\ncolumns: name\nmust hold text: name\n"
    assert json.loads(as_json.out) == {
        "actions": ["speak", "bridge"],
        "columns": ["name"],
        "required": ["name"],
    }
    assert bad == Exit.USAGE
    assert "speak" in refused.err
    assert none.out.endswith("columns: none\n")


def test_a_flow_is_shown_as_a_tree() -> None:
    """`flow show` prints each action with its options, and masks numbers."""
    code, terminal = ran("flow", "show", "-", typed=FLOW)
    _, as_json = ran("flow", "show", "-", "--json", typed=FLOW)

    assert code == Exit.OK
    assert terminal.out.splitlines()[:3] == ["1. speak", "   text: Hello {name}", "2. bridge"]
    assert "   connect\n      [0]\n" in terminal.out
    assert "98765" not in terminal.out + as_json.out
    assert json.loads(as_json.out)[1]["from"] == "••••••••3210"


def test_a_flow_is_shown_in_full_on_a_terminal() -> None:
    """On a terminal `flow show` prints numbers as they are: the operator has to check them."""
    terminal = evolve(console(typed=FLOW), stdout=Stream(tty=True))

    assert main(["flow", "show", "-"], terminal=terminal) == Exit.OK
    assert "number: 919876543211" in terminal.out


# --- hook -------------------------------------------------------------------------------


@pytest.mark.parametrize("reveal", [True, False])
def test_events_are_printed_as_they_arrive(*, reveal: bool) -> None:
    """`hook listen` prints each event as a JSON line, masked without ``--reveal``."""
    port = free_port()
    done = threading.Event()
    statuses: list[int] = []

    def post() -> None:
        url = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                statuses.append(httpx.post(f"{url}/{TOKEN}", json=EVENT).status_code)
                break
            except httpx.ConnectError:
                time.sleep(0.05)
        statuses.append(httpx.post(f"{url}/wrong", json=EVENT).status_code)
        done.set()

    thread = threading.Thread(target=post)
    thread.start()
    argv = ["hook", "listen", "--port", str(port), *(["--reveal"] if reveal else [])]
    with interrupted(done):
        code, terminal = ran(*argv, environ={"TELECMI_WEBHOOK_TOKEN": TOKEN})
    thread.join()

    assert code == Exit.INTERRUPTED
    assert statuses == [204, 404]
    shown = json.loads(terminal.out)
    assert (shown["type"], len(shown["legs"])) == ("ping", 1)
    assert (shown["from"] == 919876543211) is reveal
    assert ("919876543210" in terminal.out) is reveal
    assert "accepted: 1, duplicates: 0, refused: 1" in terminal.err
    assert TOKEN not in terminal.err + terminal.out


def test_events_are_lines_on_a_terminal() -> None:
    """On a terminal `hook listen` prints a readable line an event; `--json` prints JSON there, too."""
    port = free_port()
    event = {"status": "out_ringing", "to": 919876543210, "request_id": "r" * 43}
    outputs: list[str] = []
    for more in ([], ["--json"]):
        done = threading.Event()
        thread = threading.Thread(target=_posted, args=(port, event, done))
        thread.start()
        found = console({"TELECMI_WEBHOOK_TOKEN": TOKEN})
        terminal = evolve(found, stdout=Stream(tty=True))
        with interrupted(done):
            main(["hook", "listen", "--port", str(port), *more], terminal=terminal)
        thread.join()
        outputs.append(terminal.out)

    assert re.fullmatch(
        r"\d\d:\d\d:\d\d  ringing   ••••••••3210    rrrrrrrrrrrrrr…  the phone rings\n",
        outputs[0],
    )
    assert json.loads(outputs[1]) == {**event, "to": "••••••••3210"}


def _posted(port: int, event: object, done: threading.Event) -> None:
    """Send an event as soon as the port is open."""
    for _ in range(100):
        try:
            httpx.post(f"http://127.0.0.1:{port}/{TOKEN}", json=event)
            break
        except httpx.ConnectError:
            time.sleep(0.05)
    done.set()


class Announced(Stream):
    """A stream that says when it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        """Write a text, and say so."""
        self.written.set()
        return super().write(text)


def test_listening_may_end_without_an_event() -> None:
    """Ctrl-C ends `hook listen` with its exit code and its counts, though nothing arrived."""
    stderr = Announced()
    terminal = evolve(console({"TELECMI_WEBHOOK_TOKEN": TOKEN}), stderr=stderr)
    with interrupted(stderr.written):
        code = main(["hook", "listen", "--port", "0"], terminal=terminal)

    assert code == Exit.INTERRUPTED
    assert terminal.out == ""
    assert "accepted: 0, duplicates: 0, refused: 0" in terminal.err


def test_listening_needs_a_token() -> None:
    """Without a token, `hook listen` is an error."""
    code, terminal = ran("hook", "listen", "--port", "0")

    assert code == Exit.USAGE
    assert "the environment variable TELECMI_WEBHOOK_TOKEN is not set" in terminal.err


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_an_error_while_listening_comes_out_as_itself() -> None:
    """An error while listening is raised as itself, not in an exception group."""
    with pytest.raises(KeyError):
        async with serve_webhooks(Receiver(TOKEN), host="127.0.0.1", port=0):
            raise KeyError


class Answering(BaseHTTPRequestHandler):
    """Answers 204 to requests with the token, else 404, and keeps the bodies."""

    bodies: list[bytes] = []  # noqa: RUF012  # one server a test

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204 if self.path == f"/{TOKEN}?a=1" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write no log."""


@pytest.fixture
def server() -> Iterator[str]:
    """A server that accepts events; its address."""
    Answering.bodies = []
    found = HTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.server_port}"
    finally:
        found.shutdown()
        thread.join()
        found.server_close()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("12:00:01  ringing", "is no JSON"),
        ('{"to": "••••0001"}', "has its numbers masked"),
        (json.dumps({"to": "••••0001"}), "has its numbers masked"),
    ],
)
def test_events_that_are_not_as_they_came_are_not_sent_again(
    server: str, line: str, why: str
) -> None:
    """`hook replay` refuses masked events and lines for people, and says what prints others."""
    code, terminal = ran(
        "hook", "replay", "-", "--forward-to", f"{server}/{TOKEN}?a=1", typed=line
    )
    partly, after = ran(
        "hook",
        "replay",
        "-",
        "--forward-to",
        f"{server}/{TOKEN}?a=1",
        typed=f'{{"n": 1}}\n{line}\n',
    )

    assert (code, partly) == (Exit.USAGE, Exit.PARTLY)
    assert f"event 1 {why}: `hook listen --json --reveal` prints" in terminal.err
    assert f"event 2 {why}" in after.err
    assert Answering.bodies == [b'{"n": 1}\n']


def test_events_are_sent_again(server: str, tmp_path: Path) -> None:
    """`hook replay` posts each line in order, and counts refusals."""
    (tmp_path / "events").write_text('{"n": 1}\n\n{"n": 2}\n')
    code, terminal = ran(
        "hook", "replay", str(tmp_path / "events"), "--forward-to", f"{server}/{TOKEN}?a=1"
    )
    partly, refused = ran("hook", "replay", "-", "--forward-to", server, typed='{"n": 3}\n\n')

    assert code == Exit.OK
    assert json.loads(terminal.out) == {"taken": 2, "not_taken": 0}
    assert [json.loads(body)["n"] for body in Answering.bodies] == [1, 2, 3]
    assert partly == Exit.PARTLY
    assert "event 1 was answered with 404" in refused.err


def test_what_cannot_be_sent_again_is_named(tmp_path: Path) -> None:
    """`hook replay` names a missing or binary file, an invalid address, or a missing server."""
    (tmp_path / "binary").write_bytes(b"\xff\n")
    url = f"http://127.0.0.1:{free_port()}/x"

    for file, to, code, message in (
        (str(tmp_path / "none"), url, Exit.USAGE, "No such file"),
        (str(tmp_path / "binary"), url, Exit.USAGE, "it is no text"),
        ("-", "ftp://example.com", Exit.USAGE, "give an address that begins with https://"),
        ("-", url, Exit.UNAVAILABLE, "event 1: Connection refused"),
    ):
        ended, terminal = ran("hook", "replay", file, "--forward-to", to, typed="{}\n")
        assert (ended, message in terminal.err) == (code, True), terminal.err


def test_who_speaks_no_tls_is_unreachable(server: str) -> None:
    """An https address of a server without TLS is unreachable."""
    with pytest.raises(Unreachable):
        send_request("HEAD", server.replace("http:", "https:"))


def test_a_certificate_that_is_not_trusted_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for an untrusted certificate gives the reason."""

    def connect(_: object) -> None:
        error = ssl.SSLCertVerificationError(1, "no")
        error.verify_message = "certificate has expired"
        raise error

    monkeypatch.setattr("http.client.HTTPSConnection.connect", connect)
    with pytest.raises(Unreachable, match="not trusted: certificate has expired"):
        send_request("HEAD", "https://example.com")


class Sealed(ssl.SSLSocket):
    """A TLS socket that was never connected."""

    def __init__(self) -> None:
        """Create it without a connection."""

    def getpeercert(self, binary_form: bool = False) -> Any:  # the signature of ssl
        return {"notAfter": "Jan  1 00:00:00 2030 GMT"}

    def version(self) -> str:
        return "TLSv1.3"


def test_a_certificate_says_when_it_ends() -> None:
    """The TLS version and the certificate's expiry are read from the connection."""
    connection = http.client.HTTPConnection("example.com")
    connection.sock = Sealed.__new__(Sealed)

    assert http_request._tls(connection) == ("TLSv1.3", "Jan  1 00:00:00 2030 GMT")
    connection.sock = None


# --- doctor -----------------------------------------------------------------------------


def test_all_is_well(tmp_path: Path) -> None:
    """`doctor` checks credentials, clock, time zones, ledger and webhooks without a call."""

    async def make() -> None:
        async with SqliteLedger(tmp_path / "l.db"):
            pass

    anyio.run(make)
    port = free_port()
    simulator = Simulator()
    with serving(simulator) as environ:
        environ |= {"TELECMI_WEBHOOK_TOKEN": TOKEN}
        argv = [
            "--ledger",
            str(tmp_path / "l.db"),
            "--webhook-url",
            f"http://127.0.0.1:{port}/",
        ]
        code, terminal = ran("doctor", *argv, "--webhook-port", str(port), environ=environ)
        _, as_json = ran("doctor", "--json", environ=environ)

    assert code == Exit.PARTLY
    assert [tuple(line.split()[:2]) for line in terminal.out.splitlines()] == [
        ("skipped", "credentials"), ("skipped", "TLS"), ("skipped", "clock"),
        ("ok", "time"), ("ok", "ledger"), ("ok", "webhooks"),
    ]  # fmt: skip
    assert "a simulator answers, which takes them; whether TeleCMI does is not known" in (
        terminal.out
    )
    states = {each["what"]: each for each in map(json.loads, as_json.out.splitlines())}
    assert (states["clock"]["state"], states["clock"]["ok"]) == ("skipped", False)
    assert (states["time zones"]["state"], states["time zones"]["ok"]) == ("ok", True)
    assert simulator.numbers() == 0


def test_what_is_wrong_is_found(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`doctor` names each problem, and the first one sets the exit code."""
    monkeypatch.setattr(doctor, "zone_named", lambda _: None)
    (tmp_path / "no.db").write_text("this is no ledger at all, and never was one")
    nothing, bare = ran("doctor", "--ledger", str(tmp_path / "none.db"))
    with serving(Simulator()) as environ:
        environ |= {"TELECMI_WEBHOOK_TOKEN": TOKEN, "TELECMI_SECRET": "not-the-right-one"}
        argv = ["--ledger", str(tmp_path / "no.db"), "--webhook-port", "0", "--webhook-url"]
        code, terminal = ran("doctor", *argv, server, environ=environ)
        gone = f"http://127.0.0.1:{free_port()}"
        _, unreachable = ran("doctor", *argv, gone, environ=environ)
        del environ["TELECMI_WEBHOOK_TOKEN"]
        _, no_token = ran("doctor", *argv, gone, environ=environ)
        environ["TELECMI_BASE_URL"] = f"{gone}/v2"
        _, away = ran("doctor", environ=environ)

    assert nothing == code == Exit.CREDENTIALS
    words = "the environment variables TELECMI_APP_ID and TELECMI_SECRET"
    assert f"wrong    credentials  {words}" in bare.out
    assert "there is no ledger" in bare.out
    assert "pip install tzdata" in terminal.out
    assert "does not arrive here: it was answered with 404" in terminal.out
    assert terminal.out.count("wrong  ") == 4
    assert "skipped  clock        TeleCMI is not asked without credentials" in bare.out
    assert f"no server answers at {gone}: Connection refused" in unreachable.out
    assert "TELECMI_WEBHOOK_TOKEN is not set" in no_token.out
    assert "wrong    connection   Connection refused" in away.out
    assert "skipped  credentials  TeleCMI cannot be reached" in away.out


@pytest.mark.parametrize(
    ("late", "code", "words"),
    [(100, Exit.FAILED, "behind"), (-100, Exit.FAILED, "ahead of"), (0, Exit.OK, "agree")],
)
def test_a_clock_that_is_wrong_is_told(late: int, code: Exit, words: str) -> None:
    """The clock is compared with the date of TeleCMI's reply."""
    theirs = datetime.now(UTC) + timedelta(seconds=late)
    date = theirs.strftime("%a, %d %b %Y %H:%M:%S GMT")
    found = doctor._clock(HttpAnswer(200, {"date": date}, None))

    assert (found.exit, found.skipped) == (code, False)
    assert words in found.words


def test_a_check_that_cannot_be_made_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply without a date or without TLS says nothing of the clock and the certificate."""
    found = [doctor._clock(HttpAnswer(200, {}, None)), doctor._certificate(None)]
    reply = HttpAnswer(200, {"date": "today"}, ("TLSv1.3", "Jan  1 00:00:00 2099 GMT"))
    monkeypatch.setattr(doctor, "send_request", lambda *_: reply)
    with serving(Simulator()) as environ:
        code, terminal = ran("doctor", environ=environ)

    assert [each.state for each in found] == ["skipped", "skipped"]
    assert code == Exit.PARTLY
    assert "ok       credentials  TeleCMI takes them; 0 calls are live" in terminal.out
    assert "ok       TLS" in terminal.out
    assert "skipped  clock        TeleCMI's answer has no date" in terminal.out


def test_the_account_alone_may_be_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """If every check can be made and is right, the exit code is 0."""
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    reply = HttpAnswer(200, {"date": date}, ("TLSv1.3", "Jan  1 00:00:00 2099 GMT"))
    monkeypatch.setattr(doctor, "send_request", lambda *_: reply)
    with serving(Simulator()) as environ:
        code, terminal = ran("doctor", environ=environ)

    assert code == Exit.OK
    assert terminal.out.count("ok  ") == 4


@pytest.mark.parametrize(("days", "code"), [(90, Exit.PARTLY), (3, Exit.UNAVAILABLE)])
def test_a_certificate_that_ends_soon_is_told(
    days: int, code: Exit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TLS certificate that expires soon is a problem."""
    ends = (datetime.now(UTC) + timedelta(days=days)).strftime("%b %d %H:%M:%S %Y GMT")
    monkeypatch.setattr(
        doctor, "send_request", lambda *_: HttpAnswer(200, {}, ("TLSv1.3", ends))
    )
    with serving(Simulator()) as environ:
        ended, terminal = ran("doctor", environ=environ)

    assert ended == code
    assert "TLSv1.3, a certificate for" in terminal.out


# --- secrets and signals ----------------------------------------------------------------


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    """``TELECMI_SECRET_FILE`` names a file that holds the secret."""
    with serving(Simulator()) as environ:
        (tmp_path / "secret").write_text(environ.pop("TELECMI_SECRET") + "\n")
        environ["TELECMI_SECRET_FILE"] = str(tmp_path / "secret")
        code, terminal = ran("doctor", environ=environ)

    assert code == Exit.PARTLY
    assert "wrong" not in terminal.out


def test_twice_ends_at_once() -> None:
    """A second signal ends the process at once; a duplicate within milliseconds is ignored."""
    ends: list[int] = []
    times = iter([0.0, 0.001, 0.3])
    terminal = console()
    pressed = Interrupts(terminal, ends.append, lambda: next(times))
    pressed.receive()
    pressed.receive()  # `timeout` sends it to the process, and to its group

    assert (pressed.count, ends) == (1, [])

    pressed.receive()

    assert ends == [Exit.INTERRUPTED]
    assert "the ledger has them" in terminal.err


def test_a_question_may_be_asked_in_any_thread() -> None:
    """A question may be asked in any thread, and leaves the SIGINT handler as it was."""
    answers: list[str] = []
    terminal = console(typed="one\ntwo\n", tty=True)
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=lambda: answers.append(terminal.ask("? ")))
    thread.start()
    thread.join()
    answers.append(terminal.ask("? "))

    assert answers == ["one", "two"]
    assert signal.getsignal(signal.SIGINT) is before


def test_signals_are_for_the_main_thread() -> None:
    """Signal handlers are set in the main thread only, and restored afterwards."""
    before = signal.getsignal(signal.SIGINT)
    counts: list[int] = []

    def elsewhere() -> None:
        with interrupts(console()) as pressed:
            counts.append(pressed.count)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    with interrupts(console()):
        assert signal.getsignal(signal.SIGINT) is not before

    assert counts == [0]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_reader_that_has_enough_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A closed pipe, as in ``telecmi-async export | head``, is not an error."""
    fail_in(monkeypatch, flow.check, BrokenPipeError())
    with (tmp_path / "out").open("w") as file:
        terminal = Console(
            stdin=console().stdin, stdout=file, stderr=console().stderr, environ=os.environ
        )
        assert main(["flow", "check", "-"], terminal=terminal) == Exit.OK
    assert main(["flow", "check", "-"], terminal=console()) == Exit.OK

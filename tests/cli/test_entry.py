"""The command line: its arguments, and the commands ``call`` and ``simulate``."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from consoles import FLOW, FROM, TO, Stream, Watched, console, fail_in, interrupted, serving
from every_command import every_command

import telecmi_async
from telecmi_async import CallService, RetryPolicy
from telecmi_async.cli import Exit, Terminal, calling, main
from telecmi_async.cli.commands import demo
from telecmi_async.simulator import Callee, Conversation, Simulator
from telecmi_async.simulator.chance import draw

MAIN = Path(telecmi_async.__file__).with_name("__main__.py")


@pytest.fixture
def flow(tmp_path: Path) -> str:
    """The path of a file with a call flow."""
    path = tmp_path / "flow.json"
    path.write_text(FLOW)
    return str(path)


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `call` try once."""
    monkeypatch.setattr(
        calling, "CallService", partial(CallService, retry=RetryPolicy(attempts=1))
    )


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report the installed package as version 1.2.3."""
    installed = {"telecmi-async": "1.2.3"}
    monkeypatch.setattr(metadata, "version", installed.__getitem__)


@pytest.fixture(params=["asyncio", "trio"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run commands on each event loop, although they ask for asyncio only."""
    monkeypatch.setattr(anyio, "run", partial(anyio.run, backend=request.param))


# --- arguments --------------------------------------------------------------------------


COMMANDS = [
    [],
    *([command] for command in ["demo", "dial", "resume", "pause", "status", "why", "export"]),
    *([command] for command in ["retry-unknown", "flow", "call", "simulate", "hook", "doctor"]),
    *(["flow", action] for action in ("check", "show")),
    *(["hook", action] for action in ("listen", "replay")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command has ``--help``."""
    code = main([*command, "--help"])
    out = capsys.readouterr().out

    assert code == Exit.OK
    assert "Usage: telecmi-async" in out
    assert "None" not in out


def test_the_exit_codes_are_documented(capsys: pytest.CaptureFixture[str]) -> None:
    """The help lists every exit code."""
    main(["--help"])
    text = capsys.readouterr().out.partition("Exit codes:")[2]

    assert {int(code) for code in re.findall(r"\b\d+\b", text)} == set(Exit)


def test_no_command_gets_the_help() -> None:
    """Without a command, the help goes to stderr, and the exit code is a usage error."""
    terminal = console()

    assert main([], terminal=terminal) == Exit.USAGE
    assert "demo" in terminal.err
    assert terminal.out == ""


@pytest.mark.usefixtures("version")
def test_the_version_is_the_installed_one() -> None:
    """``--version`` prints the version of the installed package."""
    terminal = console()

    assert main(["--version"], terminal=terminal) == Exit.OK
    assert terminal.out == "telecmi-async 1.2.3\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["dmeo"], 'there is no command "dmeo": did you mean demo?'),
        (["flow", "chek", "-"], 'there is no command "chek": did you mean check?'),
        (["simulate", "--webhook", "x"], 'no option "--webhook": did you mean --webhooks?'),
        (["call", "--to", "1", "--flwo", "x"], 'no option "--flwo": did you mean --flow?'),
        (["call", "--to"], "--to needs a value"),
        (["call", "--to", "1", "--flow", "--yes"], '--flow needs a file, not "--yes"'),
        (["doctor", "--json=3"], "--json takes no value"),
        (["doctor", "extra"], 'not known here: "extra"'),
        (["why", "919876543210", "--919876543210"], 'no option "--••••••••3210"'),
        (["demo", "--calls", "0"], 'must be a whole number from 1 to 1000, not "0"'),
        (["demo", "--calls", "1001"], 'must be a whole number from 1 to 1000, not "1001"'),
        (["demo", "--calls", "1.5"], 'must be a whole number from 1 to 1000, not "1.5"'),
        (["demo", "--calls", "9" * 5000], "must be a whole number from 1 to 1000, not"),
        (["demo", "--cps", "many"], '--cps must be a number above 0, not "many"'),
        (["demo", "--errors-502", "5%"], '--errors-502 must be a number from 0 to 1, not "5%"'),
        (["simulate", "--port", "x"], '--port must be a whole number from 0 to 65535, not "x"'),
        (["simulate", "--cps", "0.5"], '--cps must be a whole number, 1 or more, not "0.5"'),
        (["call", "--to", "1"], "--flow is missing"),
        (
            ["call", "--to", "1", "--pcmo", "-", "--region", "indai"],
            '--region must be "auto", "india" or "global", not "indai": did you mean india?',
        ),
        (
            ["call", "--to", "1", "--pcmo", "-", "--secret", "x"],
            'there is no option "--secret"',
        ),
    ],
)
def test_wrong_arguments_are_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An invalid argument is rejected with the valid form."""
    assert main(argv) == Exit.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["demo", "--cps", "0"], "--cps must be a number above 0"),
        (["demo", "--cps", "nan"], "--cps must be a number above 0"),
        (["demo", "--cps", "inf"], "--cps must be a number above 0"),
        (["demo", "--errors-502", "1.1"], "--errors-502 must be a number from 0 to 1"),
        (["simulate", "--errors-502", "-1"], "--errors-502 must be a number from 0 to 1"),
        (["simulate", "--port", "70000"], "--port must be a whole number from 0 to 65535"),
        (["simulate", "--latency", "-1"], "--latency must be a number, 0 or more"),
        (["simulate", "--speed", "0"], "--speed must be a number above 0"),
        (["simulate", "--answered", "2"], "--answered must be a number from 0 to 1"),
        (["simulate", "--webhooks", "x"], "webhooks must go to a Receiver or an http(s) URL"),
        (["simulate", "--cps", "0"], "--cps must be a whole number, 1 or more"),
        (["simulate", "--says", "x.wav"], "--says needs --dial-streams"),
        (["simulate", "--talks-over-after", "1"], "--talks-over-after needs --says"),
        (
            ["simulate", "--talks-over-after", "0"],
            "--talks-over-after must be a number above 0",
        ),
        (
            ["simulate", "--dial-streams", "--says", "no.wav"],
            "a callee's WAV file cannot be used: [Errno 2] No such file or directory",
        ),
    ],
)
def test_what_an_argument_stands_for_says_what_is_wrong(argv: list[str], message: str) -> None:
    """A value out of range is rejected in one line, in the words of its option."""
    terminal = console()

    assert main(argv, terminal=terminal) == Exit.USAGE
    assert terminal.err.startswith(f"telecmi-async {argv[0]}: {message}")
    assert terminal.err.count("\n") == 1
    assert terminal.out == ""


# What a program must not wait for that only prints help.
SLOW = {"anyio", "asyncio", "cattrs", "h11", "httpx", "sqlite3", "tenacity"}
# Rooms that no argument needs.
HEAVY = tuple(
    f"telecmi_async.{room}"
    for room in ("calls", "campaigns", "ledger", "pacing", "pcmo", "service", "simulator")
)


def test_help_imports_no_command() -> None:
    """The list of commands imports neither the commands nor slow libraries."""
    loaded = imported_by([[]])

    assert {name for name in loaded if "telecmi_async.cli.commands" in name} == set()
    assert {name for name in loaded if name in SLOW or name.startswith(HEAVY)} == set()


def test_the_help_of_no_command_imports_what_the_command_needs() -> None:
    """The help of each command imports its arguments: no heavy room, and no slow library."""
    loaded = imported_by([name.split() for name, _ in every_command()])

    assert "telecmi_async.cli.commands.dial" in loaded
    assert {name for name in loaded if name in SLOW or name.startswith(HEAVY)} == set()


def imported_by(commands: list[list[str]]) -> set[str]:
    """Return which modules are loaded once the help of each command was printed."""
    script = (
        "import sys; from telecmi_async.cli import main\n"
        f"for name in {commands!r}: assert main([*name, '--help']) == 0\n"
        "print(*sys.modules)"
    )
    return set(run_python("-c", script).stdout.splitlines()[-1].split())


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process that finds this package."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={
            "PYTHONPATH": str(Path(telecmi_async.__file__).parents[1]),
            "PYTHONIOENCODING": "utf-8",
        },
        timeout=60,
    )


def run_as(name: str) -> None:
    """Run ``__main__.py`` under a module name, as runpy does."""
    code = compile(MAIN.read_text(encoding="utf-8"), str(MAIN), "exec")
    exec(code, {"__name__": name, "__spec__": find_spec("telecmi_async.__main__")})


@pytest.mark.usefixtures("version")
def test_the_package_can_be_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``python -m telecmi_async`` runs the command line."""
    monkeypatch.setattr(sys, "argv", ["telecmi-async", "--version"])
    with pytest.raises(SystemExit) as caught:
        run_as("__main__")

    assert caught.value.code == Exit.OK
    assert capsys.readouterr().out == "telecmi-async 1.2.3\n"


def test_importing_what_runs_the_package_runs_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Importing ``telecmi_async.__main__`` does not run the command line."""
    run_as("telecmi_async.__main__")

    assert capsys.readouterr() == ("", "")


def test_ctrl_c_ends_any_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted command ends with exit code 130 and no traceback."""
    fail_in(monkeypatch, demo.demo, KeyboardInterrupt())

    assert main(["demo"], terminal=console()) == Exit.INTERRUPTED


# --- call -------------------------------------------------------------------------------


@pytest.mark.usefixtures("loop")
def test_a_call_is_placed_and_its_id_printed(flow: str) -> None:
    """`call` prints the request_id on stdout and masked details on stderr."""
    simulator = Simulator()
    with serving(simulator) as environ:
        terminal = console(environ)
        arguments = ["call", "--to", TO, "--pcmo", flow, "--yes", "--duration", "90"]
        code = main([*arguments, "--extra-params", '{"order": "42"}'], terminal=terminal)

    (record,) = simulator.calls
    assert code == Exit.OK
    assert terminal.out == f"{record.request_id}\n"
    assert (record.to, record.from_, record.duration) == (19170000001, 19170000000, 90)
    assert record.extra_params == {"order": "42"}
    assert [action["action"] for action in record.pcmo] == ["play", "hangup"]
    assert re.search(r"from +•••••••0000\n", terminal.err)
    assert re.search(r"to +•••••••0001\n", terminal.err)
    assert re.search(r'flow +play "welcome.wav"\n +hangup\n', terminal.err)
    assert re.search(
        r"target +127\.0\.0\.1:\d+, by TELECMI_BASE_URL: no phone rings if", terminal.err
    )
    assert "webhooks      none" in terminal.err
    assert re.search(r"extra_params +order\n", terminal.err)
    assert re.search(r"duration +at most 90 s\n", terminal.err)
    assert re.search(
        r"global: POST http://127\.0\.0\.1:\d+/v2/global_pcmo_make_call\n", terminal.err
    )
    assert "TeleCMI accepted it" in terminal.err
    assert "917000" not in terminal.err
    assert simulator.secret not in terminal.err


@pytest.mark.usefixtures("loop")
def test_a_result_may_be_json(flow: str) -> None:
    """`call --json` prints one object with the result."""
    simulator = Simulator()
    with serving(simulator) as environ:
        terminal = console(environ)
        arguments = ["call", "--from", FROM, "--to", "919876543210", "--pcmo", flow]
        code = main([*arguments, "--yes", "--json"], terminal=terminal)
    result = json.loads(terminal.out)

    assert code == Exit.OK
    assert result.pop("reference").startswith("tcm_")
    assert result == {
        "status": "progress",
        "request_id": simulator.calls[0].request_id,
        "region": "india",
        "attempts": 1,
        "may_be_duplicate": False,
        "error": None,
    }
    assert "ind_pcmo_make_call" in terminal.err


def test_a_flow_may_come_from_stdin() -> None:
    """``--pcmo -`` reads the call flow from stdin."""
    simulator = Simulator()
    with serving(simulator) as environ:
        code = main(
            ["call", "--to", TO, "--pcmo", "-", "--yes"], terminal=console(environ, typed=FLOW)
        )

    assert code == Exit.OK
    assert simulator.placed(TO) == 1


@pytest.mark.parametrize(
    ("typed", "code", "placed"),
    [("yes\n", 0, 1), ("Y\n", 0, 1), ("no\n", 1, 0), ("\n", 1, 0), ("", 1, 0)],
)
def test_a_call_waits_for_a_yes(flow: str, typed: str, code: int, placed: int) -> None:
    """On a terminal, `call` places the call only after a yes."""
    simulator = Simulator()
    with serving(simulator) as environ:
        terminal = console(environ, typed=typed, tty=True)
        ended = main(["call", "--to", TO, "--pcmo", flow], terminal=terminal)

    assert ended == code
    assert simulator.placed(TO) == placed
    assert "Type yes" in terminal.err
    assert ("not placed" in terminal.err) == (not placed)


def test_what_is_confirmed_is_shown_on_the_own_terminal(tmp_path: Path) -> None:
    """The operator reads the numbers in full and what is said; nothing else shows them."""
    flow = tmp_path / "said.json"
    text = (
        "Hello Ada, your order has arrived, and waits for you at the counter until Friday, six."
    )
    bridge = {
        "action": "bridge",
        "from": 19170000000,
        "connect": [{"type": "pstn", "number": 919876543210}],
    }
    flow.write_text(json.dumps([{"action": "speak", "text": text}, bridge]))
    asked = console(
        {
            "TELECMI_APP_ID": "2222226",
            "TELECMI_SECRET": "not-a-secret",
            "TELECMI_FROM": FROM,
            "TELECMI_BASE_URL": "https://rest.telecmi.com/v2",
        },
        typed="no\n",
        tty=True,
    )
    code = main(["call", "--to", TO, "--pcmo", str(flow)], terminal=asked)
    lines = asked.err.splitlines()

    assert code == Exit.FAILED
    assert "  target        rest.telecmi.com, TeleCMI itself: phones ring" in lines
    assert "  from          19170000000" in lines
    assert "  to            19170000001" in lines
    assert (
        '  flow          speak "Hello Ada, your order has arrived, and waits for you at'
        in lines
    )
    assert '                the counter until Friday, six."' in lines
    assert "                bridge 919876543210" in lines
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize(("pcmo", "tty"), [("flow", False), ("-", True)])
def test_where_nobody_can_be_asked_nothing_is_placed(
    flow: str, pcmo: str, *, tty: bool
) -> None:
    """Without a terminal, or with the flow on stdin, `call` needs ``--yes``."""
    simulator = Simulator()
    with serving(simulator) as environ:
        terminal = console(environ, typed=FLOW, tty=tty)
        file = flow if pcmo == "flow" else pcmo
        code = main(["call", "--to", TO, "--pcmo", file], terminal=terminal)

    assert code == Exit.USAGE
    assert "add --yes" in terminal.err
    assert simulator.requests == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--to": "0123"}, "--to starts with 0 instead of its country code"),
        ({"--from": "x"}, 'the caller id (--from, or TELECMI_FROM) is not a phone number: "x"'),
        (
            {"--pcmo": "no-such-file.json"},
            "cannot read the call flow no-such-file.json: No such file",
        ),
        ({"--duration": "0"}, "--duration must be between 1 and"),
        ({"--extra-params": "order=42"}, "--extra-params is not JSON"),
        ({"--extra-params": "[1]"}, "--extra-params must be an object"),
    ],
)
def test_what_cannot_be_placed_is_refused(
    flow: str, change: dict[str, str], message: str
) -> None:
    """An invalid input is named, even without credentials."""
    terminal = console()
    options = {"--to": TO, "--from": FROM, "--pcmo": flow, "--yes": None} | change
    argv = [part for pair in options.items() for part in pair if part is not None]

    assert main(["call", *argv], terminal=terminal) == Exit.USAGE
    assert terminal.err.startswith("telecmi-async call: ")
    assert message in terminal.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"action": "pley"}]', 'did you mean "play"?'),
        ("[{", "the call flow is not JSON"),
        ("[]", "the call flow must hold at least one action"),
    ],
)
def test_a_flow_that_cannot_be_sent_is_refused(text: str, message: str) -> None:
    """An invalid call flow is rejected with the place of the error."""
    terminal = console({"TELECMI_FROM": FROM}, typed=text)

    assert main(["call", "--to", TO, "--pcmo", "-", "--yes"], terminal=terminal) == Exit.USAGE
    assert message in terminal.err


@pytest.mark.parametrize(
    ("environ", "code", "message"),
    [
        (
            {},
            4,
            "variables TELECMI_APP_ID, TELECMI_SECRET and TELECMI_FROM are not set; --from gives",
        ),
        (
            {"TELECMI_FROM": FROM},
            4,
            "the environment variables TELECMI_APP_ID and TELECMI_SECRET are not set",
        ),
        (
            {"TELECMI_APP_ID": "2222226", "TELECMI_SECRET_FILE": "file"},
            2,
            "the environment variable TELECMI_FROM is not set; --from gives",
        ),
        (
            {"TELECMI_FROM": FROM, "TELECMI_APP_ID": "2222226", "TELECMI_SECRET": " "},
            4,
            "the environment variable TELECMI_SECRET is not set",
        ),
        (
            {"TELECMI_FROM": FROM, "TELECMI_APP_ID": "mine", "TELECMI_SECRET": "s"},
            4,
            "TELECMI_APP_ID must be TeleCMI's number for your app",
        ),
        (
            {"TELECMI_FROM": FROM, "TELECMI_BASE_URL": "http://example.com/v2"},
            2,
            "TELECMI_BASE_URL must start with https://",
        ),
    ],
)
def test_an_environment_that_lacks_something_is_refused(
    flow: str, environ: dict[str, str], code: int, message: str
) -> None:
    """A missing or invalid variable is named; credentials have their own exit code."""
    terminal = console(environ)

    assert main(["call", "--to", TO, "--pcmo", flow, "--yes"], terminal=terminal) == code
    assert message in terminal.err


def test_blanks_around_what_the_environment_holds_do_not_count(flow: str) -> None:
    """Whitespace around the value of a variable is ignored."""
    simulator = Simulator()
    with serving(simulator) as environ:
        terminal = console({name: f" {value}\n" for name, value in environ.items()})
        code = main(["call", "--to", TO, "--pcmo", flow, "--yes"], terminal=terminal)

    assert code == Exit.OK
    assert simulator.placed(TO) == 1


def test_refused_credentials_have_their_own_code(flow: str) -> None:
    """Refused credentials end with exit code 4."""
    with serving(Simulator()) as environ:
        terminal = console(environ | {"TELECMI_SECRET": "not-the-right-one"})
        code = main(["call", "--to", TO, "--pcmo", flow, "--yes"], terminal=terminal)

    assert code == Exit.CREDENTIALS
    assert terminal.err.count("no phone rang.") == 1
    assert "not-the-right-one" not in terminal.err
    assert terminal.out == ""


@pytest.mark.usefixtures("loop", "no_retries")
def test_a_refused_call_says_that_no_phone_rang(flow: str) -> None:
    """A rejected call ends with exit code 1, and JSON gives the error."""
    with serving(Simulator(error_502_share=1)) as environ:
        terminal = console(environ)
        code = main(["call", "--to", TO, "--pcmo", flow, "--yes", "--json"], terminal=terminal)
    result = json.loads(terminal.out)

    assert code == Exit.FAILED
    assert result["status"] == "rejected"
    assert result["request_id"] is None
    assert result["error"]["type"] == "MissingProperty"
    assert result["error"]["safe_to_redial"] is True
    assert terminal.err.count("no phone rang.") == 1


@pytest.mark.usefixtures("loop", "no_retries")
def test_a_call_of_unknown_fate_says_so(flow: str) -> None:
    """A call that may have rung ends with exit code 7 and a warning, which is shown once."""
    with serving(Simulator(error_502_share=1, error_502_kind="gateway")) as environ:
        terminal = console(environ)
        code = main(["call", "--to", TO, "--pcmo", flow, "--yes"], terminal=terminal)

    assert code == Exit.UNKNOWN
    assert terminal.err.endswith(": a phone may have rung. Find out before you dial again.\n")
    assert terminal.out == ""
    assert terminal.err.count("a phone may have rung") == 1


@pytest.mark.usefixtures("loop", "no_retries")
def test_a_call_that_never_left_says_so(flow: str) -> None:
    """A call that could not connect has its own exit code."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    environ = {
        "TELECMI_APP_ID": "2222226",
        "TELECMI_SECRET": "secret",
        "TELECMI_FROM": FROM,
        "TELECMI_BASE_URL": f"http://127.0.0.1:{port}/v2",
    }
    terminal = console(environ)

    code = main(["call", "--to", TO, "--pcmo", flow, "--yes"], terminal=terminal)

    assert code == Exit.UNAVAILABLE
    assert terminal.err.count("no phone rang.") == 1


def test_a_call_that_may_be_a_second_one_says_so(
    flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call accepted after a gateway's 502 is reported as a possible duplicate."""
    quick = partial(CallService, retry=RetryPolicy(wait_initial=0.001))
    monkeypatch.setattr(calling, "CallService", quick)
    seed = next(n for n in range(99) if first_fails_then_succeeds(n))
    simulator = Simulator(seed=seed, error_502_share=0.5, error_502_kind="gateway")
    with serving(simulator) as environ:
        terminal = console(environ)
        code = main(["call", "--to", TO, "--pcmo", flow, "--yes"], terminal=terminal)

    assert code == Exit.OK
    assert "perhaps for the second time" in terminal.err


def first_fails_then_succeeds(seed: int) -> bool:
    """Return whether the simulator fails only the first try with this seed."""
    tries = [draw(seed, "502", 19170000001, attempt) < 0.5 for attempt in (1, 2)]
    return tries == [True, False]


def test_ctrl_c_reports_what_became_of_the_call(flow: str) -> None:
    """After Ctrl-C, a call that was sent is awaited and reported."""
    arrived = threading.Event()
    simulator = Watched(arrived, latency=0.3)
    with serving(simulator) as environ, interrupted(arrived):
        terminal = console(environ)
        code = main(["call", "--to", TO, "--pcmo", flow, "--yes"], terminal=terminal)

    assert code == Exit.INTERRUPTED
    assert terminal.out == f"{simulator.calls[0].request_id}\n"


def test_ctrl_c_before_the_call_says_that_nothing_was_sent(
    flow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before the call reports that nothing was sent."""

    def make_call(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(CallService, "make_call", make_call)
    simulator = Simulator()
    with serving(simulator) as environ:
        terminal = console(environ)
        code = main(["call", "--to", TO, "--pcmo", flow, "--yes"], terminal=terminal)

    assert code == Exit.INTERRUPTED
    assert "nothing was sent" in terminal.err
    assert simulator.requests == 0


# --- simulate ---------------------------------------------------------------------------


class Announcing(Stream):
    """A stream that sets `complete` when the last variable was printed."""

    def __init__(self) -> None:
        super().__init__()
        self.complete = threading.Event()

    def flush(self) -> None:
        """Check what was printed."""
        if "TELECMI_SECRET" in self.getvalue():
            self.complete.set()


def exported(text: str) -> dict[str, str]:
    """Return the variables that a shell has after reading a text."""
    shown = subprocess.run(
        ["sh", "-c", f"{text}\nenv"], env={}, capture_output=True, text=True, check=True
    )
    return dict(line.split("=", 1) for line in shown.stdout.splitlines())


def test_simulate_shows_a_line_a_request() -> None:
    """Each request is a line on stderr, with its answer and the number, masked unless revealed."""
    stdout, stderr = Announcing(), Stream()
    terminal = Terminal(stdin=Stream(), stdout=stdout, stderr=stderr, environ={})
    asked = threading.Event()

    def ask() -> None:
        assert stdout.complete.wait(10)
        found = exported(stdout.getvalue())
        account = {"appid": int(found["TELECMI_APP_ID"]), "secret": found["TELECMI_SECRET"]}
        flow = [{"action": "hangup"}]
        call = {"from": 19170000000, "to": 19175550001, "pcmo": flow}
        base = found["TELECMI_BASE_URL"]
        with httpx.Client() as client:
            url = f"{base}/global_pcmo_make_call"
            client.post(url, json={**account, **call})
            client.post(url, json={**account, **call})
            client.post(url, json={**account, **call, "secret": "wrong"})
            client.post(url, json=account)
            for to in (19175559911, 19175559921, 19175559922, 19175559931):
                with suppress(httpx.TransportError):
                    client.post(url, json={**account, **call, "to": to})
            client.post(f"{base}/piopiy/get_channels", json=account)
            client.get(f"{base}/none/919876543210")
        with socket.create_connection(("127.0.0.1", httpx.URL(base).port or 0)) as raw:
            raw.sendall(b"nonsense\r\n\r\n")
            raw.recv(100)
        asked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    with interrupted(asked):
        main(["simulate", "--port", "0"], terminal=terminal)
    thread.join()

    lines = [
        line[10:]
        for line in stderr.getvalue().splitlines()
        if re.match(r"\d\d:\d\d:\d\d  ", line)
    ]
    assert lines == [
        "call      200       •••••••0001     placed",
        "call      200       •••••••0001     placed, try 2",
        "call      420       •••••••0001     authentication failed",
        "call      422                       the property from is required",
        "call      502       •••••••9911     the property required is missing",
        "call      no reply  •••••••9921",
        "call      no reply  •••••••9922     placed all the same",
        "call      200/420   •••••••9931     authentication failed",
        "channels  200",
        "/v2/none/••••••••3210 404                       not found",
        "not HTTP  400                       this is no HTTP request",
    ]
    assert "answers: 3 with 200, 2 with no reply, 1 with 420, 1 with 422" in stderr.getvalue()
    assert "not-a-secret" not in stderr.getvalue()


def test_simulate_serves_until_ctrl_c() -> None:
    """`simulate` prints its environment, serves until Ctrl-C, and then prints counts."""
    stdout = Announcing()
    stderr = Stream()
    terminal = Terminal(stdin=Stream(), stdout=stdout, stderr=stderr, environ={})
    asked = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        assert stdout.complete.wait(10)
        found = exported(stdout.getvalue())
        fields = {"appid": int(found["TELECMI_APP_ID"]), "secret": found["TELECMI_SECRET"]}
        caller = int(found["TELECMI_FROM"])
        more = {"from": caller, "to": 19170000001, "pcmo": json.loads(FLOW)}
        with httpx.Client() as client:
            url = f"{found['TELECMI_BASE_URL']}/global_pcmo_make_call"
            statuses.extend(client.post(url, json=fields | more).status_code for _ in "ab")
        asked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    with interrupted(asked):
        code = main(["simulate", "--port", "0", "--seed", "3"], terminal=terminal)
    thread.join()

    assert code == Exit.INTERRUPTED
    assert statuses == [200, 200]
    assert "requests: 2, numbers dialled: 1, more than once: 1" in stderr.getvalue()
    assert "no phone rings" in stderr.getvalue()


def test_simulate_may_speak_json() -> None:
    """`simulate --json` prints its environment and its counts as one object each."""
    stdout = Announcing()
    terminal = Terminal(stdin=Stream(), stdout=stdout, stderr=Stream(), environ={})
    with interrupted(stdout.complete):
        code = main(["simulate", "--port", "0", "--json"], terminal=terminal)
    environ, counts = (json.loads(line) for line in stdout.getvalue().splitlines())

    assert code == Exit.INTERRUPTED
    assert set(environ) == {
        "TELECMI_BASE_URL",
        "TELECMI_APP_ID",
        "TELECMI_FROM",
        "TELECMI_SECRET",
    }
    assert counts == {"requests": 0, "answers": {}, "numbers": 0, "more_than_once": 0}


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_simulate_says_where_its_page_is(host: str) -> None:
    """`simulate` prints the address of its page."""
    stdout, stderr = Announcing(), Stream()
    terminal = Terminal(stdin=Stream(), stdout=stdout, stderr=stderr, environ={})
    asked = threading.Event()
    pages: list[str] = []

    def ask() -> None:
        assert stdout.complete.wait(10)
        address = re.search(r"on this machine at (http://\S+)", stderr.getvalue())
        pages.append(httpx.get(address[1]).text if address else "")
        asked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    with interrupted(asked):
        main(["simulate", "--host", host, "--port", "0"], terminal=terminal)
    thread.join()

    assert "Simulator: no phone rings." in pages[0]


@pytest.mark.usefixtures("loop")
def test_simulate_ends_wherever_ctrl_c_comes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt inside the event loop, as trio raises it, ends `simulate` normally."""

    async def sleep_forever() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "sleep_forever", sleep_forever)
    terminal = console()

    assert main(["simulate", "--port", "0"], terminal=terminal) == Exit.INTERRUPTED
    assert terminal.err.endswith("\nrequests: 0, numbers dialled: 0, more than once: 0\n")


def test_simulate_says_which_extra_dialling_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra ``voice``, `--dial-streams` is an error before anything is served."""
    monkeypatch.setitem(sys.modules, "websockets", None)
    terminal = console()
    code = main(["simulate", "--port", "0", "--dial-streams"], terminal=terminal)

    assert code == Exit.USAGE
    assert terminal.out == ""
    assert terminal.err == (
        "telecmi-async simulate: --dial-streams needs an extra: pip install "
        '"telecmi-async[cli,voice]", or, from a clone, pip install ".[cli,voice]" '
        "(websockets is missing)\n"
    )


@pytest.mark.usefixtures("loop")
def test_simulate_dials_streams_and_has_callees_talk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WAV files are said in their order, and by those whom nothing else decides."""
    paths = [tmp_path / name for name in ("one.wav", "two.wav")]
    for n, path in enumerate(paths, 1):
        path.write_bytes(Conversation(8_000 * n).wav())
    found: list[Simulator] = []

    async def sleep_forever() -> None:
        raise KeyboardInterrupt

    def made(**options: Any) -> Simulator:
        found.append(Simulator(**options))
        return found[-1]

    monkeypatch.setattr(anyio, "sleep_forever", sleep_forever)
    monkeypatch.setattr("telecmi_async.simulator.Simulator", made)
    files = [part for path in paths for part in ("--says", str(path))]
    options = ["--dial-streams", *files, "--talks-over-after", "1.5"]
    code = main(["simulate", "--port", "0", *options], terminal=console())

    assert code == Exit.INTERRUPTED
    (simulator,) = found
    assert simulator.streams == "dial"
    assert simulator.callee == Callee(says=paths, talks_over_after=1.5)


@pytest.mark.usefixtures("loop")
def test_simulate_refuses_a_port_that_is_taken() -> None:
    """A port in use is an error that suggests another port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        terminal = console()
        code = main(["simulate", "--port", port], terminal=terminal)

    assert code == Exit.USAGE
    assert f"cannot listen on 127.0.0.1 port {port}" in terminal.err
    assert "choose another port" in terminal.err

"""What errors say on the command line: in its own words, and everything once."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from consoles import Console, console

from telecmi_async import errors
from telecmi_async.campaigns import CampaignSettings
from telecmi_async.cli import Exit, main
from telecmi_async.cli.exits import Stop
from telecmi_async.cli.messages import SETTINGS, error_words, fate_words, plain_words

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {
    "TELECMI_APP_ID": "2222226",
    "TELECMI_SECRET": "not-a-secret",
    "TELECMI_FROM": "19170000000",
    "TELECMI_BASE_URL": "http://127.0.0.1:9/v2",
}
#: Names of the Python API, and of its types.
API = re.compile(
    r"pcmo|[a-z]\w*\[\d|[A-Z][A-Za-z]+\.[a-z_]+ must|\b\w+=…|\b(?:str|dict|int|mapping|True|False)\b"
    r"|Raw|Pstn|Sip|timedelta|telecmi_async\."
)
CALL = ["call", "--to", "19170000001", "--flow", "flow.json", "--yes"]
DIAL = ["dial", "people.csv", "--flow", "flow.json", "--dry-run", "--window", "any"]
PHONE = {"type": "pstn", "number": 919876543210}
USER = {"type": "sip", "user": "a"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a flow and contacts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.json").write_text('[{"action": "hangup"}]')
    (tmp_path / "people.csv").write_text("phone\n+19175550001\n")
    return tmp_path


def refused(*argv: str, **environ: str) -> str:
    """Run a command that is refused; return what it said."""
    terminal: Console = console({**ENVIRON, **environ})
    code = main(list(argv), terminal=terminal)
    assert code in {Exit.USAGE, Exit.CREDENTIALS}, terminal.err
    return terminal.err.strip()


@pytest.mark.parametrize(
    ("flow", "said"),
    [
        ({}, "the call flow must be a list: put [ ] around the action"),
        ([], "the call flow must hold at least one action"),
        ("{", "the call flow must be a list"),
        ([1], "action 1 must be an object, not 1"),
        ([{"action": "hangup"}, {"action": "speek"}], 'action 2, action: no action is named "speek": did'),
        ([{"action": "speak"}], "action 1, text is missing"),
        ([{"action": "speak", "text": 1}], "action 1, text must be a text, not 1"),
        ([{"action": "bridge", "connect": []}], 'one such as [{"type": "pstn", "number": …}]'),
        ([{"action": "connect", "connect": "x"}], 'a list such as [{"type": "sip", "user": "…"}], not "x"'),
        ([{"action": "bridge", "connect": [{**PHONE, "number": "abc"}]}], "action 1, connect 1, number is not"),
        ([{"action": "bridge", "connect": [PHONE, USER]}], 'action 1, connect 2, type must be "pstn" here'),
        ([{"action": "play", "file_name": "http://x/y"}], 'is a URL: write "file_url" instead'),
        ([{"action": "bridge", "duration": "x", "connect": [PHONE]}], "must be whole seconds, not"),
        ([{"action": "bridge", "loop": True, "connect": [PHONE]}], "a positive whole number, not true"),
        ([{"action": "connect", "record": 1, "connect": [USER]}], "must be true or false, not 1"),
        ([{"action": "connect", "connect": [{**USER, "user": 1.5}]}], "must be a text or a number"),
        ([{"action": "connect", "connect": [{**USER, "user": -1}]}], "must be a whole number, or a text"),
    ],
)  # fmt: skip
def test_a_flow_that_is_wrong_is_named_as_its_writer_counts(
    folder: Path, flow: object, said: str
) -> None:
    """Errors of a flow name the action, from 1, and speak of JSON, not of Python."""
    (folder / "flow.json").write_text(json.dumps(flow))

    for argv in (["flow", "check", "flow.json"], CALL, DIAL):
        words = refused(*argv)
        assert said in words
        assert not API.search(words)


@pytest.mark.parametrize(
    ("argv", "environ", "said"),
    [
        (["call", "--to", "123", *CALL[3:]], {}, "--to has 3 digits with its country code"),
        ([*CALL, "--from", "abc"], {}, "the caller id (--from, or TELECMI_FROM) is not a phone number"),
        (CALL, {"TELECMI_FROM": "abc"}, "the caller id (--from, or TELECMI_FROM) is not a phone"),
        ([*CALL, "--extra-params", "[1]"], {}, '--extra-params must be an object such as {"order": "42"}'),
        ([*CALL, "--extra-params", "{"], {}, "--extra-params is not JSON"),
        (["call", "--to", "1", "--flow", "none.json"], {}, "cannot read the call flow none.json: No such"),
        (["why", "12", "--ledger", "l.db"], {}, "the number has 2 digits"),
        (["retry-unknown", "19170000001", "12", "--ledger", "l.db"], {}, "number 2 has 2 digits"),
        ([*DIAL, "--country", "zz"], {}, "--country must be a country calling code such as"),
        ([*DIAL, "--delimiter", "x"], {}, "--delimiter must be one of , ; | and the tab"),
        ([*DIAL, "--encoding", "klingon"], {}, "--encoding must name an encoding"),
        ([*DIAL, "--column", "name"], {}, ('no column "name": known are "phone" (cells end at ",", or at '
         "--delimiter CHAR)")),
        (CALL, {"TELECMI_BASE_URL": "http://x"}, "TELECMI_BASE_URL must start with https://"),
        (CALL, {"TELECMI_APP_ID": "abc"}, "TELECMI_APP_ID must be TeleCMI's number for your app"),
        (["hook", "listen"], {"TELECMI_WEBHOOK_TOKEN": "short"}, "TELECMI_WEBHOOK_TOKEN must be 22 to"),
        (["status"], {}, "no ledger: give --ledger FILE, or set TELECMI_LEDGER"),
        (["status"], {"TELECMI_LEDGER_FILE": "/none"}, "no ledger: cannot read the file that"),
    ],
)  # fmt: skip
def test_arguments_and_variables_are_named(
    argv: list[str], environ: dict[str, str], said: str
) -> None:
    """Errors name the argument or the variable that is wrong, as it is written."""
    words = refused(*argv, **environ)

    assert said in words
    assert not API.search(words)
    assert words.count("TELECMI_LEDGER") < 2


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,b\n1,2\n", "name the one that holds the numbers (--column NAME)"),
        ("phone,mobile\n1,2\n", "name the one that does (--column NAME)"),
        ("919876543210,919876543211\n", "name the column, as in --column column_1"),
        ("phone\n9876543210\n", "or give the country of such numbers (--country 91, for India)"),
        ("phone,name\n+19175550001,\n", 'row 2: cannot be dialled: action 1, text needs text in the column "name"'),
    ],
)  # fmt: skip
def test_contacts_files_are_spoken_of_with_the_arguments(
    folder: Path, rows: str, said: str
) -> None:
    """What is wrong with a contacts file, and with its rows, names arguments of the command."""
    (folder / "people.csv").write_text(rows)
    if "name" in rows:
        (folder / "flow.json").write_text('[{"action": "speak", "text": "Hi {name}"}]')

    words = refused(*DIAL)

    assert said in words
    assert not API.search(words)


def test_other_settings_are_named_as_arguments() -> None:
    """Every setting of a campaign has words, for the refusal to go on with other ones."""
    assert SETTINGS.keys() == {each for each in CampaignSettings.__annotations__ if each != "_"}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            errors.CallOutcomeUnknown(
                "the request left, but its outcome is unknown (ReadTimeout): a phone may have rung",
                reference="r", cause="ReadTimeout",
            ),
            ("the request left, but its outcome is unknown (ReadTimeout): a phone may have rung. Find out "
            "before you dial again."),
        ),
        (
            errors.CallOutcomeUnknown("the reply is lost", reference="r", cause="x"),
            "the reply is lost; a phone may have rung. Find out before you dial again.",
        ),
        (errors.NotSent("the connection was refused; no phone rang"), "the connection was refused; no phone rang."),
        (
            errors.CallRejected("no balance.", status=404, code=404),
            "TeleCMI refused the call (404): no balance; no phone rang.",
        ),
    ],
)  # fmt: skip
def test_whether_a_phone_may_have_rung_is_said_once(
    error: errors.TelecmiError, said: str
) -> None:
    """An error that says it already is not continued with the same words."""
    assert fate_words(error) == said
    assert len(re.findall("phone", said)) == 1


def test_words_without_names_of_the_api_stay() -> None:
    """What was said for users already is not changed; errors of other kinds neither."""
    for text in (
        "the file holds no rows",
        "--window must be a time",
        "row 3: holds more than one number",
    ):
        assert plain_words(text) == text
        assert error_words(Stop(Exit.USAGE, text)) == text
    assert error_words(OSError("pcmo[0]")) == "pcmo[0]"
    assert error_words(errors.InvalidCall("is odd", path="other")) == "other: is odd"
    assert error_words(errors.ConfigurationError("settings.pace must be an object")) == (
        "the campaign's settings (pace) must be an object"
    )

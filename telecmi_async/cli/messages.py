"""Messages of errors in the words of the command line, without names of the Python API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from telecmi_async.cli.exits import Stop
from telecmi_async.errors import InvalidCall, TelecmiError
from telecmi_async.events.receiver import new_token

if TYPE_CHECKING:
    from collections.abc import Callable

_RANG: Final = re.compile(r"a phone may have rung|no phone rang")
_PLACE: Final = (
    r"\bpcmo\[(\d+)\]((?:\.\w+|\[\d+\])*)(?:: (?=(?:is|must|has|needs|excludes|starts) ))?"
)
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")
#: Where a call's fields are on the command line.
_OPTIONS: Final = {
    **dict.fromkeys(("from", "from_"), "the caller id (--from, or TELECMI_FROM)"),
    "to": "--to",
    "number": "the number",
    "pcmo": "the call flow",
    "flow": "the call flow",
    "extra_params": "--extra-params",
    "duration": "--duration",
    "region": "--region",
}
_JSON: Final = {"True": "true", "False": "false", "None": "null"}
#: A campaign's settings on the command line.
SETTINGS: Final = {
    "flow": "--flow",
    "rules": "the rules, such as --window",
    "pace": "--cps or --max-live-calls",
    "retries": "retries",
    "unknown": "--unknown",
    "from_": "--from",
    "pause_after_refusals": "--pause-after-refusals",
    "redial": "--redial-missed or --redial-from",
}


def _placed(found: re.Match[str]) -> str:
    """Return a place in a flow as people count: ``action 2, connect 1, number``."""
    words = [f"action {int(found[1]) + 1}"]
    for name, index in _STEP.findall(found[2]):
        if name:
            words.append(name)
        else:
            words[-1] += f" {int(index) + 1}"
    ends = " " if found[0].endswith(": ") else ""
    return ", ".join(words) + ends


# What messages of the package say to programs, and what they say here instead.
_WORDS: Final[tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]] = (
    (_PLACE, _placed),
    (r"\Anumbers\[(\d+)\]: ", lambda found: f"number {int(found[1]) + 1} "),
    (r" \(Raw\(…\) sends any other\)", ""),
    (r'country="(\d+)", or --country \1', r"--country \1"),
    (r"\bcolumn=…", "--column NAME"),
    (r"\bcolumn='([^']*)'", r"--column \1"),
    (r"\bdelimiter=…", "--delimiter CHAR"),
    (r"\bfile_url=…", '"file_url"'),
    (r"\bmust be a Pstn or a phone number", 'must be {"type": "pstn", "number": …}'),
    (r"\bmust be a Sip: \w[\w ]*(?:\(user\))?", 'must be {"type": "sip", "user": …}'),
    (r"\[Pstn\(…\)\]", '[{"type": "pstn", "number": …}]'),
    (r'\[Sip\("user"\)\]', '[{"type": "sip", "user": "…"}]'),
    (r"\ban action or a dict\b", "an object"),
    (r"\bmust be a str or an int\b", "must be a text or a number"),
    (r"\bmust be a str\b", "must be a text"),
    (r"\bmust be an int or a str\b", "must be a number or a text"),
    (r"\ba positive int, or a str if it is long", "a whole number, or a text"),
    (r"\bwhole seconds: a positive int, or a timedelta", "whole seconds"),
    (r"\ba positive int\b", "a positive whole number"),
    (r"\bTrue or False\b", "true or false"),
    (r"\A(country|delimiter|encoding) must", r"--\1 must"),
    (r"\Abase_url must", "TELECMI_BASE_URL must"),
    (r"\Aapp_id ", "TELECMI_APP_ID "),
    (r"\Asecret must", "TELECMI_SECRET must"),
    (r"\Atoken must", "TELECMI_WEBHOOK_TOKEN must"),
    (r"\bPostgresLedger needs\b", "a PostgreSQL ledger needs"),
    (r"\bSqliteLedger needs\b", "the ledger needs"),
    (r"\Asettings\.(\w+)", r"the campaign's settings (\1)"),
    (r"\Afrom_: ", f"{_OPTIONS['from']} "),
    (r"\bmust be a mapping\b", "must be an object"),
    (r"\bnot a str like\b", "not a text like"),
    (r"\bnot (True|False|None)\b", lambda found: f"not {_JSON[found[1]]}"),
    (r"make one with telecmi_async\.\S+\(\)", lambda _: f"such as {new_token()}"),
)


def plain_words(text: str) -> str:
    """Return a message of the package without names of its API."""
    for pattern, words in _WORDS:
        text = re.sub(pattern, words, text)
    return text


def error_words(error: BaseException) -> str:
    """Return an error's message for the user of a command."""
    if isinstance(error, InvalidCall) and error.path in _OPTIONS:
        return plain_words(f"{_OPTIONS[error.path]} {error.message}")
    return plain_words(str(error)) if isinstance(error, TelecmiError | Stop) else str(error)


def fate_words(error: TelecmiError) -> str:
    """Return why a call was not accepted, and whether a phone may have rung, each said once."""
    said = error_words(error).rstrip(".")
    rang = "no phone rang" if error.safe_to_redial else "a phone may have rung"
    ending = "" if _RANG.search(said) else f"; {rang}"
    advice = "" if error.safe_to_redial else ". Find out before you dial again"
    return f"{said}{ending}{advice}."

"""Options that several commands share, and how their values are read and checked.

A command declares its arguments as parameters of its function; cyclopts reads them. What is
wrong with a value is said in the words of the option: `--cps must be a number above 0`.
"""

from __future__ import annotations

import getpass
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from inspect import cleandoc
from typing import Annotated, Any, Final, Literal, TypeAlias

from attrs import fields, frozen
from cyclopts import App, Group, Parameter, Token

from telecmi_async.cli.output.terminal import Terminal

_CONTINUED: Final = re.compile(r"(?<=\S)\n(?: {8})?(?=\S)")
_SPAN: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)([smh]?)", re.ASCII)
_ADDRESS: Final = re.compile(r"(?:(?:[\w.-]+|\[[0-9a-fA-F:.]+\]):)?([0-9]{1,5})", re.ASCII)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600}
PROGRAM: Final = "telecmi-async"
WEBHOOK_PORT: Final = 8788
LOCALHOST: Final = "127.0.0.1"
OPTIONS: Final = Group("Options", sort_key=1)
EXIT_CODES: Final = """\
Exit codes:
  0  done                               5  too many calls, or a cap is reached
  1  failed: no phone rang              6  TeleCMI or the ledger not reached
  2  wrong arguments or input           7  unknown: a phone may have rung
  3  partly done                        8  too early: calling hours, redials
  4  credentials missing or refused   130  interrupted"""
ENVIRONMENT: Final = """\
Environment:
  TELECMI_APP_ID, TELECMI_SECRET   the account; needed to place calls
  TELECMI_FROM                     the caller id
  TELECMI_LEDGER                   the ledger, with its password if it has one
  TELECMI_WEBHOOK_TOKEN            what the address of webhooks ends in
  TELECMI_BASE_URL                 where TeleCMI is, if it is a simulator
  TELECMI_LOG                      log level: debug, info, warning or error
  A secret may be in a file instead, which TELECMI_SECRET_FILE,
  TELECMI_LEDGER_FILE or TELECMI_WEBHOOK_TOKEN_FILE names."""


_MORE: Final = f"Environment and exit codes: {PROGRAM} --help"


def unwrapped(text: str | None) -> str:
    """Return a docstring with each paragraph, and each argument, on one line.

    The help wraps them: terminals are wider or narrower than the code.
    """
    return _CONTINUED.sub(" ", cleandoc(text or ""))


def command(
    name: str, *examples: str, into: App | None = None
) -> Callable[[Callable[..., object]], App]:
    """Make a function a command; its help is the function's docstring, and then examples.

    Args:
        name: What users type.
        examples: Its arguments, with its name, in some lines that users may type.
        into: The command that it is a part of.
    """
    lines = "".join(f"  {PROGRAM} {each}\n" for each in examples)
    app = App(
        name=name,
        help_epilogue=f"Examples:\n{lines}\n{_MORE}",
        group_parameters=OPTIONS,
    )

    def register(function: Callable[..., object]) -> App:
        function.__doc__ = unwrapped(function.__doc__)
        app.default(function)
        if into is not None:
            into.command(app)
        return app

    return register


def number(
    kind: type[int | float],
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: bool = False,
) -> Callable[[Any, Sequence[Token]], float]:
    """Return what reads a number from ``least`` to ``most``, or ``above`` the least."""
    what = "a whole number" if kind is int else "a number"
    if most < math.inf:
        what += f" from {least:g} to {most:g}"
    elif least > -math.inf:
        what += f" above {least:g}" if above else f", {least:g} or more"

    def convert(_: Any, tokens: Sequence[Token]) -> float:
        try:
            value = kind(tokens[0].value)
        except ValueError:
            value = math.nan
        if least <= value <= most and value < math.inf and not (above and value == least):
            return value
        raise ValueError(f"must be {what}")

    return convert


def span_of_time(least: float) -> Callable[[Any, Sequence[Token]], float]:
    """Return what reads a time in seconds, or with a unit: 2, 2s, 1m or 1h."""

    def convert(_: Any, tokens: Sequence[Token]) -> float:
        found = _SPAN.fullmatch(tokens[0].value)
        seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
        if seconds < least:
            raise ValueError(f"must be {least:g} seconds or more, such as 2, 2s or 1m")
        return seconds

    return convert


def value(metavar: str, text: str = "", **more: Any) -> Parameter:
    """Return an option with a value: the value's name in the help, and what the help says.

    Without a text, the docstring of the function says it.
    """
    given: dict[str, Any] = {**more, "help": text} if text else more
    return Parameter(metavar=metavar, **given)


def _file(_: Any, tokens: Sequence[Token]) -> str:
    """Read the name of a file; an option in its place is one that was forgotten."""
    text = tokens[0].value
    if text.startswith("-") and text != "-":
        raise ValueError("needs a file")
    return text


def _address(_: Any, tokens: Sequence[Token]) -> str:
    """Read a port, or an address and a port: 9464, 0.0.0.0:9464 or [::1]:9464."""
    text = tokens[0].value
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[1]) > 65_535:
        raise ValueError("must be a port, or an address and a port, such as 127.0.0.1:9464")
    return text


Here: TypeAlias = Annotated[Terminal, Parameter(parse=False)]
"""The terminal that a command runs on; no argument gives it."""

_LEDGER: Final = "The ledger: a file, or postgresql://… without a password (or TELECMI_LEDGER)."
_CAMPAIGN: Final = "The campaign's name, if the ledger has several."
_JSON: Final = "Print the result, or the error, as JSON."
_STDIN: Final = "Read the secret from the first line of stdin."
_FROM: Final = "The caller id (or TELECMI_FROM)."
_METRICS: Final = (
    "Serve metrics for Prometheus on this port of this machine, or on an address and a port such "
    "as 0.0.0.0:9464; needs the extra prometheus."
)
_ERRORS: Final = "The share of answers that are TeleCMI's 502, from 0 to 1."

#: For files that may be stdin, which "-" stands for.
FILE_OR_STDIN: Final = Parameter(metavar="FILE", allow_leading_hyphen=True, converter=_file)
PORT: Final = number(int, 0, 65_535)

LedgerOption: TypeAlias = Annotated[str | None, value("FILE", _LEDGER, name="--ledger")]
CampaignOption: TypeAlias = Annotated[str | None, value("CAMPAIGN", _CAMPAIGN, name="--name")]
JsonFlag: TypeAlias = Annotated[bool, Parameter(name="--json", help=_JSON)]
Confirmed: TypeAlias = Annotated[
    int | None,
    value(
        "N",
        "Confirm without a question that N people will be called.",
        name="--yes",
        converter=number(int, 0),
    ),
]
SecretFlag: TypeAlias = Annotated[bool, Parameter(help=_STDIN)]
CallerId: TypeAlias = Annotated[str | None, value("NUMBER", _FROM, name="--from")]
Host: TypeAlias = Annotated[str, value("ADDRESS", "The address to listen on.")]
MetricsOption: TypeAlias = Annotated[
    str | None, value("[ADDRESS:]PORT", _METRICS, name="--metrics", converter=_address)
]
CallsPerSecond: TypeAlias = Annotated[
    float, value("N", "Calls per second.", name="--cps", converter=number(float, 0, above=True))
]
ErrorShare: TypeAlias = Annotated[
    float, value("SHARE", _ERRORS, name="--errors-502", converter=number(float, 0, 1))
]
Who: TypeAlias = Annotated[
    str | None,
    value("WHO", "Who does this, for `history`; the user of this machine unless given."),
]
Seed: TypeAlias = Annotated[
    int, value("N", "The seed of random decisions: each gives another run.")
]


def who(by: str | None) -> str:
    """Return who changes something: the name given, or the user of this machine."""
    if by is None:
        with suppress(OSError, KeyError, ImportError):  # a container may have no such user
            return getpass.getuser()
    return by or ""


@Parameter(name="*")
@frozen(kw_only=True)
class WebhookOptions:
    """Where webhooks are received.

    Args:
        webhook_url: Receive webhooks meanwhile, at the address that TeleCMI's dashboard has,
            without its token. A test request checks first that it leads here.
        webhook_port: The port on this machine on which webhooks arrive; 8788 unless given.
    """

    webhook_url: Annotated[str | None, value("URL")] = None
    webhook_port: Annotated[int | None, value("PORT", converter=PORT)] = None
    webhook_host: Host = LOCALHOST

    @property
    def receives(self) -> bool:
        """Whether webhooks are received."""
        return self.webhook_port is not None or self.webhook_url is not None

    @property
    def needed(self) -> list[str]:
        """The variables that receiving needs."""
        return ["TELECMI_WEBHOOK_TOKEN"] if self.receives else []

    @property
    def port(self) -> int:
        """The port on this machine."""
        return WEBHOOK_PORT if self.webhook_port is None else self.webhook_port


@Parameter(name="*")
@frozen(kw_only=True)
class RunOptions:
    """What carrying a campaign out needs; `dial` and `resume` share it.

    Args:
        without_webhooks: Dial although no event of a call is received here. What --max-cost and
            --max-live-calls limit is then measured only if `hook listen` records events in the
            ledger elsewhere.
        wait: Wait for the calling hours instead of ending with exit code 8.
    """

    webhooks: WebhookOptions = WebhookOptions()
    without_webhooks: bool = False
    wait: bool = False
    metrics: MetricsOption = None
    secret_stdin: SecretFlag = False

    def arguments(self) -> list[str]:
        """Return the arguments that give these options again."""
        found: list[str] = []
        for options in (self.webhooks, self):
            for each in fields(type(options)):
                given = getattr(options, each.name)
                if given != each.default and each.name != "webhooks":
                    found.append(f"--{each.name.replace('_', '-')}")
                    found += [] if given is True else [str(given)]
        return found


@Parameter(name="*")
@frozen(kw_only=True)
class CallOptions:
    """The call, and how it is placed.

    Args:
        to: The number that is called.
        flow: A file with the call flow as JSON; - for stdin.
        duration: The longest that the call may last, in seconds.
        extra_params: Your own data as a JSON object; TeleCMI returns it with every event.
        region: The endpoint that takes the call. auto is India for 91 and ten digits, else global.
        wait: Follow the call to its end; print its stages, talk time and cost.
    """

    to: Annotated[str, value("NUMBER")]
    flow: Annotated[str, FILE_OR_STDIN, Parameter(name=("--flow", "--pcmo"))]
    from_: CallerId = None
    extra_params: Annotated[str | None, value("JSON")] = None
    duration: Annotated[int | None, value("SECONDS", converter=number(int))] = None
    region: Literal["auto", "india", "global"] = "auto"
    confirmed: Annotated[bool, Parameter(name="--yes", help="Place it without a question.")] = (
        False
    )
    wait: bool = False


for _class in (CallOptions, RunOptions, WebhookOptions):
    _class.__doc__ = unwrapped(_class.__doc__)

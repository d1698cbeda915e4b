"""Account settings: app id, secret and caller id from the environment, files or stdin.

Never from arguments, which are there for all users of the machine to see.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen

from telecmi_async._internal.secrets import Secret
from telecmi_async._internal.telecmi import BASE_URL
from telecmi_async._internal.validators import environment_variable, required_variable
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.errors import ConfigurationError
from telecmi_async.wire.credentials import Credentials
from telecmi_async.wire.endpoints import parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telecmi_async.cli.output.terminal import Terminal

# Longer than any secret: a wrong file is not read to its end.
_LONGEST = 4_096


@frozen
class Account:
    """The account that places the calls. ``from_`` is the caller id of calls that name none."""

    credentials: Credentials
    base_url: str
    from_: str | None


def target_words(base_url: str) -> str:
    """Return where calls go: to TeleCMI, or to another host, which may be a simulator."""
    host = urlsplit(base_url).netloc
    if host == urlsplit(BASE_URL).netloc:
        return f"{host}, TeleCMI itself: phones ring"
    return f"{host}, by TELECMI_BASE_URL: no phone rings if that is a simulator"


def account_of(
    terminal: Terminal, *, secret_stdin: bool = False, lacking: Mapping[str, str] | None = None
) -> Account:
    """Return the account that the environment names; its secret may be stdin's first line.

    What is missing is said all at once.

    Args:
        terminal: Where the environment and stdin are.
        secret_stdin: Whether the secret is stdin's first line.
        lacking: Other variables that the command needs and lacks, and what may be done.

    Raises:
        Stop: The app id or the secret is missing, or something else that is needed.
        ConfigurationError: ``TELECMI_BASE_URL`` is invalid.
    """
    environ = terminal.environ
    base_url = parse_base_url(environment_variable(environ, "TELECMI_BASE_URL") or BASE_URL)
    missing = [] if environment_variable(environ, "TELECMI_APP_ID") else ["TELECMI_APP_ID"]
    if not (secret_stdin or is_set(environ, "TELECMI_SECRET")):
        missing.append("TELECMI_SECRET")
    names = [*missing, *(lacking or ())]
    if names:
        which = f"variable {names[0]} is" if len(names) == 1 else f"variables {_and(names)} are"
        hints = "".join(f"; {hint}" for hint in (lacking or {}).values())
        code = Exit.CREDENTIALS if missing else Exit.USAGE
        raise Stop(code, f"the environment {which} not set{hints}")
    try:
        app_id = required_variable(environ, "TELECMI_APP_ID")
        if secret_stdin:
            secret = Secret(terminal.stdin.readline().strip())
        else:
            secret = secret_variable(environ, "TELECMI_SECRET")
        credentials = Credentials(app_id, secret)
    except ConfigurationError as error:
        raise Stop(Exit.CREDENTIALS, str(error)) from None
    return Account(credentials, base_url, environment_variable(environ, "TELECMI_FROM") or None)


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Return whether a variable is there, or the one that names a file with its value."""
    return any(environment_variable(environ, each) for each in (name, f"{name}_FILE"))


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def caller_id(terminal: Terminal, given: str | None, lacking: dict[str, str]) -> str | None:
    """Return the caller id that an option or the environment gives, or say that it is lacking."""
    from_ = given or environment_variable(terminal.environ, "TELECMI_FROM") or None
    if from_ is None:
        lacking["TELECMI_FROM"] = "--from gives a caller id, too"
    return from_


def secret_variable(environ: Mapping[str, str], name: str) -> Secret:
    """Return what a variable holds, or the file that the variable with ``_FILE`` names.

    Raises:
        ConfigurationError: Neither is set, or the file cannot be read.
    """
    given = environment_variable(environ, name)
    file = environment_variable(environ, f"{name}_FILE")
    if given or not file:
        return Secret(given or required_variable(environ, name))
    try:
        with Path(file).open(encoding="utf-8") as opened:
            return Secret(opened.read(_LONGEST).strip())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"cannot read the file that {name}_FILE names: {why}"
        ) from None

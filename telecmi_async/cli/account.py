"""Account settings: app id, secret and caller id from the environment, files or stdin.

Never from arguments, which are there for all users of the machine to see.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from attrs import frozen

from telecmi_async._internal.secrets import Secret
from telecmi_async._internal.telecmi import BASE_URL
from telecmi_async._internal.validators import environment_variable, required_variable
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.receiver import new_token
from telecmi_async.wire.credentials import Credentials
from telecmi_async.wire.endpoints import parse_base_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.cli.output.terminal import Terminal

# Longer than any secret: a wrong file is not read to its end.
_LONGEST: Final = 4_096
_ACCOUNT: Final = ("TELECMI_APP_ID", "TELECMI_SECRET")
# Variables that no file may replace.
_PLAIN: Final = frozenset({"TELECMI_APP_ID", "TELECMI_FROM"})


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


def token_hint() -> str:
    """Return what the token of webhooks is, with an example."""
    return f"the webhook address must end in a word that no one else knows, as {new_token()}"


def account_of(terminal: Terminal, *needed: str, secret_stdin: bool = False) -> Account:
    """Return the account that the environment names; its secret may be stdin's first line.

    What is missing is said all at once; ``needed`` names more variables that the command needs.

    Raises:
        Stop: The app id or the secret is missing, or something else that is needed.
        ConfigurationError: ``TELECMI_BASE_URL`` is invalid.
    """
    environ = terminal.environ
    base_url = parse_base_url(environment_variable(environ, "TELECMI_BASE_URL") or BASE_URL)
    names = [*(_ACCOUNT[:1] if secret_stdin else _ACCOUNT), *needed]
    if names := [name for name in names if not is_set(environ, name)]:
        *most, last = names
        which = f"variables {', '.join(most)} and {last} are" if most else f"variable {last} is"
        hints = "; --from gives a caller id, too" if "TELECMI_FROM" in names else ""
        hints += f"; {token_hint()}" if "TELECMI_WEBHOOK_TOKEN" in names else ""
        code = Exit.CREDENTIALS if {*_ACCOUNT} & {*names} else Exit.USAGE
        raise Stop(code, f"the environment {which} not set{hints}")
    try:
        secret = (
            Secret(terminal.stdin.readline().strip())
            if secret_stdin
            else secret_variable(environ, "TELECMI_SECRET")
        )
        credentials = Credentials(required_variable(environ, "TELECMI_APP_ID"), secret)
    except ConfigurationError as error:
        raise Stop(Exit.CREDENTIALS, str(error)) from None
    return Account(credentials, base_url, environment_variable(environ, "TELECMI_FROM") or None)


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Return whether a variable is there, or the one that names a file with its value."""
    names = [name] if name in _PLAIN else [name, f"{name}_FILE"]
    return any(environment_variable(environ, each) for each in names)


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

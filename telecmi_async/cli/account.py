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
    from collections.abc import Mapping

    from telecmi_async.cli.terminal import Terminal

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


def account_of(terminal: Terminal, *, secret_stdin: bool = False) -> Account:
    """Return the account that the environment names; its secret may be stdin's first line.

    Raises:
        Stop: The app id or the secret is missing.
        ConfigurationError: ``TELECMI_BASE_URL`` is invalid.
    """
    environ = terminal.environ
    base_url = parse_base_url(environment_variable(environ, "TELECMI_BASE_URL") or BASE_URL)
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

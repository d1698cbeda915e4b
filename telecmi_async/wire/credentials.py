"""Credentials: an account's app id and its secret."""

from __future__ import annotations

import re
from typing import cast

import attrs

from telecmi_async._internal.secrets import HIDDEN, Secret
from telecmi_async.errors import ConfigurationError

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def _parse_app_id(value: object) -> int:
    """Return an app id as an integer, as the wire has it."""
    if isinstance(value, str) and _UUID.fullmatch(value.strip()):
        raise ConfigurationError(
            "app_id looks like an agent id of TeleCMI's v3 API; the v2 API wants the "
            "number shown as app id (about seven digits)"
        )
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value.strip())
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**15:
        raise ConfigurationError(
            "app_id must be TeleCMI's number for your app, such as 2222226, not a "
            f"{type(value).__name__} like this one; is it the secret?"
        )
    return int(value)


def _check_secret(_: object, __: attrs.Attribute[Secret], secret: Secret) -> None:
    # The value is read in a frame that has ended when the error is raised: tracebacks may show
    # locals.
    if problem := _problem(secret):
        raise ConfigurationError(problem)


def _problem(secret: Secret) -> str:
    """Return what is wrong with a secret, or nothing."""
    value = cast("object", secret.reveal())
    if not isinstance(value, str) or not value.strip():
        return "secret must be the secret that belongs to the app id"
    if not value.isascii() or not value.isprintable() or " " in value:
        return (
            "secret holds spaces, control or non-ASCII characters: was more than the secret "
            "pasted?"
        )
    return ""


@attrs.frozen(repr=False)
class Credentials:
    """An app id and its secret, as TeleCMI's dashboard shows them.

    Args:
        app_id: A positive number; digits in a str are accepted.
        secret: A str, or a `Secret`.

    Raises:
        ConfigurationError: One of them cannot be right.
    """

    app_id: int = attrs.field(converter=_parse_app_id)
    secret: Secret = attrs.field(converter=Secret, validator=_check_secret)

    def __repr__(self) -> str:
        # A traceback may show a half-made object.
        return f"Credentials(app_id={getattr(self, 'app_id', '?')}, secret={HIDDEN})"

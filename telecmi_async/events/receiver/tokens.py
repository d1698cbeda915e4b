"""Webhook tokens: the secret last part of a webhook's address.

TeleCMI signs nothing and sends no password, so anyone who knows the address can send events.
The address must be unguessable, and must not appear in logs.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final, NoReturn, cast
from urllib.parse import parse_qsl, unquote

from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async._internal.secrets import HIDDEN
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.receiver.token_filter import HiddenToken, hide

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telecmi_async._internal.secrets import Secret

_TOKEN: Final = re.compile(r"[A-Za-z0-9_~-]{22,256}")
_BASE: Final = re.compile(r"https?://[^\s?#]+")
_NAME: Final = re.compile(r"[A-Za-z0-9_~-]{1,64}")
#: The parameter of an address's query that holds the encrypted values.
VALUES: Final = "v"
_MOST_IN_A_QUERY: Final = 50
_ADVICE: Final = (
    "make one with telecmi_async.events.receiver.new_token(), keep it with your secrets, and "
    "enter it in TeleCMI's dashboard as the last part of your webhook's address"
)


def new_token() -> str:
    """Return an unguessable token: 256 random bits in 43 characters."""
    return secrets.token_urlsafe(32)


class Tokens:
    """The tokens that are valid now, the newest first: several while one is being replaced."""

    __slots__ = ("_encoded", "_hidden", "_tokens")

    def __init__(self, given: Secret) -> None:
        self._hidden: list[HiddenToken] = []
        self.change(given)

    def change(self, given: Secret) -> None:
        """Have these tokens be the valid ones. Earlier ones stay hidden in logs."""
        tokens = _usable(given.reveal())
        if not tokens:
            raise ConfigurationError(
                f"token must be 22 to 256 letters, digits, '-', '_' or '~'; {_ADVICE}"
            )
        self._tokens = tokens
        self._encoded = tuple(token.encode() for token in tokens)
        self._hidden = list({*self._hidden, *hide(tokens)})

    def __repr__(self) -> str:
        return f"Tokens({HIDDEN})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Tokens are not pickled: that would reveal them")

    def match(self, path: str) -> str | None:
        """Return the name before the token in a path; ``None`` without a valid token.

        All tokens are compared, each in constant time, so that timing does not reveal how much
        of one was right.
        """
        # A proxy may have percent-encoded characters. Decoding a path twice is harmless: it
        # never yields a character of a token.
        before, _, last = unquote(path.partition("?")[0]).rstrip("/").rpartition("/")
        given = last.encode("utf-8", "surrogatepass")
        found = False
        for token in self._encoded:
            found |= hmac.compare_digest(given, token)
        return before.rstrip("/").rpartition("/")[2] if found else None

    def address(self, base: str, name: str, values: str) -> str:
        """Return a webhook's address, with the newest token and the encrypted values."""
        if not isinstance(cast("object", base), str) or not _BASE.fullmatch(base):
            raise ConfigurationError(
                "base must be where the receiver is mounted, without a query, such as "
                "https://example.com/telecmi"
            )
        if name:
            check_name(name)
        parts = [base.rstrip("/"), *([name] if name else ()), self._tokens[0]]
        return "/".join(parts) + (f"?{VALUES}={values}" if values else "")


def query_of(path: str) -> Mapping[str, str]:
    """Return the query of a path, the last value of a repeated name; empty if it is too long."""
    query = path.partition("?")[2]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_IN_A_QUERY)
    except ValueError:
        pairs = []
    return cast("Mapping[str, str]", JsonObject(pairs))


def _usable(given: object) -> tuple[str, ...]:
    """Return the tokens, or none of them if one is invalid."""
    many = [given] if isinstance(given, str) else given
    if not isinstance(many, list | tuple):
        return ()
    tokens = cast("Sequence[object]", many)
    usable = tuple(t for t in tokens if isinstance(t, str) and _TOKEN.fullmatch(t))
    return usable if len(usable) == len(tokens) else ()


def check_name(name: object) -> None:
    """Require a name that can precede the token in an address: a short word."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            "the name of a webhook must be 1 to 64 letters, digits, '-', '_' or '~'"
        )

"""The word in a webhook's address that nobody else knows.

TeleCMI signs nothing and sends no password along, so whoever knows the address may send
events. The address must be unguessable, and must not stand in logs.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Sequence
from typing import Final, NoReturn, cast

from telecmi_async.errors import ConfigurationError

__all__ = ["TokenFilter", "Tokens", "check_name", "new_token"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9_~-]{22,256}")
_NAME: Final = re.compile(r"[A-Za-z0-9_~-]{1,64}")
_HIDDEN: Final = "•••"
_ADVICE: Final = (
    "make one with telecmi_async.receiver.new_token(), keep it with your secrets, and give it "
    "to the receiver and to TeleCMI's dashboard, as the last part of your webhook's address"
)


def new_token() -> str:
    """Return a token that nobody can guess: 256 random bits in 43 letters."""
    return secrets.token_urlsafe(32)


class Tokens:
    """The tokens that are valid now, the newest first.

    Args:
        tokens: One, or several while an old one is being replaced.

    Raises:
        ConfigurationError: One is too short to be unguessable, or cannot stand in a URL.
    """

    __slots__ = ("_tokens",)

    def __init__(self, tokens: str | Sequence[str]) -> None:
        given: Sequence[object] = [tokens] if isinstance(tokens, str) else tokens
        usable = isinstance(cast("object", given), Sequence) and len(given) > 0
        if not usable or not all(_is_token(token) for token in given):
            del tokens, given  # a traceback may show locals
            raise ConfigurationError(
                f"token must be 22 to 256 letters, digits, '-', '_' or '~'; {_ADVICE}"
            )
        self._tokens = tuple(map(str, given))

    def __repr__(self) -> str:
        return f"Tokens({_HIDDEN})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Tokens are not pickled: it would show them")

    def match(self, path: str) -> str | None:
        """Return the name that stands before the token in a path; ``None`` without a token.

        All tokens are compared, each in constant time, so that no time tells how much of one
        was right.

        Args:
            path: The path of a request; a query after it does not count.
        """
        *before, last = [part for part in path.partition("?")[0].split("/") if part] or [""]
        given = last.encode("utf-8", "surrogatepass")
        matches = [hmac.compare_digest(given, token.encode()) for token in self._tokens]
        if not any(matches):
            return None
        return before[-1] if before else ""

    def address(self, base: str, name: str) -> str:
        """Return a webhook's address, with the newest token.

        Raises:
            ConfigurationError: ``name`` cannot be part of an address.
        """
        if not name:
            return f"{base.rstrip('/')}/{self._tokens[0]}"
        check_name(name)
        return f"{base.rstrip('/')}/{name}/{self._tokens[0]}"

    def hide(self, text: str) -> str:
        """Return a text without the tokens."""
        for token in self._tokens:
            text = text.replace(token, _HIDDEN)
        return text


def _is_token(token: object) -> bool:
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


def check_name(name: object) -> None:
    """Refuse what cannot stand before the token in an address.

    Raises:
        ConfigurationError: It is no short word.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            "the name of a webhook must be 1 to 64 letters, digits, '-', '_' or '~'"
        )


class TokenFilter(logging.Filter):
    """Takes the tokens out of the records of a log, such as a web server's access log."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self._tokens = tokens

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place, and let it pass."""
        if isinstance(record.msg, str):
            record.msg = self._tokens.hide(record.msg)
        if isinstance(record.args, tuple):
            record.args = tuple(
                self._tokens.hide(value) if isinstance(value, str) else value
                for value in record.args
            )
        elif record.args:
            record.args = {
                key: self._tokens.hide(value) if isinstance(value, str) else value
                for key, value in record.args.items()
            }
        return True

"""Webhook tokens: the secret last part of a webhook's address.

TeleCMI signs nothing and sends no password, so anyone who knows the address can send events.
The address must be unguessable, and must not appear in logs.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from typing import TYPE_CHECKING, Final, NoReturn, cast
from urllib.parse import parse_qsl, unquote, urlencode

from telecmi_async._internal.frozen_json import JsonObject
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from telecmi_async._internal.secrets import Secret

#: Loggers of web servers and frameworks that log the paths of requests.
WEB_LOGS: Final = (
    "aiohttp.access",
    "django.request",
    "django.server",
    "granian.access",
    "gunicorn.access",
    "gunicorn.error",
    "hypercorn.access",
    "hypercorn.error",
    "uvicorn.access",
    "uvicorn.error",
)

_TOKEN: Final = re.compile(r"[A-Za-z0-9_~-]{22,256}")
_NAME: Final = re.compile(r"[A-Za-z0-9_~-]{1,64}")
_HIDDEN: Final = "•••"
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

    __slots__ = ("_encoded", "_escaped", "_tokens")

    def __init__(self, given: Secret) -> None:
        self._tokens = _usable(given.reveal())
        if not self._tokens:
            raise ConfigurationError(
                f"token must be 22 to 256 letters, digits, '-', '_' or '~'; {_ADVICE}"
            )
        self._encoded = tuple(token.encode() for token in self._tokens)
        self._escaped = re.compile("|".join(map(_escaped, self._tokens)))

    def __repr__(self) -> str:
        return f"Tokens({_HIDDEN})"

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

    def address(self, base: str, name: str, query: Mapping[str, str | int | None]) -> str:
        """Return a webhook's address, with the newest token."""
        parts = [base.rstrip("/"), self._tokens[0]]
        if name:
            check_name(name)
            parts.insert(1, name)
        given = {key: value for key, value in query.items() if value is not None}
        return "/".join(parts) + (f"?{urlencode(given)}" if given else "")

    def hide(self, text: str) -> str:
        """Return a text without the tokens, percent-encoded ones included."""
        for token in self._tokens:
            text = text.replace(token, _HIDDEN)
        return self._escaped.sub(_HIDDEN, text) if "%" in text else text


def _escaped(token: str) -> str:
    """Return a pattern of a token of which some characters are percent-encoded."""
    return "".join(f"(?:{re.escape(each)}|%(?i:{ord(each):02x}))" for each in token)


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


class TokenFilter(logging.Filter):
    """Hides the tokens in the records of a log, such as a web server's access log."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__()
        self._tokens = tokens

    def filter(self, record: logging.LogRecord) -> bool:
        """Hide the tokens in a record, and let it pass."""
        if isinstance(record.args, tuple):  # some formatters take them one by one
            record.args = tuple(map(self._hidden, record.args))
        else:  # a mapping with a behaviour of its own, such as gunicorn's
            try:
                text = record.getMessage()
            except Exception:  # noqa: BLE001  # a log that cannot be written raises nowhere
                text = str(record.msg)
            record.msg, record.args = text, None
        if record.exc_info and not record.exc_text:  # as formatters write it
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        for name, value in list(vars(record).items()):
            if name not in {"args", "exc_info"}:
                setattr(record, name, self._hidden(value))
        return True

    def _hidden(self, value: object) -> object:
        """Return a value, or its text with the tokens hidden if they are in it."""
        if value is None or isinstance(value, int | float):
            return value
        if type(value) is str:
            return self._tokens.hide(value)
        try:
            texts = [str(value), repr(value)]  # %s writes the one, %r the other
        except Exception:  # noqa: BLE001  # a log that cannot be written raises nowhere
            return _HIDDEN
        hidden = list(map(self._tokens.hide, texts))
        return value if hidden == texts else hidden[0]


def hide_tokens(tokens: Tokens, loggers: Iterable[str]) -> None:
    """Hide the tokens in loggers; without names, in those of known web servers."""
    for name in tuple(loggers) or WEB_LOGS:
        logging.getLogger(name).addFilter(TokenFilter(tokens))

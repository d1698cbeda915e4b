"""Token filter: hides the tokens of webhooks in the records of other programs' logs.

One filter serves all receivers of a process. A text is searched for words that could hold a
token, and these are looked up, so that a thousand receivers cost a log line no more than one.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote
from weakref import WeakValueDictionary

from telecmi_async._internal.seams import check_instance
from telecmi_async._internal.secrets import HIDDEN, without_codes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Loggers of web servers and frameworks that log the paths of requests.
WEB_LOGS: Final = (
    "aiohttp.access", "aiohttp.server", "asyncio", "django.request", "django.server",
    "granian.access", "gunicorn.access", "gunicorn.error", "hypercorn.access",
    "hypercorn.error", "uvicorn.access", "uvicorn.asgi", "uvicorn.error",
    "websockets.server",
)  # fmt: skip

# A word of a token's letters, some of which may be percent-encoded, even several times.
_WORD: Final = re.compile(r"[A-Za-z0-9_~%-]{22,}")
_ENCODED: Final = "%"
_MOST_DECODINGS: Final = 10
# Attributes of a log record that hold no part of a request, or are searched separately. A program
# may name its threads, tasks and processes after a request.
_WITHOUT: Final = frozenset([
    "args", "exc_info", "filename", "funcName", "levelname", "module", "name", "pathname",
])  # fmt: skip


class HiddenToken:
    """Keeps a token hidden for as long as this object lives."""

    __slots__ = ("__weakref__",)


_hidden: Final[WeakValueDictionary[str, HiddenToken]] = WeakValueDictionary()
_lengths: Final[set[int]] = set()


def hide(tokens: Sequence[str]) -> list[HiddenToken]:
    """Hide tokens from now on, for as long as the result is kept."""
    _lengths.update(map(len, tokens))
    return [_hidden.setdefault(token, HiddenToken()) for token in tokens]


def without_tokens(text: str) -> str:
    """Return a text without this process's tokens, however spelt, and without codes of calls."""
    return _WORD.sub(_without_token, without_codes(text))


def _without_token(found: re.Match[str]) -> str:
    spelt = word = found[0]
    for _ in range(_MOST_DECODINGS):
        shown = word
        for length in _lengths:
            for start in range(len(word) - length + 1):
                if (token := word[start : start + length]) in _hidden:
                    shown = shown.replace(token, HIDDEN)
        if shown != word:
            return shown
        if _ENCODED not in word:
            break
        word = unquote(word)
    return spelt


class TokenFilter(logging.Filter):
    """Hides the tokens in the records of a log, such as a web server's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Hide the tokens in a record, and let it pass."""
        if isinstance(record.args, tuple):  # some formatters take them one by one
            record.args = tuple(map(_shown, record.args))
        else:  # a mapping with special behaviour, such as gunicorn's
            try:
                text = record.getMessage()
            except Exception:  # noqa: BLE001  # a log that cannot be written raises nowhere
                text = str(record.msg)
            record.msg, record.args = text, None
        if record.exc_info:  # as formatters write it
            text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            if (shown := without_tokens(text)) != text:
                # Some formatters write it anew, so the exception itself must not be there.
                record.exc_text, record.exc_info = shown, None
        for name, value in list(vars(record).items()):
            if name not in _WITHOUT:
                setattr(record, name, _shown(value))
        return True


def _shown(value: object) -> object:
    """Return a value, or its text with the tokens hidden if they are in it."""
    if value is None or isinstance(value, int | float):
        return value
    if type(value) is str:
        return without_tokens(value)
    try:
        texts = [str(value), repr(value)]  # %s writes the one, %r the other
    except Exception:  # noqa: BLE001  # a log that cannot be written raises nowhere
        return HIDDEN
    shown = list(map(without_tokens, texts))
    return value if shown == texts else shown[0]


_filter: Final = TokenFilter("")


def filter_logs(names: Iterable[str]) -> None:
    """Hide the tokens in the records of loggers.

    Raises:
        ConfigurationError: One is no logger's name.
    """
    for name in names:
        check_instance("hide_in's loggers", name, str, "names of loggers, each a str")
        logging.getLogger(name).addFilter(_filter)  # a filter is added once

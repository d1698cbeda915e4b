"""Tokens are random, compared in constant time, and hidden from logs."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from webhook_posts import OLD_TOKEN, PATH, TOKEN

from telecmi_async import Receiver
from telecmi_async.events.receiver import WEB_LOGS, new_token
from telecmi_async.events.receiver.receiver import intake_of

LOG = "telecmi_async.tests.access"


class Lines(logging.Handler):
    """Keeps log records as text, and all their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.all: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.lines.append(self.format(record))
        self.all.append(str(vars(record)))


@pytest.fixture
def lines() -> Any:
    """Records of a log from which a receiver hides its tokens."""
    logger = logging.getLogger(LOG)
    handler = Lines()
    logger.addHandler(handler)
    Receiver([TOKEN, OLD_TOKEN]).hide_in(LOG)
    yield handler
    logger.removeHandler(handler)
    logger.filters.clear()


class Atoms(dict[str, object]):
    """Log arguments like gunicorn's and hypercorn's: missing names give a dash."""

    def __getitem__(self, name: str) -> object:
        """Return a value, or a dash."""
        return super().__getitem__(name) if name in self else "-"


class Address:
    """A URL object like httpx's and aiohttp's, which is not a str."""

    def __str__(self) -> str:
        return f"https://example.com{PATH}"


def test_a_new_token_cannot_be_guessed() -> None:
    """A thousand new tokens differ, have 43 characters, and a receiver accepts them."""
    made = {new_token() for _ in range(1000)}

    assert len(made) == 1000
    assert {len(token) for token in made} == {43}
    assert Receiver(sorted(made)).counts.refused == 0


def test_every_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All tokens are compared every time, so that timing does not reveal a match."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, token: bytes) -> bool:
        compared.append((given, token))
        return given == token

    receiver = Receiver([TOKEN, OLD_TOKEN])
    monkeypatch.setattr(hmac, "compare_digest", compare)
    intake_of(receiver).check("POST", PATH, "", "")
    intake_of(receiver).check("POST", "/telecmi/wrong", "", "")

    assert compared == [
        (given, token)
        for given in (TOKEN.encode(), b"wrong")
        for token in (TOKEN.encode(), OLD_TOKEN.encode())
    ]


def test_a_token_shows_in_no_repr() -> None:
    """The repr of a receiver's tokens hides them."""
    receiver = Receiver(TOKEN)

    assert repr(receiver._tokens) == "Tokens(•••)"


@pytest.mark.parametrize(
    ("message", "args", "written"),
    [
        # uvicorn, whose formatter takes the arguments one by one.
        (
            '%s - "%s %s HTTP/%s" %d',
            ("203.0.113.7", "POST", f"{PATH}?order=42", "1.1", 204),
            '203.0.113.7 - "POST /telecmi/•••?order=42 HTTP/1.1" 204',
        ),
        # gunicorn and hypercorn.
        (
            '%(h)s "%(r)s" %({x-request-id}i)s',
            (Atoms(h="203.0.113.7", r=f"POST /telecmi/{OLD_TOKEN} HTTP/1.1"),),
            '203.0.113.7 "POST /telecmi/••• HTTP/1.1" -',
        ),
        # aiohttp, which logs a finished text; and others.
        (f'203.0.113.7 "POST {PATH} HTTP/1.1" 204', (), '203.0.113.7 "POST /telecmi/••• HTTP/1.1" 204'),
        ("%s took %.1f s of %s", (Address(), 0.5, None), "https://example.com/telecmi/••• took 0.5 s of None"),
        ("nothing to hide in %r", ([1],), "nothing to hide in [1]"),
    ],
)  # fmt: skip
def test_access_logs_show_no_token(
    lines: Lines, message: str, args: tuple[object, ...], written: str
) -> None:
    """Neither the text nor the extra attributes of a log record show a token."""
    path = {"first_request_line": f"POST {PATH} HTTP/1.1", "request": Address()}
    logging.getLogger(LOG).warning(message, *args, extra=path)

    assert lines.lines == [written]
    assert TOKEN not in lines.all[0]
    assert OLD_TOKEN not in lines.all[0]


def test_a_traceback_shows_no_token(lines: Lines) -> None:
    """The token is masked in a traceback, and `exc_info` still holds the exception."""
    try:
        int(f"no number: {PATH}")
    except ValueError:
        logging.getLogger(LOG).exception("failed")

    assert (
        "ValueError: invalid literal for int() with base 10: 'no number: /telecmi/•••'"
        in (lines.lines[0])
    )
    assert TOKEN not in lines.lines[0]
    assert "'exc_info': (<class 'ValueError'>, ValueError(" in lines.all[0]


def test_a_traceback_that_was_already_written_shows_no_token(lines: Lines) -> None:
    """The text of a traceback that an earlier handler wrote is kept, without the token."""
    written = {"exc_text": f"ValueError: as the first handler wrote it: {PATH}"}
    record = logging.LogRecord(
        LOG, logging.ERROR, "", 1, "failed", (), (KeyError, KeyError(), None)
    )
    vars(record).update(written)

    logging.getLogger(LOG).handle(record)

    assert lines.lines == ["failed\nValueError: as the first handler wrote it: /telecmi/•••"]


def test_without_names_the_known_servers_logs_are_meant() -> None:
    """Without names, `hide_in` covers the loggers of the known web servers."""
    loggers = [logging.getLogger(name) for name in WEB_LOGS]
    before = [list(logger.filters) for logger in loggers]
    try:
        Receiver(TOKEN).hide_in()
        added = [len(logger.filters) for logger in loggers]
    finally:
        for logger, filters in zip(loggers, before, strict=True):
            logger.filters[:] = filters

    assert added == [len(filters) + 1 for filters in before]
    assert isinstance(Atoms(), Mapping)

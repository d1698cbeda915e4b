"""Tokens are made at random, compared in constant time, and taken out of logs."""

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
    """Keeps what is logged, as text and with all that a formatter may use besides."""

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
    """What is written to a log from which a receiver's tokens are hidden."""
    logger = logging.getLogger(LOG)
    handler = Lines()
    logger.addHandler(handler)
    Receiver([TOKEN, OLD_TOKEN]).hide_in(LOG)
    yield handler
    logger.removeHandler(handler)
    logger.filters.clear()


class Atoms(dict[str, object]):
    """As gunicorn's and hypercorn's: it knows more names than it holds."""

    def __getitem__(self, name: str) -> object:
        """Return what is there, or a dash."""
        return super().__getitem__(name) if name in self else "-"


class Address:
    """As httpx's and aiohttp's: a URL that is no text."""

    def __str__(self) -> str:
        return f"https://example.com{PATH}"


def test_a_new_token_cannot_be_guessed() -> None:
    """It has 256 random bits, and is one that a receiver takes."""
    made = {new_token() for _ in range(1000)}

    assert len(made) == 1000
    assert {len(token) for token in made} == {43}
    assert Receiver(sorted(made)).counts.refused == 0


def test_every_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, whichever is right: no time tells how much of one was."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, token: bytes) -> bool:
        compared.append((given, token))
        return given == token

    receiver = Receiver([TOKEN, OLD_TOKEN])
    monkeypatch.setattr(hmac, "compare_digest", compare)
    intake_of(receiver).check("POST", PATH, {})
    intake_of(receiver).check("POST", "/telecmi/wrong", {})

    assert compared == [
        (given, token)
        for given in (TOKEN.encode(), b"wrong")
        for token in (TOKEN.encode(), OLD_TOKEN.encode())
    ]


def test_a_token_shows_in_no_repr() -> None:
    """Nor does anything that holds it."""
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
        # aiohttp, which writes a text; and others.
        (f'203.0.113.7 "POST {PATH} HTTP/1.1" 204', (), '203.0.113.7 "POST /telecmi/••• HTTP/1.1" 204'),
        ("%s took %.1f s of %s", (Address(), 0.5, None), "https://example.com/telecmi/••• took 0.5 s of None"),
        ("nothing to hide in %r", ([1],), "nothing to hide in [1]"),
    ],
)  # fmt: skip
def test_access_logs_show_no_token(
    lines: Lines, message: str, args: tuple[object, ...], written: str
) -> None:
    """Neither in the text nor in what is passed along for a formatter."""
    path = {"first_request_line": f"POST {PATH} HTTP/1.1", "request": Address()}
    logging.getLogger(LOG).warning(message, *args, extra=path)

    assert lines.lines == [written]
    assert TOKEN not in lines.all[0]
    assert OLD_TOKEN not in lines.all[0]


def test_a_traceback_shows_no_token(lines: Lines) -> None:
    """It stays a traceback, and what a handler is given of it stays an error."""
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


def test_without_names_the_known_servers_logs_are_meant() -> None:
    """Those of which it is known that they write down paths."""
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

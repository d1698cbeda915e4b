"""Tokens are random, compared in constant time, and hidden from logs."""

from __future__ import annotations

import gc
import hmac
import logging
import sys
from contextlib import nullcontext
from typing import Any
from urllib.parse import unquote

import pytest
from webhook_posts import OLD_TOKEN, PATH, TOKEN

from telecmi_async import ConfigurationError, Receiver
from telecmi_async._internal.secrets import Secret
from telecmi_async.events.receiver import WEB_LOGS, new_token, token_filter
from telecmi_async.events.receiver.receiver import intake_of
from telecmi_async.events.receiver.token_filter import without_tokens
from telecmi_async.events.receiver.tokens import Tokens, check_name, query_of

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
    receiver = Receiver([TOKEN, OLD_TOKEN])
    receiver.hide_in(LOG)
    yield handler
    del receiver
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


class Asked:
    """A request object whose text does not show its path, and whose repr does."""

    def __str__(self) -> str:
        return "a request"

    def __repr__(self) -> str:
        return f"<Asked POST {PATH}>"


class Broken:
    """An object that has no text."""

    def __str__(self) -> str:
        raise RuntimeError(TOKEN)


class Unshown(Exception):
    """An exception whose repr fails, and whose message does not."""

    def __repr__(self) -> str:
        raise RuntimeError(TOKEN)


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
    intake_of(receiver).open(PATH)
    intake_of(receiver).open("/telecmi/wrong")

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
        ("asked by %r", (Asked(),), "asked by 'a request'"),
        ("%d %% of %s", (7, Broken()), "7 % of •••"),
        # What cannot be formatted is written without its arguments, and raises nothing.
        (f"%(no)s of {PATH}", ({"path": PATH},), "%(no)s of /telecmi/•••"),
        # As a proxy may escape it.
        ("%s", (PATH.replace("~", "%7E").replace("-", "%2d"),), "/telecmi/•••"),
        ("%s", (f"/telecmi/%6F{OLD_TOKEN[1:]}",), "/telecmi/•••"),
        ("%s", ("/%6B".join(PATH.split("/k")),), "/telecmi/•••"),
        ("%s", (f"/100%25/{TOKEN[:-1]}",), f"/100%25/{TOKEN[:-1]}"),
    ],
)  # fmt: skip
def test_access_logs_show_no_token(
    lines: Lines, message: str, args: tuple[object, ...], written: str
) -> None:
    """Neither the text nor the extra attributes of a log record show a token."""
    path = {
        "first_request_line": f"POST {PATH} HTTP/1.1",
        "request": Address(),
        "asked": Asked(),
    }
    logging.getLogger(LOG).warning(message, *args, extra=path)

    assert lines.lines == [written]
    assert TOKEN not in lines.all[0]
    assert OLD_TOKEN not in lines.all[0]


def test_a_traceback_shows_no_token(lines: Lines) -> None:
    """The token is masked in a traceback, for formatters that write it anew as well."""
    for text in (f"no number: {PATH}", "no number"):
        try:
            int(text)
        except ValueError:
            logging.getLogger(LOG).exception("failed")

    assert (
        "ValueError: invalid literal for int() with base 10: 'no number: /telecmi/•••'"
        in (lines.lines[0])
    )
    assert TOKEN not in lines.lines[0] + lines.all[0]
    # An exception without a token stays, for tools that look at it.
    assert "'exc_info': (<class 'ValueError'>, ValueError(" in lines.all[1]


def test_a_traceback_that_was_already_written_shows_no_token(lines: Lines) -> None:
    """The text of a traceback that an earlier handler wrote is kept, without the token."""
    written = {"exc_text": f"ValueError: as the first handler wrote it: {PATH}"}
    record = logging.LogRecord(
        LOG, logging.ERROR, "", 1, "failed", (), (KeyError, KeyError(PATH), None)
    )
    vars(record).update(written)

    logging.getLogger(LOG).handle(record)

    assert lines.lines == ["failed\nValueError: as the first handler wrote it: /telecmi/•••"]


def test_an_exception_that_has_no_repr_is_written_all_the_same(lines: Lines) -> None:
    """Only the traceback's text matters; without a token, the exception stays as it is."""
    error = Unshown("no number")
    record = logging.LogRecord(LOG, logging.ERROR, "", 1, "failed", (), (Unshown, error, None))
    token_filter.TokenFilter().filter(record)

    assert record.exc_info == (Unshown, error, None)
    assert logging.Formatter().format(record).endswith("Unshown: no number")


@pytest.mark.parametrize("last", ["t", "~", "-", "_"])
@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("path", ["/{}", "/{}/", "/~/{}", "/menu~/{}//", "/~menu/{}?a=~"])
def test_a_token_ends_with_any_of_its_characters(path: str, escaped: bool, last: str) -> None:
    """Only slashes are cut off around the token and the name before it."""
    token = "t" * 21 + last
    written = f"{token[:-1]}%{ord(last):02X}" if escaped else token
    tokens = Tokens(Secret(token))

    assert tokens.match(path.format(written)) == path.partition("{")[0].strip("/")
    assert tokens.match(path.format(written[1:])) is None
    assert tokens.match(path.format(f"{written}~")) is None


def test_an_address_keeps_all_of_its_base_but_the_last_slashes() -> None:
    """A base such as a user's home, which ends with a tilde, stays as it is."""
    receiver = Receiver(TOKEN)

    assert receiver.url("https://example.com/~//") == f"https://example.com/~/{TOKEN}"
    assert receiver.url("https://example.com/~", "a") == f"https://example.com/~/a/{TOKEN}"


@pytest.mark.parametrize(
    "given",
    [[TOKEN, None], [7], [TOKEN.encode()], TOKEN.encode(), {TOKEN}, iter([TOKEN]), [[TOKEN]]],
)
def test_a_token_is_text(given: Any) -> None:
    """Whatever else is among the tokens is refused, in the words of a weak token."""
    with pytest.raises(ConfigurationError, match="token must be 22 to 256"):
        Receiver(given)


@pytest.mark.parametrize(
    ("length", "fits"), [(21, False), (22, True), (256, True), (257, False)]
)
def test_a_token_has_a_least_and_a_greatest_length(length: int, fits: bool) -> None:
    """A token has 22 to 256 characters: 22 random ones of base 64 hold 132 bits."""
    with nullcontext() if fits else pytest.raises(ConfigurationError):
        Receiver("a" * length)


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (64, True), (65, False)])
def test_a_name_has_a_greatest_length(length: int, fits: bool) -> None:
    """A name has 1 to 64 characters."""
    with nullcontext() if fits else pytest.raises(ConfigurationError):
        check_name("a" * length)


@pytest.mark.parametrize("name", [None, 7, b"menu", ["menu"]])
def test_a_name_is_text(name: Any) -> None:
    """A name that is no text is refused as any other that cannot be part of an address."""
    with pytest.raises(ConfigurationError, match="1 to 64 letters"):
        check_name(name)


@pytest.mark.parametrize(("count", "read"), [(0, 0), (1, 1), (50, 50), (51, 0)])
def test_a_long_query_is_not_read(count: int, read: int) -> None:
    """A query of up to 50 parameters is read; a longer one is as good as none."""
    query = "&".join(f"name{at}={at}" for at in range(count))

    assert query_of(f"{PATH}?{query}") == {f"name{at}": str(at) for at in range(read)}


def test_the_known_servers_logs_are_filtered_from_the_start() -> None:
    """Known servers' loggers hide the tokens of all receivers by one filter."""
    for _ in range(3):
        Receiver(TOKEN)
    loggers = [logging.getLogger(name) for name in (*WEB_LOGS, LOG)]
    before = [list(logger.filters) for logger in loggers]
    receivers = [Receiver(new_token()) for _ in range(100)]
    for receiver in receivers:
        receiver.hide_in()
        receiver.hide_in(LOG)

    assert [len(filters) for filters in before[:-1]] == [1] * len(WEB_LOGS)
    assert [logger.filters for logger in loggers[:-1]] == before[:-1]
    assert len(loggers[-1].filters) == 1
    loggers[-1].filters.clear()


@pytest.mark.parametrize(
    "name",
    [
        "aiohttp.access", "aiohttp.server", "asyncio", "django.request", "django.server",
        "granian.access", "gunicorn.access", "gunicorn.error", "hypercorn.access",
        "hypercorn.error", "uvicorn.access", "uvicorn.asgi", "uvicorn.error",
    ],
)  # fmt: skip
def test_each_known_server_logs_no_token(name: str) -> None:
    """The names are those by which the servers and frameworks log: a wrong one hides nothing."""
    receiver = Receiver(TOKEN)
    record = logging.LogRecord(name, logging.INFO, "", 1, "POST %s", (PATH,), None)

    assert logging.getLogger(name).filter(record)
    assert record.getMessage() == "POST /telecmi/•••"
    del receiver


@pytest.mark.parametrize("length", [22, 23, 42, 256])
def test_a_token_of_each_length_is_hidden(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """The shortest token is hidden as well, and a length that no token had before."""
    monkeypatch.setattr(token_filter, "_lengths", set[int]())
    token = "0123456789~" * 23 + "abc"
    receiver = Receiver(token[:length])

    assert without_tokens(f"POST /{token[:length]}?a=1") == "POST /•••?a=1"
    assert (
        without_tokens(f"POST /{token[: length - 1]}?a=1") == f"POST /{token[: length - 1]}?a=1"
    )
    del receiver


@pytest.mark.parametrize(("times", "hidden"), [(1, True), (9, True), (10, False)])
def test_a_token_is_decoded_up_to_nine_times(times: int, hidden: bool) -> None:
    """No server decodes a path more often, and a line of percent signs costs no more than that."""
    receiver = Receiver(TOKEN)
    spelt = encoded(TOKEN, times)

    assert without_tokens(spelt) == ("•••" if hidden else spelt)
    del receiver


def encoded(token: str, times: int) -> str:
    """Return a token with each letter percent-encoded so many times."""
    text = "".join(f"%{ord(letter):02x}" for letter in token)
    for _ in range(times - 1):
        text = text.replace("%", "%25")
    return text


@pytest.mark.parametrize(
    "spelt",
    [
        TOKEN.replace("~", "%7E"),
        TOKEN.replace("~", "%257e"),
        TOKEN.replace("~", "%252525257E"),
        encoded(TOKEN, 1),
        encoded(TOKEN, 2),
        TOKEN.replace("-", "%2D").replace("W", "%57"),
        f"\x1b[1m{TOKEN}\x1b[0m",
        f"x{TOKEN}y",
        f"https%3A%2F%2Fexample.com%2Ftelecmi%2F{TOKEN}%3Fv%3D1",
        repr(f"/\n{TOKEN}"),
        # nginx, when the application is down.
        (f'connect() failed (111: Connection refused) while connecting to upstream, request: '
        f'"POST /telecmi/{TOKEN.replace("~", "%7E")}?v=1 HTTP/1.1", upstream: '
        f'"http://127.0.0.1:8000/telecmi/{TOKEN}?v=1", host: "example.com"'),
    ],
)  # fmt: skip
def test_a_token_is_hidden_however_it_is_spelt(lines: Lines, spelt: str) -> None:
    """Percent-encoding, also of what is encoded, and letters around a token do not show it."""
    logging.getLogger(LOG).warning("%s", spelt)
    shown = lines.lines[0]
    for _ in range(6):
        shown = unquote(shown)

    assert TOKEN not in shown
    assert "•••" in shown


def test_what_is_no_token_is_written_as_it_is(lines: Lines) -> None:
    """Other long words stay, encoded ones too."""
    gc.collect()  # receivers of other tests, with tokens such as 22 times "a"
    words = [OLD_TOKEN[:-1], TOKEN.lower(), "%7E" * 30, "j" * 100_000, f"{TOKEN[:-1]}%25"]
    for word in words:
        logging.getLogger(LOG).warning("%s", word)

    assert lines.lines == words


def test_a_token_is_hidden_as_long_as_one_of_its_receivers_lives(lines: Lines) -> None:
    """Two receivers may have one token; it is forgotten with the last of them."""
    token = new_token()
    receivers = [Receiver(token), Receiver(token)]
    shown = []
    while receivers:
        logging.getLogger(LOG).warning("%s", token)
        shown.append(lines.lines.pop())
        receivers.pop()
        gc.collect()
    logging.getLogger(LOG).warning("%s", token)

    assert shown == ["•••", "•••"]
    assert lines.lines == [token]


def test_a_thousand_receivers_cost_a_log_line_no_more_than_one() -> None:
    """The work for a line does not depend on how many tokens are hidden: it looks each word up."""
    line = f'203.0.113.7 - "POST {PATH} HTTP/1.1" 204' * 20

    def steps() -> int:
        calls = 0

        def count(frame: object, event: str, _: object) -> None:
            nonlocal calls
            calls += event in {"call", "c_call"}

        sys.setprofile(count)
        try:
            without_tokens(line)
        finally:
            sys.setprofile(None)
        return calls

    one = Receiver(TOKEN)
    before = steps()
    many = [Receiver(new_token()) for _ in range(1_000)]

    assert steps() == before
    assert (len(many), one.counts.accepted) == (1_000, 0)


def test_tokens_are_changed_while_a_receiver_works() -> None:
    """New tokens are valid at once and the old ones not; invalid ones change nothing."""
    old, new = "o" * 43, "n" * 43
    receiver = Receiver(old)
    tokens = receiver._tokens
    receiver.change_token([new, old])
    both = [tokens.match(f"/{each}") is not None for each in (old, new)]
    receiver.change_token(new)

    with pytest.raises(ConfigurationError, match="token must be"):
        receiver.change_token("short")
    assert both == [True, True]
    assert [tokens.match(f"/{each}") is not None for each in (old, new)] == [False, True]
    assert receiver.url("https://example.com").endswith(new)
    assert old not in without_tokens(f"/{old}")

"""The secret is shown nowhere, and no full phone number where it may be kept or logged.

Secrets are planted, and searched for in everything that a program prints, logs, pickles or
sends to an error tracker: texts, reprs, notes, pickles, tracebacks with their locals.
"""

from __future__ import annotations

import asyncio
import copy
import gc
import html
import json
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import anyio
import attrs
import fault_server as fs
import httpx
import pytest
import sniffio
from bad_calls import BAD_CALLS

import telecmi_async
from telecmi_async import (
    Bridge,
    CallRequest,
    CallService,
    ConfigurationError,
    Hangup,
    Play,
    Pstn,
    RateLimit,
    RetryPolicy,
    TelecmiError,
    Timeouts,
    errors,
)
from telecmi_async._internal.secrets import Secret, log_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bad_calls import BadCall

    from telecmi_async import CallHandle

pytestmark = pytest.mark.anyio

# Made up: one in words, one in the shape of TeleCMI's with long runs of digits, and one of
# the characters that JSON and HTML write in other ways.
SECRETS = {
    "words": "cAnArY-kQzW-xPlM-vBnR",
    "digits": f"{'1a2b3c4d'}-5e6f-4711-8899-123456789012",
    "signs": "cAnA\"rY\\kQ/zW<xP>&lM'vBnR",
}
TO, FROM, BRIDGED = 19170000001, 19170000000, 442071838750
FLOW = [Play("welcome.wav"), Bridge([Pstn(BRIDGED)]), Hangup()]
ONCE = RetryPolicy(attempts=1)
# Fewer characters of a secret in a row than this are useless to an attacker.
FRAGMENT = 8


def plain(text: str) -> str:
    """Undo the ways in which a repr or JSON escapes quotes, slashes and backslashes."""
    return text.replace("\\", "")


def fragment(text: str, secret: str) -> str | None:
    """Return a fragment of a secret found in a text, or None."""
    text, secret = plain(text), plain(secret)
    pieces = (secret[n : n + FRAGMENT] for n in range(len(secret) - FRAGMENT + 1))
    return next((piece for piece in pieces if piece in text), None)


def number(text: str) -> str | None:
    """Return a full phone number found in a text, or None."""
    return next((str(n) for n in (TO, FROM, BRIDGED) if str(n) in text), None)


def locals_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """Yield what a traceback with locals shows of every frame outside the tests."""
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        todo += [one.__cause__, one.__context__]
        todo += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        yield "text", "".join(traceback.format_exception_only(one))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename != __file__:
                for name, value in frame.f_locals.items():
                    yield f"{frame.f_code.co_name}: {name}", tolerant_repr(value)


def tolerant_repr(value: object) -> str:
    """Return a repr, as error trackers do: some values, such as enormous ints, have none."""
    try:
        return repr(value)
    except (AttributeError, ValueError) as error:
        return f"<{error!r}>"


def shown(thing: object) -> dict[str, str]:
    """Return every text form of an object, without asking it for its secret."""
    views = {"str": str(thing), "repr": repr(thing), "format": f"{thing}"}
    if hasattr(thing, "_repr_html_"):
        views["html"] = html.unescape(thing._repr_html_())
    if isinstance(thing, BaseException):
        views["vars"] = repr(vars(thing))
        views["notes"] = repr(getattr(thing, "__notes__", ()))
        views["pickle"] = pickle.dumps(thing).decode("latin-1")
        again = pickle.loads(pickle.dumps(thing))
        assert repr(vars(again)) == repr(vars(thing))
    return views


def leaks(thing: object, secret: str, *, numbers: bool = True) -> list[str]:
    """Return every place where a secret, or a number, shows."""
    found = [
        f"{label}: {view[:300]}"
        for label, view in shown(thing).items()
        if fragment(view, secret) or (numbers and number(view))
    ]
    if isinstance(thing, BaseException):
        found += [
            f"locals of {label}: {value[:300]}"
            for label, value in locals_of(thing)
            if fragment(value, secret)
        ]
    return found


# Numbers that logging itself gives a record: their digits are the clock's or the system's, and
# may be eight of the secret's by chance.
LOGGINGS_OWN = {"created", "msecs", "process", "relativeCreated", "thread"}


def log_of(caplog: pytest.LogCaptureFixture) -> str:
    """Return all that was logged, at every level and by every library."""
    fields = (
        {k: v for k, v in vars(r).items() if k not in LOGGINGS_OWN} for r in caplog.records
    )
    return "\n".join([caplog.text, *map(repr, fields)])


def service_of(secret: str, **options: Any) -> CallService:
    """Return a service with a secret to hide."""
    given: dict[str, Any] = {"from_": FROM, "retry": ONCE, "seed": 1, **options}
    return CallService(2222226, secret, **given)


async def outcome(handle: CallHandle) -> TelecmiError | None:
    """Return the error that awaiting a call raises, with its traceback."""
    try:
        await handle
    except TelecmiError as error:
        return error
    return None


T = TypeVar("T")


# --- replies ------------------------------------------------------------------------------

Echo: TypeAlias = "Callable[[str, dict[str, Any]], dict[str, Any]]"

ESCAPED = "•escaped•"


def text_of(size: int) -> Echo:
    """Return a message in which the secret begins that many characters before it is cut."""
    return lambda secret, _: {"msg": "x" * (200 - size) + secret}


# What a reply in JSON may repeat: parts of the secret and of the request.
ECHOES: dict[str, Echo] = {
    "value": lambda secret, _: {"debug": secret},
    "message": lambda secret, _: {"msg": f"no app with secret {secret}, from {FROM} to {TO}"},
    "message under data": lambda secret, _: {"data": {"message": f"{secret}:{TO}"}},
    "message, cut early": text_of(9),
    "message, cut in the middle": text_of(12),
    "message, cut late": text_of(20),
    "message with a formatted number": lambda _, __: {
        "msg": "from 44 20 7183 8750 or +1 917-000-0001"
    },
    "key": lambda secret, _: {secret: 1, f"to-{TO}": 2},
    "nested": lambda secret, _: {"a": [{"b": [[secret, {secret: [secret]}]]}, TO, [FROM]]},
    "inside a text": lambda secret, _: {"debug": f"secret={secret}&to={TO}"},
    "JSON inside a text": lambda _, request: {"debug": json.dumps(request)},
    "among other scripts": lambda secret, _: {"msg": f"é日本{secret}😀", "é": f"ñ{secret}"},
    "every character escaped": lambda _, __: {"debug": ESCAPED, "msg": ESCAPED},
    "the whole request": lambda _, request: {"request": request},
    "a list of requests": lambda _, request: {"debug": [request, [request]]},
}
STATUSES = [200, 400, 420, 422, 429, 500, 501, 502, 503]


def on_this_loop(table: list[T], *some: T) -> list[T]:
    """Return a whole table on asyncio, and some of it on trio.

    A reply is read and hidden alike on both; what differs is the frames of an error.
    """
    return table if sniffio.current_async_library() == "asyncio" else list(some)


def echo(name: str, secret: str, status: int, code: int) -> Callable[[httpx.Request], Any]:
    """Return a handler that answers as TeleCMI and repeats the request."""

    def handle(request: httpx.Request) -> httpx.Response:
        sent = json.loads(request.content)
        body = {"code": code, **ECHOES[name](secret, sent)}
        if code == 200:
            body["request_id"] = "r" * 43
        escaped = "".join(f"\\u{ord(letter):04x}" for letter in secret)
        raw = json.dumps(body).replace(json.dumps(ESCAPED)[1:-1], escaped)
        return httpx.Response(status, content=raw.encode(), headers={"Retry-After": "1"})

    return handle


def call_leaks(handle: CallHandle, error: TelecmiError | None, secret: str) -> list[str]:
    """Return every place where a settled call shows a secret or a number."""
    found = leaks(handle, secret) + leaks(handle.attempts, secret)
    # The reply to an accepted call is the user's own data, numbers and all.
    found += leaks(handle.reply, secret, numbers=False)
    return found if error is None else found + leaks(error, secret)


@pytest.mark.parametrize("name", ECHOES)
@pytest.mark.parametrize("kind", SECRETS)
async def test_json_that_repeats_what_it_was_sent(
    kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No part of the request that a JSON reply repeats is kept or logged."""
    caplog.set_level(logging.DEBUG)
    secret = SECRETS[kind]
    found: dict[str, list[str]] = {}
    pairs = [(s, s) for s in STATUSES] + [(200, s) for s in STATUSES]
    for status, code in on_this_loop(pairs, (200, 200), (420, 420), (200, 500)):
        carrier = httpx.MockTransport(echo(name, secret, status, code))
        async with (
            httpx.AsyncClient(transport=carrier) as client,
            service_of(secret, http_client=client) as service,
        ):
            handle = service.make_call(to=TO, pcmo=FLOW)
            error = await outcome(handle)
        assert handle.accepted is (code == 200)
        if found_here := call_leaks(handle, error, secret):
            found[f"HTTP {status}, code {code}"] = found_here

    assert found == {}
    assert fragment(log_of(caplog), secret) is None
    assert number(log_of(caplog)) is None


PAGES: dict[str, Callable[[str], bytes]] = {
    "html": lambda secret: f"<p>{secret} {TO} 44 20 7183 8750 {BRIDGED}</p>".encode(),
    "attribute": lambda secret: f'<a href="/?secret={secret}&to={FROM}">'.encode(),
    "nothing but": lambda secret: secret.encode(),
    "many": lambda secret: (secret * 50).encode(),
    "cut early": lambda secret: b"x" * (2000 - 9) + secret.encode(),
    "cut in the middle": lambda secret: b"x" * (2000 - 12) + secret.encode(),
    "cut late": lambda secret: b"x" * (2000 - 20) + secret.encode(),
    "number cut": lambda _: b"x" * (2000 - 10) + str(TO).encode(),
    "other scripts": lambda secret: f"é日本{secret}😀{TO}".encode(),
    "not utf-8": lambda secret: b"\xff\xfe" + secret.encode() + b"\xe9",
    "utf-16": lambda secret: json.dumps({"debug": secret}).encode("utf-16"),
    "half a request": lambda secret: f'{{"secret":{json.dumps(secret)},"to":{TO},"pc'.encode(),
    "an array": lambda secret: json.dumps([secret, TO]).encode(),
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("kind", SECRETS)
async def test_pages_that_repeat_what_they_were_sent(
    kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A body that is not a JSON object is kept in part, without anything it repeats."""
    caplog.set_level(logging.DEBUG)
    secret = SECRETS[kind]
    found: dict[int, list[str]] = {}
    for status in on_this_loop([200, 302, 401, 404, 420, 500, 502], 200, 420, 502):
        carrier = httpx.MockTransport(
            lambda _, status=status: httpx.Response(status, content=PAGES[name](secret))
        )
        async with (
            httpx.AsyncClient(transport=carrier) as client,
            service_of(secret, http_client=client) as service,
        ):
            handle = service.make_call(to=TO, pcmo=FLOW)
            error = await outcome(handle)
        assert error is not None
        if found_here := call_leaks(handle, error, secret):
            found[status] = found_here

    assert found == {}
    assert fragment(log_of(caplog), secret) is None
    assert number(log_of(caplog)) is None


@pytest.mark.parametrize("kind", SECRETS)
async def test_an_accepted_call_whose_reply_is_in_utf_16(kind: str) -> None:
    """The secret is removed from a reply in any text encoding."""
    secret = SECRETS[kind]
    body = json.dumps({"code": 200, "request_id": "r" * 43, "debug": secret}).encode("utf-16")
    carrier = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with (
        httpx.AsyncClient(transport=carrier) as client,
        service_of(secret, http_client=client) as service,
    ):
        handle = await service.make_call(to=TO, pcmo=FLOW)

    assert call_leaks(handle, None, secret) == []


HTTPX_ERRORS = [
    value
    for value in vars(httpx).values()
    if isinstance(value, type) and issubclass(value, Exception)
]


@pytest.mark.parametrize("kind", SECRETS)
async def test_exceptions_that_quote_what_was_sent(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Our error neither repeats the HTTP client's exception nor is chained to it."""
    caplog.set_level(logging.DEBUG)
    secret = SECRETS[kind]
    found = {}
    for made in [*HTTPX_ERRORS, RuntimeError, OSError, KeyError]:

        def handle(request: httpx.Request, made: type[Exception] = made) -> httpx.Response:
            text = request.content.decode() + secret
            raised = made.__new__(made, text)
            raised.add_note(text)
            raise raised

        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client,
            service_of(secret, http_client=client) as service,
        ):
            call = service.make_call(to=TO, pcmo=FLOW)
            error = await outcome(call)
        assert error is not None
        assert error.__cause__ is error.__context__ is None
        if found_here := call_leaks(call, error, secret):
            found[made.__name__] = found_here

    assert found == {}
    assert fragment(log_of(caplog), secret) is None
    assert number(log_of(caplog)) is None


# --- real bytes and the logs of every library ---------------------------------------------


@pytest.mark.real_clock
@pytest.mark.parametrize("kind", SECRETS)
@pytest.mark.parametrize("status", ["200 OK", "420 No", "502 Bad Gateway"])
async def test_the_logs_of_a_call_over_real_bytes(
    status: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """DEBUG logs of httpx, httpcore, asyncio and this package show no secret or number."""
    caplog.set_level(logging.DEBUG)
    secret = SECRETS[kind]
    body = json.dumps({"code": int(status[:3]), "request_id": "r" * 43, "debug": secret})
    server = fs.FaultServer(fs.answering(fs.reply(body.encode(), status=status)))
    async with (
        server.running(),
        httpx.AsyncClient() as client,
        service_of(secret, base_url=server.url, http_client=client) as service,
    ):
        handle = service.make_call(to=TO, pcmo=FLOW)
        error = await outcome(handle)

    assert {"httpx", "httpcore.http11", "telecmi_async"} <= {r.name for r in caplog.records}
    assert call_leaks(handle, error, secret) == []
    assert fragment(log_of(caplog), secret) is None
    assert number(log_of(caplog)) is None


@pytest.mark.real_clock
@pytest.mark.parametrize("where", ["header's value", "header's name", "reason", "Retry-After"])
async def test_headers_that_repeat_what_was_sent(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Headers show no secret either; only httpcore's own log of them is beyond our control."""
    caplog.set_level(logging.DEBUG, logger="telecmi_async")
    secret = SECRETS["words"]
    line = {
        "header's value": f"X-Debug: {secret} {TO}\r\n",
        "header's name": f"{secret}-{TO}: 1\r\n",
        "reason": "",
        "Retry-After": f"Retry-After: {secret}{TO}\r\n",
    }[where]
    status = f"420 {secret} {TO}" if where == "reason" else "420 No"
    server = fs.FaultServer(fs.answering(fs.reply(b"", status=status, headers=line)))
    async with server.running(), service_of(secret, base_url=server.url) as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        error = await outcome(handle)

    assert error is not None
    assert call_leaks(handle, error, secret) == []
    assert fragment(log_of(caplog), secret) is None
    assert number(log_of(caplog)) is None


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"debug": True})], ids=["asyncio"])
@pytest.mark.real_clock
async def test_asyncios_debug_mode(caplog: pytest.LogCaptureFixture) -> None:
    """In debug mode asyncio logs callbacks with their arguments: those show no secret."""
    caplog.set_level(logging.DEBUG)
    secret = SECRETS["words"]
    async with service_of(secret, base_url=f"http://127.0.0.1:{fs.closed_port()}") as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        tasks = [repr(task) for task in asyncio.all_tasks()]
        error = await outcome(handle)

    assert error is not None
    assert len(tasks) >= 2
    assert fragment("".join(tasks) + log_of(caplog), secret) is None
    assert number("".join(tasks) + log_of(caplog)) is None


async def test_a_failure_that_nobody_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    """The failure is logged once and shows neither secret nor numbers."""
    secret = SECRETS["digits"]
    carrier = httpx.MockTransport(echo("message", secret, 420, 420))
    async with (
        httpx.AsyncClient(transport=carrier) as client,
        service_of(secret, http_client=client) as service,
    ):
        service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(1)
    gc.collect()

    assert "its handle was never checked" in caplog.text
    assert fragment(log_of(caplog), secret) is None
    assert number(log_of(caplog)) is None


# --- invalid arguments --------------------------------------------------------------------

WRONG: dict[str, Callable[[str], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "no app id": lambda secret: ((None, secret), {}),
    "app id in words": lambda secret: (("my app", secret), {}),
    "app id of v3": lambda secret: (
        ("-".join(["0" * 8, *["0" * 4] * 3, "0" * 12]), secret),
        {},
    ),
    "negative app id": lambda secret: ((-1, secret), {}),
    "bool app id": lambda secret: ((True, secret), {}),
    "secret with a line end": lambda secret: ((2222226, f"{secret}\n"), {}),
    "secret with a blank": lambda secret: ((2222226, f"{secret} x"), {}),
    "secret with a label": lambda secret: ((2222226, f"secret: {secret}"), {}),
    "secret with an accent": lambda secret: ((2222226, f"é{secret}"), {}),
    "secret in bytes": lambda secret: ((2222226, secret.encode()), {}),
    "secret in a list": lambda secret: ((2222226, [secret]), {}),
    "secret in a dict": lambda secret: ((2222226, {"secret": secret}), {}),
    "secret in a Secret": lambda secret: ((2222226, Secret(f"{secret}\t")), {}),
    "from_": lambda secret: ((2222226, secret), {"from_": "0917"}),
    "from_ a float": lambda secret: ((2222226, secret), {"from_": 1.5}),
    "region": lambda secret: ((2222226, secret), {"region": "europe"}),
    "base_url over http": lambda secret: (
        (2222226, secret),
        {"base_url": "http://example.com"},
    ),
    "base_url no url": lambda secret: ((2222226, secret), {"base_url": 5}),
    "timeout": lambda secret: ((2222226, secret), {"timeout": -1}),
    "retry": lambda secret: ((2222226, secret), {"retry": 3}),
    "rate": lambda secret: ((2222226, secret), {"rate": 10}),
    "client": lambda secret: ((2222226, secret), {"http_client": "x"}),
}
# A secret passed as another argument shows in that argument's frames, but in no message.
MISPLACED: dict[str, Callable[[str], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "swapped": lambda secret: ((secret, 2222226), {}),
    "as app id": lambda secret: ((secret, secret), {}),
    "as from_": lambda secret: ((2222226, secret), {"from_": secret}),
    "as base_url": lambda secret: ((2222226, secret), {"base_url": secret}),
    "in base_url": lambda secret: ((2222226, secret), {"base_url": f"https://u:{secret}@x.y"}),
    "in base_url's query": lambda secret: (
        (2222226, "s"),
        {"base_url": f"https://x/?s={secret}"},
    ),
    "as retry": lambda secret: ((2222226, secret), {"retry": secret}),
    "as rate": lambda secret: ((2222226, secret), {"rate": secret}),
    "as client": lambda secret: ((2222226, secret), {"http_client": secret}),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("kind", SECRETS)
def test_a_service_that_cannot_be_made(kind: str, name: str) -> None:
    """The error of a wrong argument and its traceback with locals do not show the secret."""
    args, options = WRONG[name](SECRETS[kind])
    with pytest.raises(TelecmiError) as caught:
        CallService(*args, **options)

    assert leaks(caught.value, SECRETS[kind]) == []


@pytest.mark.parametrize("name", MISPLACED)
@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_in_the_wrong_place(kind: str, name: str) -> None:
    """An error does not repeat a secret that was passed as another argument."""
    args, options = MISPLACED[name](SECRETS[kind])
    with pytest.raises(TelecmiError) as caught:
        CallService(*args, **options)

    assert [
        view for view in shown(caught.value).values() if fragment(view, SECRETS[kind])
    ] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"TELECMI_APP_ID": "mine"},
        {"TELECMI_APP_ID": ""},
        {"TELECMI_FROM": "0917"},
        {"TELECMI_BASE_URL": "http://example.com"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", SECRETS)
def test_an_environment_that_cannot_work(
    kind: str, wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`from_env` shows no secret that it read, in errors or in their frames."""
    for variable, value in {
        "TELECMI_APP_ID": "2222226",
        "TELECMI_SECRET": SECRETS[kind],
        **wrong,
    }.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(TelecmiError) as caught:
        CallService.from_env()

    assert leaks(caught.value, SECRETS[kind]) == []


@pytest.mark.parametrize("kind", SECRETS)
def test_an_environment_with_a_secret_that_cannot_be_right(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret with a blank in the environment is refused without being shown."""
    monkeypatch.setenv("TELECMI_APP_ID", "2222226")
    monkeypatch.setenv("TELECMI_SECRET", f"{SECRETS[kind]} {SECRETS[kind]}")
    with pytest.raises(TelecmiError) as caught:
        CallService.from_env()

    assert leaks(caught.value, SECRETS[kind]) == []


def _fields(bad: BadCall) -> dict[str, Any]:
    """Return a bad call's arguments; some cannot even be constructed."""
    return {"to": TO, "pcmo": FLOW, **bad.fields()}


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)  # raised at once
@pytest.mark.parametrize("bad", BAD_CALLS, ids=[bad.name for bad in BAD_CALLS])
async def test_a_call_that_cannot_be_made(bad: BadCall) -> None:
    """The error of a bad call shows neither the service's secret nor the call's numbers."""
    secret = SECRETS["words"]
    async with service_of(secret) as service:
        with pytest.raises(TelecmiError) as caught:
            service.make_call(**_fields(bad))

    assert leaks(caught.value, secret) == []


@pytest.mark.parametrize("kind", SECRETS)
async def test_a_call_with_options_that_cannot_work(kind: str) -> None:
    """Errors of a call's policy or time-out, or of a closed service, show no secret."""
    secret = SECRETS[kind]
    errors: list[TelecmiError] = []
    async with service_of(secret, from_=None) as service:
        wrong: list[dict[str, Any]] = [
            {},
            {"retry": 3},
            {"timeout": -1},
            {"from_": TO, "region": 1},
        ]
        for options in wrong:
            with pytest.raises(TelecmiError) as caught:
                service.make_call(to=TO, pcmo=FLOW, **options)
            errors.append(caught.value)
        handle = service.make_call(to=TO, from_=FROM, pcmo=FLOW)
        with pytest.raises(TelecmiError) as caught:
            _ = handle.request_id
        errors.append(caught.value)
        handle.cancel()
        cancelled = await outcome(handle)
    with pytest.raises(TelecmiError) as caught:
        service.make_call(to=TO, from_=FROM, pcmo=FLOW)
    errors.append(caught.value)

    assert cancelled is not None
    assert [leak for error in [*errors, cancelled] for leak in leaks(error, secret)] == []


def test_a_call_outside_any_event_loop() -> None:
    """The error about a missing event loop shows no secret and no number."""
    service = service_of(SECRETS["words"])
    with pytest.raises(TelecmiError) as caught:
        service.make_call(to=TO, pcmo=FLOW)

    assert leaks(caught.value, SECRETS["words"]) == []


# --- kept objects -------------------------------------------------------------------------


def reachable(root: object) -> list[object]:
    """Return every object of this package that is reachable from one."""
    seen: dict[int, object] = {}
    todo = [root]
    while todo:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        module = type(thing).__module__
        if not module.startswith("telecmi_async") and not isinstance(
            thing, dict | list | tuple | set | frozenset
        ):
            continue
        seen[id(thing)] = thing
        todo += gc.get_referents(thing)
    return [thing for thing in seen.values() if type(thing).__module__.startswith("telecmi")]


async def test_everything_a_service_is_made_of() -> None:
    """No object that is reachable from a service or a handle shows a secret or a number."""
    secret = SECRETS["words"]
    carrier = httpx.MockTransport(echo("the whole request", secret, 420, 420))
    async with (
        httpx.AsyncClient(transport=carrier) as client,
        service_of(secret, http_client=client) as service,
    ):
        handle = service.make_call(to=TO, pcmo=FLOW)
        while_running = reachable(service) + reachable(handle)
        found = [leak for thing in while_running for leak in leaks(thing, secret)]
        await outcome(handle)
        found += [leak for thing in reachable(handle) for leak in leaks(thing, secret)]

    assert {"CallService", "Credentials", "Secret", "Call", "CallHandle", "CallRequest"} <= {
        type(thing).__name__ for thing in while_running
    }
    assert found == []


@pytest.mark.parametrize("copier", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_service_is_not_copied(copier: Callable[[object], object]) -> None:
    """Pickling and deep copying a service are refused; a shallow copy shares the secret."""
    service = service_of(SECRETS["words"])
    try:
        made = copier(service)
    except TypeError as error:
        made = error

    refused = isinstance(made, TypeError)
    found = leaks(made, SECRETS["words"])
    del made  # deletes the half-made copy, which must not warn
    gc.collect()

    assert refused is (copier is not copy.copy)
    assert found == []


@pytest.mark.anyio
@pytest.mark.parametrize("copier", [pickle.dumps, copy.deepcopy])
async def test_a_handle_is_not_copied(copier: Callable[[object], object]) -> None:
    """Pickling and deep copying a handle are refused, and no half-made call is left to warn."""
    async with service_of(SECRETS["words"]) as service:
        handle = service.make_call(to=TO, from_=FROM, pcmo=[{"action": "hangup"}])
        with pytest.raises(TypeError, match="a call is neither copied nor pickled"):
            copier(handle)
        gc.collect()
        handle.cancel()


def test_values_show_no_full_number() -> None:
    """The reprs of requests and policies show no full number."""
    request = CallRequest(to=TO, from_=FROM, pcmo=FLOW, extra_params={"phone": str(BRIDGED)})
    values = [request, *request.pcmo, RetryPolicy(), RateLimit(10), Timeouts()]

    assert [leak for value in values for leak in leaks(value, SECRETS["words"])] == []
    assert all(attrs.has(type(value)) for value in values)


async def test_a_stream_shows_nothing() -> None:
    """The reprs of accepted, refused and invalid rows show no secret and no number."""
    secret = SECRETS["digits"]
    carrier = httpx.MockTransport(echo("message", secret, 420, 420))
    rows: list[dict[str, Any]] = [
        {"to": TO, "pcmo": FLOW},
        {"to": f"0{TO}", "pcmo": FLOW},
        {"to": TO, "pcmo": FLOW, "secret": secret},
        {"to": TO, "pcmo": FLOW, str(TO): 1},
    ]
    found: list[str] = []
    async with (
        httpx.AsyncClient(transport=carrier) as client,
        service_of(secret, http_client=client) as service,
    ):
        calls = service.make_calls(rows)
        async for handle in calls:
            found += call_leaks(handle, await outcome(handle), secret)
        found += leaks(calls, secret) + leaks(calls.progress, secret)

    assert found == []


def test_the_log_of_a_group_names_what_is_in_it(caplog: pytest.LogCaptureFixture) -> None:
    """What failed in a task group is logged by type and place, without its text."""

    def fail(error: Exception) -> None:
        raise error

    try:
        try:
            fail(KeyError("cAnArY"))
        except KeyError as error:
            raise ExceptionGroup("cAnArY", [error, ValueError("cAnArY")]) from None
    except ExceptionGroup as group:
        log_failure(group, "a task failed")

    assert "raise error\nKeyError\nValueError" in caplog.text
    assert "ExceptionGroup\n" in caplog.text
    assert "cAnArY" not in caplog.text.replace('"cAnArY"', "")


def test_the_log_says_what_is_set_up_wrongly(caplog: pytest.LogCaptureFixture) -> None:
    """Errors of the package that quote no call keep their texts; numbers are masked."""
    log_failure(ConfigurationError(f"install the extra voice, {TO}"), "a task failed")

    assert "ConfigurationError: install the extra voice, •••••••0001" in caplog.text


def test_every_error_class_can_be_shown() -> None:
    """Errors made with a masked number stay masked after pickling."""
    made = [
        getattr(telecmi_async, name)
        for name in telecmi_async.__all__
        if isinstance(getattr(telecmi_async, name), type)
        and issubclass(getattr(telecmi_async, name), TelecmiError)
    ]
    found = []
    for kind in made:
        error = kind.__new__(kind, "x")
        found += leaks(error, SECRETS["words"])

    assert sorted(kind.__name__ for kind in made) == errors.__all__
    assert found == []

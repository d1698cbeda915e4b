"""Seams: what users hand in is checked when it is handed in, with an error that names it."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Protocol, Unpack
from unittest.mock import AsyncMock, MagicMock

import pytest
from memory_ledger import MemoryLedger

from telecmi_async import (
    CallService,
    CdrPoller,
    ConfigurationError,
    RateLimit,
    Receiver,
    Speak,
)
from telecmi_async._internal import seams
from telecmi_async.campaigns import Campaign, CampaignSettings, CampaignTimeouts
from telecmi_async.events.store import EventStore, MemoryStore
from telecmi_async.ledger import SqliteLedger
from telecmi_async.pacing import RedisLimits
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telecmi_async.service import Options

TOKEN = "t" * 43
URL = "redis://:a-password-of-its-own@localhost:6379/0"
SETTINGS = CampaignSettings(flow=[Speak("Hello.")], from_=19170000000)

make: Any = functools.partial(CallService, app_id=1, secret="a-secret")


async def asynchronous(_: object) -> None:
    """Do nothing, later."""


def generator(_: object) -> Iterator[None]:
    """Do nothing when it is called."""
    yield


def without_arguments() -> None:
    """Take nothing."""


class Sharing:
    """A store that does not say whether it is shared."""

    put = get = claim = follow = asynchronous


async def campaign(
    *, attach: bool = False, run: bool = False, load: Any = None, **given: Any
) -> None:
    """Make a campaign with some arguments of its own, and use it."""
    run_with = {name: given.pop(name) for name in ("on_progress",) if name in given}
    async with MemoryLedger() as ledger, Simulator().service(from_=19170000000) as service:
        parts: dict[str, Any] = {
            "ledger": ledger,
            "service": service,
            "name": "spring",
            "settings": SETTINGS,
        }
        parts |= given
        if attach:
            del parts["settings"]
            await Campaign.attach(**parts)
            return
        made = Campaign(**parts)
        if load is not None:
            await made.load(load)
        if run:
            await made.run(**run_with)


FAULTS: list[tuple[str, str, Callable[[Any], object], tuple[object, ...]]] = [
    ("store", "RedisStore", lambda given: Receiver(TOKEN, store=given), (URL, 7, MemoryStore)),
    ("store", "no attribute shared", lambda given: Receiver(TOKEN, store=given), (Sharing(),)),
    ("events", "a Receiver", lambda given: make(events=given), (URL, 7, Receiver, CdrPoller)),
    ("http_client", "httpx.AsyncClient", lambda given: make(http_client=given), (URL, 7)),
    ("ssl_context", "SSLContext", lambda given: make(ssl_context=given), (URL, True)),
    ("reference", "True, False or None", lambda given: make(reference=given), (URL, 1)),
    ("rate", "a RateLimit", lambda given: make(rate=given), (10, RateLimit)),
    ("retry", "a RetryPolicy", lambda given: make(retry=given), (3,)),
    ("on_event", "of one event", lambda given: Receiver(TOKEN).on_event(given), (None, 7, without_arguments, generator)),
    ("on_input", "of one event", lambda given: Receiver(TOKEN).on_input(given), (None, without_arguments)),
    ("on_input", "of one event", Receiver(TOKEN).on_input("menu"), (7, generator)),
    ("on_inbound", "of one event", lambda given: Receiver(TOKEN).on_inbound(given), ("x", without_arguments)),
    ("path", "a path", SqliteLedger, (None, 7, b"ledger.db")),
    ("clock", "seconds since 1970", lambda given: SqliteLedger("l.db", clock=given), ("x", 7, float)),
    ("ledger", "SqliteLedger", lambda given: campaign(ledger=given), (URL, 7, SqliteLedger)),
    ("ledger", "SqliteLedger", lambda given: campaign(ledger=given, attach=True), (URL, None)),
    ("service", "a CallService", lambda given: campaign(service=given), (URL, CallService)),
    ("settings", "a CampaignSettings", lambda given: campaign(settings=given), ({}, 7)),
    ("limits", "RedisLimits", lambda given: campaign(limits=given), (URL, 7, RedisLimits)),
    ("timeouts", "a CampaignTimeouts", lambda given: campaign(timeouts=given), (3, CampaignTimeouts)),
    ("without_events", "True or False", lambda given: campaign(without_events=given), ("yes", 1)),
    ("contacts", "an iterable of NewContact", lambda given: campaign(load=given), (7,)),
    ("on_progress", "of one CampaignState", lambda given: campaign(run=True, on_progress=given), ("x", asynchronous, functools.partial(asynchronous), without_arguments)),
    ("limits", "a ConnectionLimits", lambda given: Simulator().serve(limits=given), ("x", 7)),
]  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("name", "right", "hand_in", "given"),
    [
        pytest.param(name, right, hand_in, given, id=f"{name}={seams.kind_of(given)}-{number}")
        for number, (name, right, hand_in, values) in enumerate(FAULTS)
        for given in values
    ],
)
async def test_what_cannot_work_is_refused_by_name(
    name: str, right: str, hand_in: Callable[[Any], Any], given: object
) -> None:
    """The error names the parameter and what would be right, and shows no password."""
    with pytest.raises(ConfigurationError, match=name) as caught:
        result = hand_in(given)
        if asyncio.iscoroutine(result):
            await result

    assert right in str(caught.value)
    assert "password" not in str(caught.value)


@pytest.mark.anyio
async def test_what_works_in_its_own_way_is_taken() -> None:
    """Mocks, partials, methods, objects that can be called and proxies pass."""
    seen: list[object] = []

    class Proxy:
        """Passes all on, and has no method of its own."""

        def __getattr__(self, name: str) -> object:
            return getattr(MemoryStore(), name)

    class Function:
        async def __call__(self, event: object, more: int = 1) -> None: ...

    proxy: Any = Proxy()
    receiver = Receiver(TOKEN, store=proxy)
    for handler in (
        seen.append, MagicMock(), AsyncMock(), Function(), asynchronous, print,
        functools.partial(lambda two, one: None, 2), lambda *events: None, type,
    ):  # fmt: skip
        receiver.on_event(handler)

    assert receiver.store is proxy
    seams.check_function("on_progress", MagicMock(), "one Progress", plain=True)


def test_a_protocol_is_checked_with_all_it_inherits() -> None:
    """What is missing is found in the protocol itself and in those it extends."""

    class Base(Protocol):
        size: int

        def one(self) -> None: ...

    class More(Base, Protocol):
        def two(self) -> None: ...

        def _not_asked_for(self) -> None: ...

    class One:
        size = 1

        def one(self) -> None: ...

    class Both(One):
        def two(self) -> None: ...

    class Sizeless(Both):
        @property
        def size(self) -> int:  # type: ignore[override]  # it fails, as one that was not set
            raise AttributeError

    assert seams.missing_of(object(), More) == "method one"
    assert seams.missing_of(One(), More) == "method two"
    assert seams.missing_of(Both(), More) == ""
    assert seams.missing_of(Sizeless(), More) == "attribute size"
    assert seams.missing_of(MemoryStore(), EventStore) == ""


async def use_options(**options: Unpack[Options]) -> CallService:
    """Make a service of one's own settings and others': type checkers accept it."""
    service = CallService.from_env(from_=19170000000, **options)
    CallService(app_id=1, secret="a-secret", from_=19170000000, **options)
    return service


@pytest.mark.anyio
async def test_options_may_be_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function sets the caller id, and passes the other options on."""
    monkeypatch.setenv("TELECMI_APP_ID", "7")
    monkeypatch.setenv("TELECMI_SECRET", "a-secret")
    monkeypatch.setenv("TELECMI_FROM", "19170000009")
    options: Options = {"rate": RateLimit(5), "region": "india"}

    service = await use_options(**options)

    assert service._settings.from_ == 19170000000
    assert service._settings.rate == RateLimit(5)

"""A fake event store, and payloads for it."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

from telecmi_async import StoreError
from telecmi_async._internal.secrets import Secret
from telecmi_async._internal.telecmi import REFERENCE_FIELD
from telecmi_async.events import dedupe_key, parse_event
from telecmi_async.events.reference import References
from telecmi_async.events.store import StoredEvent, event_ids

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection

    from fake_telecmi import Answer, FakeTelecmi

    from telecmi_async.events.store import Listener

#: The references of the service that `fake_telecmi.FakeTelecmi` makes.
REFERENCES = References(Secret("a-secret"))
TALK = 7


def payload(
    status: str, request_id: str | None, *, leg: str = "a", **more: Any
) -> dict[str, Any]:
    """Return a payload of a call that TeleCMI placed."""
    ids = {} if request_id is None else {"request_id": request_id}
    return (
        {"leg": leg, "status": status, "direction": "outbound", "cmiuuid": f"leg-{leg}"}
        | ids
        | more
    )


def record(
    request_id: str | None, *, leg: str = "a", answered: bool = True, **more: Any
) -> dict[str, Any]:
    """Return a call detail record."""
    times = {"duration": TALK, "answer_time": 1000, "end_time": 1000 + TALK}
    fields = times if answered else {"duration": 0}
    status = "answered" if answered else "missed"
    return payload(status, request_id, leg=leg, type="cdr", call_rate="0.5", **fields, **more)


def signed(reference: str) -> dict[str, Any]:
    """Return the ``extra_params`` that contain a call's reference."""
    return {"extra_params": {REFERENCE_FIELD: REFERENCES.sign(reference)}}


def row(*, leg: str = "a", answered: bool = True, **more: Any) -> dict[str, Any]:
    """Return a leg's record as a look-up returns it."""
    status = "answered" if answered else "missed"
    return {
        "leg": leg,
        "status": status,
        "duration": TALK if answered else 0,
        "rate": 0.5,
        "time": 1_700_000_000_000,
        "direction": "outbound",
    } | more


def found(*rows: dict[str, Any]) -> httpx.Response:
    """Return TeleCMI's reply to a look-up."""
    return httpx.Response(200, json={"count": len(rows), "cdr": list(rows), "code": 200})


def nothing_yet() -> httpx.Response:
    """Return TeleCMI's reply to a look-up of a call that is not over."""
    return httpx.Response(200, json={"code": 404})


def answer_others(
    telecmi: FakeTelecmi, answer: Callable[[int, dict[str, Any]], Answer]
) -> None:
    """Make a fake answer requests that place no call, by their index and body."""
    place = telecmi.script
    count = 0

    def script(number: int) -> Answer:
        nonlocal count
        if telecmi.urls[number].endswith("pcmo_make_call"):
            return place(number)
        count += 1
        return answer(count - 1, telecmi.requests[-1])

    telecmi.script = script


class FakeStore:
    """Passes every event, also a repeat, to its listeners at once, and keeps it."""

    shared = False

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.kept: list[StoredEvent] = []
        self.claimed: list[str] = []
        self.gets = 0
        self.broken = False
        self.foreign: Exception | None = None

    async def lay(self, *payloads: dict[str, Any], matched: bool = True) -> None:
        """Put events into the store as a receiver does."""
        for data in payloads:
            event = parse_event(data)
            ids = event_ids(event, REFERENCES.find(event))
            key = dedupe_key(event) or f"unique {len(self.kept)}"
            await self.put(
                StoredEvent(
                    event, key, ids, matched=matched, payload=json.dumps(event.raw).encode()
                )
            )

    async def put(self, stored: StoredEvent) -> bool:
        """Keep an event and pass it to the listeners."""
        self.kept.append(stored)
        for listener in self.listeners:
            if listener.wants(stored.ids):
                listener.take(stored)
        return True

    async def get(self, ids: Collection[str]) -> list[StoredEvent]:
        """Return the events with these ids."""
        self.gets += 1
        if self.broken:
            raise StoreError("the fake_store broke")
        return [stored for stored in self.kept if set(ids) & set(stored.ids)]

    async def claim(self, key: str) -> bool:
        """Return whether it is the first claim."""
        if self.broken:
            raise StoreError("the fake_store broke")
        self.claimed.append(key)
        return self.claimed.count(key) == 1

    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        """Pass events to a listener."""
        if self.foreign is not None:
            raise self.foreign
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)

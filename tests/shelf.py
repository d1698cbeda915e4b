"""A store of events for tests, and the events that are put on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from telecmi_async import StoreError
from telecmi_async.credentials import Secret
from telecmi_async.events import dedupe_key, parse_event
from telecmi_async.reference import FIELD, References
from telecmi_async.store import FiledEvent, names_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from telecmi_async.store import Listener

#: The references of the service that `fake_telecmi.FakeTelecmi` makes.
REFERENCES = References(Secret("a-secret"))
TALK = 7


def payload(
    status: str, request_id: str | None, *, leg: str = "a", **more: Any
) -> dict[str, Any]:
    """What TeleCMI sends of a call that it placed."""
    ids = {} if request_id is None else {"request_id": request_id}
    return (
        {"leg": leg, "status": status, "direction": "outbound", "cmiuuid": f"leg-{leg}"}
        | ids
        | more
    )


def record(
    request_id: str | None, *, leg: str = "a", answered: bool = True, **more: Any
) -> dict[str, Any]:
    """A call detail record."""
    times = {"duration": TALK, "answer_time": 1000, "end_time": 1000 + TALK}
    fields = times if answered else {"duration": 0}
    status = "answered" if answered else "missed"
    return payload(status, request_id, leg=leg, type="cdr", call_rate="0.5", **fields, **more)


def signed(reference: str) -> dict[str, Any]:
    """The ``extra_params`` in which a call's reference comes back."""
    return {"extra_params": {FIELD: REFERENCES.sign(reference)}}


class Shelf:
    """Hands events on at once to whoever wants them, and keeps the others."""

    shared = False

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.kept: list[FiledEvent] = []
        self.claimed: list[str] = []
        self.gets = 0
        self.broken = False

    async def lay(self, *payloads: dict[str, Any], ours: bool = True) -> None:
        """Put events on it as a receiver would."""
        for data in payloads:
            event = parse_event(data)
            names = names_of(event, REFERENCES.find(event))
            key = dedupe_key(event) or f"unique {len(self.kept)}"
            await self.put(FiledEvent(event, key, names, ours=ours, size=100))

    async def put(self, filed: FiledEvent) -> bool:
        """Keep or hand on an event."""
        for listener in self.listeners:
            if listener.wants(filed.names):
                listener.take(filed)
                return True
        self.kept.append(filed)
        return True

    async def get(self, names: Collection[str]) -> list[FiledEvent]:
        """Return what is kept under these names."""
        self.gets += 1
        if self.broken:
            raise StoreError("the shelf broke")
        found = [filed for filed in self.kept if set(names) & set(filed.names)]
        self.kept = [filed for filed in self.kept if filed not in found]
        return found

    async def claim(self, key: str) -> bool:
        """Tell whether it is the first claim."""
        self.claimed.append(key)
        return self.claimed.count(key) == 1

    @asynccontextmanager
    async def follow(self, listener: Listener) -> AsyncIterator[None]:
        """Tell a listener."""
        self.listeners.append(listener)
        try:
            yield
        finally:
            self.listeners.remove(listener)

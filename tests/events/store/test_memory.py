"""The memory store's own behaviour: its clock, its threads, its size."""

from __future__ import annotations

import gc
import json
import threading
import tracemalloc
from typing import TYPE_CHECKING

import anyio
import pytest
from fake_store import payload, record
from fake_telecmi import FLOW, TO, FakeTelecmi
from stored_events import FakeListener, keys, stored, unmatched
from webhook_posts import PATH, TOKEN

from telecmi_async import Receiver
from telecmi_async.events.store import MemoryStore

if TYPE_CHECKING:
    from telecmi_async.events import Event
    from telecmi_async.events.store import StoredEvent

pytestmark = pytest.mark.anyio

ID = "request-1"
MINUTE = 60.0
HOUR = 3600.0
_IDS = ("request_id", "cmiuuid", "conversation_uuid")


async def test_another_ones_event_is_kept_for_ten_minutes() -> None:
    """An unmatched event is kept for ten minutes, then dropped and counted."""
    store = MemoryStore()
    event = unmatched(record(ID))
    await store.put(event)
    await anyio.sleep(10 * MINUTE - 1)

    assert keys(await store.get([ID])) == [event.key]
    await anyio.sleep(1)
    assert (await store.get([ID]), store.dropped) == ([], 1)
    assert await store.put(event) is True


async def test_each_event_expires_in_its_own_time() -> None:
    """An event that came later is dropped later, whether or not another was dropped before."""
    store = MemoryStore()
    for number in range(3):
        await store.put(unmatched(record(f"request-{number}", leg=f"{number}")))
        await anyio.sleep(4 * MINUTE)
    left = []
    for _ in range(3):
        kept = [await store.get([f"request-{number}"]) for number in range(3)]
        left.append((sum(map(len, kept)), store.dropped))
        await anyio.sleep(4 * MINUTE)

    assert left == [(2, 1), (1, 2), (0, 3)]


async def test_an_event_of_ours_is_kept_for_an_hour_and_remembered_for_a_day() -> None:
    """A matched event is kept for an hour, and its repeats are known for a day."""
    store = MemoryStore()
    event = stored(record(ID))
    await store.put(event)
    await anyio.sleep(HOUR - 1)

    assert keys(await store.get([ID])) == [event.key]
    await anyio.sleep(1)
    assert await store.get([ID]) == []
    assert await store.put(event) is False
    await anyio.sleep(23 * HOUR - 1)
    assert await store.put(event) is False
    await anyio.sleep(1)
    assert await store.put(event) is True
    assert store.dropped == 0


async def test_a_claimed_event_is_kept_as_one_of_matched() -> None:
    """A claimed event is kept as long as a matched one, and keeps its order."""
    store = MemoryStore()
    first = unmatched(record(ID))
    second = stored(payload("started", ID, leg="b"))
    await store.put(first)
    await store.put(second)
    await store.claim(first.key)
    await anyio.sleep(HOUR - 1)

    assert keys(await store.get([ID])) == [first.key, second.key]


async def test_a_call_that_nobody_held_is_taken_up_again() -> None:
    """A new handle for a call gets the events that its earlier handle had received."""
    store = MemoryStore()
    async with FakeTelecmi().service(events=store) as service:
        call = await service.make_call(to=TO, pcmo=FLOW)
        request_id = call.request_id
        await store.put(stored(record(request_id)))
        assert (await call.ended()).answered
        del call
        gc.collect()
        await anyio.sleep(30 * MINUTE)

        result = await service.handle_for(request_id).ended(timeout=1)

    assert result.answered is True


async def test_an_event_that_a_call_holds_is_not_decoded_again() -> None:
    """The store returns the same object while it is in use, and later an equal one."""
    store = MemoryStore()
    event: StoredEvent | None = stored(record(ID))
    assert event is not None
    await store.put(event)

    (got,) = await store.get([ID])
    assert got.event is event.event

    raw = event.event.raw
    event = None
    del got
    gc.collect()
    (again,) = await store.get([ID])
    assert again.event.raw == raw


async def test_an_event_is_kept_as_it_came() -> None:
    """A body with a byte order mark, blanks and escapes is read again as the same event."""
    body = (
        b"\xef\xbb\xbf "
        + json.dumps(record(ID, hangup_reason="caf\xe9 \ud800"), indent=2).encode()
    )
    receiver = Receiver(TOKEN)
    received: list[Event] = []
    receiver.on_event(received.append)
    reply = await receiver.handle("POST", PATH, {"content-type": "application/json"}, body)
    await anyio.wait_all_tasks_blocked()
    raw = received.pop().raw
    gc.collect()

    (again,) = await receiver.store.get([ID])
    assert reply.status == 204
    assert again.event.raw == raw
    assert raw["hangup_reason"] == "caf\xe9 \ufffd"
    assert (again.payload, again.size) == (body, len(body))


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)  # no loop takes part
async def test_forged_events_grow_no_memory_beyond_the_bound() -> None:
    """Forged events use at most 20 MB, as the class says."""
    store = MemoryStore()
    sizes: list[int] = []
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(4_000):
            wide = {name: f"{number:07}{name}{'x' * 230}\U0001f600" for name in _IDS}
            await store.put(unmatched({"status": "started", "fill": "y" * 900} | wide))
            if number % 2_000 == 1_999:
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()

    assert sizes[1] < 1.05 * sizes[0]
    assert sizes[1] < 20_000_000
    assert store.dropped >= 2_000


def test_stores_serve_two_threads() -> None:
    """The receiver and the service may use the store from different threads."""
    store = MemoryStore()
    listening, done = threading.Event(), threading.Event()
    threads: set[int] = set()

    class NotingListener(FakeListener):
        def take(self, stored: StoredEvent) -> None:
            super().take(stored)
            threads.add(threading.get_ident())
            done.set()

    listener = NotingListener(ID)

    async def listen() -> None:
        async with store.follow(listener):
            listening.set()
            await anyio.to_thread.run_sync(done.wait, 10)

    thread = threading.Thread(target=anyio.run, args=(listen,))
    thread.start()
    listening.wait(10)
    anyio.run(store.put, stored(record(ID)))
    here = thread.ident
    thread.join(10)

    assert len(listener.received) == 1
    assert threads == {here}

"""The contract of every event store, and the limits that the package's own stores have.

The fixture `make_store` makes a store in memory, or on a Valkey server in tests/servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from fake_store import payload, record
from stored_events import keys, stored, unmatched

from telecmi_async import ConfigurationError
from telecmi_async.testing.event_store_rules import EVENT_STORE_RULES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.events.store import EventStore

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

ID = "request-1"
OTHER_ID = "request-2"


@pytest.fixture
async def store(make_store: Callable[..., EventStore]) -> EventStore:
    """A store with its defaults."""
    return make_store()


@pytest.mark.parametrize("rule", EVENT_STORE_RULES, ids=lambda rule: rule.__name__)
async def test_the_contract_is_kept(
    open_empty_store: Callable[[], AbstractAsyncContextManager[EventStore]],
    rule: Callable[[Any], Awaitable[None]],
) -> None:
    """The store keeps each rule of the contract that users' stores are checked by."""
    await rule(open_empty_store)


async def test_by_an_endless_id_nothing_is_found(store: EventStore) -> None:
    """An id of more than 256 characters is not indexed."""
    event = stored({"status": "started", "request_id": "z" * 257, "cmiuuid": ID, "time": 1})
    await store.put(event)

    assert await store.get(["z" * 257]) == []
    assert keys(await store.get([ID])) == [event.key]


async def test_an_event_without_any_id_is_no_trouble(store: EventStore) -> None:
    """An event without ids is de-duplicated, and cannot be claimed."""
    event = stored({"status": "what is this"})

    assert [await store.put(event), await store.put(event)] == [True, False]
    assert await store.claim(event.key) is False


async def test_a_claim_outlives_the_event(make_store: Callable[..., EventStore]) -> None:
    """An event that was dropped can still be claimed once, and not put again."""
    store = make_store(unmatched=1)
    first, second = unmatched(record(ID)), unmatched(record(OTHER_ID, leg="b"))
    await store.put(first)
    await store.put(second)

    assert [await store.claim(first.key), await store.claim(first.key)] == [True, False]
    assert await store.put(stored(record(ID))) is False
    assert await store.get([ID]) == []


# -- bounds


async def test_forged_events_push_out_forged_events_only(
    make_store: Callable[..., EventStore],
) -> None:
    """The oldest unmatched event is dropped first; matched events are not affected."""
    store = make_store(unmatched=3, keep=2)
    mine = stored(record(ID))
    await store.put(mine)
    forged = [unmatched(payload("started", f"forged-{n}", leg=f"{n}")) for n in range(10)]
    for event in forged:
        assert await store.put(event)

    everything = [ID, *(f"forged-{n}" for n in range(10))]

    assert keys(await store.get(everything)) == [mine.key, *keys(forged[-3:])]
    assert await store.put(forged[0]) is True
    assert await store.put(mine) is False


async def test_many_events_with_one_id_stay_within_the_bounds(
    make_store: Callable[..., EventStore],
) -> None:
    """Many events with the id of a real call do not exceed the limits."""
    store = make_store(unmatched=5)
    mine = stored(record(ID))
    await store.put(mine)
    forged = [unmatched(payload("started", ID, time=1_600_000_000 + n)) for n in range(50)]
    for event in forged:
        assert await store.put(event)

    assert keys(await store.get([ID])) == [mine.key, *keys(forged[-5:])]


@pytest.mark.parametrize("matched", [True, False])
async def test_bytes_are_bounded(make_store: Callable[..., EventStore], matched: bool) -> None:
    """The limit of bytes holds for large payloads."""
    store = make_store(keep_bytes=10_000, unmatched_bytes=10_000)
    events = [
        stored(payload("started", ID, leg=f"{n}", fill="x" * 4_000), matched=matched)
        for n in range(5)
    ]
    for event in events:
        await store.put(event)

    assert keys(await store.get([ID])) == keys(events[-2:])


async def test_what_is_forgotten_of_ours_is_not_repeated(
    make_store: Callable[..., EventStore],
) -> None:
    """A dropped event is still recognised as a repeat."""
    store = make_store(keep=1)
    first, second = stored(record(ID)), stored(record(OTHER_ID, leg="b"))
    for event in (first, second):
        await store.put(event)

    assert await store.get([ID]) == []
    assert await store.put(first) is False


async def test_what_is_remembered_is_bounded(make_store: Callable[..., EventStore]) -> None:
    """The oldest remembered event is forgotten first, and may be put again."""
    store = make_store(remember=2)
    events = [stored(payload("started", ID, leg=f"{n}")) for n in range(3)]
    for event in events:
        await store.put(event)

    assert [await store.put(event) for event in (events[2], events[1])] == [False, False]
    assert await store.put(events[0]) is True
    assert keys(await store.get([ID])) == keys([*events[1:], events[0]])


@pytest.mark.parametrize(
    "name", ["remember", "keep", "keep_bytes", "unmatched", "unmatched_bytes"]
)
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "9", None])
async def test_a_bound_that_is_none_is_refused(
    make_store: Callable[..., EventStore], name: str, value: object
) -> None:
    """The error names the invalid limit."""
    with pytest.raises(ConfigurationError, match=rf"\.{name} must be a whole number"):
        make_store(**{name: value})

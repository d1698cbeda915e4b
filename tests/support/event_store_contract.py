"""The contract of every event store.

The fixture `make_store` makes a store in memory, or on a Valkey server in tests/servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fake_store import payload, record, signed
from stored_events import FakeListener, eventually, keys, stored, unmatched

from telecmi_async import ConfigurationError
from telecmi_async.events.reference import new_reference

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.events.store import EventStore

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

ID = "request-1"
OTHER_ID = "request-2"


@pytest.fixture
async def store(make_store: Callable[..., EventStore]) -> EventStore:
    """A store with its defaults."""
    return make_store()


async def test_an_event_is_kept_once(store: EventStore) -> None:
    """A repeat is recognised, whether its event is matched or not."""
    ours, other = stored(record(ID)), unmatched(record(OTHER_ID, leg="b"))

    assert [await store.put(event) for event in (ours, ours, other, other)] == [
        True, False, True, False,
    ]  # fmt: skip
    assert keys(await store.get([ID, OTHER_ID])) == [ours.key, other.key]


async def test_events_are_found_by_each_of_their_ids_in_their_order(store: EventStore) -> None:
    """Events are returned oldest first, each once, however many of its ids are given."""
    reference = new_reference()
    events = [
        stored(payload("started", ID)),
        unmatched(payload("ringing", ID, conversation_uuid="talk")),
        stored(payload("answered", ID) | signed(reference)),
    ]
    for event in events:
        await store.put(event)

    everything = ["leg-a", "talk", reference, ID, ID, "nobody"]

    assert keys(await store.get(everything)) == keys(events)
    assert keys(await store.get(["talk"])) == [events[1].key]
    assert keys(await store.get((reference,))) == [events[2].key]
    assert await store.get(["nobody"]) == await store.get([]) == []


async def test_what_is_handed_out_is_kept(store: EventStore) -> None:
    """Reading an event does not remove it, so that a later handle finds it, too."""
    event = stored(record(ID))
    async with store.follow(FakeListener(ID)):
        await store.put(event)

        found = [keys(await store.get([ID])) for _ in range(3)]

    assert found == [[event.key]] * 3


@pytest.mark.parametrize(
    "data",
    [
        record(ID, answered=False),
        payload("started", ID, nested={"ä\n\x00": [1, 2.5, None, True, {"": "\U0001f600"}]}),
        {"dtmf": "1234", "cmiuuid": ID, "to": "04471000000", "big": 2**62, "tiny": 5e-324},
        {"action": "inbound", "cmiuuid": ID, "from": 919876543210},
        {"ws_status": '{"status": "connected"}', "cmiuuid": ID},
        {"status": "brand new", "cmiuuid": ID, "text": '"\\ \N{REPLACEMENT CHARACTER}'},
    ],
    ids=["record", "live", "digits", "inbound", "stream", "unknown"],
)
async def test_an_event_comes_back_as_it_was(store: EventStore, data: dict[str, Any]) -> None:
    """An event is stored without loss, whichever process reads it."""
    put = stored(data)
    await store.put(put)

    (got,) = await store.get([ID])

    assert (got.event, got.key, got.ids, got.matched, got.size) == (
        put.event, put.key, put.ids, put.matched, put.size,
    )  # fmt: skip
    assert got.event.raw == put.event.raw


async def test_hostile_ids_are_ids_like_others(store: EventStore) -> None:
    """An id with any characters finds its own event and no other."""
    ids = ["*", "a b", "a:b", "x\ny", "\N{SNOWMAN}", "event:1", "z" * 256, '"],["']
    events = [stored({"status": "started", "request_id": name, "time": 1}) for name in ids]
    for event in events:
        assert await store.put(event)

    assert [keys(await store.get([name])) for name in ids] == [[key] for key in keys(events)]


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


# -- which process calls the handlers of an event


async def test_another_ones_event_is_claimed_once(store: EventStore) -> None:
    """An unmatched event is claimed once, becomes matched, and cannot be put again."""
    event = unmatched(record(ID))
    await store.put(event)

    assert [await store.claim(event.key), await store.claim(event.key)] == [True, False]
    assert await store.put(stored(record(ID))) is False
    assert [found.matched for found in await store.get([ID])] == [True]


async def test_an_event_that_turns_out_to_be_ours_is_no_repeat(store: EventStore) -> None:
    """An unmatched event that is put again as matched is new, once, and needs no claim."""
    await store.put(unmatched(record(ID)))
    event = stored(record(ID))

    assert await store.put(event) is True
    assert await store.put(event) is False
    assert await store.claim(event.key) is False
    assert [found.matched for found in await store.get([ID])] == [True]


async def test_an_event_of_ours_cannot_be_claimed(store: EventStore) -> None:
    """A matched event cannot be claimed, because its handlers were called already."""
    event = stored(record(ID))
    await store.put(event)

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


async def test_of_many_at_once_one_is_first(store: EventStore) -> None:
    """Of many concurrent puts or claims of one event, exactly one returns True."""
    event, other = stored(record(ID)), unmatched(record(OTHER_ID, leg="b"))
    await store.put(other)
    results: list[bool] = []

    async def put() -> None:
        results.append(await store.put(event))

    async def claim() -> None:
        results.append(await store.claim(other.key))

    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(put)
            tasks.start_soon(claim)

    assert (len(results), sum(results)) == (80, 2)


# -- listeners


async def test_a_listener_is_told_what_it_wants(store: EventStore) -> None:
    """A listener gets the events that it wants, and none after it stops following."""
    listener, deaf = FakeListener(ID), FakeListener(OTHER_ID)
    wanted = [stored(payload("started", ID)), unmatched(payload("ringing", ID))]
    async with store.follow(listener), store.follow(deaf):
        for event in (*wanted, stored(payload("started", "nobody", leg="x"))):
            await store.put(event)
        await eventually(lambda: len(listener.received) >= 2)
    await store.put(stored(record(ID)))
    await anyio.sleep(0.05)

    assert set(keys(listener.received)) == set(keys(wanted))
    assert deaf.received == []


async def test_an_event_is_kept_before_anybody_is_told(store: EventStore) -> None:
    """An event is stored before its listeners get it."""
    found: list[list[str]] = []
    event = stored(record(ID))
    listener = FakeListener(ID)
    async with store.follow(listener):
        await store.put(event)
        await eventually(lambda: listener.received)
        found.append(keys(await store.get([ID])))

    assert found == [[event.key]]


async def test_what_the_body_of_follow_raises_is_raised(store: EventStore) -> None:
    """An error in the block is raised as itself, and a cancellation stays one."""
    with pytest.raises(LookupError, match="mine"):
        async with store.follow(FakeListener()):
            raise LookupError("mine")

    with anyio.move_on_after(0.05) as scope:
        async with store.follow(FakeListener()):
            await anyio.sleep_forever()

    assert scope.cancelled_caught


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

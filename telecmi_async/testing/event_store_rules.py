"""Contract of event stores: what `telecmi_async.events.store.EventStore` demands, rule by rule.

Each rule is a function of ``make``, which opens an empty store; its docstring is the rule.
"""

from __future__ import annotations

import gzip
import itertools
import json
from typing import TYPE_CHECKING, Any, Final

import anyio

from telecmi_async._internal.telecmi import REFERENCE_PREFIX
from telecmi_async.events import dedupe_key, parse_event
from telecmi_async.events.store import StoredEvent, event_ids
from telecmi_async.testing.cancellation import cancel_everywhere
from telecmi_async.testing.contract import check_rules, eventually, expect, rules_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from contextlib import AbstractAsyncContextManager
    from typing import TypeAlias

    from telecmi_async.events.store import EventStore

    _Make: TypeAlias = Callable[[], AbstractAsyncContextManager[EventStore]]

_ID: Final = "request-1"
_OTHER_ID: Final = "request-2"
_REFERENCE: Final = REFERENCE_PREFIX + "a" * 26
_count = itertools.count()

# Payloads of every kind, with all that JSON can hold.
_PAYLOADS: Final[tuple[dict[str, Any], ...]] = (
    {"type": "cdr", "leg": "a", "status": "missed", "duration": 0, "request_id": _ID},
    {"status": "started", "request_id": _ID, "ä\n\x00": [1, 2.5, None, {"": "\U0001f600"}]},
    {"dtmf": "1234", "cmiuuid": _ID, "to": "04471000000", "big": 2**62, "tiny": 5e-324},
    {"action": "inbound", "cmiuuid": _ID, "from": 919876543210},
    {"ws_status": '{"status": "connected"}', "cmiuuid": _ID},
    {"status": "brand new", "cmiuuid": _ID, "text": '"\\ \N{REPLACEMENT CHARACTER}'},
    {"status": "answered", "request_id": _ID, "conversation_uuid": "talk", "cmiuuid": "leg-a"},
)
# Bodies that are laid out as Python does not, in Latin-1, packed, or a form.
_BODIES: Final = (
    b'{\r\n\t"status" : "started" , "request_id":"request-1"\n}\n',
    b'{"status": "ringing", "request_id": "request-1", "name": "J\xf6rg"}',
    gzip.compress(b'{"status": "answered", "request_id": "request-1"}', mtime=0),
    b"status=hangup&request_id=request-1",
)
_HOSTILE: Final = (
    "*",
    "a b",
    "a:b",
    "x\ny",
    "☃",
    "'; --",
    "event:1",
    "z" * 256,
    '"],["',
    "%",
    "",
)


async def check_event_store(
    make: Callable[[], AbstractAsyncContextManager[EventStore]],
) -> None:
    """Check that a store of events of your own keeps the contract of `EventStore`.

    Await it in a test, on asyncio, trio or both. It runs on the real clock, and takes a few
    seconds at most::

        async def test_my_store(tmp_path):
            @asynccontextmanager
            async def make():
                async with MyStore(tmp_path / secrets.token_hex(8)) as store:
                    yield store

            await check_event_store(make)

    It cannot see everything: expiry after minutes and hours, the limits of what is kept, other
    processes, and what happens while the store cannot be reached need tests of your own.

    Args:
        make: Returns an asynchronous context manager that opens a store without events. It is
            used once for each rule, one after another.

    Raises:
        AssertionError: The store breaks rules; the message names each of them, and the cause
            has their tracebacks.
    """
    await check_rules("EventStore", EVENT_STORE_RULES, lambda rule: rule(make))


class _Collector:
    """A listener that wants some ids, and keeps the events that it gets."""

    def __init__(self, *names: str) -> None:
        self._names = set(names)
        self.received: list[StoredEvent] = []

    def wants(self, ids: Collection[str]) -> bool:
        return not self._names.isdisjoint(ids)

    def take(self, stored: StoredEvent) -> None:
        self.received.append(stored)

    def waiting(self) -> list[str]:
        return sorted(self._names)

    @property
    def keys(self) -> set[str]:
        return {stored.key for stored in self.received}


def _event(
    data: dict[str, Any], *, matched: bool = True, reference: str | None = None
) -> StoredEvent:
    """Return an event as a receiver puts it."""
    event = parse_event(data)
    return StoredEvent(
        event,
        dedupe_key(event) or f"unique.{next(_count)}",
        event_ids(event, reference),
        matched=matched,
        payload=json.dumps(data).encode(),
    )


def _record(request_id: str, *, matched: bool = True) -> StoredEvent:
    return _event({**_PAYLOADS[0], "request_id": request_id}, matched=matched)


def _live(status: str, request_id: str, **more: Any) -> StoredEvent:
    matched = more.pop("matched", True)
    reference = more.pop("reference", None)
    data = {"status": status, "request_id": request_id, "cmiuuid": "leg-a", "leg": "a", **more}
    return _event(data, matched=matched, reference=reference)


def _keys(found: Collection[StoredEvent]) -> list[str]:
    return [stored.key for stored in found]


async def is_shared_or_not(make: _Make) -> None:
    """`shared` is a bool: whether other processes see the same events."""
    async with make() as store:
        expect(type(store.shared), bool, "the type of `shared`")


async def keeps_an_event_once(make: _Make) -> None:
    """`put` returns True for a new event and False for a repeat, matched or not."""
    ours, other = _record(_ID), _record(_OTHER_ID, matched=False)
    async with make() as store:
        fresh = [await store.put(event) for event in (ours, ours, other, other)]
        found = _keys(await store.get([_ID, _OTHER_ID]))

    expect(fresh, [True, False, True, False], "the results of put")
    expect(found, [ours.key, other.key], "the events that get returned")


async def finds_events_by_each_id_in_their_order(make: _Make) -> None:
    """`get` returns the events under any of the ids, oldest first, each once."""
    events = [
        _live("started", _ID),
        _live("ringing", _ID, conversation_uuid="talk", matched=False),
        _live("answered", _ID, reference=_REFERENCE),
    ]
    async with make() as store:
        for event in events:
            await store.put(event)
        everything = _keys(await store.get(["leg-a", "talk", _REFERENCE, _ID, _ID, "no id"]))
        by_talk = _keys(await store.get(("talk",)))
        by_reference = _keys(await store.get({_REFERENCE}))
        nothing = [*await store.get(["no id"]), *await store.get([])]

    expect(everything, _keys(events), "the events by all ids, some of them given twice")
    expect(by_talk, [events[1].key], "the events by one conversation_uuid")
    expect(by_reference, [events[2].key], "the events by a reference")
    expect(nothing, [], "the events by an unknown id, and by none")


async def keeps_what_was_read(make: _Make) -> None:
    """An event stays after it was read, and after a listener got it."""
    event = _record(_ID)
    async with make() as store, store.follow(_Collector(_ID)):
        await store.put(event)
        found = [_keys(await store.get([_ID])) for _ in range(3)]

    expect(found, [[event.key]] * 3, "the same question three times")


async def returns_an_event_as_it_was(make: _Make) -> None:
    """An event comes back without loss: its payload, key, ids and whether it is matched."""
    for data, matched in itertools.product(_PAYLOADS, (True, False)):
        put = _event(data, matched=matched)
        async with make() as store:
            await store.put(put)
            found = await store.get([_ID])
        expect(_keys(found), [put.key], "the events that get returned")
        got = found[0]
        expect(got.event, put.event, "the event")
        expect(dict(got.event.raw), dict(put.event.raw), "its `raw`")
        expect((got.ids, got.matched), (put.ids, put.matched), "its ids, and `matched`")
        expect((got.payload, got.size), (put.payload, put.size), "its payload and size")


async def reads_any_body(make: _Make) -> None:
    """An event comes back equal from a body of any bytes: Latin-1, gzip, a form, other blanks."""
    for body in _BODIES:
        event = parse_event(body)
        put = StoredEvent(event, f"key.{next(_count)}", (_ID,), matched=True, payload=body)
        async with make() as store:
            await store.put(put)
            found = await store.get([_ID])
        expect(_keys(found), [put.key], f"the events that get returned for {body!r}")
        expect(found[0].event, event, f"the event of {body!r}")
        expect(parse_event(found[0].payload), event, f"the event of the payload of {body!r}")


async def takes_any_id(make: _Make) -> None:
    """An id may hold any characters, finds its own events and no others."""
    events = [_event({"status": "started", "request_id": name, "time": 1}) for name in _HOSTILE]
    async with make() as store:
        fresh = [await store.put(event) for event in events]
        found = [_keys(await store.get([name])) for name in _HOSTILE if name]

    expect(fresh, [True] * len(events), "the results of put")
    expect(found, [[key] for key in _keys(events)][:-1], "the events by each id")


async def takes_an_event_without_ids(make: _Make) -> None:
    """An event without any id is taken, and recognised as a repeat."""
    event = _event({"status": "what is this"})
    async with make() as store:
        fresh = [await store.put(event), await store.put(event)]

    expect(fresh, [True, False], "the results of put")


async def lets_an_unmatched_event_be_claimed_once(make: _Make) -> None:
    """`claim` is True once for an unmatched event, which is matched and known from then on."""
    async with make() as store:
        await store.put(event := _record(_ID, matched=False))
        claims = [await store.claim(event.key) for _ in range(3)]
        fresh = [await store.put(_record(_ID)), await store.put(event)]
        matched = [found.matched for found in await store.get([_ID])]

    expect(claims, [True, False, False], "the results of claim")
    expect(fresh, [False, False], "put of the same event, matched and unmatched, after that")
    expect(matched, [True], "`matched` of what get returns")


async def takes_an_event_anew_that_is_matched_now(make: _Make) -> None:
    """An unclaimed unmatched event that is put as matched is new, once, and is matched then."""
    async with make() as store:
        await store.put(_record(_ID, matched=False))
        event = _record(_ID)
        fresh = [await store.put(event), await store.put(event)]
        again = await store.put(_record(_ID, matched=False))
        claimed = await store.claim(event.key)
        matched = [found.matched for found in await store.get([_ID])]

    expect(fresh, [True, False], "the results of put as matched")
    expect([again], [False], "put as unmatched after that")
    expect([claimed], [False], "claim after that")
    expect(matched, [True], "`matched` of what get returns")


async def puts_an_event_last_that_is_matched_now(make: _Make) -> None:
    """An event that is put as matched after unmatched is the newest; listeners get it again."""
    listener, other = _Collector(_ID), _live("ringing", _ID)
    async with make() as store:
        await store.put(_live("started", _ID, matched=False))
        await store.put(other)
        async with store.follow(listener):
            await store.put(event := _live("started", _ID))
            await eventually(
                lambda: any(got.key == event.key and got.matched for got in listener.received),
                "the event that is matched now",
            )
        found = _keys(await store.get([_ID]))

    expect(found, [other.key, event.key], "the events that get returned, oldest first")


async def refuses_to_claim_a_matched_event(make: _Make) -> None:
    """`claim` is False for an event that was put as matched: its handlers were called."""
    async with make() as store:
        await store.put(event := _record(_ID))
        claims = [await store.claim(event.key) for _ in range(2)]

    expect(claims, [False, False], "the results of claim")


async def lets_an_unknown_key_be_claimed_once(make: _Make) -> None:
    """`claim` is True once for a key that the store does not have, and its event is no news then."""
    event = _record(_ID)
    async with make() as store:
        claims = [await store.claim(event.key) for _ in range(2)]
        fresh = await store.put(event)
        found = await store.get([_ID])

    expect(claims, [True, False], "the results of claim")
    expect([fresh], [False], "put of the event after that")
    expect(found, [], "the events that get returns")


async def has_one_first_of_many(make: _Make) -> None:
    """Of many concurrent puts, or claims, of one event exactly one returns True."""
    event, other = _record(_ID), _record(_OTHER_ID, matched=False)
    puts: list[bool] = []
    claims: list[bool] = []
    async with make() as store:
        await store.put(other)

        async def put() -> None:
            puts.append(await store.put(event))

        async def claim() -> None:
            claims.append(await store.claim(other.key))

        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(put)
                tasks.start_soon(claim)

    expect((len(puts), sum(puts)), (40, 1), "how many puts there were, and were first")
    expect((len(claims), sum(claims)), (40, 1), "how many claims there were, and were first")


async def gives_a_lost_answer_again(make: _Make) -> None:
    """A put or a claim that was cancelled, and is made again by this process, is the first."""
    names = (f"call-{n}" for n in itertools.count())
    async with make() as store:

        def setup() -> tuple[StoredEvent, StoredEvent, list[bool]]:
            return _record(next(names)), _record(next(names), matched=False), []

        async def operation(state: tuple[StoredEvent, StoredEvent, list[bool]]) -> None:
            event, other, answers = state
            answers.append(await store.put(event))
            answers.append(await store.put(other))
            answers.append(await store.claim(other.key))

        async def check(state: tuple[StoredEvent, StoredEvent, list[bool]]) -> None:
            event, other, answers = state
            if not answers:
                answers.append(await store.put(event))
            if len(answers) == 1:
                answers.append(await store.put(other))
            if len(answers) == 2:
                answers.append(await store.claim(other.key))
            expect(answers, [True, True, True], "put matched, put unmatched, and claim")

        await cancel_everywhere(operation, setup=setup, check=check)


async def gives_listeners_what_they_want(make: _Make) -> None:
    """A listener gets the events that it wants, matched or not, as long as it follows."""
    listener, same, other = _Collector(_ID), _Collector(_ID), _Collector(_OTHER_ID)
    wanted = [_live("started", _ID), _live("ringing", _ID, matched=False)]
    async with make() as store:
        async with store.follow(listener), store.follow(same), store.follow(other):
            for event in (*wanted, _live("started", "no id", cmiuuid="x")):
                await store.put(event)
            await eventually(
                lambda: min(len(listener.keys), len(same.keys)) >= 2,
                "both events, at each of two listeners that want them,",
            )
        await store.put(_record(_ID))
        await anyio.sleep(0.05)

    expect(listener.keys, set(_keys(wanted)), "the events that a listener got")
    expect(same.keys, set(_keys(wanted)), "the events that a second listener got")
    expect(other.keys, set[str](), "the events that another listener got")


async def keeps_an_event_before_listeners_get_it(make: _Make) -> None:
    """An event can be read as soon as a listener has it."""
    event, listener = _record(_ID), _Collector(_ID)
    async with make() as store, store.follow(listener):
        await store.put(event)
        await eventually(lambda: bool(listener.keys), "the event that a listener wants")
        found = _keys(await store.get([_ID]))

    expect(found, [event.key], "the events that get returned")


async def raises_what_the_body_of_follow_raises(make: _Make) -> None:
    """An error in the body of `follow` is raised as itself, not in a group."""
    async with make() as store:
        raised: BaseException | None = None
        try:
            async with store.follow(_Collector()):
                raise LookupError("the body's")  # noqa: TRY301  # it is the body's own
        except Exception as error:  # noqa: BLE001  # which one it is, is the question
            raised = error

    expect(repr(raised), repr(LookupError("the body's")), "what was raised")


async def leaves_follow_when_cancelled(make: _Make) -> None:
    """A cancelled body of `follow` is left at once, as a cancellation."""
    async with make() as store:
        with anyio.move_on_after(0.05) as scope:
            async with store.follow(_Collector()):
                await anyio.sleep_forever()

    expect([scope.cancelled_caught], [True], "whether the cancellation arrived")


#: The rules, in the order in which they are checked.
EVENT_STORE_RULES: Final = rules_in(globals())

"""What the store on a Redis or Valkey server has of its own: the server, and its absence."""

from __future__ import annotations

import asyncio
import gc
import json
import pickle
import secrets
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
import redis.asyncio
from fake_store import payload, record
from stored_events import FakeListener, eventually, keys, stored, unmatched
from valkey_server import ValkeyServer

from telecmi_async import ConfigurationError, Receiver, StoreError, WrongEventLoop
from telecmi_async.events.receiver import new_token
from telecmi_async.events.store import redis as module
from telecmi_async.events.store import redis_subscriber as subscriber
from telecmi_async.events.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

ID = "request-1"
# The client that a test hands in works on asyncio only.
ASYNCIO = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
PASSWORD = "a-password-of-its-own"
NUMBER = 919876543210


@pytest.fixture(scope="module")
def shared_server() -> Iterator[ValkeyServer]:
    """One server for the tests that do not stop it."""
    with ValkeyServer(password=PASSWORD) as server:
        yield server


@pytest.fixture
def server(shared_server: ValkeyServer) -> ValkeyServer:
    """The server, emptied."""
    with shared_server.client() as client:
        client.flushall()
    return shared_server


@pytest.fixture
async def store(server: ValkeyServer) -> AsyncIterator[RedisStore]:
    """A store on the server."""
    async with RedisStore(server.url) as store:
        yield store


@pytest.fixture
def no_server() -> str:
    """The URL of a port without a server."""
    with ValkeyServer() as server:
        return server.url


# -- what is kept


async def test_everything_expires(store: RedisStore, server: ValkeyServer) -> None:
    """Every key has an expiry, because phone numbers and pressed keys are personal data."""
    await store.put(stored(record(ID, to=NUMBER)))
    await store.put(unmatched({"dtmf": "1234", "cmiuuid": "leg", "time": 1}))
    await store.put(unmatched(payload("started", "request-2", leg="b")))
    await store.claim(unmatched(payload("started", "request-2", leg="b")).key)

    with server.client() as client:
        lives = {key.decode(): client.ttl(key) for key in client.keys("*")}

    assert {name.split(":")[0] for name in lives} == {"telecmi"}
    assert len(lives) > 10
    assert {name: life for name, life in lives.items() if not 0 < life <= 86_400} == {}
    long = {name for name, life in lives.items() if life > 3_600}
    assert long == {"telecmi:seen"}


async def test_only_ids_are_published(store: RedisStore, server: ValkeyServer) -> None:
    """The channel carries only ids; the payload is stored once."""
    with server.client() as client, client.pubsub() as channel:
        channel.subscribe("telecmi:events")
        assert channel.get_message(timeout=5) is not None
        event = stored(record(ID, to=NUMBER))
        await store.put(event)

        message = channel.get_message(timeout=5)

        assert message is not None
        assert json.loads(message["data"]) == [event.key, event.size, ID, "leg-a"]
        names = b"".join(client.keys("*"))
        assert str(NUMBER).encode() not in message["data"] + names


async def test_prefixes_keep_accounts_apart(store: RedisStore, server: ValkeyServer) -> None:
    """Two accounts with different prefixes may share one server."""
    event = stored(record(ID))
    async with RedisStore(server.url, prefix="another") as other:
        await store.put(event)

        assert await other.get([ID]) == []
        assert await other.put(event) is True


async def test_forged_events_grow_no_memory_beyond_the_bound(server: ValkeyServer) -> None:
    """Forged events never use more keys than the limits allow."""
    sizes: list[int] = []
    async with RedisStore(
        server.url, timeout=60, unmatched=200, keep=200, remember=500
    ) as store:
        with server.client() as client:
            for start in range(0, 6_000, 1_000):
                async with anyio.create_task_group() as tasks:
                    for number in range(start, start + 1_000):
                        event = payload("started", f"forged-{number:05}", leg=f"{number}")
                        tasks.start_soon(store.put, stored(event, matched=number % 2 == 0))
                sizes.append(client.dbsize())
            members = client.zcard("telecmi:seen")
            total = client.get("telecmi:unmatched:bytes")
            heads = client.zrange("telecmi:unmatched", 0, -1)

    # An event and an index for each of two ids, plus six keys of the store.
    assert max(sizes) <= 400 * 3 + 6
    assert members == 500
    assert int(total or 0) == sum(json.loads(head)[1] for head in heads)


async def test_what_is_out_of_date_leaves_the_indexes(
    monkeypatch: pytest.MonkeyPatch, server: ValkeyServer
) -> None:
    """An expired event leaves the indexes and the count of bytes."""
    monkeypatch.setattr(module, "KEPT_SECONDS", 0.6)
    monkeypatch.setattr(module, "UNMATCHED_SECONDS", 0.15)
    monkeypatch.setattr(module, "REMEMBERED_SECONDS", 1.2)
    async with RedisStore(server.url) as store:
        first, second = stored(record(ID)), unmatched(record("request-2", leg="b"))
        await store.put(first)
        await store.put(second)
        await anyio.sleep(0.2)

        assert keys(await store.get([ID, "request-2"])) == [first.key]
        assert await store.put(second) is True
        await anyio.sleep(0.5)
        assert await store.get([ID]) == []
        assert await store.put(first) is False
        await anyio.sleep(0.6)
        assert await store.put(first) is True
        with server.client() as client:
            assert client.zcard("telecmi:matched") == 1
            assert int(client.get("telecmi:matched:bytes") or 0) == first.size
        with server.client() as client:
            await eventually(lambda: client.keys("*") == [])


async def test_a_question_that_is_asked_again_has_the_same_answer(
    monkeypatch: pytest.MonkeyPatch, store: RedisStore
) -> None:
    """A query that the client repeats after a broken connection does not count as a repeat."""
    monkeypatch.setattr(secrets, "token_hex", lambda count: "0" * 2 * count)
    event, other = stored(record(ID)), unmatched(record("request-2", leg="b"))

    assert [await store.put(event), await store.put(event)] == [True, True]
    assert [await store.put(other), await store.put(other)] == [True, True]

    monkeypatch.setattr(secrets, "token_hex", lambda count: "1" * 2 * count)
    assert [await store.put(event), await store.put(other)] == [False, False]


async def test_what_is_no_event_is_left_out(
    store: RedisStore, server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A foreign value under an event's key is skipped, and not logged."""
    events = [stored(record(ID)), stored(payload("started", ID))]
    with server.client() as client:
        for event in events:
            await store.put(event)
        client.set(f"telecmi:event:{events[0].key}", f"{NUMBER}")

    assert keys(await store.get([ID])) == [events[1].key]
    assert "is not an event" in caplog.text
    assert str(NUMBER) not in caplog.text


# -- listeners


async def test_what_a_listener_missed_is_looked_up(
    monkeypatch: pytest.MonkeyPatch, store: RedisStore
) -> None:
    """A lost message is made up for by a regular look-up."""
    monkeypatch.setattr(subscriber, "_LOOK_UP_EVERY", 0.05)
    early, late = stored(payload("started", ID)), stored(record(ID))
    await store.put(early)
    listener = FakeListener(ID)
    async with store.follow(listener):
        await eventually(lambda: listener.received)
        listener.wants = lambda ids: False  # type: ignore[method-assign]  # as if the message was lost
        await store.put(late)
        await eventually(lambda: late.key in keys(listener.received))

    assert listener.received[0].key == early.key


async def test_with_every_connection_all_is_looked_up(
    store: RedisStore, server: ValkeyServer
) -> None:
    """Every new connection looks up the events that arrived before it."""
    early, late = stored(payload("started", ID)), stored(record(ID))
    await store.put(early)
    listener = FakeListener(ID)
    listener.wants = lambda ids: False  # type: ignore[method-assign]  # no message does it
    async with store.follow(listener):
        await eventually(lambda: listener.received, seconds=3)
        await store.put(late)
        with server.client() as client:
            client.client_kill_filter(_type="pubsub")
        await eventually(lambda: late.key in keys(listener.received), seconds=3)


async def test_many_events_at_once_are_all_heard(store: RedisStore) -> None:
    """A burst of 1,200 messages is read completely."""
    listener = FakeListener(ID)
    events = [stored(payload("started", ID, leg=f"{number}")) for number in range(1_200)]
    async with store.follow(listener):
        await anyio.sleep(0.1)
        async with anyio.create_task_group() as tasks:
            for event in events:
                tasks.start_soon(store.put, event)
        await eventually(lambda: set(keys(listener.received)) == set(keys(events)))


async def test_an_event_that_is_gone_before_it_is_read_is_left_out(
    store: RedisStore, server: ValkeyServer
) -> None:
    """An event that was dropped between message and look-up is skipped."""
    listener = FakeListener(ID)
    async with store.follow(listener):
        await anyio.sleep(0.3)
        with server.client() as client:
            client.publish("telecmi:events", json.dumps(["gone", 1, ID]))
        event = stored(record(ID))
        await store.put(event)
        await eventually(lambda: listener.received)

    assert set(keys(listener.received)) == {event.key}


class Mute:
    """A channel without messages, like a connection that was cut elsewhere."""

    made = 0

    def __init__(self) -> None:
        Mute.made += 1

    async def get_message(self, *, timeout: float) -> None:
        await anyio.sleep(timeout)

    async def subscribe(self, _: str) -> None: ...

    async def ping(self) -> None: ...

    async def aclose(self) -> None: ...


@ASYNCIO
async def test_a_silent_connection_is_made_anew(
    monkeypatch: pytest.MonkeyPatch, server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection without a reply to a ping is replaced."""
    monkeypatch.setattr(subscriber, "_LOOK_UP_EVERY", 0.02)
    monkeypatch.setattr(subscriber, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(Mute, "made", 0)
    async with redis.asyncio.Redis.from_url(server.url) as client:
        monkeypatch.setattr(client, "pubsub", Mute)
        store = RedisStore(client, timeout=0.2)
        async with store.follow(FakeListener(ID)):
            await eventually(lambda: Mute.made >= 3)

    assert caplog.text.count("no reply to a ping") == 1


async def test_the_server_may_be_killed_while_somebody_listens(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Events that arrive after a restart of the server reach the listener."""
    monkeypatch.setattr(subscriber, "_FIRST_PAUSE", 0.02)
    listener = FakeListener(ID)
    before, after = stored(payload("started", ID)), stored(record(ID))
    with ValkeyServer() as server:
        async with RedisStore(server.url) as store, store.follow(listener):
            await store.put(before)
            await eventually(lambda: listener.received)
            await anyio.to_thread.run_sync(server.kill)
            with pytest.raises(StoreError):
                await store.put(after)
            await eventually(lambda: "events cannot be received for now" in caplog.text)
            await anyio.to_thread.run_sync(server.start)

            assert await store.put(after) is True
            await eventually(lambda: after.key in keys(listener.received))
            await eventually(lambda: "received again" in caplog.text)

    assert caplog.text.count("events cannot be received for now") == 1


async def test_a_server_may_come_later_than_the_listener(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection is retried with growing pauses, and the failure is logged once."""
    monkeypatch.setattr(subscriber, "_FIRST_PAUSE", 0.02)
    server = ValkeyServer()
    server.start()
    server.kill()
    listener = FakeListener(ID)
    async with RedisStore(server.url) as store, store.follow(listener):
        await anyio.sleep(1)
        with server:
            event = stored(record(ID))
            await eventually(lambda: "received again" in caplog.text)
            await store.put(event)
            await eventually(lambda: listener.received)

    assert caplog.text.count("events cannot be received for now") == 1


# -- errors


async def test_without_a_server_everything_is_a_store_error(no_server: str) -> None:
    """Without a server every method raises a `StoreError` in time, without a cause."""
    async with RedisStore(no_server, timeout=1) as store:
        for question in (
            lambda: store.put(stored(record(ID))),
            lambda: store.get([ID]),
            lambda: store.claim("key"),
        ):
            with pytest.raises(StoreError, match="store of events failed") as caught:
                await question()

            assert caught.value.__context__ is caught.value.__cause__ is None


async def test_a_server_that_does_not_answer_is_waited_for_no_longer() -> None:
    """The store's own time-out ends a query that gets no reply."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the system takes connections
        port = listener.getsockname()[1]
        async with RedisStore(f"redis://127.0.0.1:{port}", timeout=0.2) as store:
            with anyio.fail_after(5), pytest.raises(StoreError, match="Timeout"):
                await store.put(stored(record(ID)))


async def test_what_cannot_be_kept_is_asked_for_again() -> None:
    """Without its store a receiver answers 503, and accepts the event when it is back."""
    token = new_token()
    request: Any = (
        "POST",
        f"/telecmi/{token}",
        {"Content-Type": "application/json"},
        json.dumps(record(ID)).encode(),
    )
    server = ValkeyServer()
    server.start()
    server.kill()
    async with RedisStore(server.url, timeout=1) as store:
        receiver = Receiver(token, store=store)
        received: list[object] = []
        receiver.on_event(received.append)

        assert (await receiver.handle(*request)).status == 503
        with server:
            assert (await receiver.handle(*request)).status == 204
            assert (await receiver.handle(*request)).status == 204
            await eventually(lambda: received)
        await receiver.aclose()

    assert len(received) == 1


async def test_an_event_whose_filing_was_not_confirmed_is_handed_on_once(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeat of an unconfirmed query succeeds once, and is a repeat after that."""
    monkeypatch.setattr(module, "_MOST_UNANSWERED", 2)
    event, *_ = events = [stored(record(ID, cmiuuid=f"leg-{n}")) for n in range(3)]
    await store.put(claimed := unmatched(record(ID)))
    run = store._server.run

    async def lose(*question: Any) -> None:
        await run(*question)
        raise StoreError("it was too slow")

    with monkeypatch.context() as patch:
        patch.setattr(store._server, "run", lose)
        for late in events:
            with pytest.raises(StoreError):
                await store.put(late)
        with pytest.raises(StoreError):
            await store.claim(claimed.key)

    assert [await store.claim(claimed.key) for _ in range(2)] == [True, False]
    assert [await store.put(events[2]) for _ in range(2)] == [True, False]
    assert await store.put(event) is False, "of many the latest are remembered"


async def test_a_question_that_never_had_its_turn_leaves_nothing(store: RedisStore) -> None:
    """A query cancelled before its turn is never started."""
    slots, store._server._slots = store._server._slots, anyio.Semaphore(0)
    with anyio.move_on_after(0.01):
        await store.get([ID])
    with anyio.move_on_after(0.01):
        await store._by_key(["key"])
    store._server._slots = slots
    gc.collect()

    assert await store.get([ID]) == []


async def test_a_wrong_password_is_a_store_error_without_it(
    server: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The error, the log and the reprs show neither password."""
    url = server.url.replace(PASSWORD, "wrong-password")
    async with RedisStore(url, timeout=1) as store, store.follow(FakeListener(ID)):
        with pytest.raises(StoreError) as caught:
            await store.put(stored(record(ID)))
        await eventually(lambda: "events cannot be received" in caplog.text)
        shown = (
            f"{caught.value!r} {caplog.text} {store!r} {vars(store)!r} {vars(store._server)!r}"
        )

    assert "AuthenticationError" in shown
    assert "wrong-password" not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(store)


async def test_a_password_that_a_server_repeats_is_taken_out(server: ValkeyServer) -> None:
    """A password or a number in a foreign error is not repeated in ours."""
    store = RedisStore(server.url)

    async def fail() -> None:
        raise OSError(f"no {PASSWORD} for {NUMBER}")

    with pytest.raises(StoreError) as caught:
        await store._server.ask(fail())

    assert PASSWORD not in str(caught.value)
    assert str(NUMBER) not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["", "no url", "http://here", f"redis://:{PASSWORD}/x@host:6379", "redis://host:port"],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    """An invalid URL is refused without repeating it, because it may hold a password."""
    with pytest.raises(ConfigurationError, match="redis must be the URL") as caught:
        RedisStore(url)

    assert PASSWORD not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("value", [None, 7, b"redis://host", object()])
def test_what_is_no_client_is_refused(value: Any) -> None:
    """Only a URL or a client is accepted."""
    with pytest.raises(ConfigurationError, match="needs a URL such as"):
        RedisStore(value)


@pytest.mark.parametrize("prefix", [None, 7, "a\nb"])
def test_a_prefix_is_text(prefix: Any) -> None:
    """The prefix must be printable text."""
    with pytest.raises(ConfigurationError, match="prefix must be"):
        RedisStore("redis://localhost", prefix=prefix)


@pytest.mark.parametrize("timeout", [0, -1, "1", None])
def test_a_timeout_is_a_duration(timeout: Any) -> None:
    """The time-out must be a positive number."""
    with pytest.raises(ConfigurationError, match="timeout must be a positive number"):
        RedisStore("redis://localhost", timeout=timeout)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py the error names the command that installs it."""
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'telecmi-async\[redis\]'"):
        RedisStore("redis://localhost")


# -- event loops and clients


def test_a_client_for_asyncio_is_refused_on_trio() -> None:
    """On trio the error says which clients work, wherever the store was made."""
    client = redis.asyncio.Redis.from_url("redis://localhost")
    store = RedisStore(client)

    async def use() -> None:
        for ask in (lambda: store.put(stored(record(ID))), lambda: store.get([ID])):
            with pytest.raises(ConfigurationError, match=r"a URL, or a redis\.Redis"):
                await ask()
        with pytest.raises(ConfigurationError, match="asyncio only"):
            store.follow(FakeListener())
        with pytest.raises(ConfigurationError, match="asyncio only"):
            RedisStore(client)

    anyio.run(use, backend="trio")


async def test_a_plain_client_of_your_own_is_used_and_not_closed(server: ValkeyServer) -> None:
    """A plain client works on both event loops, in threads."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        event, listener = stored(record(ID)), FakeListener(ID)
        async with RedisStore(client) as store, store.follow(listener):
            await anyio.sleep(0.3)
            await store.put(event)
            await eventually(lambda: listener.received)

            assert keys(await store.get([ID])) == [event.key]
        assert client.ping() is True


async def test_leaving_does_not_wait_for_a_server_that_hangs() -> None:
    """A question that is cancelled is left at once, whatever its thread waits for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        store = RedisStore(url, timeout=1.0)
        began = anyio.current_time()
        with anyio.move_on_after(0.1):
            await store.get([ID])
        waited = anyio.current_time() - began
        await store.aclose()

    assert waited < 0.9


@ASYNCIO
async def test_a_client_of_your_own_is_used_and_not_closed(server: ValkeyServer) -> None:
    """A client that was passed in is not closed, and may decode its replies."""
    async with redis.asyncio.Redis.from_url(server.url, decode_responses=True) as client:
        event, listener = stored(record(ID)), FakeListener(ID)
        async with RedisStore(client) as store, store.follow(listener):
            await anyio.sleep(0.1)
            await store.put(event)
            await eventually(lambda: listener.received)

            assert keys(await store.get([ID])) == [event.key]
        assert await client.ping() is True


def test_it_serves_one_event_loop_after_another(server: ValkeyServer) -> None:
    """A store works in several event loops, one after another but not at once."""
    store = RedisStore(server.url)

    async def use() -> bool:
        fresh = await store.put(stored(record(ID)))
        await store.aclose()
        return fresh

    assert [asyncio.run(use()), asyncio.run(use())] == [True, False]

    async def use_it_elsewhere() -> None:
        await store.put(stored(record(ID)))
        await anyio.to_thread.run_sync(lambda: asyncio.run(use()))

    async def close_after(work: Any) -> None:
        try:
            await work
        finally:
            await store.aclose()

    with pytest.raises(WrongEventLoop, match="belongs to the event loop"):
        asyncio.run(close_after(use_it_elsewhere()))


def test_it_serves_one_trio_run_after_another(server: ValkeyServer) -> None:
    """On trio, and on either event loop in turn, a store works in one run after another."""
    store = RedisStore(server.url)

    async def use() -> bool:
        fresh = await store.put(stored(record(ID)))
        await store.aclose()
        return fresh

    async def use_elsewhere() -> None:
        await store.put(stored(record(ID)))
        with pytest.raises(WrongEventLoop, match="belongs to the event loop"):
            await anyio.to_thread.run_sync(lambda: anyio.run(use, backend="asyncio"))
        await store.aclose()

    runs = [anyio.run(use, backend=each) for each in ("trio", "trio", "asyncio", "trio")]
    anyio.run(use_elsewhere, backend="trio")

    assert runs == [True, False, False, False]


def test_a_client_of_your_own_stays_the_same_in_another_loop() -> None:
    """A client that was passed in is not replaced in another event loop."""

    class Client:
        def register_script(self, _: str) -> Any:
            async def answer(*, args: list[object]) -> int:
                return 1

            return answer

    client: Any = Client()
    store = RedisStore(client)

    assert [asyncio.run(store.claim("key")) for _ in range(2)] == [True, True]


def test_a_time_out_of_the_client_at_the_same_moment_fails_one_request() -> None:
    """It leaves a cancellation behind, which must not end the task; a real one does."""

    class Client:
        def register_script(self, _: str) -> Any:
            async def answer(*, args: list[object]) -> int:
                async with asyncio.timeout(0.05):
                    while True:
                        time.sleep(0.06)  # noqa: ASYNC251  # both are over when the event loop goes on
                        await asyncio.sleep(0)

            return answer

    async def put() -> str:
        store = RedisStore(cast("Any", Client()), timeout=0.05)
        with pytest.raises(StoreError, match=r"CancelledError|TimeoutError"):
            await store.claim("key")
        task = asyncio.create_task(store.claim("key"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return "goes on"

    assert asyncio.run(put()) == "goes on"

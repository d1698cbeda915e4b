"""What is PostgreSQL's alone: connections that break, and workers on several machines."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import types
import uuid
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pg_proxy import PgProxy
from pg_server import PgServer, shared

from telecmi_async.errors import ConfigurationError, StoreError
from telecmi_async.ledger import (
    CallEvidence,
    Claim,
    ContactState,
    Intent,
    Ledger,
    NewContact,
    RuleDecision,
    SendLimits,
    SendResult,
)
from telecmi_async.ledger.migrate import scripts
from telecmi_async.ledger.postgres import connector
from telecmi_async.ledger.postgres import schema as schema_module
from telecmi_async.ledger.postgres.connector import PostgresConnector
from telecmi_async.ledger.postgres.ledger import PostgresLedger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    import psycopg

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

NUMBER = 919000000000
NO_LIMITS = SendLimits()
PLACED = SendResult(state=ContactState.PLACED, request_id="r1")

# A worker on another machine: it claims contacts until none are left.
WORKER = """
import json, sys, anyio
from telecmi_async.ledger.postgres.ledger import PostgresLedger

async def main(url, schema, worker):
    taken = []
    async with PostgresLedger(url, schema=schema) as ledger:
        while some := await ledger.claim("spring", worker, most=7, lease=60):
            taken += [claim.number for claim in some]
    print(json.dumps(taken))

anyio.run(main, *sys.argv[1:])
"""


@pytest.fixture
def schema() -> str:
    """A schema of this test on the server."""
    return f"test {uuid.uuid4().hex}"


@pytest.fixture
def proxy() -> Iterator[PgProxy]:
    """A connection to the server that can break."""
    with PgProxy(shared().port) as proxy:
        yield proxy


def through(proxy: PgProxy, schema: str, *, timeout: float = 5) -> PostgresLedger:
    """Return a ledger that connects through the proxy."""
    url = shared().url().replace(str(shared().port), str(proxy.port))
    return PostgresLedger(url, schema=schema, timeout=timeout)


async def begin(ledger: Ledger, count: int = 1, most: int | None = None) -> list[Claim]:
    """Create a campaign, load contacts and claim some."""
    await ledger.create("spring", {})
    await ledger.load("spring", (NewContact(number=NUMBER + n) for n in range(count)))
    return await ledger.claim("spring", "w", most=count if most is None else most, lease=60)


async def intend(
    ledger: Ledger, claim: Claim, token: str = "t1", limits: SendLimits = NO_LIMITS
) -> Intent | RuleDecision | None:
    """Record an intent."""
    return await ledger.intend(claim, "w", token, limits=limits, fence=30, lease=60)


async def moves_of(ledger: Ledger, number: int = NUMBER) -> list[str]:
    """Return the history of a contact."""
    found = await ledger.find("spring", number)
    assert found is not None
    return [passage.what for passage in found.history]


# -- one answer is lost


async def test_an_intent_is_recognised(proxy: PgProxy, schema: str) -> None:
    """An intent that was committed when the connection broke is read back, not made twice."""
    async with through(proxy, schema) as ledger:
        (claim,) = await begin(ledger)
        proxy.lose = 1

        intent = await intend(ledger, claim)

        assert isinstance(intent, Intent)
        assert await moves_of(ledger) == ["claim", "intend"]
        assert (await ledger.state("spring")).sends == 1


async def test_an_intent_that_cannot_be_read_back_is_none(proxy: PgProxy, schema: str) -> None:
    """If it is uncertain whether the intent was committed, an error prevents the send."""
    async with through(proxy, schema, timeout=0.3) as ledger:
        (claim,) = await begin(ledger)
        proxy.then_refuse = True
        proxy.lose = 1

        with pytest.raises(StoreError, match="cannot be reached"):
            await intend(ledger, claim)

        proxy.refuses = False
        assert await intend(ledger, claim) is None, "it was committed for the lost reply"


async def test_an_outcome_is_recognised(proxy: PgProxy, schema: str) -> None:
    """An outcome is recorded once, and `settle` returns True after a lost reply."""
    async with through(proxy, schema) as ledger:
        (claim,) = await begin(ledger)
        await intend(ledger, claim)
        proxy.lose = 1

        assert await ledger.settle("t1", PLACED) is True
        assert await moves_of(ledger) == ["claim", "intend", "accept"]


async def test_a_contact_that_was_put_back_is_recognised(proxy: PgProxy, schema: str) -> None:
    """Release, block and postpone happen once, and return True after a lost reply."""
    async with through(proxy, schema) as ledger:
        claims = await begin(ledger, 3)
        rule = RuleDecision(rule="window", reason="it is night")
        proxy.lose = 1
        assert await ledger.release(claims[0], "w") is True
        proxy.lose = 1
        assert await ledger.block(claims[1], "w", rule) is True
        proxy.lose = 1
        assert await ledger.block(
            claims[2], "w", RuleDecision(rule="window", reason="it is night", until=9e9)
        )

        moves = [(await moves_of(ledger, claim.number))[-1] for claim in claims]
        assert moves == ["release", "block", "postpone"]
        assert await ledger.release(claims[1], "w") is False


async def test_a_campaign_is_recognised(proxy: PgProxy, schema: str) -> None:
    """`create` returns True for a campaign that it made before the reply was lost."""
    async with through(proxy, schema) as ledger:
        proxy.lose = 1

        assert await ledger.create("spring", {"cps": 5}) is True
        assert await ledger.create("spring", {"cps": 5}) is False


async def test_claims_are_given_again(proxy: PgProxy, schema: str) -> None:
    """Claims whose reply was lost are returned by the repeated query."""
    async with through(proxy, schema) as ledger:
        await begin(ledger, 4, most=0)
        proxy.lose = 1

        claims = await ledger.claim("spring", "w", most=3, lease=60)

        assert [claim.epoch for claim in claims] == [1, 1, 1]
        assert len(await ledger.claim("spring", "w", most=3, lease=60)) == 1


async def test_claims_that_nobody_heard_of_come_with_the_next(
    proxy: PgProxy, schema: str
) -> None:
    """After an error, the next claim also returns the contacts of the failed one."""
    async with through(proxy, schema, timeout=0.3) as ledger:
        await begin(ledger, 4, most=0)
        proxy.then_refuse = True
        proxy.lose = 1
        with pytest.raises(StoreError):
            await ledger.claim("spring", "w", most=3, lease=60)
        proxy.refuses = False

        claims = await ledger.claim("spring", "w", most=1, lease=60)

        assert [claim.number for claim in claims] == [NUMBER, NUMBER + 1, NUMBER + 2]


async def test_what_waited_together_is_recognised_one_by_one(
    proxy: PgProxy, schema: str
) -> None:
    """If the round trip of many queries breaks, each query still gets its own result."""
    async with through(proxy, schema) as ledger:
        claims = await begin(ledger, 20)
        found: list[object] = []

        async def dial(claim: Claim) -> None:
            found.append(await intend(ledger, claim, f"t{claim.number}"))

        async with anyio.create_task_group() as group:
            proxy.lose = 2
            for claim in claims:
                group.start_soon(dial, claim)

        assert [type(one) for one in found] == [Intent] * 20
        assert (await ledger.state("spring")).sends == 20


async def test_a_load_that_breaks_is_an_error(proxy: PgProxy, schema: str) -> None:
    """A load is not repeated after a lost reply, because it reads from an iterable."""
    async with through(proxy, schema) as ledger:
        await begin(ledger)
        proxy.lose = 3

        with pytest.raises(StoreError):
            await ledger.load("spring", [NewContact(number=NUMBER + 7)])

        proxy.lose = 0
        assert (await ledger.load("spring", [NewContact(number=NUMBER + 7)])).added <= 1
        assert (await ledger.state("spring")).total == 2


# -- the server goes away


async def test_backends_are_killed_under_way(schema: str) -> None:
    """Each contact is sent exactly once although the server's backends are killed."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        claims = await begin(ledger, 300)
        may: list[int] = []

        async def dial(some: list[Claim]) -> None:
            for claim in some:
                if isinstance(await intend(ledger, claim, f"t{claim.number}"), Intent):
                    may.append(claim.number)
                    await ledger.settle(f"t{claim.number}", PLACED)

        async with anyio.create_task_group() as group:
            for n in range(10):
                group.start_soon(dial, claims[n::10])
            with shared().client() as client:
                for _ in range(10):
                    await anyio.sleep(0.01)
                    client.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'telecmi_async'"
                    )

        state = await ledger.state("spring")
        assert sorted(may) == [claim.number for claim in claims]
        assert (state.sends, state.counts[ContactState.PLACED]) == (300, 300)


async def test_a_server_restarts(schema: str) -> None:
    """A query during a restart succeeds when the server is back, or fails in time."""
    with PgServer() as server:
        async with PostgresLedger(server.url(), schema=schema, timeout=20) as ledger:
            (claim,) = await begin(ledger)
            server.kill()

            async with anyio.create_task_group() as group:
                group.start_soon(anyio.to_thread.run_sync, server.start)
                intent = await intend(ledger, claim)

            assert isinstance(intent, Intent)
            server.kill()
            ledger._connector.timeout = 0.2
            with pytest.raises(StoreError, match="cannot be reached") as caught:
                await ledger.settle("t1", PLACED)
            assert server.password not in str(caught.value)
            await anyio.to_thread.run_sync(server.start)
            assert await ledger.settle("t1", PLACED) is True


# -- several workers


@pytest.mark.parametrize("together", [1, 5])
async def test_a_server_that_is_frozen_is_not_waited_for(
    schema: str, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    """Queries on a frozen backend fail in time, and the next one uses another backend."""
    monkeypatch.setattr(connector, "GRACE", 0.2)
    async with PostgresLedger(shared().url(), schema=schema, timeout=0.5) as ledger:
        await ledger.create("spring", {})
        backend = await ledger._moves.value("SELECT pg_backend_pid()")

        async def ask() -> None:
            with contextlib.suppress(StoreError):  # or it was repeated on another backend
                await ledger.set_status("spring", "paused")

        os.kill(backend, signal.SIGSTOP)
        try:
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    for _ in range(together):
                        tasks.start_soon(ask)
        finally:
            os.kill(backend, signal.SIGCONT)
        await ledger.set_status("spring", "stopped")

        # The frozen backend may still run its query late, when nothing waits for it.
        assert (await ledger.state("spring")).asked in {"paused", "stopped"}
        assert await ledger._moves.value("SELECT pg_backend_pid()") != backend


async def test_three_processes_share_the_contacts(schema: str) -> None:
    """Workers that claim at the same moment never get the same contact, and miss none."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        await begin(ledger, 1000, most=0)

        async def work(name: str) -> None:
            command = [sys.executable, "-c", WORKER, shared().url(), schema, name]
            done = await anyio.run_process(command, stderr=None)
            taken.append(json.loads(done.stdout))

        taken: list[list[int]] = []
        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(work, name)

        assert sorted(itertools.chain(*taken)) == [NUMBER + n for n in range(1000)]


async def test_a_daily_limit_holds_between_workers(schema: str) -> None:
    """Two workers that send at the same moment stay within one daily limit."""
    url = shared().url()
    async with (
        PostgresLedger(url, schema=schema) as one,
        PostgresLedger(url, schema=schema) as two,
    ):
        claims = await begin(one, 40)
        limits = SendLimits(per_day=15)
        found: list[object] = []

        async def dial(ledger: Ledger, claim: Claim) -> None:
            found.append(await intend(ledger, claim, f"t{claim.number}", limits))

        async with anyio.create_task_group() as group:
            for ledger, claim in zip(itertools.cycle([one, two]), claims, strict=False):
                group.start_soon(dial, ledger, claim)

        assert sum(isinstance(intent, Intent) for intent in found) == 15


async def test_a_number_s_limit_holds_between_campaigns(schema: str) -> None:
    """Two campaigns that dial the same number at the same moment call it once."""
    url = shared().url()
    async with (
        PostgresLedger(url, schema=schema) as one,
        PostgresLedger(url, schema=schema) as two,
    ):
        await begin(one, 20, most=0)
        await one.create("summer", {})
        await one.load("summer", [NewContact(number=NUMBER + n) for n in range(20)])
        limits = SendLimits(per_number=[(1, 3600)])
        found: list[object] = []

        async def dial(ledger: Ledger, name: str) -> None:
            for claim in await ledger.claim(name, "w", most=20, lease=60):
                token = f"{name}{claim.number}"
                found.append(await intend(ledger, claim, token, limits))

        async with anyio.create_task_group() as group:
            group.start_soon(dial, one, "spring")
            group.start_soon(dial, two, "summer")

        assert sum(isinstance(intent, Intent) for intent in found) == 20


async def test_reservations_are_shared(schema: str) -> None:
    """Starts of two connections are spaced as one, in any order of their limits."""
    url = shared().url()
    async with (
        PostgresLedger(url, schema=schema) as one,
        PostgresLedger(url, schema=schema) as two,
    ):
        waits: list[float] = []

        async def start(ledger: Ledger, n: int) -> None:
            keys = [("account", 1.0), ("caller", 0.5)][:: 1 if n % 2 else -1]
            waits.extend(await ledger.reserve(keys, longest=1000))

        before = await one.now()
        async with anyio.create_task_group() as group:
            for n in range(60):
                group.start_soon(start, [one, two][n // 2 % 2], n)
        took = await one.now() - before

        ordered = sorted(waits)
        assert len(ordered) == 60
        assert 59 - took <= ordered[-1] <= 59


async def test_channels_are_shared(schema: str) -> None:
    """Concurrent requests never lease more channels than the limit."""
    url = shared().url()
    async with (
        PostgresLedger(url, schema=schema) as one,
        PostgresLedger(url, schema=schema) as two,
    ):
        given: list[bool] = []
        held = threading.Event()

        async def take(ledger: Ledger, n: int) -> None:
            given.append(await ledger.lease_channel("c", str(n), limit=7, seconds=60))

        async with anyio.create_task_group() as group:
            for ledger in (one, two):
                group.start_soon(ledger._moves.do, lambda _: held.wait(5))
            await anyio.wait_all_tasks_blocked()
            for n in range(100):
                group.start_soon(take, [one, two][n % 2], n)
            await anyio.wait_all_tasks_blocked()
            held.set()

        assert sum(given) == 7


async def test_deadlocks_are_untied(schema: str) -> None:
    """A transaction that the server ends because of a deadlock is repeated."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        (claim,) = await begin(ledger)
        with shared().client() as client:
            client.execute(f'SET search_path = "{schema}"'.encode())
            client.execute(
                "CREATE TABLE tries (n integer);"
                "CREATE SEQUENCE tried;"
                "CREATE FUNCTION fail_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " IF nextval('tried') = 1 THEN RAISE 'untie' USING ERRCODE = '40P01'; END IF;"
                " RETURN NEW; END $$;"
                "CREATE TRIGGER fail_once BEFORE INSERT ON send"
                " FOR EACH ROW EXECUTE FUNCTION fail_once()"
            )

        assert isinstance(await intend(ledger, claim), Intent)


async def test_one_failure_takes_nobody_with_it(schema: str) -> None:
    """A query that the server refuses fails alone, without the others of its round trip."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        claims = await begin(ledger, 20)
        await intend(ledger, claims[0], "used")
        failed: dict[int, str] = {}

        async def dial(claim: Claim) -> None:
            token = "used" if claim.number % 5 == 0 else f"t{claim.number}"
            try:
                assert isinstance(await intend(ledger, claim, token), Intent)
            except StoreError as error:
                failed[claim.number] = str(error)

        async with anyio.create_task_group() as group:
            for claim in claims[1:]:
                group.start_soon(dial, claim)

        assert sorted(failed) == [NUMBER + 5, NUMBER + 10, NUMBER + 15]
        assert set(failed.values()) == {"the ledger's database failed (UniqueViolation, 23505)"}


async def test_more_is_asked_than_goes_together(schema: str) -> None:
    """Two hundred concurrent queries all get their results."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        answers: list[float] = []

        async def ask() -> None:
            answers.append(await ledger.now())

        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(ask)

        assert len(answers) == 200


async def test_who_has_an_answer_keeps_it(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the connection breaks, only queries without a result fail."""
    async with PostgresLedger(shared().url(), schema=schema, timeout=1) as ledger:
        opened, opens = [0], PostgresConnector.open

        def open_once(self: PostgresConnector, *, durable: bool = True) -> Any:
            opened[0] += 1
            if opened[0] > 1:
                raise StoreError("gone")
            return opens(self, durable=durable)

        monkeypatch.setattr(PostgresConnector, "open", open_once)
        said: dict[str, str] = {}

        async def ask(sql: str) -> None:
            try:
                said[sql] = str(await ledger._moves.value(sql))
            except StoreError as error:
                said[sql] = str(error)

        kill = "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)"
        held = threading.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(ledger._moves.do, lambda _: held.wait(5))
            for sql in ("SELECT 1 / 0", "SELECT 1", kill, "SELECT 2"):
                await anyio.wait_all_tasks_blocked()
                group.start_soon(ask, sql)
            await anyio.wait_all_tasks_blocked()
            held.set()

        assert said == {
            "SELECT 1 / 0": "the ledger's database failed (DivisionByZero, 22012)",
            "SELECT 1": "1",
            kill: "gone",
            "SELECT 2": "gone",
        }


async def test_a_failed_round_trip_leaves_nothing_behind(schema: str) -> None:
    """A statement that was new in a failed round trip works in the next one."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        said: list[object] = []

        async def divide(by: int) -> None:
            with contextlib.suppress(StoreError):
                said.append(await ledger._moves.value("SELECT 6 / %s", by))

        held = threading.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(ledger._moves.do, lambda _: held.wait(5))
            # psycopg prepares a statement when it is executed for the sixth time.
            for by in (1, 1, 1, 0, 1, 1, 1, 1):
                await anyio.wait_all_tasks_blocked()
                group.start_soon(divide, by)
            await anyio.wait_all_tasks_blocked()
            held.set()
        await divide(2)

        assert said == [6] * 7 + [3]


# -- cancellation


async def test_who_is_cancelled_has_put_nothing_or_knows(schema: str) -> None:
    """A task cancelled before its query sends none; cancelled later, it gets the result."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        claims = await begin(ledger, 2)
        found: list[object] = []
        with anyio.CancelScope() as scope:
            scope.cancel()
            await intend(ledger, claims[0])
        with shared().client() as client:
            client.execute(f'SET search_path = "{schema}"'.encode())
            with client.transaction():
                client.execute("SELECT FROM contact FOR UPDATE")
                async with anyio.create_task_group() as group:

                    async def dial() -> None:
                        found.append(await intend(ledger, claims[1], "t2"))

                    group.start_soon(dial)
                    await anyio.sleep(0.05)
                    group.cancel_scope.cancel()
                    client.execute("COMMIT; BEGIN")

        assert await moves_of(ledger) == ["claim"]
        assert [type(one) for one in found] == [Intent]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncio_s_own_cancellation_waits_too(schema: str) -> None:
    """A task cancelled with `Task.cancel` gets its result before the cancellation."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        (claim,) = await begin(ledger)
        found: list[object] = []

        async def dial() -> None:
            found.append(await intend(ledger, claim))
            await asyncio.sleep(60)

        task = asyncio.create_task(dial())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert [type(one) for one in found] == [Intent]


async def test_a_closed_ledger_says_so() -> None:
    """A closed ledger raises an error at once, and can be closed twice."""
    ledger = PostgresLedger(shared().url(), schema="closed")
    async with ledger:
        pass

    with pytest.raises(StoreError, match="closed"):
        await ledger.now()
    await ledger.__aexit__()


# -- opening


async def test_a_wrong_password_is_not_repeated(schema: str) -> None:
    """The error gives the reason, is not retried, and never shows the password."""
    ledger = PostgresLedger(shared().url(password="hunter%40222"), schema=schema, timeout=30)
    began = time.monotonic()

    with pytest.raises(StoreError, match="authentication failed") as caught:
        await ledger.__aenter__()

    assert time.monotonic() - began < 10, "it is not tried again: it will not get better"
    shown = f"{caught.value!r} {ledger!r} {vars(ledger)} {vars(ledger._connector)}"
    assert "hunter" not in shown
    frames = caught.getrepr(showlocals=True, style="long")
    assert "hunter@" not in str(frames)


@pytest.mark.parametrize("conninfo", ["nonsense hunter2", "postgresql://u:hunter2%zz@h/", 7])
def test_a_wrong_address_is_not_repeated(conninfo: Any) -> None:
    """An invalid address is refused at once, without repeating it."""
    with pytest.raises(ConfigurationError, match="libpq's form") as caught:
        PostgresLedger(conninfo)

    assert "hunter2" not in str(caught.value)


def test_psycopg_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error names the command that installs it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'telecmi-async\[postgres\]'"):
        PostgresLedger("postgresql://localhost/")


@pytest.mark.parametrize("timeout", [None, 0, "5"])
def test_a_timeout_is_needed(timeout: Any) -> None:
    """A time-out is required, so that an unreachable server is not waited for forever."""
    with pytest.raises(ConfigurationError, match="timeout"):
        PostgresLedger("postgresql://localhost/", timeout=timeout)


def test_it_is_not_pickled() -> None:
    """A ledger cannot be pickled, because the pickle would show the password."""
    ledger = PostgresLedger("postgresql://localhost/")

    with pytest.raises(TypeError, match="every process"):
        pickle.dumps(ledger)
    assert repr(ledger) == "<PostgresLedger telecmi>"


async def test_a_newer_schema_is_left_alone(schema: str) -> None:
    """An older version of the package refuses the ledger of a newer one."""
    async with PostgresLedger(shared().url(), schema=schema):
        pass
    with shared().client() as client:
        client.execute(f'INSERT INTO "{schema}".migration VALUES (999)'.encode())

    with pytest.raises(ConfigurationError, match="newer version"):
        await PostgresLedger(shared().url(), schema=schema).__aenter__()


async def test_many_open_it_at_once(schema: str) -> None:
    """Workers that start together create the schema once."""
    async with contextlib.AsyncExitStack() as stack, anyio.create_task_group() as group:
        for _ in range(4):
            ledger = PostgresLedger(shared().url(), schema=schema)
            stack.push_async_exit(ledger)
            group.start_soon(ledger.__aenter__)

    with shared().client() as client:
        rows = client.execute(f'SELECT version FROM "{schema}".migration'.encode()).fetchall()
    assert sorted(rows) == [(n,) for n in range(1, len(scripts("postgres")) + 1)]


async def test_costs_that_an_older_version_recorded_are_known(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema without counts of known costs gets them, also for what older workers record."""

    def record(client: psycopg.Connection[Any], token: str, cost: float) -> None:
        event = "%s, NULL, 1.0::float8, true, NULL, NULL, %s::float8, ''"
        client.execute(f"SELECT record_event({event})", [token, cost])

    with monkeypatch.context() as patch:
        patch.setattr(schema_module, "scripts", lambda kind: scripts(kind)[:4])
        async with PostgresLedger(shared().url(), schema=schema) as older:
            await older.create("spring", {"a": 1})
    with shared().client() as client:
        client.execute(f'SET search_path = "{schema}"'.encode())
        for number in range(4):
            client.execute(
                "WITH c AS (INSERT INTO contact (campaign, number, columns, state, token) "
                "SELECT id, %(number)s, '{}', 'placed', %(token)s FROM campaign RETURNING *) "
                "INSERT INTO send (token, contact, campaign, number, at, send_by, outcome) "
                "SELECT token, id, campaign, number, 1, 1, 'placed' FROM c",
                {"number": number, "token": f"tcm_{number}"},
            )
        client.execute("SELECT add_to_tally(id, 1, 4, 4, 0) FROM campaign")
        record(client, "tcm_0", 0.5)
        record(client, "tcm_1", 0.0)
        async with PostgresLedger(shared().url(), schema=schema) as ledger:
            migrated = await ledger.state("spring")
            record(client, "tcm_2", 0.25)
            after = await ledger.state("spring")

    assert (migrated.cost, migrated.unpriced) == (0.5, 2)
    assert (after.cost, after.unpriced) == (0.75, 1)


async def test_commits_wait_for_the_disk(schema: str) -> None:
    """Commits are durable whatever the server's setting, except for reservations."""
    with shared().client() as client:
        client.execute("ALTER ROLE postgres SET synchronous_commit = off")
    try:
        async with PostgresLedger(shared().url(), schema=schema) as ledger:
            lanes = [ledger._moves, ledger._queries, ledger._reservations]
            shown = [await lane.value("SHOW synchronous_commit") for lane in lanes]
    finally:
        with shared().client() as client:
            client.execute("ALTER ROLE postgres RESET synchronous_commit")

    assert shown == ["on", "on", "off"]


# -- what is kept


async def test_many_contacts_are_loaded_in_their_order(schema: str) -> None:
    """More contacts than fit in one transaction are loaded and claimed in order."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        await ledger.create("spring", {})
        twice = [NewContact(number=NUMBER - n, columns={"n": str(n)}) for n in range(20_500)]

        loaded = await ledger.load("spring", itertools.chain(twice, twice[:5]))

        assert (loaded.added, loaded.known) == (20_500, 5)
        claims = await ledger.claim("spring", "w", most=3, lease=60)
        assert [claim.columns["n"] for claim in claims] == ["0", "1", "2"]
        pending = ledger.contacts("spring", states=[ContactState.PENDING])
        assert len([contact async for contact in pending]) == 20_497


async def test_any_text_is_kept(schema: str) -> None:
    """Columns are stored exactly; reasons lose characters that the server cannot store."""
    odd = {"नाम": "ok\0\ud800", "": "\t\n\\N"}
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        await ledger.create("spring", {"odd": odd})
        await ledger.load("spring", [NewContact(number=NUMBER, columns=odd)])
        (claim,) = await ledger.claim("spring", "w", most=1, lease=60)
        await intend(ledger, claim)
        await ledger.settle("t1", SendResult(state=ContactState.FAILED, detail="a\0\ud800b"))

        assert claim.columns == odd
        assert await ledger.settings("spring") == {"odd": odd}
        found = await ledger.find("spring", NUMBER)
        assert found is not None
        assert found.reason == "a?b"


@pytest.mark.parametrize(
    "ask",
    [
        lambda ledger: ledger.lease_channel("x", "y", limit=1, seconds=10**400),
        lambda ledger: ledger.record_event(CallEvidence(token="a\0b", request_id=None, at=0)),
        lambda ledger: ledger.record_event(CallEvidence(token="\ud800", request_id=None, at=0)),
    ],
    ids=["a number too large", "a null character", "a lone surrogate"],
)
async def test_nothing_foreign_escapes(
    ask: Callable[[PostgresLedger], Awaitable[object]], schema: str
) -> None:
    """A value that the server refuses raises `StoreError`, without repeating the value."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        with pytest.raises(StoreError) as caught:
            await ask(ledger)

        assert caught.value.__context__ is None
        assert "1000000" not in str(caught.value)
        assert await ledger.campaigns() == []


def test_importing_it_needs_no_psycopg() -> None:
    """The module can be imported without the extra."""
    script = (
        "import sys; sys.modules['psycopg'] = None; import telecmi_async.ledger.postgres.ledger"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# --- the clock


@pytest.mark.parametrize(
    ("passed", "wall", "asked"),
    [
        pytest.param(0.9, 0.9, 1, id="fresh"),
        pytest.param(1.1, 1.1, 2, id="old"),
        pytest.param(0.1, 3600.1, 2, id="slept"),
        pytest.param(0.1, -59.9, 2, id="set"),
    ],
)
async def test_a_reading_is_carried_forward(
    schema: str, monkeypatch: pytest.MonkeyPatch, passed: float, wall: float, asked: int
) -> None:
    """A fresh reading of the server's clock is carried forward, unless this machine slept."""
    here = types.SimpleNamespace(monotonic=lambda: 50.0, time=lambda: 1_000.0)
    monkeypatch.setattr("telecmi_async.ledger.postgres.server_clock.time", here)
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        questions: list[str] = []
        value = ledger._queries.value

        async def counted(sql: str) -> Any:
            questions.append(sql)
            return await value(sql)

        monkeypatch.setattr(ledger._queries, "value", counted)
        first = await ledger.now(within=1.0)
        here.monotonic, here.time = lambda: 50.0 + passed, lambda: 1_000.0 + wall
        second = await ledger.now(within=1.0)
        exact = await ledger.now()

    assert len(questions) == asked + 1
    if asked == 1:
        assert second == pytest.approx(first + passed, abs=1e-6)
    assert first < exact < first + 60

"""PostgreSQL behind PgBouncer: every intent is durable, and other clients notice nothing."""

from __future__ import annotations

import json
import secrets
import uuid
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from accepting_simulator import *  # noqa: F403  # pytest finds fixtures by name
from accepting_simulator import BRIEF
from campaign_observers import ran
from faulty_campaign import NAME, WritingSimulator, account, contacts, settings
from pg_bouncer import PgBouncer
from pg_server import PgServer, shared

from telecmi_async.campaigns import Campaign
from telecmi_async.cli import Exit
from telecmi_async.errors import ConfigurationError, LedgerLost, StoreError
from telecmi_async.ledger import ContactState, Intent, NewContact, SendLimits, SendResult
from telecmi_async.ledger.postgres import jobs
from telecmi_async.ledger.postgres.ledger import PostgresLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async import CallService

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.usefixtures("campaigns_poll_often"),
]

NUMBER = 919000000000
PLACED = SendResult(state=ContactState.PLACED)
#: What another client of the pooler would notice of a session.
SESSION = """
    SELECT current_setting('search_path'), current_setting('synchronous_commit'),
        current_setting('statement_timeout'), (SELECT count(*) FROM pg_prepared_statements),
        (SELECT count(*) FROM pg_class WHERE relpersistence = 't')"""


@pytest.fixture
def schema() -> str:
    """A schema of this test on the server."""
    return f"test {uuid.uuid4().hex}"


@pytest.fixture
def pooler() -> Iterator[PgBouncer]:
    """A pooler of transactions over three connections, each used in turn."""
    with PgBouncer(shared()) as pooler:
        yield pooler


def sessions(pooler: PgBouncer) -> set[Any]:
    """Return what clients of the pooler find, on all its connections."""
    with pooler.client() as client:
        return {client.execute(SESSION).fetchone() for _ in range(12)}


async def dial(ledger: PostgresLedger, count: int, limits: SendLimits) -> list[object]:
    """Take contacts through a send each, all at the same time; return the ledger's decisions."""
    await ledger.create("spring", {})
    await ledger.load("spring", (NewContact(number=NUMBER + n) for n in range(count)))
    claims = await ledger.claim("spring", "w", most=count, lease=60)
    found: list[object] = []

    async def one(claim: Any) -> None:
        token = f"t{claim.number}"
        await ledger.reserve([("account", 0.0001)], longest=60)
        found.append(await ledger.intend(claim, "w", token, limits=limits, fence=30, lease=60))
        if isinstance(found[-1], Intent):
            await ledger.settle(token, PLACED)

    async with anyio.create_task_group() as tasks:
        for claim in claims:
            tasks.start_soon(one, claim)
    return found


async def test_nothing_leaks_to_other_clients(pooler: PgBouncer, schema: str) -> None:
    """After loads, sends and reservations the pooler's sessions are as they were before."""
    before = sessions(pooler)

    async with PostgresLedger(pooler.url(), schema=schema) as ledger:
        found = await dial(ledger, 200, SendLimits(per_day=150, per_number=[(2, 60.0)]))
        await ledger._queries.do(jobs.vacuum)
        state = await ledger.state("spring")
        during = sessions(pooler)

    assert ledger.through_pooler
    assert sum(isinstance(each, Intent) for each in found) == state.sends == 150
    assert before == during == sessions(pooler)
    assert len(before) == 1


async def test_each_intent_waits_for_the_disk(pooler: PgBouncer, schema: str) -> None:
    """Every row of a send is written under synchronous_commit = on, whatever others set.

    Other clients have left ``off`` and a schema of their own on each connection.
    """
    async with PostgresLedger(pooler.url(), schema=schema) as ledger:
        with shared().client() as client:
            path = f'"{schema}"'
            client.execute(
                f"CREATE TABLE {path}.seen (setting text);"
                f" CREATE FUNCTION {path}.see() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN INSERT INTO {path}.seen"
                " VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;"
                f" CREATE TRIGGER see AFTER INSERT OR UPDATE ON {path}.send"
                f" FOR EACH ROW EXECUTE FUNCTION {path}.see()".encode()
            )
        with pooler.client() as other:
            for _ in range(12):
                other.execute("SET synchronous_commit = off")
                other.execute("SET search_path = pg_catalog")
                other.execute("SET statement_timeout = 300")
        found = await dial(ledger, 100, SendLimits())
        with shared().client() as client:
            seen = client.execute(
                f"SELECT setting, count(*) FROM {path}.seen GROUP BY 1".encode()
            ).fetchall()

    assert all(isinstance(each, Intent) for each in found)
    assert seen == [("on", 200)]


async def test_what_others_left_behind_hides_no_table(pooler: PgBouncer, schema: str) -> None:
    """Temporary tables that another client left on each connection are not taken for ours."""
    with pooler.client() as other:
        for _ in range(12):
            for name in ("contact", "campaign", "send", "migration"):
                other.execute(f"CREATE TEMP TABLE IF NOT EXISTS {name} (id integer)".encode())

    async with PostgresLedger(pooler.url(), schema=schema) as ledger:
        found = await dial(ledger, 20, SendLimits())

        assert all(isinstance(each, Intent) for each in found)
        assert (await ledger.state("spring")).counts[ContactState.PLACED] == 20


@pytest.mark.parametrize(("mode", "size"), [("transaction", 1), ("session", 8)])
async def test_other_poolers_work_too(schema: str, mode: str, size: int) -> None:
    """A pooler of sessions works, and one of transactions with a single connection."""
    with PgBouncer(shared(), mode=mode, size=size) as pooler:
        async with PostgresLedger(pooler.url(), schema=schema, timeout=30) as ledger:
            found = await dial(ledger, 30, SendLimits(per_day=20))

    assert sum(isinstance(each, Intent) for each in found) == 20


async def test_a_pooler_of_statements_is_refused(schema: str) -> None:
    """A pooler of statements is refused at opening, with what to use instead."""
    with (
        PgBouncer(shared(), mode="statement") as pooler,
        pytest.raises(ConfigurationError, match=r"pool_mode.*own address"),
    ):
        await PostgresLedger(pooler.url(), schema=schema).__aenter__()


async def test_a_server_without_a_pooler_is_recognised(schema: str) -> None:
    """Statements are prepared, and settings kept, where no pooler is in between."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        await ledger.campaigns()

        assert not ledger.through_pooler
        assert (await ledger._moves.value("SELECT current_setting('search_path')")) == (
            f'"{schema}", pg_temp'
        )


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("is_pooled", [False, True])
async def test_a_server_that_ends_a_pipeline_is_asked_again(
    pooler: PgBouncer, schema: str, *, is_pooled: bool, together: int
) -> None:
    """Queries whose server shuts down are repeated, as ones that may have been done.

    psycopg hides that the server ended the connection behind an error of its own.
    """
    url, answers = (pooler if is_pooled else shared()).url(), dict[str, str]()
    async with PostgresLedger(url, schema=schema) as ledger:

        async def ask(name: str) -> None:
            answers[name] = await ledger._queries.value(
                "SELECT CASE WHEN v.again THEN v.name ELSE"
                " pg_terminate_backend(pg_backend_pid())::text END"
                " FROM (VALUES (%s, %s)) AS v (name, again)",
                name,
                takes_again=True,
            )

        async with anyio.create_task_group() as tasks:
            for n in range(together):
                tasks.start_soon(ask, f"query {n}")

    assert answers == {f"query {n}": f"query {n}" for n in range(together)}


async def test_a_pooler_that_restarts_is_waited_for(pooler: PgBouncer, schema: str) -> None:
    """Queries go on when the pooler is back, and fail in time if it is not."""
    async with PostgresLedger(pooler.url(), schema=schema, timeout=10) as ledger:
        await dial(ledger, 5, SendLimits())
        pooler.kill()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, pooler.start)
            assert (await ledger.state("spring")).sends == 5
        pooler.kill()
        ledger._connector.timeout = 0.2
        with pytest.raises(StoreError, match="cannot be reached"):
            await ledger.state("spring")
        await anyio.to_thread.run_sync(pooler.start)


async def test_a_campaign_through_a_pooler_that_is_killed_calls_each_once(
    simulator: WritingSimulator, service: CallService, pooler: PgBouncer, schema: str
) -> None:
    """Two workers behind a pooler, which is killed and comes back, dial nobody twice."""
    url = pooler.url()
    async with (
        PostgresLedger(url, schema=schema, timeout=0.5) as ledger,
        PostgresLedger(url, schema=schema, timeout=0.5) as second,
    ):
        config = settings(40.0, pace={"max_in_flight": 8, "max_live_calls": 100})
        workers = [
            Campaign(each, service, NAME, config, timeouts=BRIEF, without_events=True)
            for each in (ledger, second)
        ]
        await workers[0].load(contacts(40))
        async with anyio.create_task_group() as tasks:
            for worker in workers:
                tasks.start_soon(worker.run)
            await anyio.sleep(0.4)
            pooler.kill()
            await anyio.sleep(0.7)
            await anyio.to_thread.run_sync(pooler.start)

        states = await account(ledger, simulator.log, 40)
    assert set(states) <= {"placed", "unknown"}


def test_doctor_says_that_there_is_a_pooler(pooler: PgBouncer) -> None:
    """`doctor` names the pooler, and what would be faster."""
    name = f"cli-{secrets.token_hex(4)}"
    shared().database(name)
    environ = {"TELECMI_LEDGER": pooler.url(name)}
    ran("migrate", environ=environ)
    _, said = ran("doctor", "--json", environ=environ)
    (ledger,) = [
        found
        for line in said.out.splitlines()
        if (found := json.loads(line))["what"] == "ledger"
    ]

    assert ledger["exit"] == Exit.OK
    assert "pooler" in ledger["words"]


# -- what does not pass


@pytest.mark.parametrize(
    "harm",
    ["DROP SCHEMA {0} CASCADE", "ALTER TABLE {0}.contact RENAME TO persons", "dropped anew"],
)
async def test_a_schema_that_is_gone_ends_the_worker(
    simulator: WritingSimulator, service: CallService, schema: str, harm: str
) -> None:
    """A campaign ends with `LedgerLost` when its schema is dropped, changed or made anew."""
    url = shared().url()
    async with PostgresLedger(url, schema=schema, timeout=0.5) as ledger:
        campaign = Campaign(ledger, service, NAME, settings(40.0), timeouts=BRIEF)
        await campaign.load(contacts(400))

        def harm_it() -> None:
            drop = "DROP SCHEMA {0} CASCADE" if harm == "dropped anew" else harm
            with shared().client() as client:
                client.execute(drop.format(f'"{schema}"').encode())

        async def spoil() -> None:
            await simulator.received(1)
            await anyio.to_thread.run_sync(harm_it)
            if harm == "dropped anew":
                async with PostgresLedger(url, schema=schema):
                    pass

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(spoil)
            with anyio.fail_after(30), pytest.raises(LedgerLost):
                await campaign.run()
        sent = len(simulator.log)
        await anyio.sleep(0.5)

    assert 0 < sent == len(simulator.log) < 400


async def test_another_database_than_before_is_noticed(schema: str) -> None:
    """If the schema was made anew while the connection was broken, the ledger is lost."""
    url = shared().url()
    async with PostgresLedger(url, schema=schema, timeout=0.5) as ledger:
        await dial(ledger, 1, SendLimits())
        with shared().client() as client:
            client.execute(f'DROP SCHEMA "{schema}" CASCADE'.encode())
        async with PostgresLedger(url, schema=schema) as other:
            await other.create("spring", {})
        await ledger._queries.do(lambda connection: connection.close())

        with pytest.raises(LedgerLost, match="another database"):
            await ledger.state("spring")


@pytest.mark.parametrize("prepared", [False, True])
async def test_a_schema_that_was_made_anew_unnoticed_is_lost(
    schema: str, prepared: bool
) -> None:
    """No contact is claimed in a schema that took the old one's place while nothing was asked.

    A query that was prepared for the old types fails in a way that says nothing of schemas; it is
    lost as well, and so is everything else then.
    """
    url = shared().url()
    async with PostgresLedger(url, schema=schema, timeout=0.5) as ledger:
        await dial(ledger, 1, SendLimits())
        for n in range(8 if prepared else 1):
            await ledger.settle(f"t{n}", PLACED)
        with shared().client() as client:
            client.execute(f'DROP SCHEMA "{schema}" CASCADE'.encode())
        async with PostgresLedger(url, schema=schema) as other:
            await other.create("spring", {})
            await other.load("spring", [NewContact(number=NUMBER)])

            if prepared:
                with pytest.raises(LedgerLost, match="replaced"):
                    await ledger.settle("t0", PLACED)
                with pytest.raises(LedgerLost, match="replaced"):
                    await ledger.campaigns()
            else:
                assert await ledger.claim("spring", "w", most=9, lease=60) == []
                with pytest.raises(LedgerLost, match="another one than before"):
                    await ledger.state("spring")
            assert (await other.state("spring")).counts[ContactState.PENDING] == 1


async def test_damaged_data_is_lost_and_nothing_else_is(schema: str) -> None:
    """Errors of damaged data and indexes do not pass; a full disk and a standby do."""
    with PgServer() as server:
        async with PostgresLedger(server.url(), schema=schema, timeout=0.5) as ledger:
            for state, lost in [
                ("XX001", True),
                ("XX002", True),
                ("53100", False),
                ("25006", False),
            ]:
                fault = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"
                with pytest.raises(StoreError, match=state) as caught:
                    await ledger._queries.fetch(fault)
                assert isinstance(caught.value, LedgerLost) is lost

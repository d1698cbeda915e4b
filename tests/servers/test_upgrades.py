"""Upgrades of a PostgreSQL ledger: two versions side by side, and roles with few privileges."""

from __future__ import annotations

import functools
import json
import re
import secrets
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import anyio
import pytest
from accepting_simulator import *  # noqa: F403  # pytest finds fixtures by name
from accepting_simulator import BRIEF
from campaign_observers import ran
from faulty_campaign import NAME, WritingSimulator, account, contacts, settings
from free_ports import free_port
from old_ledger import OLD_POSTGRES, check_old_ledger, continue_old_campaign
from pg_server import PgServer, shared
from project_paths import docs_page

from telecmi_async.campaigns import Campaign
from telecmi_async.cli import Exit
from telecmi_async.cli.exits import exit_of
from telecmi_async.errors import ConfigurationError, LedgerLost, StoreError
from telecmi_async.ledger import ContactState, SendResult
from telecmi_async.ledger.migrate import scripts
from telecmi_async.ledger.postgres import schema as schema_module
from telecmi_async.ledger.postgres.ledger import PostgresLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async import CallService

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.usefixtures("campaigns_poll_often"),
]

#: What the next version may do: a column, and a function of its own name beside the older one.
NEXT = """
    ALTER TABLE contact ADD COLUMN settled_by text NOT NULL DEFAULT '';
    CREATE FUNCTION settle_next(p_token text, p_outcome contact_state, p_detail text,
        p_request text, p_not_before double precision, p_counts boolean, p_again boolean)
    RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE contact k SET settled_by = 'next' FROM send s
        WHERE s.token = p_token AND k.id = s.contact;
        RETURN settle_3(p_token, p_outcome, p_detail, p_request, p_not_before, p_counts,
            p_again);
    END
    $$;"""


class NextLedger(PostgresLedger):
    """The ledger of a next version, which settles by a function of its own."""

    async def settle(self, token: str, outcome: SendResult) -> bool:
        """Put the result of a send on record."""
        done: bool = await self._moves.value(
            "SELECT settle_next(%s, %s::contact_state, %s, %s, %s, %s, %s)",
            token, outcome.state.value, outcome.detail, outcome.request_id,
            outcome.not_before, outcome.counts, takes_again=True,
        )  # fmt: skip
        return done


@pytest.fixture
def schema() -> str:
    """A schema of this test on the server."""
    return f"test {uuid.uuid4().hex}"


@pytest.fixture
def database() -> str:
    """A database of this test on the server."""
    name = f"db-{secrets.token_hex(4)}"
    shared().database(name)
    return name


def execute(sql: str, database: str = "postgres") -> None:
    """Run statements as the server's owner."""
    with shared().client(database) as client:
        client.execute(sql.encode())


async def opened_as_next(ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open a ledger as the next version would."""
    with monkeypatch.context() as patch:
        patch.setattr(schema_module, "scripts", lambda kind: [*scripts(kind), NEXT])
        await ledger.__aenter__()


# -- migrations


async def test_a_ledger_of_the_first_version_goes_on(
    database: str, simulator: WritingSimulator, service: CallService
) -> None:
    """A ledger of 0.1.0 keeps all its rows when it is migrated, and its campaign goes on."""
    execute(OLD_POSTGRES.read_text("utf-8"), database)

    async with PostgresLedger(shared().url(database)) as ledger:
        await check_old_ledger(ledger)
        await continue_old_campaign(ledger, service, simulator)


async def test_two_versions_dial_side_by_side(
    schema: str,
    simulator: WritingSimulator,
    service: CallService,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Workers of this version and of the next one share a campaign: each contact once.

    The next one migrates the schema while this one dials.
    """
    url = shared().url()
    config = settings(30.0, pace={"max_in_flight": 8})
    async with PostgresLedger(url, schema=schema) as ledger:
        campaign = Campaign(ledger, service, NAME, config, timeouts=BRIEF)
        await campaign.load(contacts(120))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await simulator.received(10)
            newer = NextLedger(url, schema=schema)
            await opened_as_next(newer, monkeypatch)
            assert len(simulator.log) < 100
            await Campaign(newer, service, NAME, config, timeouts=BRIEF).run()
        await newer.__aexit__()

        assert await account(ledger, simulator.log, 120) == {"placed": 120}
        with shared().client() as client:
            settled = client.execute(
                f'SELECT settled_by, count(*) FROM "{schema}".contact GROUP BY 1'.encode()
            ).fetchall()
    assert {version for version, _ in settled} == {"", "next"}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE contact RENAME COLUMN worker TO dialler",
        "DROP FUNCTION settle_3",
        "ALTER TABLE send ADD COLUMN region text NOT NULL DEFAULT '';"  # noqa: ISC004  # one change
        " ALTER TABLE send ALTER COLUMN region DROP DEFAULT",
        "ALTER TABLE contact ADD CONSTRAINT once CHECK (sends = 0) NOT VALID",
    ],
)
async def test_a_version_that_breaks_this_one_ends_its_workers(
    schema: str, simulator: WritingSimulator, service: CallService, change: str
) -> None:
    """A worker whose statement fails, since the schema is another version's, says so and ends."""
    async with PostgresLedger(shared().url(), schema=schema, timeout=1) as ledger:
        campaign = Campaign(ledger, service, NAME, settings(40.0), timeouts=BRIEF)
        await campaign.load(contacts(200))

        async def migrate() -> None:
            await simulator.received(1)
            path = f'SET search_path = "{schema}"; '
            execute(f"{path}{change}; INSERT INTO migration VALUES (99)")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(migrate)
            with anyio.fail_after(30), pytest.raises(LedgerLost) as caught:
                await campaign.run()
        sent = len(simulator.log)

    assert re.search(
        r"changed its schema \(it is 99 by now, .*update telecmi-async", str(caught.value)
    )
    assert exit_of(caught.value) is Exit.UNKNOWN
    assert sent < 200


async def test_a_newer_schema_that_works_is_worked_with(schema: str) -> None:
    """A statement that fails for another reason ends no worker, whatever the schema's version."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:
        execute(f'INSERT INTO "{schema}".migration VALUES (99)')
        for state, kind in [
            ("53100", StoreError),
            ("57014", StoreError),
            ("23505", LedgerLost),
        ]:
            with pytest.raises(StoreError) as caught:
                await ledger._queries.fetch(
                    f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"
                )
            assert type(caught.value) is kind
        assert await ledger.create("spring", {})


async def test_a_migration_that_fails_leaves_nothing_behind(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that fails is a StoreError, and no schema is made."""
    monkeypatch.setattr(schema_module, "scripts", lambda kind: [*scripts(kind), "SELEKT 1"])

    with pytest.raises(StoreError, match="SyntaxError, 42601"):
        await PostgresLedger(shared().url(), schema=schema).__aenter__()
    with shared().client() as client:
        found = client.execute("SELECT to_regnamespace(quote_ident(%s))", (schema,)).fetchone()
    assert found == (None,)


async def test_a_check_that_fails_hides_no_failure(
    schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the schema cannot be checked after a failure, the failure itself is raised."""
    async with PostgresLedger(shared().url(), schema=schema) as ledger:

        def fail(connection: Any) -> int:
            raise OSError(str(connection))

        monkeypatch.setattr(schema_module, "connection_identity", fail)
        with pytest.raises(StoreError, match="DivisionByZero") as caught:
            await ledger._queries.fetch("SELECT 1 / 0")
    assert type(caught.value) is StoreError


# -- reading


@pytest.mark.parametrize("there", ["nothing", "old"])
async def test_reading_makes_and_migrates_nothing(
    database: str, there: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers, and commands that read, refuse what is not there or is of another version."""
    if there == "old":
        execute(OLD_POSTGRES.read_text("utf-8"), database)
    monkeypatch.chdir(tempfile.gettempdir())
    said = "older version" if there == "old" else "there is no ledger yet"
    environ = {"TELECMI_LEDGER": shared().url(database)}

    with pytest.raises(ConfigurationError, match=said):
        await PostgresLedger(shared().url(database), migrate=False).__aenter__()
    for command in (["status"], ["export"], ["why", "+19170100000"]):
        ask = functools.partial(ran, *command, environ=environ)
        code, terminal = await anyio.to_thread.run_sync(ask)
        assert (code, said in terminal.err) == (Exit.USAGE, True)
    with shared().client(database) as client:
        rows = client.execute("SELECT to_regclass('telecmi.migration')").fetchall()
        if there == "old":
            rows = client.execute("SELECT max(version) FROM telecmi.migration").fetchall()
    assert rows == [(3 if there == "old" else None,)]


def test_a_database_that_may_only_be_read_is_read(database: str) -> None:
    """`status`, `why`, `export` and `doctor` work where the server takes no changes."""
    execute(OLD_POSTGRES.read_text("utf-8"), database)
    environ = {"TELECMI_LEDGER": shared().url(database)}
    assert ran("migrate", environ=environ)[0] == Exit.OK
    execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')

    code, status = ran("status", "--name", "spring", "--json", environ=environ)
    assert (code, json.loads(status.out)["contacts"]) == (Exit.UNKNOWN, 18)
    assert ran("why", "+19170100004", environ=environ)[0] == Exit.OK
    code, export = ran("export", "--name", "spring", environ=environ)
    assert (code, len(export.out.splitlines())) == (Exit.OK, 19)
    _, doctor = ran("doctor", "--json", environ=environ)
    found = [json.loads(line) for line in doctor.out.splitlines()]
    assert [each["exit"] for each in found if each["what"] == "ledger"] == [Exit.OK]
    code, pause = ran("pause", "--name", "spring", environ=environ)
    assert code == Exit.UNAVAILABLE
    assert "may only be read" in pause.err


class Replica(PgServer):
    """A server that follows another one, and can be read."""

    def __init__(self, primary: PgServer) -> None:
        super().__init__(password=primary.password)
        self.primary = primary

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="tcm-pg-"))
        self._programs = self.primary._programs
        if self._user:
            shutil.chown(self._folder, "nobody")
        (self._folder / "log").touch()
        command = [str(self._programs / "bin/pg_basebackup"), "-R", "-D",
                   str(self._folder / "data"), "-d", self.primary.url()]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, **self._user)
        self.port = free_port()
        self.start()
        return self


async def test_a_replica_is_read(simulator: WritingSimulator, service: CallService) -> None:
    """A real hot standby answers readers; a worker is refused there, or told so."""
    with PgServer(max_wal_senders="4", wal_level="replica") as primary:
        async with PostgresLedger(primary.url()) as ledger:
            await ledger.create(NAME, settings().dump())
            await ledger.load(NAME, contacts(5))
        with Replica(primary) as replica:
            async with PostgresLedger(replica.url(), migrate=False) as reader:
                assert (await reader.state(NAME)).counts[ContactState.PENDING] == 5
                assert (await reader.find(NAME, contacts(1)[0].number)) is not None
                with pytest.raises(StoreError, match="may only be read, as a replica may"):
                    await reader.claim(NAME, "w", most=1, lease=60)
            with pytest.raises(ConfigurationError, match="address of the primary"):
                await PostgresLedger(replica.url(), schema="other").__aenter__()
    del simulator, service


# -- roles


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """A role that may only connect to the test's database."""
    name = f"role-{secrets.token_hex(4)}"
    execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'open sesame'")
    execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
    execute(f'GRANT CONNECT ON DATABASE "{database}" TO "{name}"')
    yield name
    execute(f'DROP OWNED BY "{name}"', database)
    execute(f'DROP OWNED BY "{name}"')
    execute(f'DROP ROLE "{name}"')


def url_of(role: str, database: str) -> str:
    """Return the database's URL for a role."""
    return shared().url(database).replace("//postgres:", f"//{role}:")


async def refusal(url: str, **options: Any) -> str:
    """Return why a ledger is not opened."""
    with pytest.raises(ConfigurationError) as caught:
        await PostgresLedger(url, **options).__aenter__()
    assert caught.value.__context__ is None
    return str(caught.value)


def statements_in(refused: str) -> str:
    """Return the statements that a message says are to be run."""
    return refused.partition("have their owner run: ")[2]


async def test_a_worker_needs_the_privileges_that_the_message_names(
    database: str, role: str, simulator: WritingSimulator, service: CallService
) -> None:
    """A role without privileges is refused with the statements that let it dial; these suffice."""
    url = url_of(role, database)
    assert "telecmi-async migrate" in await refusal(url)
    async with PostgresLedger(shared().url(database)):
        pass

    refused = await refusal(url)
    assert f'GRANT USAGE ON SCHEMA telecmi TO "{role}";' in refused
    assert "CREATE" not in refused
    execute(statements_in(refused), database)
    async with PostgresLedger(url) as ledger:
        campaign = Campaign(ledger, service, NAME, settings(100.0, pace={"max_live_calls": 50}),
                            timeouts=BRIEF, without_events=True)  # fmt: skip
        await campaign.load(contacts(20))
        await campaign.run()
        await ledger.add_do_not_call([contacts(1)[0].number], "asked us")
        await ledger.free_channel("account", "nobody")

        assert await account(ledger, simulator.log, 20) == {"placed": 20}


async def test_a_reader_needs_less(database: str, role: str) -> None:
    """A reader's role is refused with the statements that let it read, and may change nothing."""
    async with PostgresLedger(shared().url(database)) as ledger:
        await ledger.create(NAME, {})
        await ledger.load(NAME, contacts(3))
    url = url_of(role, database)
    refused = await refusal(url, migrate=False)
    execute(statements_in(refused), database)

    assert "INSERT" not in refused
    async with PostgresLedger(url, migrate=False) as ledger:
        assert (await ledger.state(NAME)).counts[ContactState.PENDING] == 3
        with pytest.raises(StoreError, match=r"42501.*GRANT INSERT, UPDATE ON"):
            await ledger.set_status(NAME, "paused")


async def test_a_privilege_that_is_taken_away_is_named(database: str, role: str) -> None:
    """A worker that loses a privilege names it, and works again when it is back."""
    async with PostgresLedger(shared().url(database)):
        pass
    url = url_of(role, database)
    execute(statements_in(await refusal(url)), database)
    execute("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA telecmi FROM PUBLIC", database)
    refused = await refusal(url)
    assert "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA telecmi" in refused
    execute(statements_in(refused), database)
    async with PostgresLedger(url) as ledger:
        await ledger.create(NAME, {})
        execute(f'REVOKE UPDATE ON telecmi.campaign FROM "{role}"', database)
        with pytest.raises(StoreError, match=r"GRANT UPDATE ON telecmi\.campaign") as caught:
            await ledger.set_status(NAME, "paused")
        execute(statements_in(str(caught.value)), database)
        await ledger.set_status(NAME, "paused")


async def test_an_older_schema_wants_its_owner(database: str, role: str) -> None:
    """A worker's role cannot migrate, and says who can."""
    execute(OLD_POSTGRES.read_text("utf-8"), database)
    url = url_of(role, database)
    execute(statements_in(await refusal(url)), database)

    assert "run `telecmi-async migrate` once as their owner" in await refusal(url)


def test_the_docs_list_the_privileges() -> None:
    """The statements on the docs' page are those that a worker's role needs."""
    page = docs_page("campaign-machines.md").read_text("utf-8")
    listed: dict[str, set[str]] = {}
    for privileges, tables in re.findall(r"GRANT ([A-Z, ]+) ON\s+([^;]+?)\s+TO dialler;", page):
        for table in re.findall(r"telecmi\.(\w+)", tables):
            listed.setdefault(table, set()).update(privileges.split(", "))

    assert listed == {
        table: set(privileges) for table, privileges in schema_module.WORKER_GRANTS.items()
    }

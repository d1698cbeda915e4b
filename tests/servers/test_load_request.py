"""Contacts that a program loads in its own transaction, with the code that the page shows."""

from __future__ import annotations

import asyncio
import re
import secrets
import sqlite3
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg  # type: ignore[import-untyped]  # it has no types
import psycopg
import pytest
import sqlalchemy
from page_code import code_under, programs_of, sections_of
from pg_bouncer import PgBouncer
from pg_server import shared
from project_paths import docs_page
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from telecmi_async import Hangup
from telecmi_async.campaigns import Campaign, CampaignSettings
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.ledger import NewContact, PostgresLedger, SqliteLedger, load_request
from telecmi_async.ledger.migrate import scripts
from telecmi_async.ledger.postgres import schema
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.real_clock]

PAGE = "load-in-a-transaction.md"
PHONE, NUMBER = "+1 917 000 0001", 19170000001
LOAD = "SELECT * FROM telecmi.load_contacts(%s)"
ORDERS = "CREATE TABLE orders (id integer PRIMARY KEY, phone text NOT NULL)"


class Undone(Exception):
    """Has a transaction rolled back."""


@pytest.fixture
async def database() -> str:
    """A database with a table of orders, and with a ledger that has the campaign of the page."""
    url = shared().database(f"db-{secrets.token_hex(4)}")
    with psycopg.connect(url) as connection:
        connection.execute(ORDERS)
    async with PostgresLedger(url) as ledger:
        await ledger.create("orders", CampaignSettings(flow=[Hangup()]).dump())
    return url


def kept(url: str) -> tuple[list[Any], list[Any]]:
    """Return the orders, and the contacts."""
    with psycopg.connect(url) as connection:
        orders = connection.execute("SELECT id FROM orders ORDER BY id").fetchall()
        contacts = connection.execute(
            "SELECT number, columns, state::text FROM telecmi.contact ORDER BY id"
        ).fetchall()
    return orders, contacts


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    with anyio.fail_after(20):
        while not is_so():  # noqa: ASYNC110  # a server says nothing by itself
            await anyio.sleep(0.02)


# -- drivers: each takes orders in one transaction, and may have it rolled back


def with_psycopg(url: str, orders: Sequence[tuple[int, str]], fail: bool) -> None:
    """Take orders as the page does first."""
    take_order = programs_of(PAGE, code_under(PAGE))["take_order"]
    with psycopg.connect(url) as connection:
        for order in orders:
            take_order(connection, *order)
        if fail:
            raise Undone


async def with_psycopg_async(url: str, orders: Sequence[tuple[int, str]], fail: bool) -> None:
    """Take orders over an asynchronous connection."""
    take_order = taking("psycopg, asynchronous")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for order in orders:
            await take_order(connection, *order)
        if fail:
            raise Undone


def with_sqlalchemy(
    url: str, orders: Sequence[tuple[int, str]], fail: bool, *, core: bool = False
) -> None:
    """Take orders in a session, or over a connection."""
    take_order = taking("SQLAlchemy")
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    try:
        opened: Any = engine.connect() if core else Session(engine)
        with opened as session, session.begin():
            for order in orders:
                take_order(session, *order)
            if fail:
                raise Undone
    finally:
        engine.dispose()


async def with_sqlalchemy_async(
    url: str, orders: Sequence[tuple[int, str]], fail: bool, *, driver: str
) -> None:
    """Take orders in an asynchronous session."""
    take_order = taking("SQLAlchemy, asynchronous")
    engine = create_async_engine(url.replace("postgresql:", f"postgresql+{driver}:"))
    try:
        async with AsyncSession(engine) as session, session.begin():
            for order in orders:
                await take_order(session, *order)
            if fail:
                raise Undone
    finally:
        await engine.dispose()


async def with_asyncpg(url: str, orders: Sequence[tuple[int, str]], fail: bool) -> None:
    """Take orders over asyncpg, without SQLAlchemy."""
    take_order = taking("asyncpg")
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            for order in orders:
                await take_order(connection, *order)
            if fail:
                raise Undone
    finally:
        await connection.close()


def taking(heading: str) -> Callable[..., Any]:
    """Return the page's function for a driver."""
    code = code_under(PAGE)
    if heading.startswith("SQLAlchemy"):
        code += code_under(PAGE, "SQLAlchemy")
    found: Callable[..., Any] = programs_of(PAGE, code + code_under(PAGE, heading))[
        "take_order"
    ]
    return found


SYNC: dict[str, Callable[..., None]] = {
    "psycopg": with_psycopg,
    "SQLAlchemy session": with_sqlalchemy,
    "SQLAlchemy connection": partial(with_sqlalchemy, core=True),
}
ASYNC: dict[str, Callable[..., Any]] = {
    "psycopg": with_psycopg_async,
    "SQLAlchemy psycopg": partial(with_sqlalchemy_async, driver="psycopg"),
    "SQLAlchemy asyncpg": partial(with_sqlalchemy_async, driver="asyncpg"),
    "asyncpg": with_asyncpg,
}


def run(driver: str, url: str, *orders: tuple[int, str], fail: bool = False) -> None:
    """Take orders with a driver."""
    kind, _, name = driver.partition(" ")
    if kind == "sync":
        SYNC[name](url, orders, fail)
    else:
        asyncio.run(ASYNC[name](url, orders, fail))


DRIVERS = [*(f"sync {name}" for name in SYNC), *(f"async {name}" for name in ASYNC)]


@pytest.mark.parametrize("driver", DRIVERS)
async def test_an_order_and_its_contact_are_kept_or_neither(database: str, driver: str) -> None:
    """A commit keeps both, a roll-back neither; a second order of the number is known."""
    take = partial(anyio.to_thread.run_sync, partial(run, driver, database))

    def undone() -> None:
        with pytest.raises(Undone):
            run(driver, database, (1, PHONE), fail=True)

    await anyio.to_thread.run_sync(undone)
    assert kept(database) == ([], [])
    await take((1, PHONE), (2, "+1 (917) 000-0001"))
    await take((3, "19170000001"))

    assert kept(database) == (
        [(1,), (2,), (3,)],
        [(NUMBER, {"order": "1"}, "pending")],
    )


async def test_a_load_needs_no_schema_in_the_search_path(database: str) -> None:
    """The session's schemas, and its temporary tables of the same names, do not matter."""
    request = load_request("orders", [NewContact(number=PHONE)])
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TEMP TABLE contact (id integer)")
        connection.execute("SET search_path = pg_temp, pg_catalog")

        assert connection.execute(LOAD, [request]).fetchone() == (1, 0)
        assert connection.execute("SHOW search_path").fetchone() == ("pg_temp, pg_catalog",)
    assert kept(database)[1] == [(NUMBER, {}, "pending")]


async def test_a_load_through_a_pooler(database: str) -> None:
    """Through PgBouncer in transaction mode a load is part of the transaction, and stays whole."""
    name = database.rpartition("/")[2]
    with PgBouncer(shared()) as pooler:
        url = pooler.url(name)
        for number in range(6):  # each of its three connections serves two of them
            with psycopg.connect(url, prepare_threshold=None) as connection:
                take_order = programs_of(PAGE, code_under(PAGE))["take_order"]
                take_order(connection, number, f"+1917000000{number}")
                if number % 2:
                    connection.rollback()
        async with PostgresLedger(url) as ledger:
            loaded = await ledger.load("orders", [NewContact(number="+19170000009")])
            assert (loaded.added, (await ledger.state("orders")).total) == (1, 4)

    assert kept(database)[0] == [(0,), (2,), (4,)]


# -- what two transactions do to each other


@pytest.mark.parametrize("outcome", ["commit", "rollback"])
async def test_a_transaction_waits_for_another_load_of_the_number(
    database: str, outcome: str
) -> None:
    """Of two transactions that load a number, the second waits; it loads it if the first did not."""
    request = partial(load_request, "orders", [NewContact(number=PHONE)])
    found: list[Any] = []

    def second() -> None:
        with psycopg.connect(database) as connection:
            found.append(connection.execute(LOAD, [request()]).fetchone())

    with psycopg.connect(database) as connection, shared().client() as watcher:
        connection.execute(LOAD, [request()])
        thread = threading.Thread(target=second)
        thread.start()
        waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
        await until(lambda: watcher.execute(waits).fetchone() != (0,))
        assert found == []
        getattr(connection, outcome)()
        await anyio.to_thread.run_sync(thread.join)

    assert found == [(0, 1) if outcome == "commit" else (1, 0)]
    assert len(kept(database)[1]) == 1


async def test_transactions_that_load_the_same_contacts_do_not_lock_each_other_out(
    database: str,
) -> None:
    """Contacts in opposite orders, from several transactions at one time: each is loaded once."""
    contacts = [NewContact(number=NUMBER + n) for n in range(400)]
    counts: list[Any] = []

    def load(some: list[NewContact]) -> None:
        with psycopg.connect(database) as connection:
            counts.append(connection.execute(LOAD, [load_request("orders", some)]).fetchone())

    async with anyio.create_task_group() as tasks:
        for n in range(12):
            some = contacts if n % 2 else contacts[::-1]
            tasks.start_soon(anyio.to_thread.run_sync, load, some)

    assert sorted(counts) == [(0, 400)] * 11 + [(400, 0)]


async def test_a_snapshot_that_is_too_old_is_a_serialization_failure(database: str) -> None:
    """At REPEATABLE READ, a number that was loaded meanwhile fails as any row would."""
    request = partial(load_request, "orders", [NewContact(number=PHONE)])
    with psycopg.connect(database) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT 1")
        with psycopg.connect(database) as other:
            other.execute(LOAD, [request()])

        with pytest.raises(psycopg.errors.SerializationFailure):
            connection.execute(LOAD, [request()])


# -- what is refused


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_wrong_number_writes_nothing(database: str, driver: str) -> None:
    """A number that nothing can be dialled with is `InvalidCall` before the order is inserted."""

    def refused() -> None:
        with pytest.raises(InvalidCall, match="number"):
            run(driver, database, (1, "0917"))

    await anyio.to_thread.run_sync(refused)

    assert kept(database) == ([], [])


@pytest.mark.parametrize("driver", DRIVERS)
async def test_a_campaign_that_does_not_exist_undoes_the_transaction(
    database: str, driver: str
) -> None:
    """Without the campaign the statement fails with the ledger's words, and no order is kept."""
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE telecmi.campaign SET name = 'other'")

    def refused() -> None:
        with pytest.raises(
            Exception, match="there is no campaign named 'orders' in this ledger"
        ) as caught:
            run(driver, database, (1, PHONE))
        kind = (sqlalchemy.exc.DBAPIError, psycopg.DataError, asyncpg.DataError)
        assert isinstance(caught.value, kind)

    await anyio.to_thread.run_sync(refused)

    assert kept(database) == ([], [])


async def test_an_older_ledger_says_that_it_is_to_be_migrated(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of a later format is refused by an older schema, with what to run."""
    monkeypatch.setattr("telecmi_async.ledger.postgres.load_request._FORMAT", 2)
    request = load_request("orders", [NewContact(number=PHONE)])

    with (
        psycopg.connect(database) as connection,
        pytest.raises(psycopg.errors.InvalidParameterValue, match="older version") as caught,
    ):
        connection.execute(LOAD, [request])

    assert caught.value.diag.message_hint is not None
    assert "`telecmi-async migrate`" in caught.value.diag.message_hint
    assert PHONE not in str(caught.value)


async def test_a_newer_ledger_takes_what_this_version_sends(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a migration to the next version, programs of this one go on loading."""
    more = [*scripts("postgres"), "ALTER TABLE contact ADD COLUMN spare integer"]
    with monkeypatch.context() as patch:
        patch.setattr(schema, "scripts", lambda kind: more)
        async with PostgresLedger(database):
            pass
    with pytest.raises(ConfigurationError, match="newer version"):
        await PostgresLedger(database).__aenter__()

    await anyio.to_thread.run_sync(run, "sync psycopg", database, (1, PHONE))

    assert len(kept(database)[1]) == 1


async def test_a_role_needs_what_the_page_grants(database: str) -> None:
    """A role with the page's privileges loads contacts, and reads no calls."""
    name = f"shop-{secrets.token_hex(4)}"
    page = docs_page(PAGE).read_text("utf-8")
    (grants,) = re.findall(r"^```sql\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    url = database.replace("//postgres:", f"//{name}:")
    with psycopg.connect(database, autocommit=True) as owner:
        owner.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'open sesame'".encode())
        try:
            owner.execute(grants.replace("TO shop", f'TO "{name}"').encode())
            with psycopg.connect(url) as connection:
                request = load_request("orders", [NewContact(number=PHONE)])
                assert connection.execute(LOAD, [request]).fetchone() == (1, 0)
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute("SELECT * FROM telecmi.send")
        finally:
            owner.execute(f'DROP OWNED BY "{name}"'.encode())
            owner.execute(f'DROP ROLE "{name}"'.encode())


# -- what is kept


async def test_what_is_loaded_is_what_the_ledger_would_load(database: str) -> None:
    """Columns, times, order and history are those of `Campaign.load` with the same contacts."""
    odd = {"नाम": "ok\0\ud800", "": "\t\n\\N"}
    contacts = [
        NewContact(number=NUMBER + 1, columns=odd, not_before=0.1, not_after=4e9 + 1 / 3),
        NewContact(number=NUMBER, columns={"n": "first"}),
        NewContact(number=NUMBER, columns={"n": "twice"}),
    ]
    async with PostgresLedger(database) as ledger:
        await ledger.create("same", {})
        await ledger.load("same", sorted(contacts, key=lambda each: each.number), by="shop\0")
        with psycopg.connect(database) as connection:
            request = load_request("orders", iter(contacts), by="shop\0")
            assert connection.execute(LOAD, [request]).fetchone() == (2, 1)

        ours, theirs = [
            (
                [each async for each in ledger.contacts(name)],
                [(each.by, str(each)) async for each in ledger.changes(name)],
                await ledger.claim(name, "w", most=9, lease=60),
            )
            for name in ("orders", "same")
        ]
    assert ours[:2] == theirs[:2]
    assert [(each.number, each.columns, each.not_after) for each in ours[2]] == [
        (each.number, each.columns, each.not_after) for each in theirs[2]
    ]
    assert ours[1] == [("shop", "shop loaded 2 contacts")]


# -- the rest of the page


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.usefixtures("campaigns_poll_often")
async def test_an_order_is_called_by_a_worker_that_was_running(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's worker creates its campaign, and calls what is ordered while it runs; once."""
    with psycopg.connect(database) as connection:
        connection.execute("DELETE FROM telecmi.campaign")
    simulator = Simulator()
    monkeypatch.setenv("DATABASE_URL", database)

    def has_campaign() -> bool:
        with psycopg.connect(database) as connection:
            return connection.execute("SELECT 1 FROM telecmi.campaign").fetchone() == (1,)

    for name, value in {
        "APP_ID": str(simulator.app_id), "SECRET": simulator.secret, "FROM": "19170000000",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"TELECMI_{name}", value)
    monkeypatch.setattr(
        "telecmi_async.wire.own_client.ConnectionPool", lambda _: simulator.transport()
    )
    names = programs_of(
        PAGE, code_under(PAGE) + code_under(PAGE, "Create the campaign, and run it")
    )
    async with PostgresLedger(database) as ledger, anyio.create_task_group() as tasks:
        tasks.start_soon(names["work"])
        await until(has_campaign)
        for order, phone in enumerate([PHONE, PHONE, "+19170000002"]):
            await anyio.to_thread.run_sync(names["main"], order, phone)
        await until(lambda: simulator.requests == 2)
        state = await ledger.state("orders")
        await ledger.set_status("orders", "stopped")

    assert state.total == 2
    assert [call.to for call in simulator.calls] == [NUMBER, NUMBER + 1]


async def test_an_outbox_is_loaded_again_after_a_crash(tmp_path: Path) -> None:
    """A program that dies between load and delete loads again, and each number is dialled once."""
    names = programs_of(
        PAGE, code_under(PAGE) + code_under(PAGE, "Another database, or a SQLite ledger")
    )
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.execute(ORDERS)
        shop.execute("CREATE TABLE to_call (id integer PRIMARY KEY, number integer NOT NULL)")
        for order in range(3):
            names["take_order"](shop, order, f"+1917000000{order}")
        with pytest.raises(InvalidCall):
            names["take_order"](shop, 3, "0917")
        rows = partial(shop.execute, "SELECT id FROM to_call")

        class Dying:
            """A campaign whose program dies as soon as contacts are loaded."""

            async def load(self, contacts: Any) -> None:
                await campaign.load(contacts)
                raise Undone

        simulator = Simulator()
        async with (
            SqliteLedger(tmp_path / "ledger.db") as ledger,
            simulator.service(from_=19170000000) as service,
        ):
            campaign = Campaign(ledger, service, "orders", CampaignSettings(flow=[Hangup()]))
            with pytest.raises(Undone):
                await names["load_outbox"](shop, Dying())
            assert len(rows().fetchall()) == 3
            await names["load_outbox"](shop, campaign)
            await campaign.run()

        assert rows().fetchall() == []
    assert sorted(call.to for call in simulator.calls) == [NUMBER - 1, NUMBER, NUMBER + 1]
    assert simulator.requests == 3


def test_each_section_is_run() -> None:
    """The sections with code are those that tests here run."""
    headings = sections_of(PAGE)

    assert headings == {
        None, "psycopg, asynchronous", "SQLAlchemy", "SQLAlchemy, asynchronous", "asyncpg",
        "Create the campaign, and run it", "Another database, or a SQLite ledger",
    }  # fmt: skip

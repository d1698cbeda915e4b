"""Campaigns whose ledger or shared limits are on a server that fails."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from accepting_simulator import *  # noqa: F403  # pytest finds fixtures by name
from accepting_simulator import BRIEF
from faulty_campaign import NAME, WritingSimulator, account, busiest, contacts, settings
from memory_ledger import MemoryLedger
from pg_server import PgServer
from valkey_server import ValkeyServer

from telecmi_async.campaigns import Campaign
from telecmi_async.ledger.postgres.ledger import PostgresLedger
from telecmi_async.pacing.redis import RedisLimits

if TYPE_CHECKING:
    from telecmi_async import CallService

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.usefixtures("campaigns_poll_often"),
]


@pytest.mark.parametrize("how", ["all processes", "the first process", "one of a client"])
async def test_a_database_that_is_killed_and_comes_back_has_nobody_dialled_again(
    simulator: WritingSimulator, service: CallService, how: str
) -> None:
    """No contact is dialled twice when PostgreSQL is killed and restarted in a campaign."""
    with PgServer() as server:
        async with (
            PostgresLedger(server.url(), timeout=0.5) as ledger,
            PostgresLedger(server.url(), timeout=0.5) as second,
        ):
            config = settings(40.0, pace={"max_in_flight": 8, "max_live_calls": 100})
            workers = [
                Campaign(each, service, NAME, config, timeouts=BRIEF, without_events=True)
                for each in (ledger, second)
            ]
            await workers[0].load(contacts(60))
            async with anyio.create_task_group() as tasks:
                for worker in workers:
                    tasks.start_soon(worker.run)
                await anyio.sleep(0.4)
                if (
                    how == "one of a client"
                ):  # the server ends all others, and starts itself again
                    await anyio.to_thread.run_sync(server.kill_backend)
                else:
                    await anyio.to_thread.run_sync(
                        server.crash if how == "the first process" else server.kill
                    )
                    await anyio.sleep(1.0)
                    gone = len(simulator.log)
                    await anyio.sleep(0.3)
                    assert 0 < gone == len(simulator.log) < 60
                    await anyio.to_thread.run_sync(server.start)

            states = await account(ledger, simulator.log, 60)
    assert set(states) <= {"placed", "unknown"}
    # Only calls that were in flight at that moment may be unknown.
    assert states.get("unknown", 0) <= 16


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_limits_that_forget_everything_let_one_start_too_many_through(
    simulator: WritingSimulator, service: CallService
) -> None:
    """Starts keep their distance although the server's scripts and keys are flushed."""
    flushes = 3
    with ValkeyServer() as server:
        async with RedisLimits(server.url, timeout=2) as limits:
            ledger = MemoryLedger(clock=time.time)
            config = settings(20.0, pace={"max_live_calls": 100})
            campaigns = [
                Campaign(ledger, service, NAME, config, limits=limits, without_events=True)
                for _ in range(2)
            ]
            await campaigns[0].load(contacts(50))
            async with anyio.create_task_group() as tasks:
                for campaign in campaigns:
                    tasks.start_soon(campaign.run)
                with server.client() as client:
                    for _ in range(flushes):
                        await anyio.sleep(0.5)
                        client.script_flush()
                        client.flushall()

    assert await account(ledger, simulator.log, 50) == {"placed": 50}
    # Each worker may have reserved a start that the server forgot.
    assert busiest(simulator.log) <= 20 + 1 + 2 * 2

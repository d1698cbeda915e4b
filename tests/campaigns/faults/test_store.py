"""Campaigns whose ledger or shared limits fail: power cuts, full disks, locks, lost servers."""

from __future__ import annotations

import shutil
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx
import pytest
from accepting_simulator import *  # noqa: F403  # pytest finds fixtures by name
from accepting_simulator import BRIEF
from faulty_campaign import FROM, NAME, WritingSimulator, account, contacts, settings

from telecmi_async import CallService
from telecmi_async.campaigns import Campaign
from telecmi_async.ledger import SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from telecmi_async.simulator.replies import Decision

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.usefixtures("campaigns_poll_often"),
]

# --- power cuts --------------------------------------------------------------------------


class CopyingSimulator(WritingSimulator):
    """A simulator that copies the ledger's files before it logs a request."""

    source: Path | None
    copies: list[tuple[Path, int]]

    def receive(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        at: float,
        **options: Any,
    ) -> Decision:
        """Copy the files, then handle the request."""
        if self.source is not None:
            copy = self.source.with_name(f"copy{len(self.copies)}.db")
            for end in ("", "-wal"):
                shutil.copy(f"{self.source}{end}", f"{copy}{end}")
            self.copies.append((copy, len(self.log) + 1))
        return super().receive(method, path, headers, body, at=at, **options)


def tear_log(copy: Path, log: int) -> None:
    """Append rubbish to the write-ahead log, as a torn write leaves it."""
    with copy.with_name(f"{copy.name}-wal").open("ab") as file:
        file.write(bytes(range(256)) * log)


@pytest.mark.parametrize("torn", [False, True], ids=["clean", "torn"])
async def test_after_a_power_cut_nobody_is_dialled_again(tmp_path: Path, torn: bool) -> None:
    """After a power cut, the intents on disk keep each sent contact from being redialled."""
    simulator = CopyingSimulator(magic=False, life=None, latency=0.01)
    simulator.log, simulator.copies = [], []
    simulator.source = path = tmp_path / "ledger.db"
    config = settings(2_000.0)
    async with (
        httpx.AsyncClient(transport=simulator.transport()) as client,
        CallService(2222226, simulator.secret, from_=FROM, http_client=client) as service,
    ):
        async with SqliteLedger(path) as ledger:
            campaign = Campaign(ledger, service, NAME, config)
            await campaign.load(contacts(24))
            await campaign.run()
        log, simulator.source = list(simulator.log), None
        for copy, sent in simulator.copies[::6]:
            simulator.log = log[:sent]
            if torn:
                tear_log(copy, sent)
            # All leases are over when the next worker starts.
            async with SqliteLedger(copy, clock=lambda: time.time() + 1_000) as ledger:
                await Campaign(ledger, service, NAME, config).run()

                states = await account(ledger, simulator.log, 24)
                found = await ledger.find(NAME, log[sent - 1].number)
            # Its request was arriving at that moment, so its outcome is unknown.
            assert found is not None
            assert str(found.state) == "unknown"
            assert set(states) <= {"placed", "unknown"}
            # No second call; each contact without a request had an intent on disk.
            missing = 24 - len({request.number for request in simulator.log})
            assert missing == 24 - len(simulator.log) <= states["unknown"] - 1


# --- locked file, full disk --------------------------------------------------------------


async def test_a_ledger_that_others_keep_locked_stops_the_dialling(
    simulator: WritingSimulator, service: CallService, tmp_path: Path
) -> None:
    """Dialling stops while another process locks the ledger, and then continues."""
    async with SqliteLedger(tmp_path / "ledger.db", timeout=0.2) as ledger:
        campaign = Campaign(ledger, service, NAME, settings(50.0), timeouts=BRIEF)
        await campaign.load(contacts(40))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(0.3)
            other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, timeout=5)
            other.execute("BEGIN IMMEDIATE")
            await anyio.sleep(0.3)
            before = len(simulator.log)
            await anyio.sleep(0.7)
            during = len(simulator.log)
            other.execute("ROLLBACK")
            other.close()

        assert 0 < before == during < 40
        assert await account(ledger, simulator.log, 40) == {"placed": 40}


async def test_a_full_disk_stops_the_dialling(
    simulator: WritingSimulator, service: CallService, tmp_path: Path
) -> None:
    """Dialling stops while the disk is full, and continues when there is space again."""

    async def room(ledger: SqliteLedger, pages: str) -> None:
        await ledger._write(lambda db, _: db.execute(f"PRAGMA max_page_count = {pages}"))

    async with SqliteLedger(tmp_path / "ledger.db") as ledger:
        campaign = Campaign(ledger, service, NAME, settings(100.0), timeouts=BRIEF)
        await campaign.load(contacts(300))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(0.3)
            await room(ledger, "1")  # no more pages than there are
            during = -1
            while during < len(simulator.log):  # pages that are free are filled first
                during = len(simulator.log)
                await anyio.sleep(0.7)
            await room(ledger, "100000")

        assert 0 < during < 300
        assert await account(ledger, simulator.log, 300) == {"placed": 300}

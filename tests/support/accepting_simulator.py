"""Fixtures: a simulator that only accepts calls, and a service that uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from faulty_campaign import FROM, WritingSimulator

from telecmi_async import CallService
from telecmi_async.campaigns import CampaignTimeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["BRIEF", "service", "simulator"]

#: Longer than the second for which servers are away.
BRIEF = CampaignTimeouts(claim=2.0, fence=2.0, grace=0.5)


@pytest.fixture
async def simulator() -> AsyncIterator[WritingSimulator]:
    """A simulator that only accepts calls."""
    simulator = WritingSimulator(magic=False, life=None, latency=0.01)
    simulator.log = []
    yield simulator
    simulator.no_duplicates()


@pytest.fixture
async def service(simulator: WritingSimulator) -> AsyncIterator[CallService]:
    """A service whose calls go to the simulator."""
    async with (
        httpx.AsyncClient(transport=simulator.transport()) as client,
        CallService(2222226, simulator.secret, from_=FROM, http_client=client) as service,
    ):
        yield service

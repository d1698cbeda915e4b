"""Workers of campaigns that are killed or frozen at the critical points."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import anyio
import pytest
from faulty_campaign import NAME, contacts, scene
from killed_workers import CONTACTS, FROZEN, KILLED
from pg_server import shared
from project_paths import SUPPORT

from telecmi_async.ledger import ContactState, SendLimits, SendResult
from telecmi_async.simulator import Fault

SCRIPT = SUPPORT / "killed_workers.py"
#: The state of the killed worker's contact, and how often it may have been dialled.
ENDS = {
    "claim not committed": ("placed", {0, 1}),
    "claimed": ("placed", {1}),
    "intended": ("unknown", {0}),
    "about to be sent": ("unknown", {0}),
    "request sent": ("unknown", {0, 1}),
    "outcome not committed": ("unknown", {1}),
    "settled": ("placed", {1}),
}
SETTINGS = [("sqlite", 1), ("sqlite", 3), ("postgres", 3)]


@pytest.fixture(scope="module", params=SETTINGS, ids=lambda found: f"{found[0]}-{found[1]}")
def ends(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], dict[str, Any]]:
    """The result of each point, with one worker or several, on each ledger."""
    kind, workers = request.param
    where = shared().url() if kind == "postgres" else ""
    folder = tmp_path_factory.mktemp("dying")
    order = {"folder": str(folder), "workers": workers, "where": where}
    # The script imports the tests' own modules, and the package as this process does.
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), json.dumps(order)],
        stdout=subprocess.PIPE, env=env, check=True, timeout=120,
    )  # fmt: skip
    return {(one["point"], one["how"]): one for one in json.loads(done.stdout)}


@pytest.mark.parametrize("point", KILLED)
def test_a_worker_that_is_killed_at_a_point_leaves_its_contact_as_it_must(
    ends: dict[tuple[str, str], dict[str, Any]], point: str
) -> None:
    """A contact without an intent is dialled again; one with an intent stays unknown."""
    end = ends[point, "kill"]
    state, dialled = ENDS[point]

    assert end["twice"] == 0
    assert end["total"] == CONTACTS
    assert end["state"] in {state, None}
    assert end["dialled"] in dialled
    unknown = int(state == "unknown")
    expected = {"placed": CONTACTS - unknown} | ({"unknown": 1} if unknown else {})
    assert end["before"] == expected
    # In the end every dialled contact is placed, because of its events.
    missing = CONTACTS - end["log"]
    assert end["after"] == {"placed": end["log"]} | ({"unknown": missing} if missing else {})


@pytest.mark.parametrize("point", FROZEN)
def test_a_worker_that_is_frozen_beyond_its_leases_sends_nothing_when_it_wakes_up(
    ends: dict[tuple[str, str], dict[str, Any]], point: str
) -> None:
    """A worker that was frozen beyond its lease dials neither claimed nor intended contacts."""
    end = ends[point, "stop"]

    assert end["twice"] == 0
    assert end["total"] == CONTACTS
    assert end["dialled"] == (point == "claimed")
    assert end["state"] == ("placed" if point == "claimed" else "unknown")
    assert end["before"].get("placed", 0) == end["log"] == CONTACTS - (point == "intended")


@pytest.mark.anyio
async def test_a_worker_that_wakes_up_among_unknown_sends_does_not_wait_for_what_it_lost() -> (
    None
):
    """Contacts that another worker took use no probe and lengthen no pause."""
    async with scene(Fault("reset", attempts=1), latency=5.0) as here:
        campaign = here.campaign(without_events=True)
        await campaign.load(contacts(40))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(4)
            held = (await here.ledger.state(NAME)).counts[ContactState.CLAIMED]
            here.ledger._db.execute(
                "UPDATE contact SET lease_until = 0 WHERE state = 'claimed'"
            )
            await here.ledger.reap(NAME)
            for claim in await here.ledger.claim(NAME, "another", most=40, lease=60):
                await here.ledger.intend(
                    claim,
                    "another",
                    f"tcm_{claim.contact}",
                    limits=SendLimits(),
                    fence=30,
                    lease=60,
                )
                await here.ledger.settle(
                    f"tcm_{claim.contact}", SendResult(state=ContactState.PLACED)
                )
            woke = anyio.current_time()

        states = await here.account(40)
        assert held > 5
        assert set(states) == {"placed", "unknown"}
        assert anyio.current_time() - woke < 30

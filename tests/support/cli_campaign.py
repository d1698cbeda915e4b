"""A campaign for tests of the command line: four contacts and a greeting."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import anyio
from consoles import FROM

from telecmi_async.campaigns import CampaignSettings, Pace
from telecmi_async.ledger import NewContact, SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from telecmi_async.ledger import Ledger

FLOW = '[{"action": "speak", "text": "Hello {name}"}, {"action": "hangup"}]'
NUMBERS = range(19175550001, 19175550005)
ROWS = "phone,name\n" + "".join(f"+{number},N{n}\n" for n, number in enumerate(NUMBERS))


def in_ledger(do: Callable[[SqliteLedger], Awaitable[Any]], path: str = "l.db") -> Any:
    """Run a function on a ledger."""

    async def work() -> Any:
        async with SqliteLedger(path) as ledger:
            return await do(ledger)

    return anyio.run(work)


async def begin(
    ledger: Ledger, name: str = "people", pace: float = 20.0, **columns: str
) -> None:
    """Create a campaign with all numbers."""
    settings = CampaignSettings(
        flow=json.loads(FLOW), from_=FROM, pace=Pace(calls_per_second=pace)
    )
    await ledger.create(name, settings.dump())
    given = columns or {"name": "N"}
    await ledger.load(name, [NewContact(number=number, columns=given) for number in NUMBERS])


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)

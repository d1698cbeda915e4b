"""Soak test: three workers that come and go among all faults, on the virtual clock.

    python tests/support/soak.py [--contacts 10000] [--seed 1]

In the end every contact has a final state, and no number was dialled twice.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import sys
from typing import Any

import anyio
from attrs import define
from faulty_campaign import NAME, busiest, contacts, scene, settings

from telecmi_async import StoreError
from telecmi_async.ledger import ContactState
from telecmi_async.simulator import Fault, FaultKind, Webhooks
from telecmi_async.testing import run

S = ContactState
SHARE = 0.02
#: All kinds of faults except refused credentials, which pause a campaign.
KINDS = [kind for kind in FaultKind if not kind.value.startswith("credentials")]
RATE = 40.0
_OPEN = (S.PENDING, S.CLAIMED, S.SENDING)


@define
class Leaving:
    """A worker's ledger, which becomes unreachable when ``gone`` is set.

    Args:
        ledger: The ledger.
    """

    ledger: Any
    gone: bool = False

    def __getattr__(self, name: str) -> Any:
        if self.gone:
            raise StoreError("this worker is gone")
        return getattr(self.ledger, name)


CONFIG = settings(RATE, pace={"max_live_calls": 200, "max_in_flight": 10})


async def soak(total: int, seed: int) -> dict[str, Any]:
    """Dial all contacts, and return statistics."""
    dice = random.Random(seed)
    faults = [Fault(kind, share=SHARE) for kind in KINDS]
    webhooks = Webhooks(drop_share=SHARE, double_share=SHARE, delay=(0.0, 60.0))
    joined = gone = 0

    async with scene(*faults, webhooks=webhooks, seed=seed, answered_share=0.6) as here:
        # One campaign stays open, and records the events.
        listening = here.campaign(CONFIG)
        await listening.load(contacts(total))

        async def one() -> None:
            nonlocal joined, gone
            while await is_open():
                ledger = Leaving(here.ledger)
                joined += 1
                campaign = here.campaign(CONFIG, ledger=ledger, without_events=True)
                with anyio.move_on_after(dice.uniform(1, 60)):
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(run_one, campaign)
                        await anyio.sleep(dice.uniform(0, 90))
                        gone += 1
                        ledger.gone = True

        async def run_one(campaign: Any) -> None:
            try:
                await campaign.run()
            except StoreError:
                pass  # its ledger became unreachable

        async def is_open() -> bool:
            state = await here.ledger.state(NAME)
            return any(state.counts[each] for each in _OPEN)

        async with listening:
            async with anyio.create_task_group() as workers:
                for _ in range(3):
                    workers.start_soon(one)
            # Finish the contacts of the workers that left.
            await listening.run()

        states = await here.account(total)
        log = here.simulator.log
        return {
            "states": states, "requests": len(log), "dialled": here.simulator.numbers(),
            "workers": joined, "vanished": gone, "busiest": busiest(log),
            "seconds": round(max(r.at for r in log)),
        }  # fmt: skip


def main() -> None:
    """Soak on both event loops."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contacts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for backend in ("asyncio", "trio"):
        work = functools.partial(soak, options.contacts, options.seed)
        sys.stdout.write(f"{backend}: {json.dumps(run(work, backend=backend))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

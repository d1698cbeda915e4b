"""A simulator in its own process, which logs each call to disk before it answers.

`crash` starts it. It reads its options from a JSON argument, and prints
its base URL.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import anyio

from telecmi_async.simulator import Fault, Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.simulator.replies import Decision

#: The speed of simulated time: a missed record is delivered again after 5 seconds.
SPEED = 60.0


class WritingSimulator(Simulator):
    """A simulator with a log on disk."""

    log: int

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
        """Process a request; log a placed call to disk before the reply."""
        decision = super().receive(method, path, headers, body, at=at, **options)
        if decision.call is not None:
            params: Any = decision.call.extra_params
            reference = params["tcm_reference"].partition(".")[0]
            os.write(self.log, f"{decision.call.to} {reference}\n".encode())
        return decision


async def main(settings: dict[str, Any]) -> None:
    """Serve until the process is killed."""
    simulator = WritingSimulator(
        seed=settings["seed"],
        latency=(0.01, 0.3),
        magic=False,
        keep=0,
        answered_share=0.7,
        speed=SPEED,
        webhooks=Webhooks(
            settings["webhooks"], delay=(0.0, 20.0), drop_share=0.05, double_share=0.05
        ),
    )
    simulator.log = os.open(settings["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for kind, share in settings["faults"].items():
        simulator.faults.add(Fault(kind, share=share))
    async with simulator.serve() as base_url:
        sys.stdout.write(base_url + "\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, json.loads(sys.argv[1]))

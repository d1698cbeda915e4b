"""A simulator in a process of its own, which writes down what it dials before it answers.

`crash` starts it, and kills everybody else. It is told in a line of JSON what to do, and says
where it listens.
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

#: A call's time passes so much faster: a record that was missed comes again after 5 seconds.
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
        local: bool = True,
    ) -> Decision:
        """Take a request; if it dials somebody, that is on disk before it is answered."""
        decision = super().receive(method, path, headers, body, at=at, local=local)
        if decision.call is not None:
            params: Any = decision.call.extra_params
            reference = params["tcm_reference"].partition(".")[0]
            os.write(self.log, f"{decision.call.to} {reference}\n".encode())
        return decision


async def main(settings: dict[str, Any]) -> None:
    """Serve until somebody ends it."""
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

"""Memory of 100,000 calls through ``make_calls``, compared with 1,000.

Each size runs in a process of its own on the in-process simulator, and the peak of its
resident memory is compared.

    python benchmarks/memory.py [--calls 100000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from telecmi_async import Hangup, Play
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST = 19170000000
FLOW = (Play("welcome.wav"), Hangup())


def requests(calls: int) -> Iterator[dict[str, Any]]:
    """Yield requests to as many different numbers."""
    for number in range(calls):
        yield {"to": FIRST + number, "pcmo": FLOW, "extra_params": {"row": str(number)}}


async def stream(calls: int) -> int:
    """Place the calls and count the accepted ones."""
    async with Simulator().service(from_=FIRST) as service:
        accepted = 0
        async for call in service.make_calls(requests(calls)):
            accepted += call.accepted
        return accepted


def peak_in_child(calls: int) -> float:
    """Return the peak resident memory of a process that places the calls, in MB."""
    command = [sys.executable, __file__, "--child", "--calls", str(calls)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # itself
    return float(result.stdout)


def main() -> None:
    """Print the peaks and their difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        accepted = asyncio.run(stream(options.calls))
        if accepted != options.calls:
            sys.exit(f"only {accepted} of {options.calls} were accepted")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    few, many = peak_in_child(1_000), peak_in_child(options.calls)
    row = {
        "peak_mb_of_1000": round(few, 1),
        f"peak_mb_of_{options.calls}": round(many, 1),
        "more_mb": round(many - few, 1),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()

"""Import time: what all public names of the package cost above ``import httpx``, in CPU time.

``import telecmi_async`` alone imports nothing else; this is the cost of its first use. Fresh
processes import one or the other in turn; the median of the differences counts. Bytecode
is cached, as it is for installed packages.

    python benchmarks/import_time.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

SCRIPT = "import time; began = time.process_time(); {}; print(time.process_time() - began)"


STATEMENTS = {"httpx": "import httpx", "telecmi_async": "from telecmi_async import *"}


def milliseconds(module: str) -> float:
    """Return the CPU milliseconds that importing a module takes in a fresh process."""
    command = [sys.executable, "-c", SCRIPT.format(STATEMENTS[module])]
    # Without a cache, most of the measured time would be compiling.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=env)  # noqa: S603  # a fixed script
    return float(result.stdout) * 1000


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for module in ("httpx", "telecmi_async"):
        milliseconds(module)  # compiles, the first time
    pairs = [(milliseconds("httpx"), milliseconds("telecmi_async")) for _ in range(rounds)]
    row = {
        "httpx_ms": round(statistics.median(httpx for httpx, _ in pairs), 1),
        "telecmi_async_ms": round(statistics.median(ours for _, ours in pairs), 1),
        "above_httpx_ms": round(statistics.median(ours - httpx for httpx, ours in pairs), 1),
    }
    print(json.dumps(row))


if __name__ == "__main__":
    main()

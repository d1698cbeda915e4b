"""Import time: what a program waits for before its first call, above ``import httpx``, in CPU time.

``import telecmi_async`` alone imports nothing else. Measured are ``from telecmi_async import
CallService``, the first ``CallService(…)`` for an https address, which imports what is left and
loads the certificates, and all public names together. Of the first service, the certificates
alone and the event loop's own modules are shown as well: no client can do without them.

Fresh processes run the statements in turn; the medians and the smallest values of the
differences are printed, in milliseconds. Bytecode is cached, as it is for installed packages.

    python benchmarks/import_time.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

SCRIPT = """
import time
began = time.process_time()
{first}
between = time.process_time()
{second}
print(between - began, time.process_time() - between)
"""
CERTIFICATES = "import ssl, certifi; ssl.create_default_context(cafile=certifi.where())"

#: By name, what is measured first and then.
STATEMENTS = {
    "httpx": ("import httpx", "pass"),
    "service": ("from telecmi_async import CallService", "CallService(1, 'a-secret')"),
    "all_names": ("from telecmi_async import *", "pass"),
    "certificates": ("import httpx", CERTIFICATES),
    "asyncio": ("import httpx", "import asyncio"),
    "anyio": ("import httpx, asyncio", "import anyio._backends._asyncio"),
    "attrs": ("import httpx", "import attrs"),
}


def milliseconds(name: str) -> tuple[float, float]:
    """Return the CPU milliseconds that two statements take in a fresh process."""
    first, second = STATEMENTS[name]
    command = [sys.executable, "-c", SCRIPT.format(first=first, second=second)]
    # Without a cache, most of the measured time would be compiling.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=env)  # noqa: S603  # a fixed script
    one, two = result.stdout.split()
    return float(one) * 1000, float(two) * 1000


def main() -> None:
    """Print the medians, and the smallest values."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for name in STATEMENTS:
        milliseconds(name)  # compiles, the first time
    rows = [{name: milliseconds(name) for name in STATEMENTS} for _ in range(rounds)]
    figures = {
        "httpx": [row["httpx"][0] for row in rows],
        "call_service_above_httpx": [row["service"][0] - row["httpx"][0] for row in rows],
        "first_service": [row["service"][1] for row in rows],
        "all_names_above_httpx": [row["all_names"][0] - row["httpx"][0] for row in rows],
        "of_it_certificates": [row["certificates"][1] for row in rows],
        "of_it_asyncio": [row["asyncio"][1] for row in rows],
        "of_it_anyio": [row["anyio"][1] for row in rows],
        "of_it_attrs": [row["attrs"][1] for row in rows],
    }
    # Other programs only ever add to a time, so the smallest says the most on a busy machine.
    least = {name: min(values) for name, values in figures.items()}
    for name, base in (("call_service", "service"), ("all_names", "all_names")):
        least[f"{name}_above_httpx"] = min(row[base][0] for row in rows) - least["httpx"]
    print(
        json.dumps(
            {
                f"{name}_ms": {
                    "median": round(statistics.median(values), 1),
                    "least": round(least[name], 1),
                }
                for name, values in figures.items()
            }
        )
    )


if __name__ == "__main__":
    main()

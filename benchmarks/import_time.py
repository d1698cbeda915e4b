"""Import time: what a program waits for before its first call, above ``import httpx``, in CPU time.

``import telecmi_async`` alone imports nothing else. Measured are ``from telecmi_async import
CallService``; the first ``CallService(…)``, which imports its parts and, for an https address, loads
the certificates; both together; and all public names together. For comparison: httpx's own first
client, which loads the same certificates, and what the libraries below take.

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

IMPORT = "from telecmi_async import CallService"

#: By name, what is measured first and then.
STATEMENTS = {
    "httpx": ("import httpx", "httpx.AsyncClient()"),
    "httpx_asyncio": ("import httpx, asyncio", "pass"),
    "service": (IMPORT, "CallService(1, 'a-secret')"),
    "service_asyncio": (f"import asyncio; {IMPORT}", "CallService(1, 'a-secret')"),
    "service_http": (IMPORT, "CallService(1, 'a-secret', base_url='http://127.0.0.1:1/v2')"),
    "all_names": ("from telecmi_async import *", "pass"),
    "certificates": ("import httpx", CERTIFICATES),
    "asyncio": ("import httpx", "import asyncio"),
    "anyio": ("import httpx, asyncio", "import anyio._backends._asyncio"),
    "attrs": ("import httpx", "import attrs"),
    "cattrs": ("import httpx, attrs", "import cattrs"),
    "tenacity": ("import httpx", "import tenacity"),
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
        "call_service_above_httpx_and_asyncio": [
            row["service_asyncio"][0] - row["httpx_asyncio"][0] for row in rows
        ],
        "first_service": [row["service"][1] for row in rows],
        "both_above_httpx": [sum(row["service"]) - row["httpx"][0] for row in rows],
        "first_service_over_http": [row["service_http"][1] for row in rows],
        "first_httpx_client": [row["httpx"][1] for row in rows],
        "all_names_above_httpx": [row["all_names"][0] - row["httpx"][0] for row in rows],
        "of_it_certificates": [row["certificates"][1] for row in rows],
        "of_it_asyncio": [row["asyncio"][1] for row in rows],
        "of_it_anyio": [row["anyio"][1] for row in rows],
        "of_it_attrs": [row["attrs"][1] for row in rows],
        "of_it_cattrs": [row["cattrs"][1] for row in rows],
        "of_it_tenacity": [row["tenacity"][1] for row in rows],
    }
    # Other programs only ever add to a time, so the smallest says the most on a busy machine.
    least = {name: min(values) for name, values in figures.items()}
    for name, base, below in (
        ("call_service_above_httpx", "service", "httpx"),
        ("call_service_above_httpx_and_asyncio", "service_asyncio", "httpx_asyncio"),
        ("all_names_above_httpx", "all_names", "httpx"),
    ):
        least[name] = min(row[base][0] for row in rows) - min(row[below][0] for row in rows)
    least["both_above_httpx"] = least["call_service_above_httpx"] + least["first_service"]
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

"""Shared limits: the worst second of two processes at the simulator, and the share used.

Each shares its limit through a SQLite file, a PostgreSQL and a Valkey server of its own, at 5, 50
and 500 calls a second. The worst second must hold at most one call more than the limit, and at
least 98 % of it must be reached.

    python benchmarks/shared_limits.py [--seconds 6] [--processes 2] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from paced_processes import measure
from pg_server import PgServer
from valkey_server import ValkeyServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rates", type=float, nargs="+", default=[5, 50, 500])
    parser.add_argument("--folder", help="where the SQLite file is made")
    chosen = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(dir=chosen.folder) as folder,
        PgServer() as postgres,
        ValkeyServer() as valkey,
    ):
        for rate in chosen.rates:
            places = {
                "sqlite": f"{folder}/limits-{rate}.db",
                "postgres": postgres.database(f"limits{rate}"),
                "valkey": valkey.url,
            }
            for name, where in places.items():
                found = measure(where, rate, chosen.seconds, processes=chosen.processes)
                row = {
                    "limits": name,
                    "rate": rate,
                    "calls": len(found.arrivals),
                    "worst_second": found.worst,
                    "reached": round(found.reached, 4),
                    "holds": found.worst <= rate + 1 and found.reached >= 0.98,
                }
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()

"""Contacts files: how fast one is read, and in how much memory.

Files of a size and of a tenth of it are written and surveyed, each in a process of its own.
Twelve to forty bytes per number are kept to find duplicates.

    python benchmarks/contacts.py [--megabytes 100] [--kind plain]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from telecmi_async.campaigns.contacts.files import ContactsFile, survey

ROWS = {
    # Makes rows; about one in fifty is rejected.
    "plain": "{number},Contact {n},Street {n} in a town with a long name,Asia/Kolkata,{n}.50\n",
    "quoted": '"+{number}","Contact, {n}","Street {n}, in a ""town""",Asia/Kolkata,"{n}"\n',
    "narrow": "{number}\n",
    "unicode": "{number};Zoë Müller {n};प्लेस {n};Asia/Kolkata;x\n",
    "jsonl": '{{"number": {number}, "name": "Contact {n}", "note": "Street {n} in a town"}}\n',
}
HEADER = {
    "narrow": "number\n",
    "unicode": "number;name;street;timezone;sum\n",
    "jsonl": "",
}


def write(path: Path, kind: str, megabytes: float) -> None:
    row, written, n = ROWS[kind], 0, 0
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER.get(kind, "number,name,street,timezone,sum\n"))
        while written < megabytes * 1e6:
            lines = "".join(
                row.format(n=k, number=9876543210 if k % 50 == 0 else 916000000000 + k)
                for k in range(n, n + 1000)
            )
            written += len(lines.encode())
            n += 1000
            file.write(lines)


def child(path: str) -> None:
    began = time.process_time()
    found = survey(ContactsFile(path))
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": found.rows, "cpu_seconds": seconds, "peak_mb": peak}))


def measured(path: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(path)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  # itself
    found: dict[str, float] = json.loads(result.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--kind", choices=sorted(ROWS), action="append")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "contacts"
        for kind in options.kind or ROWS:
            write(path, kind, options.megabytes / 10)
            few = measured(path)
            write(path, kind, options.megabytes)
            many = measured(path)
            row = {
                "kind": kind,
                "rows": many["rows"],
                "rows_per_cpu_second": round(many["rows"] / many["cpu_seconds"]),
                "peak_mb": round(many["peak_mb"], 1),
                "more_mb_than_a_tenth": round(many["peak_mb"] - few["peak_mb"], 1),
            }
            print(json.dumps(row))


if __name__ == "__main__":
    main()

"""Start-up time of ``--help``: from the start of the process to its end.

Fresh processes of the command line take turns with an interpreter that does nothing; the
medians count. Bytecode is cached, as it is for installed packages.

    python benchmarks/help_time.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python_ms": ["-c", ""],
    "help_ms": ["-m", "telecmi_async", "--help"],
    "dial_help_ms": ["-m", "telecmi_async", "dial", "--help"],
}


def milliseconds(arguments: list[str]) -> float:
    """Return the elapsed milliseconds of a fresh process."""
    # Without a cache, most of the measured time would be compiling.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=env)  # noqa: S603  # fixed commands
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for arguments in COMMANDS.values():
        milliseconds(arguments)  # compiles, the first time
    taken = [
        {name: milliseconds(each) for name, each in COMMANDS.items()} for _ in range(rounds)
    ]
    row = {name: round(statistics.median(each[name] for each in taken), 1) for name in COMMANDS}
    print(json.dumps(row))


if __name__ == "__main__":
    main()

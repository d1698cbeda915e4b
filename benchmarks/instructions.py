"""Instructions of a call: the guard against a slower hot path, which needs no quiet machine.

Valgrind's callgrind counts what a process executes that places calls, 20 of them in flight over
the service's own client. Two runs with different numbers of calls are subtracted, so that
start-up drops out. More than 5 % above the baseline in instructions.json fails; without
valgrind, or without a baseline for this very build of Python, it says so and passes.

    python benchmarks/instructions.py [--record]

The server is a few lines on the same event loop, over real sockets. From a process of its own
replies would arrive sooner or later, and the loop would wake up more or less often: on a busy
machine the counts of three runs differed by 2 %. Its own instructions are the same for each
call and part of the count. The count depends on the build of Python and on the packages below:
a baseline names them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.metadata
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BASELINE = Path(__file__).with_suffix(".json")
IN_FLIGHT = 20
FEW, MANY = 60, 360
TOLERANCE = 0.05
REQUEST_ID = "Zs8kQ1vX7bNf3LmT9hRw2YcJ5pGd6UaE4oKi0BxSqDt"
BODY = (
    f'{{"data":{{"status":"progress","request_id":"{REQUEST_ID}"}},"status":"progress",'
    f'"request_id":"{REQUEST_ID}","code":200}}'
)
REPLY = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()
PACKAGES = ("anyio", "attrs", "cattrs", "h11", "httptools", "httpx", "httpcore", "sniffio")


async def place(calls: int) -> None:
    """Place the calls with as many workers as may be in flight."""
    from telecmi_async import CallService, Hangup, Play, RateLimit, Timeouts

    flow = [Play("welcome.wav"), Hangup()]
    left = iter(range(calls))
    listener = serve()
    gc.disable()  # a full collection in one of the runs alone would count as a part of each call
    async with CallService(
        2222226,
        "s",
        from_=19170000000,
        base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/v2",
        rate=RateLimit(max_in_flight=IN_FLIGHT),
        # Valgrind makes everything fifty times slower.
        timeout=Timeouts(connect=900, write=900, read=900, total=900),
    ) as service:

        async def work() -> None:
            for _ in left:
                made = await service.make_call(
                    to=19170000001, pcmo=flow, extra_params={"order": "4711"}
                )
                if made.request_id != REQUEST_ID:
                    raise SystemExit(f"a call was not accepted: {made!r}")

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


def serve() -> socket.socket:
    """Accept every call, on this event loop; a request may arrive in two pieces."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)

    def accept() -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        loop.add_reader(connection, answer, connection, bytearray())

    def answer(connection: socket.socket, read: bytearray) -> None:
        data = connection.recv(65536)
        if not data:
            loop.remove_reader(connection)
            connection.close()
            return
        read += data
        # A body ends with a brace, and no head does: lengths need not be parsed.
        if read.endswith(b"}"):
            read.clear()
            connection.send(REPLY)

    loop.add_reader(listener, accept)
    return listener


def place_in_child(calls: int, *before: str) -> None:
    """Place calls in a process of its own, with a program before it on its command line."""
    # Little of the environment, and hashes that are the same each time.
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    env["PYTHONHASHSEED"] = "0"
    command = [*before, sys.executable, __file__, "--place", str(calls)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)  # noqa: S603  # fixed commands
    if done.returncode:
        sys.exit(f"the calls failed:\n{done.stderr[-2000:]}")


def count(valgrind: str, calls: int, folder: Path) -> int:
    """Return the instructions of a process that places so many calls."""
    out = folder / f"callgrind.{calls}"
    place_in_child(calls, valgrind, "--tool=callgrind", f"--callgrind-out-file={out}")
    found = re.search(r"^summary: (\d+)", out.read_text("utf-8"), re.MULTILINE)
    if not found:
        sys.exit("callgrind wrote no summary")
    return int(found[1])


def instructions_per_call(valgrind: str) -> float:
    """Count two runs at the same time and subtract."""
    # Whichever run came first would compile the package's bytecode, and the other would not.
    place_in_child(IN_FLIGHT)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        few, many = (pool.submit(count, valgrind, calls, Path(folder)) for calls in (FEW, MANY))
        return (many.result() - few.result()) / (MANY - FEW)


def build() -> str:
    """Return what names this build of Python: another compiler makes other instructions."""
    version, compiler = platform.python_version(), platform.python_compiler()
    return f"{platform.python_implementation()} {version} ({compiler}, {platform.machine()})"


def packages() -> dict[str, str]:
    """Return the installed versions of what the hot path may run through."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def verdict(measured: float, baseline: dict[str, Any] | None) -> tuple[bool, str]:
    """Judge a count: whether it passes, and what to print."""
    shown = f"{measured / 1000:,.0f} thousand instructions a call"
    if baseline is None:
        return True, f"{shown}; no baseline for {build()}: nothing is compared (see --record)"
    ratio = measured / baseline["instructions_per_call"]
    text = (
        f"{shown}; baseline {baseline['instructions_per_call'] / 1000:,.0f} ({ratio:.3f} of it)"
    )
    others = [
        f"{name} {baseline['packages'].get(name)} -> {version}"
        for name, version in packages().items()
        if baseline["packages"].get(name) != version
    ]
    if others:
        text += f"; other packages than then: {', '.join(others)}"
    if ratio > 1 + TOLERANCE:
        return (
            False,
            f"{text}: more than {TOLERANCE:.0%} above. If it must be: --record, and why",
        )
    if ratio < 1 - TOLERANCE:
        text += f": more than {TOLERANCE:.0%} below; --record it, so that it stays"
    return True, text


def record(measured: float, baselines: dict[str, Any]) -> None:
    """Write the baseline of this build."""
    baselines[build()] = {
        "instructions_per_call": round(measured),
        "packages": packages(),
    }
    BASELINE.write_text(json.dumps(baselines, indent=2, sort_keys=True) + "\n", "utf-8")


def main() -> None:
    """Count, compare, and exit 1 if it is too much."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--record", action="store_true", help="make this the baseline")
    parser.add_argument("--place", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.place:
        asyncio.run(place(options.place))
        return
    valgrind = shutil.which("valgrind")
    if not valgrind:
        print("valgrind is missing: no instructions are counted, nothing is compared")
        return
    baselines = json.loads(BASELINE.read_text("utf-8")) if BASELINE.exists() else {}
    measured = instructions_per_call(valgrind)
    passed, text = verdict(measured, baselines.get(build()))
    print(text)
    if options.record:
        record(measured, baselines)
    elif not passed:
        sys.exit(1)


if __name__ == "__main__":
    main()

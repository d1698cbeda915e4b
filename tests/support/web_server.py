"""An application in uvicorn with several workers, which are killed and restarted."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
from free_ports import free_port

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from pathlib import Path


class WebServer:
    """Runs an application as in production: uvicorn starts another worker for one that ended.

    Args:
        app: Its name, such as ``module:app``.
        folder: Where the module is.
        workers: How many workers there are.
        environment: Variables of the application.
    """

    def __init__(
        self, app: str, folder: Path, workers: int, environment: Mapping[str, str]
    ) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "uvicorn", app, f"--app-dir={folder}"),
                *(f"--workers={workers}", f"--port={port}"),
            ],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def workers(self) -> list[int]:
        """Return the ids of the workers' processes, the oldest first."""
        listed = subprocess.run(
            ["ps", "-ww", "-A", "-o", "pid=,ppid=,args="],
            check=True,
            capture_output=True,
            text=True,
        )
        rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
        parent = str(self._process.pid)
        found = [int(row[0]) for row in rows if row[1] == parent and "spawn_main" in row[2]]
        return sorted(found)

    async def ready(self) -> None:
        """Wait until a worker answers."""
        async with httpx.AsyncClient() as client:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    await client.get(self.url)
                except httpx.HTTPError:
                    await asyncio.sleep(0.1)
                else:
                    return
        raise TimeoutError("the server does not start")

    def signal_one(self, number: int, chance: random.Random | None = None) -> bool:
        """Send a signal to a worker, by chance or to the oldest, if one is there."""
        found = self.workers()
        if found:
            os.kill(found[0] if chance is None else chance.choice(found), number)
        return bool(found)

    def stop(self) -> int:
        """Ask the server to end, and return its exit code."""
        self._process.terminate()
        return self._process.wait(60)

    def end(self) -> None:
        """Kill what is left of it."""
        left = self.workers()
        self._process.kill()
        self._process.wait()
        for pid in left:
            os.kill(pid, 9)

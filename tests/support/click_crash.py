"""Kill web workers at random while clients repeat their clicks, and count the calls of each key.

``python tests/support/click_crash.py --kills 200`` runs ``docs/examples/one_click_one_call.py`` in
several uvicorn workers on one ledger, SQLite's or with ``--postgres`` PostgreSQL's. Clients repeat
each click until it is answered. At the end the simulator's log shows how often each key's phone
rang; a key may ring once, and what was answered must be true.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import httpx
from project_paths import DOCS

from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Fault, Simulator, Webhooks

FIRST = 19170100000


@attrs.define
class Clicked:
    """What a run counted."""

    kills: int = 0
    keys: int = 0
    placed: int = 0
    #: Keys whose phone rang more than once.
    twice: int = 0
    #: Keys that were answered with "may have been called".
    unknown: int = 0
    #: Keys that were answered with an id which the simulator did not give to their call.
    wrong: int = 0
    #: Keys that rang, and whose last answer says that none did.
    forgotten: int = 0
    #: Keys without an answer.
    unanswered: int = 0

    @property
    def bad(self) -> int:
        """How many keys broke a promise."""
        return self.twice + self.wrong + self.forgotten + self.unanswered


def free_port() -> int:
    """Return a port that no process listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Workers:
    """The web workers, each a process with a port of its own."""

    def __init__(self, count: int, environment: dict[str, str]) -> None:
        self.ports = [free_port() for _ in range(count)]
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * count
        self._environment = environment

    def start(self, index: int) -> None:
        """Start one worker."""
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "one_click_one_call:app",
            "--log-level=error",
        ]
        self.processes[index] = subprocess.Popen(
            [*command, f"--app-dir={DOCS / 'examples'}", f"--port={self.ports[index]}"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self, index: int) -> None:
        """Kill a worker in the middle of what it does."""
        process = self.processes[index]
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()


class ClickRun:
    """One run: a simulator, workers, clients and a killer."""

    def __init__(self, settings: argparse.Namespace) -> None:
        self.settings = settings
        self.random = random.Random(settings.seed)
        self.rang: Counter[str] = Counter()
        self.ids: dict[str, set[str]] = {}
        self.answers: dict[str, tuple[int, Any]] = {}
        self.counted = Clicked()
        self.over = False

    async def run(self, folder: Path, ledger: str) -> Clicked:
        """Run until all kills were made and every click is answered."""
        token = new_token()
        simulator = Simulator(
            seed=self.settings.seed,
            latency=(0.0, 0.3),
            magic=False,
            speed=60.0,
            keep=None,
            error_502_share=0.05,
            error_502_kind="gateway",
            gateway_placed_share=0.5,
        )
        for kind in ("reset", "reset_placed"):
            simulator.faults.add(Fault(kind, share=0.03))
        async with simulator.serve() as base_url:
            environment = os.environ | {
                "TELECMI_APP_ID": str(simulator.app_id),
                "TELECMI_SECRET": simulator.secret,
                "TELECMI_FROM": "19170000000",
                "TELECMI_BASE_URL": base_url,
                "TELECMI_WEBHOOK_TOKEN": token,
                "CALLS_LEDGER": ledger,
            }
            workers = Workers(self.settings.workers, environment)
            target = f"http://127.0.0.1:{workers.ports[0]}/telecmi/{token}"
            simulator.webhooks = Webhooks(target, delay=(0.0, 5.0))
            for index in range(self.settings.workers):
                workers.start(index)
            try:
                async with httpx.AsyncClient(timeout=60) as client:
                    clients = [
                        asyncio.create_task(self.click(client, workers, n))
                        for n in range(self.settings.clients)
                    ]
                    await self.kill(workers)
                    await asyncio.gather(*clients)
            finally:
                for index in range(self.settings.workers):
                    workers.kill(index)
        return self.count(simulator)

    async def kill(self, workers: Workers) -> None:
        """Kill one worker after another, and start it again."""
        await asyncio.sleep(3)
        for _ in range(self.settings.kills):
            await asyncio.sleep(self.random.uniform(0.05, self.settings.pause))
            index = self.random.randrange(self.settings.workers)
            await asyncio.to_thread(workers.kill, index)
            workers.start(index)
            self.counted.kills += 1
        self.over = True

    async def click(self, client: httpx.AsyncClient, workers: Workers, number: int) -> None:
        """Click for one order after another, each until it is answered for good."""
        order = 0
        while not self.over:
            order += 1
            key = f"{number}-{order}"
            until = time.monotonic() + 240
            while time.monotonic() < until:
                port = self.random.choice(workers.ports)
                to = FIRST + number * 10_000 + order
                url = f"http://127.0.0.1:{port}/orders/{key}/call?to={to}"
                try:
                    reply = await client.post(url)
                except httpx.HTTPError:  # the worker is gone, or not there yet
                    await asyncio.sleep(0.05)
                    continue
                self.answers[key] = (reply.status_code, reply.json())
                if reply.status_code in {200, 409}:
                    break
                await asyncio.sleep(0.05)
            self.counted.keys += 1

    def count(self, simulator: Simulator) -> Clicked:
        """Compare what was answered with what the simulator did."""
        found = self.counted
        for call in simulator.calls:
            params: Any = call.extra_params
            key = str(params["order"])
            self.rang[key] += 1
            self.ids.setdefault(key, set()).add(call.request_id)
        found.placed = len(self.rang)
        found.twice = sum(count > 1 for count in self.rang.values())
        found.unanswered = found.keys - len(self.answers)
        for key, (status, body) in self.answers.items():
            if status == 200:
                found.wrong += body["request_id"] not in self.ids.get(key, set())
            elif status == 409:
                found.unknown += 1
            else:
                found.forgotten += key in self.rang
        return found


def main() -> None:
    """Run once, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument(
        "--pause", type=float, default=1.5, help="most seconds between two kills"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true")
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tcm-click-") as folder:
        ledger = str(Path(folder) / "calls.db")
        if settings.postgres:
            from pg_server import shared  # noqa: PLC0415  # of the full group

            ledger = shared().database(f"clicks{settings.seed}")
        found = asyncio.run(ClickRun(settings).run(Path(folder), ledger))
    sys.stdout.write(f"{found}\n")
    sys.exit(found.bad > 0)


if __name__ == "__main__":
    main()

"""Kill web workers at random while clients repeat their clicks, and count the calls of each key.

``python tests/support/click_crash.py --kills 200`` runs ``docs/examples/one_click_one_call.py`` in
uvicorn with several workers on one ledger, SQLite's or with ``--postgres`` PostgreSQL's. uvicorn
starts another worker for each that was killed. Clicks come at a steady rate, whatever happens; each
is repeated until it is answered, also while it is being answered, and some are made twice at the
same moment. When all kills are done and no webhook is under way, the simulator's own log shows how
often each key's phone rang. A key may ring once, and what was answered must be true.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import httpx
from project_paths import DOCS
from web_server import WebServer

from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Fault, Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = 19170100000
#: Longer than the lease of a key whose worker was killed.
PATIENCE = 180.0
# After so many seconds an impatient user clicks again, while the first click is being answered.
_IMPATIENT = (0.2, 1.0, 5.0, 60.0)
# The share of clicks that are made twice at the same moment.
_DOUBLE = 0.2
_MOST_CLICKS = 400


@attrs.define
class Clicked:
    """What a run counted; each key is in one of the lines from `placed` to `unanswered`.

    Args:
        kills: How many workers were killed.
        requests: How many requests were sent, and how many of them got no answer.
        broken: How many of them were under way in a worker that was killed.
        keys: How many keys there were.
        placed: Keys that rang once, and whose last answer has the call's id.
        healed: How many of those were answered before with "may have been called".
        unknown: Keys whose last answer is "may have been called".
        unknown_rang: How many of those rang, and no event of theirs was received.
        twice: Keys that rang more than once.
        wrong: Keys that were answered with an id that their call does not have.
        forgotten: Keys that rang, and whose last answer says that no phone did, or none came.
        unanswered: Other keys without an answer for good.
        strange: Calls of no key, or to another number than the key's.
        exit_code: How the server ended when it was asked to.
    """

    kills: int = 0
    requests: int = 0
    broken: int = 0
    keys: int = 0
    placed: int = 0
    healed: int = 0
    unknown: int = 0
    unknown_rang: int = 0
    twice: int = 0
    wrong: int = 0
    forgotten: int = 0
    unanswered: int = 0
    strange: int = 0
    exit_code: int | None = None

    @property
    def bad(self) -> int:
        """How many keys broke a promise."""
        return self.twice + self.wrong + self.forgotten + self.unanswered + self.strange


@attrs.frozen
class Rang:
    """A call of an order that the simulator placed."""

    order: str
    to: int
    request_id: str


def rang_in(simulator: Simulator) -> list[Rang]:
    """Return the calls of orders that a simulator placed."""
    params: list[tuple[Any, Any]] = [(call.extra_params, call) for call in simulator.calls]
    return [
        Rang(str(extra["order"]), call.to, call.request_id)
        for extra, call in params
        if "order" in extra
    ]


@attrs.define(eq=False)
class Clicks:
    """Users who click, each with a key of their own, until they are answered for good."""

    url: str
    rate: float
    chance: random.Random
    impatient: Sequence[float] = _IMPATIENT
    counted: Clicked = attrs.field(factory=Clicked)
    numbers: dict[str, int] = attrs.field(factory=dict, init=False)
    #: The answers of each key that count, in order.
    answers: dict[str, list[tuple[int, Any]]] = attrs.field(factory=dict, init=False)

    async def make(self, client: httpx.AsyncClient, going_on: Callable[[], bool]) -> None:
        """Click at the rate while it goes on, and wait until all are answered."""
        most = asyncio.Semaphore(_MOST_CLICKS)
        async with asyncio.TaskGroup() as tasks:
            while going_on():
                key = f"{len(self.numbers) + 1}"
                self.numbers[key] = FIRST + len(self.numbers)
                for _ in range(2 if self.chance.random() < _DOUBLE else 1):
                    await most.acquire()
                    task = tasks.create_task(self._click(client, key))
                    task.add_done_callback(lambda _: most.release())
                await asyncio.sleep(1 / self.rate)

    async def _click(self, client: httpx.AsyncClient, key: str) -> None:
        """Click until the key is answered for good."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if await self._ask(client, key, self.chance.choice(self.impatient)) in {200, 409}:
                return
            await asyncio.sleep(0.1)

    async def _ask(self, client: httpx.AsyncClient, key: str, patience: float) -> int | None:
        """Send one request, and return the status of its answer."""
        address = f"{self.url}/orders/{key}/call?to={self.numbers[key]}"
        self.counted.requests += 1
        try:
            reply = await client.post(address, timeout=httpx.Timeout(patience, connect=60))
        except (httpx.ReadTimeout, httpx.ConnectError):
            return None
        except httpx.HTTPError:  # the worker is gone
            self.counted.broken += 1
            return None
        self.answers.setdefault(key, []).append((reply.status_code, reply.json()))
        return reply.status_code

    async def ask_again(self, client: httpx.AsyncClient) -> None:
        """Ask for the unknown ones once more."""
        unknown = [key for key, answers in self.answers.items() if answers[-1][0] == 409]
        for key in unknown:
            await self._click(client, key)

    def count(self, calls: Sequence[Rang]) -> Clicked:
        """Compare what was answered with the calls that were placed."""
        found, rang = self.counted, Counter(call.order for call in calls)
        ids = {call.order: call.request_id for call in calls}
        found.strange = sum(self.numbers.get(call.order) != call.to for call in calls)
        found.keys = len(self.numbers)
        for key in self.numbers:
            answers = self.answers.get(key, [])
            said = {body["request_id"] for status, body in answers if status == 200}
            status = answers[-1][0] if answers else None
            if rang[key] > 1:
                found.twice += 1
            elif said - {ids.get(key)}:
                found.wrong += 1
            elif status == 200:
                found.placed += 1
                found.healed += any(earlier == 409 for earlier, _ in answers)
            elif status == 409:
                found.unknown += 1
                found.unknown_rang += rang[key]
            elif rang[key]:
                found.forgotten += 1
            else:
                found.unanswered += 1
        return found


@attrs.define(eq=False)
class ClickRun:
    """One run: a simulator, workers, clients and a killer."""

    settings: argparse.Namespace
    _chance: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.settings.seed)

    async def run(self, ledger: str) -> Clicked:
        """Run until all kills were made and every click is answered."""
        token = new_token()
        simulator = self._simulator()
        async with simulator.serve() as base_url:
            server = WebServer(
                "one_click_one_call:app",
                DOCS / "examples",
                self.settings.workers,
                {
                    "TELECMI_APP_ID": str(simulator.app_id),
                    "TELECMI_SECRET": simulator.secret,
                    "TELECMI_FROM": "19170000000",
                    "TELECMI_BASE_URL": base_url,
                    "TELECMI_WEBHOOK_TOKEN": token,
                    "CALLS_LEDGER": ledger,
                    "CALLS_PER_SECOND": f"{2 * self.settings.rate}",
                },
            )
            clicks = Clicks(server.url, self.settings.rate, self._chance)
            target = f"{server.url}/telecmi/{token}"
            simulator.webhooks = Webhooks(target, delay=(0.0, 60.0), drop_share=0.1)
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            try:
                await server.ready()
                async with httpx.AsyncClient(limits=limits) as client:
                    killer = asyncio.create_task(self._kill(server, clicks.counted))
                    await clicks.make(client, lambda: not killer.done())
                    await killer
                    await self._no_call_is_live(simulator)
                    await clicks.ask_again(client)
                clicks.counted.exit_code = await asyncio.to_thread(server.stop)
            finally:
                server.end()
        return clicks.count(rang_in(simulator))

    def _simulator(self) -> Simulator:
        simulator = Simulator(
            seed=self.settings.seed,
            latency=(0.0, 0.4),
            magic=False,
            speed=self.settings.speed,
            keep=None,
            error_502_share=0.05,
            error_502_kind="gateway",
            gateway_placed_share=0.5,
        )
        for kind in ("vendor_502", "reset", "reset_placed"):
            simulator.faults.add(Fault(kind, share=0.03))
        return simulator

    async def _kill(self, server: WebServer, counted: Clicked) -> None:
        """Kill one worker after another; uvicorn starts it again."""
        await asyncio.sleep(2)
        while counted.kills < self.settings.kills:
            await asyncio.sleep(self._chance.uniform(0.2, self.settings.pause))
            counted.kills += await asyncio.to_thread(
                server.signal_one, signal.SIGKILL, self._chance
            )

    async def _no_call_is_live(self, simulator: Simulator) -> None:
        """Wait until all webhooks have arrived, as long as that usually takes."""
        for _ in range(600):
            if not simulator.live:
                break
            await asyncio.sleep(0.2)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the settings of a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=20.0, help="clicks per second")
    parser.add_argument(
        "--pause", type=float, default=3.0, help="most seconds between two kills"
    )
    parser.add_argument("--speed", type=float, default=60.0, help="of the simulated time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true")
    return parser.parse_args(arguments)


def main() -> None:
    """Run once, and print what was counted."""
    settings = parse()
    with tempfile.TemporaryDirectory(prefix="tcm-click-") as folder:
        ledger = str(Path(folder) / "calls.db")
        if settings.postgres:
            from pg_server import shared  # noqa: PLC0415  # of the full group

            ledger = shared().database(f"clicks{settings.seed}")
        found = asyncio.run(ClickRun(settings).run(ledger))
    sys.stdout.write(f"{found}\n")
    sys.exit(found.bad > 0 or found.exit_code != 0)


if __name__ == "__main__":
    main()

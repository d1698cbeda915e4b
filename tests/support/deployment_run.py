"""Runs what the compose file describes, through a rolling restart of everything.

PostgreSQL behind PgBouncer, Valkey, two containers of the web application, two workers and a
collector are processes of this machine. The commands, variables and time-outs of the containers
are those of ``docs/examples/deployment/compose.yaml``; ports and addresses are this machine's.
A balancer in front of the web application goes by its readiness, as a Service of Kubernetes does.
The collector is a small server that reads OTLP, since no package has the real one.

Campaigns are dialled and users click, while one part after another is restarted. In the end the
simulator's own log is compared with the ledger and with what users were answered.

    python tests/support/deployment_run.py [--calls 10000] [--rate 20] [--cycles 3]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.to_thread
import attrs
import httpx
from click_crash import Clicked, Clicks, Rang
from deployment_files import DEPLOYMENT, Service, services
from free_ports import free_port
from otlp_server import OtlpServer
from paced_processes import line_of, say, started
from pg_bouncer import PgBouncer
from pg_server import PgServer
from valkey_server import ValkeyServer

import telecmi_async
from telecmi_async import CallService, Hangup
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace, Retries
from telecmi_async.events.receiver import new_token
from telecmi_async.ledger import ContactState, NewContact
from telecmi_async.ledger.postgres.ledger import PostgresLedger
from telecmi_async.simulator import Fault, Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

# How each part that is no container is stopped, and how it is started.
_Parts: TypeAlias = "Mapping[str, tuple[Callable[[], object], Callable[[], object]]]"

# Where the package is that this process imports: containers have the same one.
_PACKAGE = str(Path(telecmi_async.__file__).parents[1])
FIRST = 19173000000
CAMPAIGNS = ("spring", "summer")
# Of all calls, those that users ask for by a click.
CLICKED = 0.3
# In a deployment that works every call is over a minute after the last one began.
_LONGEST_END = 90.0


@attrs.define(eq=False)
class Container:
    """One process of a service, as the compose file starts it."""

    service: Service
    folder: Path
    port: int = attrs.field(factory=free_port)
    _process: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    @property
    def drain_file(self) -> Path:
        """The file that says that it is about to be stopped."""
        return self.folder / f"draining-{self.port}"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / f"{self.service.name}-{self.port}.log"

    def start(self, local: Mapping[str, str]) -> None:
        """Start it, with a value of this machine for each variable of the compose file."""
        here = {**local, "DRAIN_FILE": str(self.drain_file), "HEALTH_PORT": f"{self.port}"}
        environment = {
            name: here.get(name, value) for name, value in self.service.environment.items()
        }
        missing = [name for name, value in environment.items() if "$" in value]
        assert not missing, missing
        environment |= {"TELECMI_BASE_URL": local["TELECMI_BASE_URL"], "PYTHONPATH": _PACKAGE}
        # A program imports what is beside it, and is not traced: it would be slow.
        others = re.compile("PYTHONSAFEPATH|COVERAGE_.*")
        outer = {name: v for name, v in os.environ.items() if not others.fullmatch(name)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.service.command_on(self.port),
                cwd=DEPLOYMENT,
                env=outer | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def answers(self, path: str) -> bool:
        """Return whether it answers a probe."""
        request = f"GET {path} HTTP/1.0\r\n\r\n"
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(request.encode())
            async with asyncio.timeout(5):
                status = await reader.readline()
            writer.close()
        except (OSError, TimeoutError):
            return False
        return b" 200 " in status

    async def ready(self) -> None:
        """Wait until it is ready."""
        until = time.monotonic() + 60
        while not await self.answers("/healthz/ready"):
            assert time.monotonic() < until, self.log.read_text()[-3_000:]
            await asyncio.sleep(0.1)

    async def stop(self) -> tuple[float, int]:
        """Ask it to end; return how long that took, and its exit code."""
        assert self._process is not None
        began = time.monotonic()
        self._process.terminate()
        longest = self.service.grace
        try:
            code = await asyncio.to_thread(self._process.wait, longest)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = await asyncio.to_thread(self._process.wait)
        return time.monotonic() - began, code

    def kill(self) -> None:
        """Kill what is left of it, at the end of a run that failed."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@attrs.define(eq=False)
class Balancer:
    """Gives each connection to a container that is ready."""

    containers: list[Container] = attrs.field(factory=list)
    refused: int = attrs.field(default=0, init=False)
    _ready: list[int] = attrs.field(factory=list, init=False)
    _turn: itertools.count[int] = attrs.field(factory=itertools.count, init=False)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[str]:
        """Balance on a port, and yield its address."""
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        probing = asyncio.create_task(self._probe())
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            probing.cancel()
            server.close()

    async def _probe(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.3)

    async def look(self) -> None:
        """Look who is ready."""
        known = tuple(self.containers)
        ready = await asyncio.gather(*[each.answers("/healthz/ready") for each in known])
        self._ready = [
            each.port for each, is_ready in zip(known, ready, strict=True) if is_ready
        ]

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports = self._ready
        turn = next(self._turn)
        for n in range(len(ports)):
            try:
                onward = await asyncio.open_connection(
                    "127.0.0.1", ports[(turn + n) % len(ports)]
                )
            except OSError:
                continue
            with contextlib.suppress(asyncio.CancelledError):  # at the end of the run
                await asyncio.gather(_copy(reader, onward[1]), _copy(onward[0], writer))
            return
        self.refused += 1
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, and the end of it."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


@attrs.define
class Restarts:
    """What one part was restarted.

    Args:
        promised: In how many seconds it should be drained.
        seconds: How long each one took.
        codes: How they ended.
    """

    promised: float
    seconds: list[float] = attrs.field(factory=list)
    codes: list[int] = attrs.field(factory=list)

    @property
    def late(self) -> int:
        """How many were not drained in time, or not well."""
        return sum(each > self.promised for each in self.seconds) + sum(map(bool, self.codes))


@attrs.define
class Ran:
    """The result of a run.

    Args:
        clicks: What was counted of users' clicks.
        contacts: How many contacts the campaigns have.
        states: How many of them are in which state.
        placed: How many calls the simulator placed for campaigns.
        twice: How many contacts were dialled twice.
        lost: How many contacts were not dialled, or have no outcome in the end.
        errors: How many requests of users were answered with which error.
        restarts: What was restarted, by its name.
        metrics: The metrics that arrived at the collector.
        spans: How many spans arrived there, by their names.
        logged: Lines of containers' logs that say that an error was not handled.
        seconds: How long the calls took.
        refused: How many connections found no container that was ready.
    """

    clicks: Clicked
    contacts: int
    states: Counter[str]
    placed: int
    twice: int
    lost: int
    errors: Counter[int]
    restarts: dict[str, Restarts]
    metrics: set[str]
    spans: Counter[str]
    logged: list[str]
    seconds: float = 0.0
    refused: int = 0

    @property
    def faults(self) -> int:
        """How often a promise was broken."""
        late = sum(each.late for each in self.restarts.values())
        # No reply is lost here: what is unknown in the end, the deployment made so.
        clicks = self.clicks.bad + self.clicks.unknown
        return self.twice + self.lost + clicks + late + len(self.logged)

    def table(self) -> str:
        """Return the result as one table."""
        calls = self.placed + self.clicks.placed
        rows: list[tuple[str, object]] = [
            ("calls", f"{calls} in {self.seconds:.0f} s"),
            ("of contacts of two campaigns", self.placed),
            ("of clicks", f"{self.clicks.placed}, in {self.clicks.requests} requests"),
            ("dialled twice", self.twice + self.clicks.twice),
            ("lost, or without an outcome", self.lost + self.clicks.forgotten),
            ("clicks answered wrongly, or never", self.clicks.wrong + self.clicks.unanswered),
            ("clicks of unknown outcome in the end", self.clicks.unknown),
            ("requests without an answer", self.clicks.broken + self.refused),
            *((f"requests answered with {code}", n) for code, n in sorted(self.errors.items())),
        ]
        rows += [
            (
                f"{name}: restarts, longest drain",
                f"{len(each.seconds)}, {max(each.seconds):.1f} s of {each.promised:.0f} s",
            )
            for name, each in self.restarts.items()
        ]
        rows += [
            ("not drained in time", sum(each.late for each in self.restarts.values())),
            ("metrics, spans at the collector", f"{len(self.metrics)}, {self.spans.total()}"),
        ]
        return "\n".join(f"| {label} | {value} |" for label, value in rows)


@attrs.define(eq=False)
class DeploymentRun:
    """One run of the whole deployment."""

    calls: int
    rate: float
    cycles: int
    folder: Path
    #: Seconds between two restarts.
    every: float
    seed: int = 1
    _local: dict[str, str] = attrs.field(factory=dict, init=False)
    _web: list[Container] = attrs.field(factory=list, init=False)
    _workers: list[Container] = attrs.field(factory=list, init=False)
    _old: list[Container] = attrs.field(factory=list, init=False)
    _restarts: dict[str, Restarts] = attrs.field(factory=dict, init=False)
    _balancer: Balancer = attrs.field(factory=Balancer, init=False)
    _ledger: PostgresLedger = attrs.field(init=False)
    _services: dict[str, Service] = attrs.field(factory=services, init=False)

    async def run(self) -> Ran:
        """Start everything, have calls placed, restart everything, and compare."""
        chance = random.Random(self.seed)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(PgServer(max_connections="100"))
            server.database("telecmi")
            pooler = stack.enter_context(PgBouncer(server, size=20))
            valkey = stack.enter_context(
                ValkeyServer(folder=self.folder / "valkey", appendonly="yes")
            )
            collector = stack.enter_context(OtlpServer())
            simulator = stack.enter_context(started({"seed": self.seed}, Path(__file__)))
            stack.callback(self._kill_all)
            base_url = line_of(simulator.stdout)
            self._local = {
                "TELECMI_APP_ID": "2222226",
                "TELECMI_SECRET": "simulated-secret",
                "TELECMI_FROM": "19170000000",
                "TELECMI_LEDGER": pooler.url("telecmi"),
                "TELECMI_WEBHOOK_TOKEN": (token := new_token()),
                "TELECMI_BASE_URL": base_url,
                "REDIS_URL": valkey.url,
                "CALLS_PER_SECOND": f"{self.rate:g}",
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
                "OTEL_METRIC_EXPORT_INTERVAL": "2000",
            }
            await self._migrate()
            self._ledger = PostgresLedger(server.url("telecmi"))
            async with self._balancer.running() as url, self._ledger:
                assert simulator.stdin is not None
                simulator.stdin.write(f"{url}/telecmi/{token}\n")
                simulator.stdin.flush()
                numbers = await self._load(base_url)
                self._web += await asyncio.gather(*[self._start("web") for _ in range(2)])
                self._balancer.containers = self._web
                await self._balancer.look()
                began = time.monotonic()
                starting = [self._start("worker") for _ in range(2)]
                self._workers += await asyncio.gather(*starting)
                clicks = Clicks(url, self.rate * CLICKED, chance, impatient=(60.0,))
                parts: _Parts = {
                    "valkey": (valkey.kill, valkey.start),
                    "collector": (collector.kill, collector.start),
                    "pgbouncer": (pooler.kill, pooler.start),
                    "postgres": (server.stop, server.start),
                }
                await self._place_calls(clicks, parts)
                seconds, refused = time.monotonic() - began, self._balancer.refused
                await asyncio.gather(*map(self._end, [*self._workers, *self._web]))
                calls = await self._calls_of(simulator)
                ran = await self._result(clicks, numbers, calls, collector)
                return attrs.evolve(ran, seconds=seconds, refused=refused)

    # -- the parts

    async def _migrate(self) -> None:
        """Run the migration to its end, as the other services require."""
        container = Container(self._services["migrate"], self.folder)
        container.start(self._local)
        assert container._process is not None
        code = await asyncio.to_thread(container._process.wait, 60)
        assert code == 0, container.log.read_text()

    async def _load(self, base_url: str) -> dict[str, range]:
        """Load the contacts of two campaigns."""
        each = round(self.calls * (1 - CLICKED)) // len(CAMPAIGNS)
        settings = CampaignSettings(
            flow=[{"action": "speak", "text": "Row {row}"}, Hangup()],
            pace=Pace(calls_per_second=self.rate, max_in_flight=40),
            retries=Retries(first=1.0),
        )
        numbers = {
            name: range(FIRST + n * 10**6, FIRST + n * 10**6 + each)
            for n, name in enumerate(CAMPAIGNS)
        }
        async with CallService(2222226, "simulated-secret", base_url=base_url) as service:
            for name in CAMPAIGNS:
                await Campaign(self._ledger, service, name, settings).load(
                    NewContact(number=number, columns={"row": f"{number}"})
                    for number in numbers[name]
                )
        return numbers

    async def _start(self, name: str) -> Container:
        """Start a container, and wait until it is ready."""
        container = Container(self._services[name], self.folder)
        container.start(self._local)
        self._old.append(container)
        await container.ready()
        return container

    async def _end(self, container: Container) -> None:
        """Stop a container, and note how long that took."""
        name = container.service.name
        found = self._restarts.setdefault(name, Restarts(container.service.grace))
        seconds, code = await container.stop()
        found.seconds.append(seconds)
        found.codes.append(code)

    def _kill_all(self) -> None:
        for container in self._old:
            container.kill()

    # -- the load

    async def _place_calls(self, clicks: Clicks, parts: _Parts) -> None:
        """Click while everything is restarted, and wait until all outcomes are known."""
        enough = round(self.calls * CLICKED)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(limits=limits) as client, asyncio.TaskGroup() as tasks:
            restarting = tasks.create_task(self._restart_everything(parts))
            await clicks.make(
                client, lambda: len(clicks.numbers) < enough or not restarting.done()
            )
            await self._all_ends_are_known()
            await clicks.ask_again(client)

    async def _all_ends_are_known(self) -> None:
        """Wait until the ledger knows how all calls went, as long as that may take."""
        latest, since = -1, time.monotonic()
        while time.monotonic() < since + _LONGEST_END:
            states = [await self._ledger.state(name) for name in CAMPAIGNS]
            over = sum(state.counts[ContactState.FINISHED] for state in states)
            if over == sum(state.total for state in states):
                return
            if over > latest:
                latest, since = over, time.monotonic()
            await asyncio.sleep(0.5)

    # -- restarts

    async def _restart_everything(self, parts: _Parts) -> None:
        """Restart one part after another, at least some times over, while campaigns dial."""
        restarts: list[Callable[[], Awaitable[None]]] = [
            *(functools.partial(self._replace_web, place) for place in (0, 1)),
            *(functools.partial(self._replace_worker, place) for place in (0, 1)),
            *(functools.partial(self._restart, name, *how) for name, how in parts.items()),
        ]
        for n in itertools.count():
            if n >= self.cycles * len(restarts) and await self._are_dialled():
                return
            await asyncio.sleep(self.every)
            await restarts[n % len(restarts)]()

    async def _are_dialled(self) -> bool:
        """Return whether the campaigns have nothing left to dial."""
        return not any([(await self._ledger.state(name)).left for name in CAMPAIGNS])

    async def _replace_worker(self, place: int) -> None:
        """End a worker, and start another one."""
        await self._end(self._workers[place])
        self._workers[place] = await self._start("worker")

    async def _replace_web(self, place: int) -> None:
        """Start a container, and end an old one once no request goes there any more."""
        old, self._web[place] = self._web[place], await self._start("web")
        old.drain_file.touch()
        assert not await old.answers("/healthz/ready")
        assert await old.answers("/healthz")
        await self._balancer.look()
        await self._end(old)

    async def _restart(
        self, name: str, stop: Callable[[], object], start: Callable[[], object]
    ) -> None:
        """Stop a server and start it again, as its container would be."""
        service = self._services.get(name)
        found = self._restarts.setdefault(
            name, Restarts(10.0 if service is None else service.grace)
        )
        began = time.monotonic()
        await asyncio.to_thread(stop)
        found.seconds.append(time.monotonic() - began)
        await asyncio.to_thread(start)

    # -- the result

    async def _calls_of(self, simulator: subprocess.Popen[str]) -> list[tuple[str, int, str]]:
        said, _ = await asyncio.to_thread(simulator.communicate, "stop\n", 60)
        return [tuple(call) for call in json.loads(said)]

    async def _result(
        self,
        clicks: Clicks,
        numbers: Mapping[str, range],
        calls: Sequence[tuple[str, int, str]],
        collector: OtlpServer,
    ) -> Ran:
        dialled = Counter(to for order, to, _ in calls if not order)
        states: Counter[str] = Counter()
        lost = 0
        for name, those in numbers.items():
            found = {
                contact.number: contact.state async for contact in self._ledger.contacts(name)
            }
            states.update(map(str, found.values()))
            lost += sum(
                found.get(number) is not ContactState.FINISHED or not dialled[number]
                for number in those
            )
        answers = [status for each in clicks.answers.values() for status, _ in each]
        return Ran(
            clicks=clicks.count([Rang(order, to, name) for order, to, name in calls if order]),
            contacts=sum(map(len, numbers.values())),
            states=states,
            placed=dialled.total(),
            twice=sum(count > 1 for count in dialled.values()),
            lost=lost,
            errors=Counter(status for status in answers if status != 200),
            restarts=self._restarts,
            metrics=collector.metrics,
            spans=collector.spans,
            logged=self._unhandled(),
        )

    def _unhandled(self) -> list[str]:
        """Return the lines of logs that say that an error was not handled."""
        words = ("Traceback", "Task exception was never retrieved", "not recorded")
        return [
            f"{container.log.name}: {line}"
            for container in self._old
            for line in container.log.read_text(errors="replace").splitlines()
            if any(word in line for word in words)
        ]


async def serve(order: Mapping[str, Any]) -> None:
    """Be TeleCMI until a second line arrives; the first one says where webhooks go."""
    simulator = Simulator(
        seed=order["seed"],
        latency=(0.05, 0.4),
        magic=False,
        keep=None,
        speed=60.0,
        ring=(5.0, 30.0),
        talk=(5.0, 90.0),
        answered_share=0.7,
    )
    # Only refusals that are certain.
    simulator.faults.add(Fault("vendor_502", share=0.02))
    async with simulator.serve() as url:
        say(url)
        target = await anyio.to_thread.run_sync(sys.stdin.readline)
        simulator.webhooks = Webhooks(target.strip(), redeliver="until_2xx")
        await anyio.to_thread.run_sync(sys.stdin.readline)
    params: list[tuple[Any, Any]] = [
        (call.extra_params or {}, call) for call in simulator.calls
    ]
    say(json.dumps([[str(p.get("order", "")), c.to, c.request_id] for p, c in params]))


def main() -> None:
    """Run once, and print what was counted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=20.0, help="calls per second")
    parser.add_argument("--cycles", type=int, default=3, help="restarts of each part")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between restarts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="a folder for the logs of containers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tcm-deployment-") as folder:
        run = DeploymentRun(
            given.calls, given.rate, given.cycles, Path(folder), given.every, seed=given.seed
        )
        try:
            ran = asyncio.run(run.run())
        finally:
            if given.keep:
                shutil.copytree(folder, given.keep, dirs_exist_ok=True)
    sys.stdout.write(f"{ran.table()}\n")
    sys.stdout.write("\n".join(ran.logged))
    sys.exit(ran.faults > 0)


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("{"):
        anyio.run(serve, json.loads(sys.argv[1]))
    else:
        main()

"""Runs random programs against a server that counts, and compares what both sides say.

    python tests/support/program_run.py --programs 20000 --seed 1
    python tests/support/program_run.py --seed 1 --number 17 --variant "own · trio · tls"

The second form runs one program several times and shows what it does. No program may end with

- a call that is said to be safe to redial although the server may have placed it,
- a second request for a call that may ring, unless our policy allows it and the handle says so,
- an id that the server did not give to this very call,
- a handle that is not settled, or anything that does not end.

One case cannot be told apart by any client: a whole stray reply that the server sends in a write
of its own, while the client writes its next request on the same connection. Such faults are
counted as *raced*.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TextIO

import anyio
import attrs
from program_clients import VARIANTS, Variant
from program_server import FIRST, LATE, Arrival, Lag, ProgramServer, Scene, is_raced
from wire_programs import Program

from telecmi_async import (
    CallService,
    CallStatus,
    RateLimit,
    RetryPolicy,
    ServiceClosed,
    TelecmiError,
    Timeouts,
)
from telecmi_async.attempt import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup
    from wire_programs import CallPlan, Session

    from telecmi_async import CallHandle

__all__ = ["Fault", "Tally", "check", "play_all", "run"]

SAFE = "safe but placed"
SECOND = "unflagged second"
WRONG_ID = "wrong id"
HANG = "hang"
ERROR = "other error"
KINDS = (SAFE, SECOND, WRONG_ID, HANG, ERROR)

#: Programs that run side by side in one event loop, so that their waits overlap.
SIDE_BY_SIDE = 8
#: Programs of one process; a new one starts afresh.
_CHUNK = 250
#: For how long the server may be busy with what a client has left behind.
_DRAIN = 1.0
_UNSETTLED = {CallStatus.QUEUED, CallStatus.SENDING}
_SAFE_STATUSES = {CallStatus.REJECTED, CallStatus.NOT_SENT, CallStatus.CANCELLED}
_FLOW = [{"action": "hangup"}]


@attrs.frozen
class Fault:
    """What went wrong with one call, or with a program.

    Args:
        kind: One of `KINDS`.
        number: The program's.
        text: What the handle says and what the server saw.
        raced: Whether no client could have known better.
    """

    kind: str
    number: int
    text: str
    raced: bool = False


@attrs.define
class Tally:
    """What came of many programs."""

    programs: int = 0
    calls: int = 0
    complete: int = 0
    connections: int = 0
    statuses: Counter[str] = attrs.field(factory=Counter)
    faults: list[Fault] = attrs.field(factory=list)

    def add(self, other: Tally) -> None:
        """Add what came of other programs."""
        self.programs += other.programs
        self.calls += other.calls
        self.complete += other.complete
        self.connections += other.connections
        self.statuses += other.statuses
        self.faults += other.faults

    def count(self, kind: str) -> int:
        """Return how many faults of a kind a better client would not have."""
        return sum(fault.kind == kind and not fault.raced for fault in self.faults)

    @property
    def raced(self) -> int:
        """How many faults no client can avoid."""
        return sum(fault.raced for fault in self.faults)

    @property
    def sound(self) -> bool:
        """Whether nothing went wrong that could have gone right."""
        return len(self.faults) == self.raced

    @classmethod
    def from_json(cls, text: str) -> Tally:
        """Return a tally that another process printed."""
        fields = json.loads(text)
        faults = [Fault(**fault) for fault in fields.pop("faults")]
        return cls(**{**fields, "statuses": Counter(fields["statuses"]), "faults": faults})


# -- one program


class _Play:
    """One run of a program.

    Args:
        program: What is run.
        service: Makes its services.
        scene: The server's side.
    """

    def __init__(
        self, program: Program, service: Callable[..., CallService], scene: Scene
    ) -> None:
        self.program = program
        self.service = service
        self.scene = scene
        self.handles: dict[int, CallHandle] = {}
        #: Calls whose `cancel` said that nothing was ever sent.
        self.cancelled: set[int] = set()

    def arguments(self, number: int) -> dict[str, Any]:
        """Return what places a call."""
        key = {"program": self.scene.key}
        return {"to": FIRST + number, "pcmo": _FLOW, "extra_params": key}

    async def run(self, options: dict[str, Any]) -> None:
        """Run its services, one after another."""
        connect, write, read, total = self.program.timeouts
        retry = RetryPolicy(
            attempts=self.program.attempts,
            at_most_once=self.program.at_most_once,
            wait_initial=0.003,
            wait_max=0.005,
            retry_after_max=0.01,
        )
        first = 0
        for session in self.program.sessions:
            service = self.service(
                2222222,
                "secret-of-programs",
                from_=FIRST - 1,
                base_url=self.scene.url,
                timeout=Timeouts(connect=connect, write=write, read=read, total=total),
                retry=retry,
                rate=RateLimit(max_in_flight=session.in_flight),
                **options,
            )
            with anyio.move_on_after(session.abandon_after):
                async with service:
                    await self._session(service, session, first)
            first += len(session.calls)

    async def _session(self, service: CallService, session: Session, first: int) -> None:
        async with anyio.create_task_group() as tasks:
            if session.close_after is not None:
                tasks.start_soon(_close, service, session.close_after)
            if session.way == "stream":
                await self._stream(service, session, first)
                return
            for number, plan in enumerate(session.calls, first):
                if session.way == "in turn":
                    await self._call(service, number, plan, plan.pause)
                elif session.way == "staggered":
                    tasks.start_soon(self._call, service, number, plan, plan.pause)
                elif self._place(service, number):
                    tasks.start_soon(self._follow, number, plan)

    async def _stream(self, service: CallService, session: Session, first: int) -> None:
        """Place calls as a stream, and perhaps leave it early."""
        items = [self.arguments(first + n) for n in range(len(session.calls))]
        seen = 0
        try:
            stream = service.make_calls(items)
            async for handle in stream:
                assert handle.request is not None
                self.handles[handle.request.to - FIRST] = handle
                seen += 1
                if session.calls[seen - 1].cancel_after is not None:
                    break
        except ServiceClosed:
            pass

    async def _call(
        self, service: CallService, number: int, plan: CallPlan, pause: float
    ) -> None:
        await anyio.sleep(pause)
        if self._place(service, number):
            await self._follow(number, plan)

    def _place(self, service: CallService, number: int) -> bool:
        """Place a call; False if the service is closed."""
        try:
            self.handles[number] = service.make_call(**self.arguments(number))
        except ServiceClosed:
            return False
        return True

    async def _follow(self, number: int, plan: CallPlan) -> None:
        """Wait for a call, and cancel it as planned."""
        handle = self.handles[number]
        if plan.cancel_after is None:
            await _outcome(handle)
        elif plan.cancel_task:
            with anyio.move_on_after(plan.cancel_after):
                await _outcome(handle)
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_outcome, handle)
                await anyio.sleep(plan.cancel_after)
                if handle.cancel():
                    self.cancelled.add(number)


async def _close(service: CallService, after: float) -> None:
    await anyio.sleep(after)
    await service.aclose()


async def _outcome(handle: CallHandle) -> None:
    try:
        await handle
    except TelecmiError:
        pass


async def _play(
    program: Program,
    variant: Variant,
    server: ProgramServer,
    lag: Lag,
    service: Callable[..., CallService],
) -> Tally:
    """Run a program, and compare what both sides say."""
    lags = (server.lag, lag)
    seen = [fate for fate in program.connections if fate.kind not in variant.unseen]
    program = attrs.evolve(program, connections=tuple(seen))
    scene = Scene(program, f"{program.seed}:{program.number}", variant.wire, lags)
    server.start(scene)
    play = _Play(program, service, scene)
    tally = Tally(programs=1, calls=len(program.calls))
    try:
        async with variant.options(program.pool) as options:
            await play.run(options)
        with anyio.move_on_after(_DRAIN):
            while scene.open:  # noqa: ASYNC110  # it is served by another thread
                await anyio.sleep(0.002)
        if scene.left_open() and variant.client == "own":
            tally.faults.append(Fault(ERROR, program.number, "a connection was left open"))
    except Exception as error:  # noqa: BLE001  # whatever escapes is a fault
        tally.faults.append(Fault(ERROR, program.number, f"it raised {_described(error)}"))
    finally:
        server.stop(scene)
    tally.connections = scene.connections
    tally.complete = sum(map(len, scene.arrivals))
    tally.faults += [Fault(ERROR, program.number, oddity) for oddity in scene.oddities]
    for number, handle in play.handles.items():
        tally.statuses[handle.status] += 1
        tally.faults += [
            attrs.evolve(fault, number=program.number, text=f"call {number}: {fault.text}")
            for fault in check(
                handle,
                scene.arrivals[number],
                at_most_once=program.at_most_once,
                resends=variant.resends,
                cancelled=number in play.cancelled,
            )
        ]
    return tally


def _described(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}({', '.join(map(_described, error.exceptions))})"
    return repr(error)


# -- the check


def check(
    handle: CallHandle,
    arrivals: Sequence[Arrival],
    *,
    at_most_once: bool,
    resends: bool,
    cancelled: bool,
) -> list[Fault]:
    """Compare a settled handle with the complete requests that the server saw of its call.

    Args:
        handle: The handle.
        arrivals: The requests.
        at_most_once: The policy's.
        resends: Whether the client may send again by itself, which must be flagged.
        cancelled: Whether `cancel` said that no request was ever started.
    """
    seen = _Seen(handle, arrivals)
    status, placed = handle.status, seen.placed
    faults: list[Fault | None] = [
        seen.when(status in _UNSETTLED, HANG, "it is not settled"),
        seen.when(seen.safe and placed, SAFE, "it may ring", placed),
    ]
    if cancelled or status is CallStatus.NOT_SENT:
        denied = arrivals and not placed
        faults.append(seen.when(denied, ERROR, "it was sent", arrivals))
    if cancelled:
        kept = status is CallStatus.CANCELLED
        faults.append(seen.when(not kept, ERROR, "cancel() was true"))
    if status is CallStatus.PROGRESS:
        ids = {arrival.request_id for arrival in arrivals}
        foreign = handle.request_id not in ids
        silent = len(placed) > 1 and not handle.may_be_duplicate
        faults.append(seen.when(foreign, WRONG_ID, handle.request_id, arrivals))
        faults.append(seen.when(silent, SECOND, "may_be_duplicate is false", placed))
    unknown = [attempt.outcome is Outcome.UNKNOWN for attempt in handle.attempts]
    repeated = at_most_once and any(unknown[:-1])
    faults.append(seen.when(repeated, SECOND, "an unknown attempt was repeated", placed))
    if not resends:
        for arrival in arrivals[:-1]:
            forbidden = not arrival.fate.repeatable or (at_most_once and arrival.fate.placed)
            faults.append(seen.when(forbidden, SECOND, "what may ring was repeated", [arrival]))
    return [fault for fault in faults if fault is not None]


class _Seen:
    """What both sides know of a call."""

    def __init__(self, handle: CallHandle, arrivals: Sequence[Arrival]) -> None:
        self.placed = [arrival for arrival in arrivals if arrival.fate.placed]
        error = handle.error
        self.safe = handle.status in _SAFE_STATUSES or (error and error.safe_to_redial)
        self._text = (
            f"{handle.status} {error!r}, attempts {[a.detail for a in handle.attempts]}, "
            f"the server saw {[(a.fate.word, a.since_stray) for a in arrivals]}"
        )

    def when(
        self, wrong: object, kind: str, why: str, about: Sequence[Arrival] = ()
    ) -> Fault | None:
        """Return a fault if something is wrong; ``about`` are the requests it comes from."""
        if not wrong:
            return None
        raced = any(is_raced(arrival.since_stray) for arrival in about)
        # Of a request that the server never read it cannot be said when it was written.
        raced |= kind == WRONG_ID and why.startswith(LATE) and not about
        return Fault(kind, -1, f"{why}: {self._text}", raced)


# -- many programs


async def play_all(
    variant: Variant,
    programs: Sequence[Program],
    server: ProgramServer,
    *,
    side_by_side: int = SIDE_BY_SIDE,
    service: Callable[..., CallService] = CallService,
    on_hang: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Run programs side by side in this event loop; one that hangs ends the run.

    Args:
        variant: What they run over.
        programs: The programs.
        server: Serves them.
        side_by_side: How many run at the same time.
        service: Makes services.
        on_hang: Called at once with what is known when a program hangs: it may be shielded from
            cancellation, and then this function never returns.
    """
    tally = Tally()
    waiting = list(reversed(programs))
    lag = Lag()

    async def work(tasks: TaskGroup) -> None:
        while waiting:
            program = waiting.pop()
            done = anyio.Event()

            async def one(program: Program = program, done: anyio.Event = done) -> None:
                tally.add(await _play(program, variant, server, lag, service))
                done.set()

            tasks.start_soon(one)
            with anyio.move_on_after(program.longest):
                await done.wait()
            if not done.is_set():
                text = f"it did not end within {program.longest:.0f} s"
                tally.faults.append(Fault(HANG, program.number, text))
                waiting.clear()
                on_hang(tally)
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as measuring:
        measuring.start_soon(lag.measure, anyio.sleep)
        async with anyio.create_task_group() as tasks:
            for _ in range(min(side_by_side, len(programs))):
                tasks.start_soon(work, tasks)
        measuring.cancel_scope.cancel()
    return tally


def run(
    variant: Variant,
    programs: Sequence[Program],
    *,
    side_by_side: int = SIDE_BY_SIDE,
    on_hang: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Run programs in an event loop of their own."""
    backend = "trio" if variant.loop == "trio" else "asyncio"
    options = {} if backend == "trio" else {"use_uvloop": variant.loop == "uvloop"}

    async def main() -> Tally:
        with ProgramServer() as server:
            return await play_all(
                variant, programs, server, side_by_side=side_by_side, on_hang=on_hang
            )

    return anyio.run(main, backend=backend, backend_options=options)


def shrunk(variant: Variant, program: Program, *, seconds: float) -> Program:
    """Return a simpler program that fails as well, as far as one is found in time."""
    until = time.monotonic() + seconds

    def fails(candidate: Program) -> bool:
        return not run(variant, [candidate] * 4).sound

    simplest = program
    while time.monotonic() < until:
        smaller = next(
            (each for each in simplest.simpler() if time.monotonic() < until and fails(each)),
            None,
        )
        if smaller is None:
            break
        simplest = smaller
    return simplest


# -- the command


def _print(text: str, *, file: TextIO | None = None) -> None:
    print(text, file=file, flush=True)  # a command prints


def _work(options: argparse.Namespace) -> None:
    """Run some programs, and print what came of them as JSON."""
    faulthandler.dump_traceback_later(options.patience, exit=True)
    logging.disable()
    warnings.simplefilter("ignore")
    # The server's thread shares the interpreter: it must not wait for long.
    sys.setswitchinterval(0.001)

    def report(tally: Tally) -> None:
        _print(json.dumps(attrs.asdict(tally)))

    def give_up(tally: Tally) -> None:
        report(tally)
        os._exit(0)

    programs = [Program.of(options.seed, number) for number in options.numbers]
    report(run(VARIANTS[options.variant], programs, on_hang=give_up))


def _in_process(variant: Variant, seed: int, numbers: Sequence[int]) -> Tally:
    """Run some programs in a process of their own."""
    patience = 120 + len(numbers)
    command = [sys.executable, __file__, f"--seed={seed}", f"--variant={variant}"]
    command += [f"--patience={patience}", "--work", *map(str, numbers)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        return Tally.from_json(done.stdout)
    except ValueError:
        text = f"a process of programs {numbers[0]} to {numbers[-1]} ended: {done.returncode}"
        return Tally(faults=[Fault(HANG, numbers[0], text)])


def _share(options: argparse.Namespace, chosen: Sequence[Variant]) -> dict[Variant, Tally]:
    """Run all programs, shared out between variants and processes."""
    jobs: list[tuple[Variant, range]] = []
    for n, variant in enumerate(chosen):
        numbers = range(n, options.programs, len(chosen))
        jobs += [(variant, numbers[at : at + _CHUNK]) for at in range(0, len(numbers), _CHUNK)]
    tallies = {variant: Tally() for variant in chosen}
    with ThreadPoolExecutor(options.processes) as pool:
        made = pool.map(lambda job: (job[0], _in_process(job[0], options.seed, job[1])), jobs)
        for variant, tally in made:
            tallies[variant].add(tally)
            _print(f"{variant}: {tally.programs} more", file=sys.stderr)
    return tallies


def table(tallies: dict[Variant, Tally]) -> str:
    """Return what came of all programs."""
    whole = Tally()
    for tally in tallies.values():
        whole.add(tally)
    heads = ["variant", "programs", "calls", "complete", "connections", "accepted", "unknown"]
    rows = [[*heads, *KINDS, "raced"]]
    for name, tally in [*((str(v), t) for v, t in tallies.items()), ("all", whole)]:
        counts = [tally.programs, tally.calls, tally.complete, tally.connections]
        counts += [tally.statuses[CallStatus.PROGRESS], tally.statuses[CallStatus.UNKNOWN]]
        counts += [*map(tally.count, KINDS), tally.raced]
        rows.append([name, *map(str, counts)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _show(variant: Variant, program: Program, faults: Sequence[Fault]) -> None:
    _print(f"\n{variant}\n{program.listing()}")
    for fault in faults:
        _print(f"  !! {fault.kind}{' (raced)' if fault.raced else ''}: {fault.text}")


def _explain(options: argparse.Namespace, tallies: dict[Variant, Tally]) -> None:
    """Show the programs that failed, simplified."""
    for variant, tally in tallies.items():
        failed = dict.fromkeys(f.number for f in tally.faults if not f.raced)
        for number in list(failed)[: options.show]:
            program = Program.of(options.seed, number)
            faults = [fault for fault in tally.faults if fault.number == number]
            _show(variant, program, faults)
            if options.shrink and all(fault.kind != HANG for fault in faults):
                simple = shrunk(variant, program, seconds=options.shrink)
                faults = run(variant, [simple] * 4).faults
                _print("  simplified:" if faults else "  it does not fail every time")
                _show(variant, simple, faults)


def _repeat(options: argparse.Namespace, chosen: Sequence[Variant]) -> dict[Variant, Tally]:
    """Run one program several times, and show it."""
    program = Program.of(options.seed, options.number)
    tallies = {variant: run(variant, [program] * options.times) for variant in chosen}
    for variant, tally in tallies.items():
        _show(variant, program, tally.faults)
    return tallies


def main() -> None:
    """Run programs as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--variant", help="a part of a variant's name")
    parser.add_argument("--number", type=int, help="run this program alone")
    parser.add_argument("--times", type=int, default=20, help="how often, with --number")
    parser.add_argument("--show", type=int, default=2, help="failed programs to show a variant")
    parser.add_argument("--shrink", type=float, default=0.0, help="seconds to simplify each")
    parser.add_argument("--work", type=int, nargs="*", dest="numbers", help=argparse.SUPPRESS)
    parser.add_argument("--patience", type=float, default=600.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.numbers is not None:
        _work(options)
        return
    logging.disable()
    warnings.simplefilter("ignore")
    named = [v for name, v in VARIANTS.items() if (options.variant or "") in name]
    chosen = [variant for variant in named if not variant.missing]
    for variant in set(named) - set(chosen):
        _print(f"{variant}: {variant.missing} is not installed", file=sys.stderr)
    if not chosen:
        parser.error(f"no such variant: {', '.join(VARIANTS)}")
    began = time.monotonic()
    if options.number is None:
        tallies = _share(options, chosen)
        _explain(options, tallies)
    else:
        tallies = _repeat(options, chosen)
    _print(f"\n{table(tallies)}\n\nseed {options.seed}, {time.monotonic() - began:.0f} s")
    sys.exit(0 if all(tally.sound for tally in tallies.values()) else 1)


if __name__ == "__main__":
    main()

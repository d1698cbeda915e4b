"""``telecmi-async demo``: the package at work on this machine, in a few seconds."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async import CallRequest, CallService, CallStream, Flow, RateLimit
from telecmi_async.cli.display import display_for
from telecmi_async.cli.exits import Exit
from telecmi_async.cli.report import Report
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.cli.display import Display
    from telecmi_async.cli.terminal import Terminal

__all__ = ["fictional_numbers", "run"]

_LATENCY: Final = (0.03, 0.05)  # seconds: what a server on the same continent needs
_CALLER_ID: Final = 12025550199
_SAMPLES: Final = 3


def fictional_numbers() -> Iterator[int]:
    """Return North American numbers that nobody has: line 01xx of exchange 555.

    The numbering plan keeps them free for films and examples, in every area code.
    """
    for area in range(203, 990):
        if area % 100 != 11:  # 411, 911 and their like are services
            first = 1_000_555_0100 + area * 10_000_000
            yield from range(first, first + 100)


def run(
    terminal: Terminal,
    *,
    calls: int,
    calls_per_second: float,
    error_share: float,
    seed: int,
) -> int:
    """Place calls to a simulated TeleCMI, show how it goes, and print a table.

    Args:
        terminal: What to write to.
        calls: How many.
        calls_per_second: How fast.
        error_share: The share of 502s among the answers.
        seed: What all chance follows from.

    Returns:
        `Exit.OK`, or `Exit.FAILED` if anything happened that should not.

    Raises:
        ConfigurationError: An argument cannot be right.
    """
    simulator = Simulator(seed=seed, latency=_LATENCY, error_502_share=error_share)
    report = anyio.run(partial(_place, terminal, simulator, calls, calls_per_second))
    terminal.put()
    report.print(terminal)
    return Exit.FAILED if report.problems() else Exit.OK


async def _place(
    terminal: Terminal, simulator: Simulator, calls: int, calls_per_second: float
) -> Report:
    async with (
        simulator.serve() as base_url,
        CallService(
            simulator.app_id,
            simulator.secret,
            from_=_CALLER_ID,
            base_url=base_url,
            rate=RateLimit(calls_per_second),
            seed=simulator.seed,
        ) as service,
    ):
        _introduce(terminal, simulator, calls, calls_per_second, base_url)
        display = display_for(terminal, calls)
        samples: list[tuple[int, str]] = []
        stream = service.make_calls(_requests(calls))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_watch, stream, display)
                async for call in stream:
                    if call.accepted and len(samples) < _SAMPLES and call.request is not None:
                        samples.append((call.request.to, call.request_id))
                tasks.cancel_scope.cancel()
        finally:
            display.finish(stream.progress)  # also when Ctrl-C ends it
    return Report(
        progress=stream.progress,
        simulator=simulator,
        calls_per_second=calls_per_second,
        samples=tuple(samples),
    )


def _requests(calls: int) -> Iterator[CallRequest]:
    flow = Flow().play("welcome.wav").hangup()
    for to in islice(fictional_numbers(), calls):
        yield CallRequest(to=to, pcmo=flow)


def _introduce(
    terminal: Terminal,
    simulator: Simulator,
    calls: int,
    calls_per_second: float,
    base_url: str,
) -> None:
    shortest, longest = (round(1_000 * seconds) for seconds in simulator.latency)
    share = f"{100 * simulator.error_502_share:g} %"
    terminal.put(
        terminal.style("TeleCMI is simulated on this machine: no phone rings.", "bold")
    )
    terminal.put(f"{calls} calls, {calls_per_second:g} a second, over HTTP to {base_url}")
    terminal.put(f"An answer takes {shortest} to {longest} ms, and {share} are a 502.")
    terminal.put()


async def _watch(stream: CallStream, display: Display) -> None:
    while True:
        display.show(stream.progress)
        await anyio.sleep(display.every)

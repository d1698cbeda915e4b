"""``telecmi-async demo``: a campaign on this machine that is killed in the middle and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, field

from telecmi_async import CallService, Receiver
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace, Retries
from telecmi_async.cli.display import Display, display_for
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.progress import ProgressMeter
from telecmi_async.cli.report import Report
from telecmi_async.events.receiver import new_token
from telecmi_async.ledger import ContactState, Ledger, NewContact, SqliteLedger
from telecmi_async.simulator import SimulatedRequest, Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    from telecmi_async.cli.terminal import Terminal
    from telecmi_async.ledger import CampaignState

_NAME: Final = "demo"
_LATENCY: Final = (0.08, 0.15)  # seconds: so that some are under way when it is killed
_CALLER_ID: Final = 12025550199
_FLOW: Final = [
    {"action": "speak", "text": "Hello {name}, your order has arrived."},
    {"action": "hangup"},
]
_LOOK: Final = 0.1
_WIDEST: Final = 79  # columns of a paragraph
# The share of calls after which the worker is killed if it is sending one, and in any case.
_KILL_FROM: Final = 0.4
_KILL_AT: Final = 0.6
# How fast time passes in calls: a phone that is not answered rings for half a minute.
_SPEED: Final = 60.0
# Later than any lease of a worker that died.
_AHEAD: Final = 600.0
# How long records of the last calls may take to come, once all calls are placed.
_LAST_RECORDS: Final = 5.0
_OVER: Final = 60.0


def fictional_numbers() -> Iterator[int]:
    """Return fictional North American numbers: line 01xx of exchange 555.

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
    as_json: bool,
) -> int:
    """Run a campaign on a simulated TeleCMI, kill its process, resume it, and print a table.

    The exit code is `Exit.FAILED` if anything happened that should not.
    """
    simulator = Simulator(
        seed=seed,
        latency=_LATENCY,
        error_502_share=error_share,
        magic=False,
        answered_share=0.8,
        speed=_SPEED,
    )
    settings = CampaignSettings(
        flow=_FLOW,
        from_=_CALLER_ID,
        pace=Pace(calls_per_second=calls_per_second, max_in_flight=20),
        retries=Retries(attempts=8, first=0.3),
    )
    shown = terminal.words if as_json else terminal
    report = anyio.run(partial(_play, shown, simulator, settings, calls))
    if as_json:
        terminal.put(json.dumps(report.as_json()))
    else:
        terminal.put()
        report.print(terminal)
    return Exit.FAILED if report.problems() else Exit.OK


@define
class _Stage:
    """A ledger, a simulator on a port, and the progress display."""

    path: Path
    ledger: Ledger
    base_url: str
    display: Display
    #: How many seconds the ledger's clock is ahead of this machine's.
    ahead: list[float]
    #: How many requests there were before the present worker.
    sends: int = 0
    meter: ProgressMeter = field(factory=ProgressMeter)

    async def look(self) -> CampaignState:
        """Show the campaign's progress; the rate is measured from a worker's first request on."""
        state = await self.ledger.state(_NAME)
        if self.sends == state.sends:
            self.meter = ProgressMeter()
        else:
            self.sends = -1
        self.display.show(self.meter.look(state, anyio.current_time()))
        return state


async def _play(
    terminal: Terminal, simulator: Simulator, settings: CampaignSettings, calls: int
) -> Report:
    replies = Counter[int | None]()

    def count(request: SimulatedRequest) -> None:
        replies[request.status] += 1

    simulator.on_request = count
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with _staged(terminal, simulator, settings, Path(folder), calls) as stage:
            try:
                with anyio.fail_after(_OVER + calls / settings.pace.calls_per_second):
                    await _first_act(terminal, simulator, stage, calls)
                    state = await _second_act(terminal, simulator, stage)
            except TimeoutError:
                raise Stop(Exit.FAILED, "the demo took far too long and was stopped") from None
            answered = 0
            async for contact in stage.ledger.contacts(_NAME):
                answered += contact.answered is True
    return Report(
        state=state,
        answered=answered,
        bad_gateways=replies[502],
        simulator=simulator,
        calls_per_second=settings.pace.calls_per_second,
    )


@asynccontextmanager
async def _staged(
    terminal: Terminal,
    simulator: Simulator,
    settings: CampaignSettings,
    folder: Path,
    calls: int,
) -> AsyncGenerator[_Stage]:
    ahead = [0.0]
    receiver = Receiver(new_token())
    simulator.webhooks = Webhooks(receiver)
    path = folder / "ledger.db"
    async with (
        receiver,
        SqliteLedger(path, clock=lambda: time() + ahead[0]) as ledger,
        simulator.serve() as base_url,
        CallService(
            simulator.app_id, simulator.secret, base_url=base_url, events=receiver
        ) as service,
        # This process places no call. It receives their events, as a web application would.
        Campaign(ledger, service, _NAME, settings) as campaign,
    ):
        await campaign.load(
            NewContact(number=number, columns={"name": f"customer {n}"})
            for n, number in enumerate(islice(fictional_numbers(), calls), 1)
        )
        _introduce(terminal, simulator, settings, calls)
        yield _Stage(path, ledger, base_url, display_for(terminal, every=1.0), ahead)


def _introduce(
    terminal: Terminal,
    simulator: Simulator,
    settings: CampaignSettings,
    calls: int,
) -> None:
    terminal.put(
        terminal.style("TeleCMI is simulated on this machine: no phone rings.", "bold")
    )
    rate, share = settings.pace.calls_per_second, 100 * simulator.error_502_share
    text = (
        f"{calls} people are called, at most {rate:g} a second. {share:g} % of TeleCMI's "
        "replies are a 502, and the process that calls is killed in the middle."
    )
    for line in textwrap.wrap(text, min(terminal.width, _WIDEST)):
        terminal.put(line)
    terminal.put()


async def _first_act(
    terminal: Terminal, simulator: Simulator, stage: _Stage, calls: int
) -> None:
    """Start a worker, kill it in the middle, and print what it left."""
    with _worker(simulator, stage) as process:
        while process.poll() is None:
            await anyio.sleep(_LOOK)
            state = await stage.look()
            busy = state.counts[ContactState.SENDING] > 0
            if state.sends >= (_KILL_FROM if busy else _KILL_AT) * calls:
                break
        _check(process)
    state = await stage.ledger.state(_NAME)
    sending, claimed = (
        state.counts[each] for each in (ContactState.SENDING, ContactState.CLAIMED)
    )
    note = stage.display.note
    note(terminal.style(f"Killed process {process.pid}, as a power cut would:", "bold"))
    note(f"{sending:>4} being sent, so a phone may have rung: not redialled")
    note(f"{claimed:>4} claimed, not sent: the next process calls them")


async def _second_act(terminal: Terminal, simulator: Simulator, stage: _Stage) -> CampaignState:
    """Start another worker, which goes on to the end; return the state then."""
    stage.ahead[0] += _AHEAD
    stage.sends = (await stage.ledger.state(_NAME)).sends
    with _worker(simulator, stage) as process:
        note = stage.display.note
        note(terminal.style(f"Process {process.pid} resumes the campaign.", "bold"))
        note(terminal.style("(The two minutes until the leases end are skipped.)", "dim"))
        note("")
        while process.poll() is None:
            await anyio.sleep(_LOOK)
            await stage.look()
        _check(process)
    with anyio.move_on_after(_LAST_RECORDS):
        await _last_records(stage)
    state = await stage.look()
    stage.display.finish(stage.meter.look(state, anyio.current_time()))
    return state


async def _last_records(stage: _Stage) -> None:
    """Wait for the records of calls that were placed."""
    while (await stage.look()).counts[ContactState.PLACED]:  # noqa: ASYNC110  # another process is watched
        await anyio.sleep(_LOOK)


@contextmanager
def _worker(simulator: Simulator, stage: _Stage) -> Generator[subprocess.Popen[bytes]]:
    """Run a worker in a new process, which ends with the context at the latest."""
    environ = {
        **os.environ,
        "TELECMI_APP_ID": str(simulator.app_id),
        "TELECMI_SECRET": simulator.secret,
        "TELECMI_BASE_URL": stage.base_url,
    }
    command = [sys.executable, "-m", "telecmi_async.cli.worker"]
    arguments = [str(stage.path), _NAME, str(stage.ahead[0])]
    process = subprocess.Popen([*command, *arguments], env=environ)  # noqa: S603  # this package's own
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _check(process: subprocess.Popen[bytes]) -> None:
    """Stop if a worker ended with an error; it has said which."""
    if process.poll():
        raise Stop(Exit.FAILED, f"a worker ended with {process.returncode}")

"""Demo stage: runs a campaign in a process, kills it, resumes it, and reports what came of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define, frozen

from telecmi_async import CallService, Receiver
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace, Retries
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.output.display import Display, display_for
from telecmi_async.events.receiver import new_token
from telecmi_async.ledger import CampaignState, ContactState, Ledger, NewContact, SqliteLedger
from telecmi_async.simulator import Simulator, Webhooks

if TYPE_CHECKING:
    from telecmi_async.cli.output.terminal import Terminal

_NAME: Final = "demo"
_LATENCY: Final = (0.08, 0.15)  # seconds: so that some are under way when it is killed
_CALLER_ID: Final = 12025550199
_FLOW: Final = [
    {"action": "speak", "text": "Hello {name}, your order has arrived."},
    {"action": "hangup"},
]
_LOOK: Final = 0.1
_WIDEST: Final = 79  # columns of a paragraph
# Columns that the longest row of the table takes with its note.
_WITH_NOTES: Final = 59
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
# A worker that came to the end says with its exit code how the calls went; the report does, too.
_ENDED: Final = (None, Exit.OK, Exit.PARTLY, Exit.UNKNOWN)
# Requests are counted when they arrive. One that starts on time may arrive so many seconds late on
# a busy machine, and with those behind it.
_LATE: Final = 0.2


def fictional_numbers() -> Iterator[int]:
    """Return fictional North American numbers: line 01xx of exchange 555.

    The numbering plan keeps them free for films and examples, in every area code.
    """
    for area in range(203, 990):
        if area % 100 != 11:  # 411, 911 and their like are services
            first = 1_000_555_0100 + area * 10_000_000
            yield from range(first, first + 100)


def play_demo(
    terminal: Terminal, calls: int, *, rate: float, errors: float, seed: int, as_json: bool
) -> Exit:
    """Run the demo, print its report, and return the exit code."""
    simulator = Simulator(
        seed=seed,
        latency=_LATENCY,
        error_502_share=errors,
        magic=False,
        answered_share=0.8,
        speed=_SPEED,
    )
    settings = CampaignSettings(
        flow=_FLOW,
        from_=_CALLER_ID,
        pace=Pace(calls_per_second=rate, max_in_flight=20),
        retries=Retries(attempts=8, first=0.3),
    )
    shown = terminal.words if as_json else terminal
    shown.put(("TeleCMI is simulated on this machine: no phone rings.", "bold"))
    text = (
        f"{calls} people are called, at most {rate:g} a second. {100 * errors:g} % of TeleCMI's "
        "replies are a 502, and the process that calls is killed in the middle."
    )
    for line in textwrap.wrap(text, min(shown.width, _WIDEST)):
        shown.put(line)
    shown.put()
    report = anyio.run(partial(_play, shown, simulator, settings, calls))
    if as_json:
        terminal.put(json.dumps(report.as_json()))
    else:
        terminal.put()
        report.print(terminal)
    return Exit.FAILED if report.problems() else Exit.OK


async def _play(
    terminal: Terminal, simulator: Simulator, settings: CampaignSettings, calls: int
) -> Report:
    replies = Counter[int | None]()
    simulator.on_request = lambda request: replies.update([request.status])
    receiver = Receiver(new_token())
    simulator.webhooks = Webhooks(receiver)
    rate = settings.pace.calls_per_second
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "ledger.db"
        async with (
            receiver,
            SqliteLedger(path) as ledger,
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
            environ = {
                **os.environ,
                "TELECMI_APP_ID": str(simulator.app_id),
                "TELECMI_SECRET": simulator.secret,
                "TELECMI_BASE_URL": base_url,
            }
            stage = _Stage(path, ledger, environ, display_for(terminal, every=1.0))
            try:
                with anyio.fail_after(_OVER + calls / rate):
                    await stage.kill_a_worker(calls)
                    state = await stage.resume()
            except TimeoutError:
                raise Stop(Exit.FAILED, "the demo took far too long and was stopped") from None
            answered = [each.answered is True async for each in ledger.contacts(_NAME)]
    return Report(
        state=state,
        answered=sum(answered),
        bad_gateways=replies[502],
        simulator=simulator,
        calls_per_second=rate,
    )


@define
class _Stage:
    """The campaign's ledger, the environment of its workers, and the progress display."""

    path: Path
    ledger: Ledger
    environ: Mapping[str, str]
    display: Display

    async def look(self) -> CampaignState:
        """Show the campaign's progress."""
        state = await self.ledger.state(_NAME)
        self.display.show(state)
        return state

    async def kill_a_worker(self, calls: int) -> None:
        """Start a worker, kill it in the middle, and print what it left."""
        process = await self._work(calls)
        state = await self.ledger.state(_NAME)
        sending, claimed = (
            state.counts[ContactState.SENDING],
            state.counts[ContactState.CLAIMED],
        )
        note = self.display.note
        note(f"Killed process {process}, as a power cut would:", "bold")
        note(f"{sending:>4} being sent, so a phone may have rung: not redialled")
        note(f"{claimed:>4} claimed, not sent: the next process calls them")

    async def resume(self) -> CampaignState:
        """Start another worker, which goes on to the end; return the state then."""
        async with SqliteLedger(self.path, clock=lambda: time() + _AHEAD) as later:
            await later.reap(_NAME)
        await self._work(None)
        with anyio.move_on_after(_LAST_RECORDS):
            await _last_records(self)
        state = await self.look()
        self.display.finish(state)
        return state

    async def _work(self, calls: int | None) -> int:
        """Run a worker to its end, or kill it in the middle of so many calls; return its id."""
        command = [sys.executable, "-m", "telecmi_async", "resume", "--ledger", str(self.path)]
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
            process = subprocess.Popen(  # noqa: ASYNC220, S603  # quick to start; this package's own
                command, env=self.environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            try:
                if calls is None:
                    self.display.note(f"Process {process.pid} resumes the campaign.", "bold")
                    self.display.note(
                        "(The two minutes until the leases end are skipped.)", "dim"
                    )
                    self.display.note("")
                while (ended := process.poll()) is None:
                    await anyio.sleep(_LOOK)
                    state = await self.look()
                    share = _KILL_FROM if state.counts[ContactState.SENDING] else _KILL_AT
                    if calls is not None and state.sends >= share * calls:
                        break
            finally:
                process.kill()
                process.wait()
            if ended not in _ENDED:
                said.seek(0)
                raise Stop(Exit.FAILED, f"a worker ended with {ended}: {said.read()}".strip())
        return process.pid


async def _last_records(stage: _Stage) -> None:
    """Wait for the records of calls that were placed."""
    while (await stage.look()).counts[ContactState.PLACED]:  # noqa: ASYNC110  # another process is watched
        await anyio.sleep(_LOOK)


@frozen(kw_only=True)
class Report:
    """The demo's results: what the ledger says, and what the simulator saw.

    ``answered`` is the ledger's count of people, ``bad_gateways`` the simulator's count of replies
    with status 502, and ``calls_per_second`` the rate that was asked for.
    """

    state: CampaignState
    answered: int
    bad_gateways: int
    simulator: Simulator
    calls_per_second: float

    @property
    def _called(self) -> int:
        counts = self.state.counts
        return counts[ContactState.PLACED] + counts[ContactState.FINISHED]

    def problems(self) -> list[str]:
        """Return what should not have happened, in words; an empty list if all is well.

        The starts of calls are limited, and their arrivals are counted. So the busiest second
        may hold what is started in 1.2 s.
        """
        counts, called, left = self.state.counts, self._called, self.state.left
        twice, numbers = self.simulator.duplicates(), self.simulator.numbers()
        busiest, rate = self.simulator.busiest_second(), self.calls_per_second
        strays = counts[ContactState.REJECTED] + counts[ContactState.FAILED]
        strays += counts[ContactState.BLOCKED]
        checks = {
            f"{twice} numbers were dialled twice": twice,
            f"{left} contacts were forgotten": left,
            f"{strays} calls were rejected, failed or blocked": strays,
            f"the ledger says that {called} were called, and the simulator called {numbers}": (
                called != numbers
            ),
            f"{busiest} requests arrived in one second, and {rate:g} were asked for": (
                busiest > math.ceil(rate * (1 + _LATE))
            ),
        }
        return [problem for problem, found in checks.items() if found]

    def as_json(self) -> dict[str, object]:
        """Return it for other programs."""
        return {
            "contacts": self.state.total,
            "counts": {str(each): self.state.counts[each] for each in ContactState},
            "answered": self.answered,
            "forgotten": self.state.left,
            "requests": self.simulator.requests,
            "replies_502": self.bad_gateways,
            "calls_per_second": self.calls_per_second,
            "busiest_second": self.simulator.busiest_second(),
            "dialled_twice": self.simulator.duplicates(),
            "problems": self.problems(),
        }

    def print(self, terminal: Terminal) -> None:
        """Print the table, and the problems if there are any."""
        unknown, twice = self.state.counts[ContactState.UNKNOWN], self.simulator.duplicates()
        asked = f"asked: {self.calls_per_second:g}; counted on arrival"
        rows = [
            ("people", self.state.total, ""),
            ("  called", self._called, f"{self.answered} answered"),
            *([("  may have rung", unknown, "not dialled again")] if unknown else []),
            ("  forgotten", self.state.left, ""),
            ("replies with a 502", self.bad_gateways, "retried: no phone rang"),
            ("busiest second", self.simulator.busiest_second(), asked),
        ]
        for label, value, note in rows:
            aside = [(f"   {note}", "dim")] if note and terminal.width >= _WITH_NOTES else []
            terminal.put(f"  {label:<18} {value:>5}", *aside)
        for problem in self.problems():
            terminal.put((f"  wrong: {problem}", "red"))
        terminal.put()
        terminal.put((f"dialled twice: {twice}", "red" if twice else "green"))

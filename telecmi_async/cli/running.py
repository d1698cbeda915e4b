"""Campaign runs: runs a campaign with a progress display, and prints its result."""

from __future__ import annotations

import json
import math
from contextlib import aclosing, suppress
from shlex import quote
from typing import TYPE_CHECKING, Final

import anyio
from attrs import define

from telecmi_async.campaigns import Campaign
from telecmi_async.campaigns.send_health import EQUAL_REFUSALS, REFUSED_CREDENTIALS
from telecmi_async.cli.account import is_set
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.interrupts import Interrupts, interrupts
from telecmi_async.cli.log_lines import log_shown
from telecmi_async.cli.output.display import Display, display_for
from telecmi_async.cli.output.progress import duration
from telecmi_async.cli.state_words import BUSY, is_spent
from telecmi_async.errors import StoreError
from telecmi_async.ledger import CampaignState, ContactState, Ledger
from telecmi_async.ledger.states import Move

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telecmi_async.campaigns import CampaignRules
    from telecmi_async.cli.output.terminal import Terminal

_LOOK: Final = 0.1
# Retries are due within the hour. A later contact waits for calling hours or the next day.
_LONG: Final = 3_660.0
# How long TeleCMI may be out of reach before the command ends: some six probes are sent in it.
_OUTAGE: Final = 300.0
_TOMORROW: Final = "The calls of this day are made: `resume` goes on tomorrow."
_MAGIC: Final = " If TELECMI_BASE_URL is a simulator: it refuses numbers such as …9930, by their last digits."
_LATER: Final = (
    "No contact that is left may be called within the hour: `resume` goes on then, and "
    "`why` names the rule."
)
_REDIALS: Final = "Redials are due later: `resume` goes on then, or --wait waits for them."
_REDIAL: Final = "redial"
# Rules with a cap: they postpone contacts when the cap is reached.
_CAPS: Final = ("per_day", "per_number")
_WHOLE: Final = (ContactState.PLACED, ContactState.FINISHED)


@define(eq=False)
class _RunMonitor:
    """Shows a campaign's progress, and stops its worker when there is a reason."""

    campaign: Campaign
    ledger: Ledger
    display: Display
    pressed: Interrupts
    patient: bool
    receives: bool
    elsewhere: bool
    why: Exit | None = None
    _state: CampaignState | None = None
    _paused: bool = False
    _idle: int = 0
    _sends: int = -1
    _unreached_since: float = math.inf

    def show(self, state: CampaignState) -> None:
        """Show a state of the campaign."""
        self._state = state
        self.display.show(state)

    async def watch(self) -> None:
        """Wait for a reason to leave."""
        while self.why is None:
            await anyio.sleep(_LOOK)
            if self.pressed.count:
                request, ledger = map(duration, self.campaign.timeouts.longest_leave)
                self._leave(
                    Exit.INTERRUPTED,
                    "No more calls are started; waiting for what was sent. That takes at most "
                    f"{request}, or {ledger} if the ledger does not answer. Ctrl-C again leaves "
                    "at once.",
                )
            elif (state := self._state) is not None:
                self._state = None
                with suppress(StoreError):  # the campaign waits until the ledger is back
                    await self._check(state)

    async def _check(self, state: CampaignState) -> None:
        paused = state.asked == "paused"
        if paused and state.why == REFUSED_CREDENTIALS:
            self._leave(Exit.CREDENTIALS, f"{state.why}: no call was placed since.")
            return
        if paused and EQUAL_REFUSALS in state.why:
            simulated = _MAGIC if self.elsewhere else ""
            self._leave(
                Exit.PARTLY,
                f"Paused: {state.why}.{simulated} Once that is put right, `retry-rejected` has "
                "them tried again, and `resume` goes on.",
            )
            return
        if paused is not self._paused:
            self._paused = paused
            said = f"Paused{f' ({state.why})' if state.why else ''}: waiting for `resume`."
            self.display.note(said if paused else "Going on.")
        if self.patient:
            return
        why, now = self.campaign.unreached, anyio.current_time()
        self._unreached_since = min(self._unreached_since, now) if why else math.inf
        if now - self._unreached_since >= _OUTAGE:
            self._leave(
                Exit.UNAVAILABLE,
                f"TeleCMI cannot be reached ({why}): who was not called is left to be dialled.",
            )
            return
        sent, self._sends = self._sends, state.sends
        if state.sends == sent and await self._day_is_full():
            self._leave(Exit.QUOTA, _TOMORROW)
        elif await self._none_is_due():
            rule, _ = await self._last_rule()
            self._leave(
                Exit.QUOTA if rule in _CAPS else Exit.OUTSIDE_HOURS,
                {"per_day": _TOMORROW, _REDIAL: _REDIALS}.get(rule, _LATER),
            )

    async def _day_is_full(self) -> bool:
        """Return whether the daily cap postponed a contact today: it will postpone all others.

        Otherwise the worker would claim and postpone them one by one.
        """
        if (per_day := self.campaign.settings.rules.per_day) is None:
            return False
        rule, at = await self._last_rule()
        return rule == "per_day" and at >= per_day.began(await self.ledger.now())

    async def _last_rule(self) -> tuple[str, float]:
        """Return the rule that last postponed the first pending contact, and when.

        A contact that waits for its redial was postponed by that, whatever held it up before.
        """
        name = self.campaign.name
        contacts = self.ledger.contacts(name, states=[ContactState.PENDING])
        async with aclosing(contacts) as pending:
            first = await anext(pending, None)
        found = None if first is None else await self.ledger.find(name, first.number)
        for each in reversed(() if found is None else found.history):
            if each.what == Move.REDIAL_MISSED:
                return _REDIAL, each.at
            if each.what == Move.POSTPONE:
                return each.detail.partition(":")[0], each.at
        return "", 0.0

    async def _none_is_due(self) -> bool:
        """Return whether all contacts left are due much later, twice in a row.

        Once is not enough: a contact may change its state between the two queries.
        """
        due = await self.ledger.next_due(self.campaign.name)
        later = due is not None and due > await self.ledger.now() + _LONG
        counts = (await self.ledger.state(self.campaign.name)).counts
        # Live calls count as busy if their ends will be received.
        busy = (*BUSY, ContactState.PLACED) if self.receives else BUSY
        idle = later and not any(counts[each] for each in busy)
        self._idle = self._idle + 1 if idle else 0
        return self._idle > 1

    def _leave(self, why: Exit, words: str) -> None:
        self.why = why
        self.display.note(words)
        self.campaign.leave()


async def run_campaign(
    terminal: Terminal, campaign: Campaign, ledger: Ledger, *, patient: bool, receives: bool
) -> tuple[CampaignState, Exit]:
    """Run a campaign, show its progress on stderr, and return its state and the exit code.

    ``patient`` means to wait for calling hours that are more than an hour away, ``receives``
    that the campaign receives events of its calls.

    Raises:
        Stop: The ledger fails, and the command was interrupted, or outcomes are not on record.
    """
    final: CampaignState | Exception | None = None
    with (
        terminal.in_background() as (shown, writer),
        interrupts(shown) as pressed,
        log_shown(shown.environ, (display := display_for(shown.words, receives=receives)).note),
    ):
        elsewhere = is_set(terminal.environ, "TELECMI_BASE_URL")
        monitor = _RunMonitor(campaign, ledger, display, pressed, patient, receives, elsewhere)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(monitor.watch)
            try:
                final = await campaign.run(on_progress=monitor.show)
            except Exception as error:  # noqa: BLE001  # raised again below, as itself
                final = error
            tasks.cancel_scope.cancel()
        display.finish(None if isinstance(final, Exception) else final)
        writer.finish(lambda: pressed.count)
    if campaign.unrecorded:
        terminal.say(
            f"What became of {campaign.unrecorded} sends is not on record: they are taken for "
            "unknown when the ledger is back."
        )
    code = Exit.UNKNOWN if campaign.unrecorded else monitor.why
    if isinstance(final, StoreError) and code and code in {Exit.UNKNOWN, Exit.INTERRUPTED}:
        raise Stop(code, str(final)) from None
    if isinstance(final, Exception):
        raise final
    assert final is not None, "it came to an end"  # noqa: S101  # for type checkers
    if final.asked == "stopped":
        terminal.say(f"Stopped{f': {final.why}' if final.why else ''}.")
    if code is not Exit.UNKNOWN:
        code = exit_for(final, campaign.settings.rules, code)
    return final, code


def exit_for(state: CampaignState, rules: CampaignRules, why: Exit | None = None) -> Exit:
    """Return the exit code for a campaign's state, and for why it was left if it was."""
    if why is Exit.INTERRUPTED:
        return why
    if state.counts[ContactState.UNKNOWN]:
        return Exit.UNKNOWN
    if why is not None:
        return why
    if is_spent(state, rules) and state.counts[ContactState.PENDING]:
        return Exit.QUOTA
    return Exit.PARTLY if state.total > sum(state.counts[each] for each in _WHOLE) else Exit.OK


def state_as_json(state: CampaignState) -> dict[str, object]:
    """Return a campaign's state, for other programs."""
    return {
        "campaign": state.name,
        "status": state.status,
        "asked": state.asked,
        "why": state.why,
        "contacts": state.total,
        "counts": {str(each): state.counts[each] for each in ContactState},
        "sends": state.sends,
        "cost": None if state.cost is None else round(state.cost, 6),  # a sum of floats
        "unpriced": state.unpriced,
        "unknown": state.unknown,
        "live": state.live,
        "ended": state.ended,
        "answered": state.answered,
        "answer_rate": state.answer_rate,
        "talk_seconds": state.talk_seconds,
        "rate": round(state.rate, 3),
        "time_left": state.time_left,
        "workers": state.workers,
        "waits_for": state.waits_for,
        "last_start": state.last_start,
        "at": state.at,
    }


def _rows(state: CampaignState) -> dict[str, object]:
    """Return what is printed of a state: labels and values."""
    rows: dict[str, object] = {each: n for each in ContactState if (n := state.counts[each])}
    rows["attempts"] = state.sends  # those that could not reach TeleCMI are among them
    if state.sends:
        rows["cost"] = state.cost_in_words(places=2)
    if state.answer_rate is not None:
        rows["answered"] = f"{state.answered} of {state.ended} ({state.answer_rate:.0%})"
        rows["talk time"] = duration(state.talk_seconds)
    if state.rate and state.left:
        rows["rate"] = f"{state.rate:.1f}/s"
    if state.time_left is not None:
        rows["time left"] = f"about {duration(state.time_left)}"
    return rows


def print_state(
    terminal: Terminal,
    state: CampaignState,
    *,
    as_json: bool,
    rules: CampaignRules,
    ledger: str | None = None,
    needed: Sequence[str] = (),
    plan: Mapping[str, object] | None = None,
) -> None:
    """Print a campaign's state, and say how to continue.

    ``ledger`` is the ledger's argument if the campaign can be resumed; empty for the
    environment's. ``needed`` is what `resume` needs besides, ``plan`` what `dial` planned.
    """
    if as_json:
        planned = {} if plan is None else {"plan": plan}
        terminal.put(json.dumps({**state_as_json(state), **planned}))
    else:
        for label, said in _rows(state).items():
            terminal.put(f"{label:<10} {said:>9}")
    if unknown := state.counts[ContactState.UNKNOWN]:
        terminal.say(
            f"Of {unknown} it is not known whether a phone rang, and they are not dialled "
            "again: `why` says what happened, `retry-unknown` is your decision."
        )
    if ledger is None or not state.left:
        return
    which = (f"--ledger {quote(ledger)} " if ledger else "") + f"--name {quote(state.name)}"
    if is_spent(state, rules):
        terminal.say(
            "Some are left to be dialled, but the calls have cost as much as they may: `resume` "
            f"places none. To call the others: telecmi-async change {which} --max-cost SUM, and "
            "then `resume`"
        )
        return
    left = "Some are left to be dialled"
    if state.status == "waiting for a window" and "--wait" not in needed:
        left = "Those that are left may not be called now; --wait waits until they may"
    more = "".join(f" {quote(each)}" for each in needed)
    terminal.say(f"{left}. To go on: telecmi-async resume {which}{more}")

"""Worker: claims contacts of a campaign, and takes each through one send.

::

    claim a few → rules → circuit breaker → channel → shared start
      → the service's own channel, slot and turn → rules and intent, in one transaction
      → POST → outcome on record

It may die at any moment. Another worker dials what it had claimed. What it was sending is
unknown, and is not dialled again without proof.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from telecmi_async._internal.event_loop import clock_of, current_loop
from telecmi_async.calls.request import CallRequest
from telecmi_async.campaigns.channel_leases import ChannelLeases
from telecmi_async.campaigns.dial_tasks import DialTasks
from telecmi_async.campaigns.ledger_health import LedgerHealth
from telecmi_async.campaigns.observed import origin_of
from telecmi_async.campaigns.outcome import outcome_of
from telecmi_async.campaigns.send_health import SendHealth
from telecmi_async.campaigns.send_permit import PendingSend, SendPermit
from telecmi_async.campaigns.start_scheduler import StartScheduler
from telecmi_async.campaigns.worker_control import WorkerControl
from telecmi_async.errors import (
    ConfigurationError,
    InvalidCall,
    RateLimited,
    StoreError,
    TelecmiError,
)
from telecmi_async.ledger import Claim, ContactState, Intent, RuleDecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.calls.handle import CallHandle
    from telecmi_async.campaigns.settings import CampaignSettings, CampaignTimeouts
    from telecmi_async.campaigns.settings_in_use import SettingsInUse
    from telecmi_async.ledger import Ledger, SendResult
    from telecmi_async.observer.notifier import Notifier
    from telecmi_async.pacing.shared import SharedLimits
    from telecmi_async.service.service import CallService

logger = logging.getLogger("telecmi_async")

# Seconds between two looks for something to do.
_POLL: Final = 1.0
# How old a reading of the ledger's clock may be, in seconds, by which rules are checked.
_FRESH: Final = 1.0


class Worker(WorkerControl):
    """Dials contacts of one campaign until nothing is left; for arguments see `Campaign`."""

    def __init__(
        self,
        ledger: Ledger,
        service: CallService,
        campaign: str,
        settings: SettingsInUse,
        timeouts: CampaignTimeouts,
        *,
        name: str | None,
        limits: SharedLimits | None,
        require_events: Callable[[CampaignSettings], object] = lambda _: None,
    ) -> None:
        super().__init__(settings)
        self.ledger = ledger
        self.campaign = campaign
        self.timeouts = timeouts
        self.limits = limits or ledger
        self._require_events = require_events
        self._runner = service._runner  # noqa: SLF001  # the seam for campaigns
        #: Whether the service takes its starts from shared limits, too: then it must not run.
        self.shares_limits = self._runner.shares_limits
        #: Whether the ledger answers.
        self.ledger_health = LedgerHealth(
            campaign, name or secrets.token_hex(8), on_lost=self.fail
        )
        #: Returns the time; `run` replaces it by the clock of its event loop, which is faster.
        self.now: Callable[[], float] = anyio.current_time
        self.health = SendHealth(campaign, settings)
        self._breaker = self.health.throttle
        self._expect_rate()
        self._resume_at = -math.inf
        #: The channels of live calls.
        self.leases = ChannelLeases(self.limits, campaign, settings)
        self._scheduler = StartScheduler(
            self.limits,
            self.leases,
            campaign,
            settings,
            rate=lambda: self._breaker.rate(self.now()),
            pause=self._pause,
            longest=timeouts.claim,
            apart=self.limits is not ledger,
        )
        self._under_way = 0
        self._waiting: deque[PendingSend] = deque()
        #: The numbers and outcomes of sends that could not be put on record.
        self.unrecorded: list[tuple[int, SendResult]] = []
        # Since when all that is left is unknown.
        self._idle_since: float | None = None

    # -- settings

    @property
    def settings(self) -> CampaignSettings:
        """The settings that it goes by."""
        return self.in_use.value

    @property
    def _window(self) -> int:
        """How many sends may be under way.

        Those that wait in the service have had their start: all would leave at once after a pause.
        """
        return min(self.settings.pace.max_in_flight, self._runner.max_in_flight)

    def _expect_rate(self) -> None:
        self._runner.expect_rate(self.settings.pace.calls_per_second, self._window)

    async def take_settings(self) -> None:
        """Go by the ledger's settings from now on.

        Nothing is sent by the earlier ones, for the ledger refuses their intents; and starts that
        were reserved at the earlier rate are dropped.
        """
        kept = await self.ledger.settings_revision(self.campaign)
        if kept is None or kept.number == self.in_use.revision:
            self._outdated = False
            return
        before = self.in_use.revision
        self.in_use.take(kept)
        self._require_events(self.settings)
        # Until every live call has its channel, the change is not taken up.
        self.in_use.revision = before
        await self.leases.take_for_live(self.ledger)
        self.in_use.revision = kept.number
        self._breaker.change_rate(self.settings.pace.calls_per_second, self.now())
        self._scheduler.starts.drop_reserved()
        self._expect_rate()
        self._outdated = False

    @property
    def notify(self) -> Notifier | None:
        """Calls the observer of its service."""
        return self._runner.notify

    # -- claiming

    async def run(self) -> None:
        """Dial. Cancelling it starts nothing more, and waits for what was sent."""
        self._idle_since = None
        self.now = self._scheduler.starts.now = clock_of(current_loop())
        async with anyio.create_task_group() as group:
            tasks = DialTasks(group, self._dial)
            try:
                await self._claim_and_start(tasks)
            except BaseException:
                self.leave()
                await self._give_back()
                raise
            finally:
                tasks.close()

    async def _claim_and_start(self, tasks: DialTasks) -> None:
        """Claim contacts and start their calls until nothing is left for any worker."""
        while not self.leaving:
            # Several at a time, since each claim is a transaction.
            room = min(self._window, self._breaker.room())
            owner = self.ledger_health.owner
            claims: list[Claim] = []
            try:
                if self._outdated:
                    await self._follow_change()
                if room > 0 and not self._halted:
                    claims = await self.ledger.claim(
                        self.campaign, owner, most=room, lease=self.timeouts.claim
                    )
                    self.ledger_health.works()
                if not claims and not self._under_way and await self._is_done():
                    return
            except StoreError as error:
                await self.ledger_health.failed(error)
                continue
            self._waiting.extend(
                PendingSend(claim, owner, self.settings, self.in_use.revision)
                for claim in claims
            )
            while self._waiting and not self._halted:
                await self._start(self._waiting[0], tasks)
            await self._give_back()
            if not claims:
                await self.wait(_POLL)

    async def _follow_change(self) -> None:
        """Take the ledger's settings; leave if they cannot be read, or hold here."""
        try:
            await self.take_settings()
        except ConfigurationError as error:
            self.fail(error)

    async def _is_done(self) -> bool:
        """Return whether nothing is left to be dialled, or the campaign was stopped."""
        state = await self.ledger.state(self.campaign)
        self.update(state)
        if state.asked == "stopped":
            return True
        if state.left or self._outdated:
            self._idle_since = None
            return False
        if (redial := self.settings.redial) is not None and (
            state.status == "waiting for records"
            or await self.ledger.redial_missed(
                self.campaign, redial.waits, revision=self.in_use.revision
            )
        ):
            return False
        unknown = state.counts[ContactState.UNKNOWN]
        if not unknown or self.settings.unknown != "retry_after_proof":
            return True
        # What is not proven by then never is, unless more calls are placed.
        now = self.now()
        self._idle_since = self._idle_since or now
        return now - self._idle_since > self.timeouts.send + self.timeouts.proof

    async def _start(self, send: PendingSend, tasks: DialTasks) -> None:
        """Wait for a contact's start, and run its call in a task."""
        try:
            request = await self._request(send)
            if request is not None and not await self._take_start(send):
                return  # it is released with the others
        except StoreError as error:
            self._waiting.remove(send)
            self._withdraw(send)
            await self.ledger_health.failed(error)
            return
        self._waiting.remove(send)
        if request is not None:
            self._under_way += 1
            tasks.start(send, request)

    async def _request(self, send: PendingSend) -> CallRequest | None:
        """Return a contact's request; ``None`` if a rule already denies it."""
        claim = send.claim
        decision = self._judge(send, await self.ledger.now(within=_FRESH))
        try:
            if decision is None:
                return CallRequest(
                    to=claim.number,
                    pcmo=send.settings.flow.fill(claim.columns),
                    from_=send.settings.caller_id(claim.redials),
                )
        except InvalidCall as error:
            decision = RuleDecision(rule="invalid", reason=str(error))
        if not await self.ledger.block(claim, send.owner, decision, revision=send.revision):
            self._outdated = True  # or the claim was lost: reading them again does no harm
            await self.ledger.release(claim, send.owner)
        return None

    async def _take_start(self, send: PendingSend) -> bool:
        """Wait for the circuit breaker, a channel and a start that all workers share."""
        while (pause := self._held_up()) > 0:
            if not await self._pause(min(pause, _POLL)):
                return False
        send.probe = self._breaker.open
        due = await self._scheduler.take(send.claim.number)
        if due is None:
            return False
        send.due, send.began = due, self.now()
        return not self._halted

    def _held_up(self) -> float:
        """Return for how many seconds nothing may be sent, or when to look again."""
        if self._under_way >= self._window:
            return _POLL
        now = self.now()
        return max(self._resume_at - now, 0.0) or self._breaker.wait(now)

    async def _give_back(self) -> None:
        """Release the contacts that wait; if the ledger fails, their leases expire."""
        with anyio.CancelScope(shield=True):
            try:
                while self._waiting:
                    send = self._waiting.popleft()
                    self._withdraw(send)
                    # If the claim was lost, its channel may be another worker's by now.
                    if await self.ledger.release(send.claim, send.owner):
                        await self.leases.free(send.claim.number)
            except StoreError as error:
                self.ledger_health.note(error)
                self._waiting.clear()

    def _withdraw(self, send: PendingSend) -> None:
        """Permit another probe, if this send was one and was not sent."""
        if send.probe:
            self._breaker.withdraw()

    # -- sending

    async def _dial(self, send: PendingSend, request: CallRequest) -> None:
        """Take one contact through one send, and put the outcome on record."""
        try:
            if not await self._send(send, request):
                await self.leases.free(send.claim.number)
        except StoreError as error:
            self.ledger_health.note(error)
        finally:
            self._under_way -= 1
            self.wake()

    async def _send(self, send: PendingSend, request: CallRequest) -> bool:
        """Send one contact's request; return whether its channel is kept."""
        permit = SendPermit(
            lambda token: self._intend(send, token),
            self.timeouts.fence,
            lambda began: self._reach_start(send, began),
            now=self.now,
        )
        failure: TelecmiError | None = None
        try:
            handle = self._runner.place_once(
                request, permit, self.timeouts.timeouts, origin_of(send.claim, self.campaign)
            )
        except TelecmiError as error:  # the service takes no call: no fault of the contact
            wrong = isinstance(error, InvalidCall)
            self.fail(ConfigurationError(f"the call's {error}") if wrong else error)
            self._withdraw(send)
            return not await self.ledger.release(send.claim, send.owner)
        self._handles.add(handle)
        if self.leaving:
            handle.cancel()
        try:
            await handle
        except TelecmiError as error:
            failure = error
        finally:
            self._handles.discard(handle)
        await permit.ended()
        if permit.token is None:
            self._withdraw(send)
            # Without a decision it was cancelled before, or lost.
            lost = permit.decision is None
            return lost and not await self.ledger.release(send.claim, send.owner)
        if permit.failure is not None:
            await self.ledger_health.failed(permit.failure)
        self.health.record(failure, self.now(), began=send.began)
        return await self._settle(send, permit.token, handle, failure)

    async def _reach_start(self, send: PendingSend, began: float) -> bool:
        """Wait for a send's start, or another; return False if the fence leaves none."""
        until = began + self.timeouts.fence
        try:
            return await self._scheduler.starts.reach(send.due, began=began, until=until)
        except StoreError as error:
            self.ledger_health.note(error)
            return False

    async def _intend(self, send: PendingSend, token: str) -> Intent | RuleDecision | None:
        """Check the rules again, and put the intent to send on record."""
        claim, now = send.claim, await self.ledger.now(within=_FRESH)
        decision = self._judge(send, now)
        if decision is None and self._breaker.open and not send.probe:
            why = self.health.why
            decision = RuleDecision(rule="circuit_breaker", reason=why, until=now)
        elif decision is None and (rest := self._resume_at - self.now()) > 0:
            decision = RuleDecision(
                rule="pause", reason="TeleCMI asked for it", until=now + rest
            )
        if decision is not None:
            kept = await self.ledger.block(claim, send.owner, decision, revision=send.revision)
            self._outdated = self._outdated or not kept
            return decision if kept else None
        answer = await self.ledger.intend(
            claim,
            send.owner,
            token,
            limits=attrs.evolve(send.settings.rules.limits(now), revision=send.revision),
            fence=self.timeouts.fence,
            lease=self.timeouts.send,
        )
        if isinstance(answer, RuleDecision) and answer.rule == "settings":
            self._outdated = True
            self.wake()
        if isinstance(answer, RuleDecision) and answer.rule == "cost":
            await self._set_status("stopped", answer.reason)
        return answer

    def _judge(self, send: PendingSend, now: float) -> RuleDecision | None:
        """Check the rules that need no database."""
        rules, claim = send.settings.rules, send.claim
        return rules.judge(claim.number, claim.columns, now, not_after=claim.not_after)

    async def _settle(
        self, send: PendingSend, token: str, handle: CallHandle, error: TelecmiError | None
    ) -> bool:
        """Put a send's outcome on record; return whether its channel is kept."""
        verdict = outcome_of(
            error,
            request_id=handle.request_id if error is None else None,
            attempts=send.claim.attempts + 1,
            retries=self.settings.retries,
        )

        async def settle() -> bool:
            # The time counts only for a contact that is to be tried again.
            again = verdict.state is ContactState.PENDING
            now = await self.ledger.now(within=_FRESH) if again else 0.0
            return await self.ledger.settle(token, verdict.at(now))

        limited = isinstance(error, RateLimited)
        if limited:
            self._resume_at = max(self._resume_at, self.now() + verdict.pause)
        # The intent may never have been on record: then the claim is released.
        try:
            ours = await self.ledger_health.persist(settle, self.timeouts.send)
        except StoreError:
            self.unrecorded.append((send.claim.number, verdict.at(0.0)))
            raise
        ours = ours or await self.ledger.release(send.claim, send.owner)
        if limited:
            await self._scheduler.starts.hold(self.settings.pace.shared, verdict.pause)
        if why := self.health.reason_to_pause(error, verdict.state, send.claim.number):
            await self._set_status("paused", why)
        return not ours or verdict.state in {ContactState.PLACED, ContactState.UNKNOWN}

    async def _set_status(self, status: str, why: str) -> None:
        """Pause or stop the campaign for all workers, if it is running, and log that once."""
        if self.status != "running":
            return  # another send had the same reason
        self.status = status
        self.wake()
        if (await self.ledger.state(self.campaign)).asked == "running":
            by = f"worker {self.ledger_health.owner}"
            await self.ledger.set_status(self.campaign, status, why, by=by)
            logger.warning("campaign %s is %s: %s", self.campaign, status, why)

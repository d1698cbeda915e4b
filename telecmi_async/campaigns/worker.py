"""One worker of a campaign: claims contacts, and takes each through one send.

::

    claim a few → rules → the brake → a channel → a turn, shared by all
      → the service's own channel, slot and turn → rules and intent, in one transaction
      → POST → outcome on record

It may die at any moment. What it had claimed is dialled by another; what it was sending is
unknown, and nobody dials that again without proof.

When the ledger fails, nobody knows what it did: it may have given a contact that never arrived,
or not taken one back. So the worker holds what follows under a new name, and renews no lease
under the old one: whatever was left there runs out, and is dialled then.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio
from anyio import current_time

from telecmi_async.calls.request import CallRequest
from telecmi_async.campaigns.channel_leases import ChannelLeases
from telecmi_async.campaigns.outcome import SendVerdict, outcome_of
from telecmi_async.campaigns.send_permit import PendingSend, SendPermit
from telecmi_async.campaigns.start_scheduler import StartScheduler
from telecmi_async.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidCall,
    RateLimited,
    StoreError,
    TelecmiError,
)
from telecmi_async.ledger import Claim, ContactState, Intent, RuleDecision
from telecmi_async.pacing.circuit_breaker import CircuitBreaker

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from telecmi_async.calls.handle import CallHandle
    from telecmi_async.campaigns.settings import CampaignSettings
    from telecmi_async.campaigns.timeouts import CampaignTimeouts
    from telecmi_async.ledger import CampaignState, Ledger
    from telecmi_async.pacing.shared import SharedLimits
    from telecmi_async.service.service import CallService

__all__ = ["Worker"]

logger = logging.getLogger("telecmi_async")

# How often it looks whether there is something to do.
_POLL: Final = 1.0
# Between two tries of a ledger that fails.
_STORE_PAUSE: Final = 2.0


class Worker:
    """Dials contacts of one campaign until nothing is left, or it is told to leave.

    Args:
        ledger: Where the contacts are.
        service: Places the calls.
        campaign: The campaign's name.
        settings: What it was begun with.
        timeouts: How long it waits for things.
        name: The worker's own name; a random one if not given.
        limits: What grants starts and channels; the ledger if not given.
    """

    def __init__(
        self,
        ledger: Ledger,
        service: CallService,
        campaign: str,
        settings: CampaignSettings,
        timeouts: CampaignTimeouts,
        *,
        name: str | None = None,
        limits: SharedLimits | None = None,
    ) -> None:
        self._name = name or secrets.token_hex(8)
        #: Under which name it claims now.
        self.owner = self._name
        #: What the campaign's workers are asked to do, as far as it was heard of.
        self.status = "running"
        self.leaving = False
        #: Why it left, if nothing can be dialled with this service.
        self.failure: TelecmiError | None = None
        self._ledger = ledger
        self._runner = service._runner  # noqa: SLF001  # the seam for campaigns
        self._campaign = campaign
        self._settings = settings
        self._timeouts = timeouts
        self._brake = CircuitBreaker(settings.pace.calls_per_second)
        # What waits in the service has had its turn, and would leave all at once after a pause.
        self._window = min(settings.pace.window, self._runner.max_in_flight)
        self._resume_at = -math.inf
        #: The channels of live calls.
        self.live = ChannelLeases(limits or ledger, campaign, settings.pace)
        self._turns = StartScheduler(
            limits or ledger,
            self.live,
            campaign,
            settings,
            rate=lambda: self._brake.rate(current_time()),
            pause=self._pause,
            longest=timeouts.claim,
            apart=limits is not None and limits is not ledger,
        )
        self._under_way = 0
        self._waiting: deque[PendingSend] = deque()
        self._handles: set[CallHandle] = set()
        self._changed: anyio.Event | None = None
        self._failures = 0
        self._store_failed = False
        # Since when nothing was left but what is unknown.
        self._idle_since: float | None = None

    # -- what it is told

    def leave(self) -> None:
        """Start nothing more; `run` returns when what was sent is settled."""
        self.leaving = True
        for handle in tuple(self._handles):
            handle.cancel()  # what was sent is waited for
        self.wake()

    def hear_of(self, state: CampaignState) -> None:
        """Hear how the campaign stands."""
        if state.status != self.status:
            self.status = state.status
            self.wake()

    def wake(self) -> None:
        """Look again at once."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def wait(self, seconds: float) -> None:
        """Wait until something changes, but no longer than so many seconds."""
        self._changed = self._changed or anyio.Event()
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    @property
    def _halted(self) -> bool:
        return self.leaving or self.status != "running"

    async def _pause(self, seconds: float) -> bool:
        """Wait a little; tell whether dialling goes on."""
        if not self._halted:  # whoever said so before this waits woke nobody
            await self.wait(seconds)
        return not self._halted

    # -- claiming

    async def run(self) -> None:
        """Dial. Cancelling it starts nothing more, and waits for what was sent."""
        self._idle_since = None
        async with anyio.create_task_group() as calls:
            try:
                await self._claim_and_start(calls)
            except BaseException:
                self.leave()
                await self._give_back()
                raise

    async def _claim_and_start(self, calls: TaskGroup) -> None:
        """Claim contacts and start their calls until nothing is left for anybody."""
        while not self.leaving:
            # Some at once, for each time is a transaction.
            room = min((self._window + 1) // 2, self._brake.room())
            owner = self.owner
            claims: list[Claim] = []
            try:
                if room > 0 and not self._halted:
                    claims = await self._ledger.claim(
                        self._campaign, owner, most=room, lease=self._timeouts.claim
                    )
                    self._store_works()
                if not claims and not self._under_way and await self._is_done():
                    return
            except StoreError as error:
                await self.store_fails(error)
                continue
            self._waiting.extend(PendingSend(claim, owner) for claim in claims)
            while self._waiting and not self._halted:
                await self._start(self._waiting[0], calls)
            await self._give_back()
            if not claims:
                await self.wait(_POLL)

    async def _is_done(self) -> bool:
        """Tell whether nothing is left to be dialled, or the campaign was stopped."""
        state = await self._ledger.state(self._campaign)
        self.hear_of(state)
        if state.status == "stopped":
            return True
        if state.left:
            self._idle_since = None
            return False
        unknown = state.counts[ContactState.UNKNOWN]
        if not unknown or self._settings.unknown != "retry_after_proof":
            return True
        # What is not proven by then never is, unless somebody dials again.
        now = current_time()
        self._idle_since = self._idle_since or now
        return now - self._idle_since > self._timeouts.send + self._timeouts.proof

    async def _start(self, send: PendingSend, calls: TaskGroup) -> None:
        """Wait for a contact's turn, and let its call run."""
        try:
            request = await self._request(send)
            if request is not None and not await self._turn(send):
                return  # it is given back with the others
        except StoreError as error:
            self._waiting.remove(send)
            self._probed(send)
            await self.store_fails(error)
            return
        self._waiting.remove(send)
        if request is not None:
            self._under_way += 1
            calls.start_soon(self._dial, send, request)

    async def _request(self, send: PendingSend) -> CallRequest | None:
        """Return what is sent to a contact; ``None`` if a rule stands against it already."""
        claim = send.claim
        refusal = await self._judge(claim)
        try:
            if refusal is None:
                return CallRequest(
                    to=claim.number,
                    pcmo=self._settings.flow.fill(claim.columns),
                    from_=self._settings.from_,
                )
        except InvalidCall as error:
            refusal = RuleDecision(rule="invalid", reason=str(error))
        await self._ledger.block(claim, send.owner, refusal)
        return None

    async def _turn(self, send: PendingSend) -> bool:
        """Wait for the brake, a channel and a turn that all workers share."""
        while (pause := self._held_up()) > 0:
            if not await self._pause(min(pause, _POLL)):
                return False
        send.probe = self._brake.open
        if not await self._turns.take(send.claim.number):
            return False
        send.began = current_time()
        return not self._halted

    def _held_up(self) -> float:
        """Return for how many seconds nothing may be sent, or when to look again."""
        if self._under_way >= self._window:
            return _POLL
        now = current_time()
        return max(self._resume_at - now, 0.0) or self._brake.wait(now)

    async def _give_back(self) -> None:
        """Give the contacts back that wait; if the ledger fails, their leases run out."""
        with anyio.CancelScope(shield=True):
            try:
                while self._waiting:
                    send = self._waiting.popleft()
                    self._probed(send)
                    if await self._release(send):
                        await self.live.free(send.claim.number)
            except StoreError as error:
                self._say(error)
                self._waiting.clear()

    async def _release(self, send: PendingSend) -> bool:
        """Give a contact back; False if it was lost, and its channel may be another's by now."""
        return await self._ledger.release(send.claim, send.owner)

    def _probed(self, send: PendingSend) -> None:
        """Let another find out what this one did not."""
        if send.probe:
            self._brake.withdraw()

    # -- sending

    async def _dial(self, send: PendingSend, request: CallRequest) -> None:
        """Take one contact through one send, and put on record what it came to."""
        try:
            with anyio.CancelScope(shield=True):
                if not await self._send(send, request):
                    await self.live.free(send.claim.number)
        except StoreError as error:
            self._say(error)
        finally:
            self._under_way -= 1
            self.wake()

    async def _send(self, send: PendingSend, request: CallRequest) -> bool:
        """Send one contact's request; tell whether its channel is to be kept."""
        permit = SendPermit(
            lambda token: self._intend(send, token), self._timeouts.fence, self._turns.another
        )
        try:
            handle = self._runner.place_once(request, permit, self._timeouts.timeouts)
        except TelecmiError as error:
            return not await self._refused(send, error)
        self._handles.add(handle)
        if self.leaving:
            handle.cancel()
        failure: TelecmiError | None = None
        try:
            await handle
        except TelecmiError as error:
            failure = error
        finally:
            self._handles.discard(handle)
        await permit.ended()
        if permit.token is None:
            self._probed(send)
            # Without a refusal it was cancelled before, or lost.
            return permit.refusal is None and not await self._release(send)
        if permit.failure is not None:
            await self.store_fails(permit.failure)
        self._brake.record(failure, current_time(), began=send.began)
        return await self._settle(send, permit.token, handle, failure)

    async def _refused(self, send: PendingSend, error: TelecmiError) -> bool:
        """Leave, since the service takes no call of this campaign; it is no contact's fault."""
        self.failure = error
        if isinstance(error, InvalidCall):
            self.failure = ConfigurationError(f"the call's {error}")
        self.leave()
        self._probed(send)
        return await self._release(send)

    async def _intend(self, send: PendingSend, token: str) -> Intent | RuleDecision | None:
        """Look at the rules once more, and put the intent to send on record."""
        claim, now = send.claim, await self._ledger.now()
        refusal = await self._judge(claim)
        if refusal is None and self._brake.open and not send.probe:
            reason = "too many of the last sends ended unknown"
            refusal = RuleDecision(rule="brake", reason=reason, until=now)
        elif refusal is None and (rest := self._resume_at - current_time()) > 0:
            refusal = RuleDecision(
                rule="pause", reason="TeleCMI asked for it", until=now + rest
            )
        if refusal is not None:
            kept = await self._ledger.block(claim, send.owner, refusal)
            return refusal if kept else None
        answer = await self._ledger.intend(
            claim,
            send.owner,
            token,
            limits=self._settings.rules.limits(now),
            fence=self._timeouts.fence,
            lease=self._timeouts.send,
        )
        if isinstance(answer, RuleDecision) and answer.rule == "cost":
            await self._direct("stopped", answer.reason)
        return answer

    async def _judge(self, claim: Claim) -> RuleDecision | None:
        """Look at the rules that need no database."""
        now = await self._ledger.now()
        return self._settings.rules.judge(
            claim.number, claim.columns, now, not_after=claim.not_after
        )

    async def _settle(
        self, send: PendingSend, token: str, handle: CallHandle, error: TelecmiError | None
    ) -> bool:
        """Put on record what a send came to; tell whether its channel is to be kept."""
        outcome = outcome_of(
            error,
            request_id=handle.request_id if error is None else None,
            sends=send.claim.sends + 1,
            retries=self._settings.retries,
        )
        if isinstance(error, RateLimited):
            self._resume_at = max(self._resume_at, current_time() + outcome.pause)
        # Its intent may never have been on record.
        ours = await self._record(token, outcome) or await self._release(send)
        if isinstance(error, RateLimited):
            await self._turns.hold(outcome.pause)
        if isinstance(error, AuthenticationError):
            await self._direct("paused", "TeleCMI refused the credentials")
        return not ours or outcome.state in {ContactState.PLACED, ContactState.UNKNOWN}

    async def _record(self, token: str, verdict: SendVerdict) -> bool:
        """Put an outcome on record, however long the ledger takes to come back."""
        until = current_time() + self._timeouts.send
        while True:
            try:
                return await self._ledger.settle(token, verdict.at(await self._ledger.now()))
            except StoreError as error:
                if current_time() > until:
                    raise
                await self.store_fails(error)

    async def _direct(self, status: str, why: str) -> None:
        """Have all workers pause or stop, unless they were asked to already."""
        state = await self._ledger.state(self._campaign)
        if state.status == "running":
            await self._ledger.set_status(self._campaign, status, why)
            logger.error("campaign %s is %s: %s", self._campaign, status, why)
            self.status = status
            self.wake()

    # -- a ledger that fails

    def _store_works(self) -> None:
        if self._store_failed:
            logger.warning("campaign %s: the ledger is back; dialling goes on", self._campaign)
        self._store_failed = False

    def _say(self, error: StoreError) -> None:
        if not self._store_failed:
            logger.error(
                "campaign %s: nothing is dialled, for the ledger fails: %s",
                self._campaign,
                error,
            )
        self._store_failed = True
        self._failures += 1
        self.owner = f"{self._name}-{self._failures}"

    async def store_fails(self, error: StoreError) -> None:
        """Say once that the ledger fails, and wait a little: nothing is dialled meanwhile."""
        self._say(error)
        await anyio.sleep(_STORE_PAUSE)

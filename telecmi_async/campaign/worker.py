"""One worker of a campaign: claims contacts, and takes each through one send.

::

    claim a few → the brake → a channel → a turn, shared by all → the call's own channel and slot
      → rules and intent, in one transaction → POST → outcome on record

It may die at any moment. What it had claimed is dialled by another; what it was sending is
unknown, and nobody dials that again without proof.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async.campaign.brake import Brake
from telecmi_async.campaign.outcome import SendVerdict, outcome_of
from telecmi_async.campaign.permit import SendPermit
from telecmi_async.errors import (
    AuthenticationError,
    InvalidCall,
    ServiceClosed,
    StoreError,
    TelecmiError,
)
from telecmi_async.ledger import ContactState, Intent, Refusal
from telecmi_async.request import CallRequest
from telecmi_async.transport import Timeouts

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from telecmi_async.campaign.settings import Settings
    from telecmi_async.handle import CallHandle
    from telecmi_async.ledger import Claim, Ledger
    from telecmi_async.service import CallService

__all__ = ["CLAIM_LEASE", "Worker", "channel_holder"]

logger = logging.getLogger("telecmi_async")

#: Seconds that a claim may wait for its turn without being renewed.
CLAIM_LEASE: Final = 60.0
# By when a request must leave after its intent; and how much later than its time-outs it may be
# before others take its fate for unknown.
_FENCE: Final = 30.0
_GRACE: Final = 30.0
# How often it looks whether it is asked to pause, or a channel is free.
_POLL: Final = 1.0
_CHANNEL_POLL: Final = 0.25
# Between two tries of a ledger that fails.
_STORE_PAUSE: Final = 5.0
# How long a call may hold its channel whose end is not heard of: what TeleCMI's SDK assumes a
# call may last, and a minute of ringing.
_LONGEST_CALL: Final = 5_460.0
_INVALID: Final = Refusal(rule="invalid", reason="no call can be made of it")


def channel_holder(campaign: str, number: int | str) -> str:
    """Return under which name a call to a number holds its channel."""
    return f"{campaign}/{number}"


class Worker:
    """Dials contacts of one campaign until nothing is left, or it is told to leave.

    Args:
        ledger: Where the contacts are.
        service: Places the calls.
        campaign: The campaign's name.
        settings: What it was begun with.
        name: The worker's own name; a random one if not given.
    """

    def __init__(
        self,
        ledger: Ledger,
        service: CallService,
        campaign: str,
        settings: Settings,
        *,
        name: str | None = None,
    ) -> None:
        self.name = name or secrets.token_hex(8)
        #: Why it left, if the service is closed.
        self.failure: TelecmiError | None = None
        self._ledger = ledger
        self._service = service
        self._campaign = campaign
        self._settings = settings
        self._pace = settings.pace
        self._brake = Brake(settings.pace.calls_per_second)
        self._timeouts = Timeouts()
        self._send_lease = _FENCE + self._timeouts.total + _GRACE
        self._under_way = 0
        self._waiting: deque[Claim] = deque()
        self._handles: set[CallHandle] = set()
        self._changed = anyio.Event()
        self._store_failed = False
        self.leaving = False

    def leave(self) -> None:
        """Start nothing more; `run` returns when what was sent is settled."""
        self.leaving = True
        self.wake()

    async def run(self) -> None:
        """Dial. Cancelling it starts nothing more, and waits for what was sent."""
        async with anyio.create_task_group() as calls:
            try:
                await self._claim_and_start(calls)
            except BaseException:
                self.leave()
                for handle in tuple(self._handles):
                    handle.cancel()  # what was sent is waited for
                for claim in tuple(self._waiting):
                    await self._give_back(claim)
                raise

    async def _claim_and_start(self, calls: TaskGroup) -> None:
        """Claim contacts and start their calls until nothing is left for anybody."""
        while not self.leaving:
            room = min(self._pace.window - self._under_way, self._brake.room())
            if room <= 0:
                await self.wait(_POLL)
                continue
            try:
                claims = await self._ledger.claim(
                    self._campaign, self.name, most=room, lease=CLAIM_LEASE
                )
                if not claims and await self._is_done():
                    return
                self._store_works()
            except StoreError as error:
                await self.store_fails(error)
                continue
            self._waiting.extend(claims)
            while self._waiting:
                await self._start(self._waiting[0], calls)
            if not claims:
                await self.wait(_POLL)

    async def _is_done(self) -> bool:
        """Tell whether this worker may leave."""
        if self._under_way:
            return False
        state = await self._ledger.state(self._campaign)
        if state.status == "stopped":
            return True
        open_states = [ContactState.PENDING, ContactState.CLAIMED, ContactState.SENDING]
        if self._settings.unknown == "retry_after_proof":
            open_states.append(ContactState.UNKNOWN)
        return not any(state.counts[each] for each in open_states)

    async def _start(self, claim: Claim, calls: TaskGroup) -> None:
        """Wait for a contact's turn, and let its call run."""
        try:
            ready = await self._turn(claim)
        except StoreError as error:
            await self.store_fails(error)
            ready = False
        if not ready or self.leaving:
            await self._give_back(claim)
            return
        self._waiting.remove(claim)
        self._under_way += 1
        calls.start_soon(self._dial, claim, anyio.current_time())

    async def _turn(self, claim: Claim) -> bool:
        """Wait for the brake, a channel and a turn that all workers share."""
        while (pause := self._brake.wait(anyio.current_time())) > 0:
            if self.leaving:
                return False
            await self.wait(min(pause, _POLL))
        while self._pace.live_calls is not None and not await self._ledger.lease_channel(
            self._pace.shared,
            self._holder(claim),
            limit=self._pace.live_calls,
            seconds=_LONGEST_CALL,
        ):
            if self.leaving:
                return False
            await self.wait(_CHANNEL_POLL)
        interval = 1.0 / self._brake.rate(anyio.current_time())
        wait = await self._ledger.reserve([(self._pace.shared, interval)], longest=CLAIM_LEASE)
        if wait is None:
            return False
        await anyio.sleep(wait)
        return True

    def _holder(self, claim: Claim) -> str:
        return channel_holder(self._campaign, claim.number)

    async def _dial(self, claim: Claim, began: float) -> None:
        """Take one contact through one send, and put on record what it came to."""
        try:
            with anyio.CancelScope(shield=True):
                if not await self._send(claim, began):
                    await self._free_channel(claim)
        except StoreError as error:
            await self.store_fails(error)
        finally:
            self._under_way -= 1
            self.wake()

    async def _send(self, claim: Claim, began: float) -> bool:
        """Send one contact's request; tell whether a call may be live now."""
        refusal = await self._judge(claim)
        request: CallRequest | None = None
        try:
            request = self._request(claim)
        except InvalidCall as error:
            refusal = refusal or Refusal(rule="invalid", reason=str(error))
        if refusal is not None or request is None:
            await self._ledger.block(claim, self.name, refusal or _INVALID)
            return False
        permit = SendPermit(lambda token: self._intend(claim, token), _FENCE)
        try:
            handle = self._service.place(request, permit, self._timeouts)
        except ServiceClosed as error:
            self.failure = error
            self.leave()
            await self._ledger.release(claim, self.name)
            return False
        self._handles.add(handle)
        error: TelecmiError | None = None
        try:
            await handle
        except TelecmiError as raised:
            error = raised
        finally:
            self._handles.discard(handle)
        return await self._settle(claim, permit, handle, error, began=began)

    async def _intend(self, claim: Claim, token: str) -> Intent | Refusal | None:
        """Look at the rules once more, and put the intent to send on record."""
        refusal = await self._judge(claim)
        if refusal is not None:
            kept = await self._ledger.block(claim, self.name, refusal)
            return refusal if kept else None
        return await self._ledger.intend(
            claim,
            self.name,
            token,
            limits=self._settings.rules.limits(await self._ledger.now()),
            fence=_FENCE,
            lease=self._send_lease,
        )

    async def _judge(self, claim: Claim) -> Refusal | None:
        """Look at the rules that need no database."""
        now = await self._ledger.now()
        return self._settings.rules.judge(
            claim.number, claim.columns, now, not_after=claim.not_after
        )

    def _request(self, claim: Claim) -> CallRequest:
        return CallRequest(
            to=claim.number,
            pcmo=self._settings.flow.fill(claim.columns),
            from_=self._settings.from_,
        )

    async def _settle(
        self,
        claim: Claim,
        permit: SendPermit,
        handle: CallHandle,
        error: TelecmiError | None,
        *,
        began: float,
    ) -> bool:
        """Put on record what a send came to; tell whether a call may be live."""
        if permit.token is None:
            if permit.refusal is None:  # it was cancelled before, or lost
                await self._ledger.release(claim, self.name)
            return False
        self._brake.record(error, anyio.current_time(), began=began)
        outcome = outcome_of(
            error,
            request_id=handle.request_id if error is None else None,
            sends=claim.sends + 1,
            retries=self._settings.retries,
        )
        if not await self._record(permit.token, outcome):
            await self._ledger.release(claim, self.name)  # its intent was never on record
        if isinstance(error, AuthenticationError):
            why = "TeleCMI refused the credentials"
            await self._ledger.direct(self._campaign, "paused", why)
        return outcome.state in {ContactState.PLACED, ContactState.UNKNOWN}

    async def _record(self, token: str, verdict: SendVerdict) -> bool:
        """Put an outcome on record, however long the ledger takes to come back."""
        until = anyio.current_time() + self._send_lease
        while True:
            try:
                return await self._ledger.settle(token, verdict.at(await self._ledger.now()))
            except StoreError as error:
                if anyio.current_time() > until:
                    raise
                await self.store_fails(error)

    async def _give_back(self, claim: Claim) -> None:
        """Give a contact back that was not sent."""
        with anyio.CancelScope(shield=True):
            try:
                await self._ledger.release(claim, self.name)
                await self._free_channel(claim)
            except StoreError as error:
                await self.store_fails(error)
        self._waiting.remove(claim)

    async def _free_channel(self, claim: Claim) -> None:
        if self._pace.live_calls is not None:
            await self._ledger.free_channel(self._pace.shared, self._holder(claim))

    def wake(self) -> None:
        """Look again at once."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait(self, seconds: float) -> None:
        """Wait until something changes, but no longer than so many seconds."""
        with anyio.move_on_after(seconds):
            await self._changed.wait()

    def _store_works(self) -> None:
        if self._store_failed:
            logger.warning("campaign %s: the ledger is back; dialling goes on", self._campaign)
        self._store_failed = False

    async def store_fails(self, error: StoreError) -> None:
        """Say once that the ledger fails, and wait a little: nothing is dialled meanwhile."""
        if not self._store_failed:
            logger.error(
                "campaign %s: nothing is dialled, for the ledger fails: %s",
                self._campaign,
                error,
            )
        self._store_failed = True
        await anyio.sleep(_STORE_PAUSE)

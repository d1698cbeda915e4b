"""Keyed send: takes one call to TeleCMI, once it is on record that the call has its key."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio
import attrs

from telecmi_async import errors
from telecmi_async.attempt import Outcome
from telecmi_async.calls.placement import PlacementJob
from telecmi_async.ledger.idempotency import IdempotencyKeys, KeyedCall, KeyState
from telecmi_async.phone import Region

if TYPE_CHECKING:
    from telecmi_async.calls.call import Call

logger = logging.getLogger("telecmi_async")

# Seconds that an outcome may take beyond the request itself: a slow commit, a busy event loop.
_MARGIN: Final = 15.0
# Seconds for which an outcome is tried to be put on record, and the pause between two tries.
_PATIENCE, _PAUSE = 10.0, 0.5


@attrs.define(eq=False)
class KeyedSend:
    """One call on its way to TeleCMI under its key."""

    _keys: IdempotencyKeys
    _lifetime: float
    _key: str
    _digest: str
    _job: PlacementJob
    # Perhaps it has the key; certainly it has.
    _claimed: bool = attrs.field(default=False, init=False)
    _certain: bool = attrs.field(default=False, init=False)
    #: The call that has the key, if it is another one.
    taken_by: KeyedCall | None = attrs.field(default=None, init=False)

    async def claim(self, call: Call) -> float:
        """Claim the key right before a request leaves, and return by when it must leave."""
        self._claimed, self._certain = True, False
        spare = self._job.policy.wait_max + _MARGIN
        send_by = anyio.current_time() + spare  # a process may sleep between claim and request
        try:
            found = await self._claim(spare)
        except errors.StoreError as error:
            raise errors.NotSent(f"the call was not sent: {error}; no phone rang") from None
        if found.token != call.reference or found.state is not KeyState.SENDING:
            self._claimed = False
            self.taken_by = found
            raise errors.CallCancelled("another call has its idempotency key")
        self._certain, call.placement.elsewhere = True, False
        return send_by

    async def keep(self, seconds: float) -> None:
        """Keep the key through a pause, so that it does not look as if the process was gone."""
        try:
            await self._claim(self._job.policy.wait_max + _MARGIN + seconds)
        except errors.StoreError as error:
            logger.warning("call %s: its key may look unknown: %s", self._job.call, error)

    async def _claim(self, spare: float) -> KeyedCall:
        """Claim the key for the time of a request and so many seconds more."""
        call, lease = self._job.call, self._job.timeouts.total + spare
        return await self._keys.claim_key(
            self._key,
            self._digest,
            call.reference,
            region=(call.region or Region.GLOBAL).value,
            lease=lease,
            lifetime=max(self._lifetime, lease),
        )

    async def record(self, call: Call, stopped: errors.CallNotPlaced | None) -> None:
        """Put the outcome on record, before the handle has it."""
        if not self._claimed:
            await self.look_elsewhere(call)
            return
        state, request_id, detail = keyed_outcome(call, stopped)
        with anyio.move_on_after(_PATIENCE):
            while True:
                try:
                    settled = await self._keys.settle_key(
                        call.reference, state, request_id=request_id, detail=detail
                    )
                    if state is KeyState.UNKNOWN and not settled:
                        await self._heal(call)
                    elif not self._certain:
                        await self.look_elsewhere(call)
                except errors.StoreError as error:
                    logger.warning("call %s: its outcome is not on record yet: %s", call, error)
                    await anyio.sleep(_PAUSE)
                else:
                    return
        logger.error(
            "call %s: its outcome (%s) could not be put on record: for other processes its "
            "idempotency key is unknown",
            call,
            state,
        )
        if not self._certain:
            fail_unread(call, "the ledger fails")

    async def look_elsewhere(self, call: Call) -> None:
        """Learn of another call with the key, so that this one does not say that no phone rang."""
        if self.taken_by is None:
            try:
                with anyio.CancelScope(shield=True):
                    found = await self._keys.find_key(key=self._key)
                    self.taken_by = _taken(found)
            except errors.StoreError as error:
                fail_unread(call, str(error))
        call.placement.elsewhere = self.taken_by is not None

    async def _heal(self, call: Call) -> None:
        """Accept a call of which another process has an event."""
        found = await self._keys.find_key(token=call.reference)
        if found is not None and found.request_id and not call.placement.settled:
            call.attach(found.request_id)


def keyed_outcome(
    call: Call, stopped: errors.CallNotPlaced | None
) -> tuple[KeyState, str | None, str]:
    """Return what is known of a call whose attempts are over, its id, and the reason."""
    placement = call.placement
    if placement.request_id is not None:  # an event proved it
        return KeyState.PLACED, placement.request_id, ""
    if placement.settled:
        unknown = isinstance(placement.error, errors.CallOutcomeUnknown)
        return (KeyState.UNKNOWN if unknown else KeyState.ABSENT), None, str(placement.error)
    last = placement.verdicts[-1] if placement.verdicts else None
    if last is not None and last.outcome is Outcome.ACCEPTED:
        return KeyState.PLACED, last.request_id, ""
    unsure = [each for each in placement.verdicts if each.outcome is Outcome.UNKNOWN]
    if unsure:
        return KeyState.UNKNOWN, None, unsure[-1].detail
    return KeyState.ABSENT, None, str(stopped) if last is None else last.detail


def _taken(found: KeyedCall | None) -> KeyedCall | None:
    """Return the call of a key, unless the key is free."""
    return None if found is None or found.state is KeyState.ABSENT else found


def fail_unread(call: Call, why: str) -> None:
    """Settle a call whose key could not be looked up: an earlier call may have it."""
    if not call.placement.settled:
        call.fail(
            errors.CallOutcomeUnknown(
                f"{why}: an earlier call of this idempotency key may have rung a phone; make the "
                "call again with the same key",
                reference=call.reference,
                cause=why,
            )
        )

"""Idempotency keys: places at most one call for each key, in all processes on one ledger.

::

    make_call(idempotency_key=…)
      → the key's call in this process, if there is one
      → the ledger: no such key, or certainly not placed → queue, slot, turn
           → the key is claimed, on disk, right before the first byte leaves
           → the outcome is put on record before the handle has it
      → placed: the handle has that call's id
      → being sent: the handle waits for that outcome
      → unknown: CallOutcomeUnknown, until an event proves the call

A process that dies after the claim leaves a key whose lease runs out: a phone may have rung.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Final
from weakref import WeakSet, WeakValueDictionary

import anyio
import attrs

from telecmi_async import errors
from telecmi_async._internal.event_loop import is_failure
from telecmi_async._internal.secrets import log_failure
from telecmi_async.calls.state import CallStatus
from telecmi_async.ledger.idempotency import IdempotencyKeys, KeyedCall, KeyState
from telecmi_async.pcmo.codec import dump_pcmo
from telecmi_async.phone import Region
from telecmi_async.service.event_tap import EventTap
from telecmi_async.service.keyed_send import KeyedSend, fail_unread

if TYPE_CHECKING:
    from telecmi_async._internal.tasks import TaskRunner
    from telecmi_async.calls.call import Call
    from telecmi_async.calls.placement import CallPlacer, PlacementJob
    from telecmi_async.calls.request import CallRequest
    from telecmi_async.events import Event
    from telecmi_async.events.reference import References
    from telecmi_async.service.sources import Sources

logger = logging.getLogger("telecmi_async")

# Seconds between two looks for the outcome of a call that another process places.
_FIRST_LOOK, _LAST_LOOK = 0.05, 1.0
# Seconds for which another process is waited for: longer than any lease that is right.
_LONGEST_WAIT: Final = 1_800.0
# References whose proofs are on record, or on their way there.
_MOST_PROVEN: Final = 10_000
_GONE: Final = "no outcome is on record, and its process is gone"
# The query of an address may hold what is random, such as encrypted values.
_QUERY: Final = re.compile(r"""(?i)("(?:https?|wss?)://[^"?\s]*)\?[^"\s]*""")


def fingerprint_of(request: CallRequest, app_id: int) -> str:
    """Return a digest of what a request of an account asks for.

    Two requests of the same key must have the same one. The queries of addresses do not count:
    `Receiver.url` encrypts values, which look different each time.
    """
    asked = {
        "app_id": app_id,
        "to": request.to,
        "from": request.from_,
        "extra_params": request.extra_params,
        "duration": request.duration,
        "pcmo": dump_pcmo(request.pcmo),
    }
    text = json.dumps(asked, sort_keys=True, default=dict)
    return hashlib.sha256(_QUERY.sub(r"\1", text).encode()).hexdigest()


class KeyedCalls:
    """Places the keyed calls of one service.

    Args:
        keys: Where keys are on record.
        lifetime: For how many seconds a key is remembered after its call was sent.
        app_id: The account, whose requests differ from another one's.
        references: Finds the account's references in events.
        placer: Places a call that has its key.
        tasks: The service's tasks.
        sources: Where events come from.
    """

    def __init__(
        self,
        keys: IdempotencyKeys,
        lifetime: float,
        *,
        app_id: int,
        references: References,
        placer: CallPlacer,
        tasks: TaskRunner,
        sources: Sources,
    ) -> None:
        self._app_id = app_id
        self._references = references
        self._keys = keys
        self._lifetime = lifetime
        self._placer = placer
        self._tasks = tasks
        self._sources = sources
        self._calls: WeakValueDictionary[str, Call] = WeakValueDictionary()
        self._proven: OrderedDict[str, None] = OrderedDict()
        # Calls of unknown outcome: several handles may have the same one.
        self._unknown: WeakSet[Call] = WeakSet()
        #: Puts on record which keyed calls the receiver's events prove.
        self.tap = EventTap(sources.intake, self._take)

    # -- in this process

    def known(self, request: CallRequest) -> Call | None:
        """Return this process's call of a request's key, unless it may be placed anew.

        Raises:
            InvalidCall: The key was used for another request.
        """
        call = self._calls.get(request.idempotency_key or "")
        if call is None or (call.placement.settled and call.placement.request_id is None):
            return None
        if call.request is not None and self._digest(call.request) != self._digest(request):
            raise _another_request()
        return call

    def _digest(self, request: CallRequest) -> str:
        return fingerprint_of(request, self._app_id)

    def add(self, call: Call, key: str) -> None:
        """Remember a call by its key while it has a handle."""
        self._calls[key] = call

    # -- placing

    async def place(self, job: PlacementJob) -> None:
        """Settle one keyed call, whatever happens, as `CallPlacer.place` does."""
        call = job.call
        stopped = errors.CallCancelled("the call was cancelled")
        try:
            with anyio.CancelScope() as scope:
                if call.placement.start(scope):
                    await self._place(job, scope)
        except errors.StoreError as error:
            fail_unread(call, str(error))
        except BaseException as error:
            if not is_failure(error):
                raise
            log_failure(error, f"call {call}: placing it failed")
            fail_unread(call, f"placing it failed ({type(error).__name__}), see the log")
        finally:
            if not call.placement.settled:  # unknown, if another process places it
                call.conclude(stopped)
            self._watch(call)

    async def _place(self, job: PlacementJob, scope: anyio.CancelScope) -> None:
        call, request = job.call, _request_of(job)
        key, digest = request.idempotency_key or "", self._digest(request)
        found: KeyedCall | None = None
        with anyio.CancelScope(shield=True):  # a cancelled call may have been placed before
            found = await self._keys.find_key(key=key)
        while not call.placement.settled:
            if found is not None and found.fingerprint != digest:
                call.fail(_another_request())
            elif found is None or found.state is KeyState.ABSENT:
                found = await self._send(job, key, digest)
                call.placement.start(scope)
            else:
                found = await self._join(call, found)

    async def _join(self, call: Call, found: KeyedCall) -> KeyedCall | None:
        """Settle a call by the one that has its key, or return what is on record of that later."""
        call.placement.elsewhere = found.token != call.reference
        try:
            return found if await self._settle(call, found) else await self._wait(found)
        except BaseException:
            _name_other(call, found)
            raise

    async def _send(self, job: PlacementJob, key: str, digest: str) -> KeyedCall | None:
        """Place a call; return the one that has its key, if that is another one."""
        call, send = job.call, KeyedSend(self._keys, self._lifetime, key, digest, job)
        try:
            await self._placer.place(
                attrs.evolve(job, permit=send.claim, record=send.record, pausing=send.keep)
            )
        except anyio.get_cancelled_exc_class():
            await send.look_elsewhere(call)
            _name_other(call, send.taken_by)
            raise
        if send.taken_by is None and not call.placement.settled:  # it failed before its claim
            await send.look_elsewhere(call)
            if not call.placement.elsewhere:
                call.conclude(errors.NotSent("placing it failed, see the log; no phone rang"))
        return send.taken_by

    async def follow(self, call: Call) -> None:
        """Settle a call that is known by its reference, which any process may have sent."""
        cause = "the wait for its outcome was cancelled"
        try:
            with anyio.CancelScope() as scope:
                if call.placement.start(scope):
                    found = await self._keys.find_key(token=call.reference)
                    while found is not None and not await self._settle(call, found):
                        found = await self._wait(found)
                    if found is None:
                        cause = "the ledger has no call with this reference"
        except errors.StoreError as error:
            cause = str(error)
        finally:
            if not call.placement.settled:
                call.fail(
                    errors.CallOutcomeUnknown(cause, reference=call.reference, cause=cause)
                )
            self._watch(call)

    async def _settle(self, call: Call, found: KeyedCall) -> bool:
        """Settle a call by what is on record; return False if its request is under way."""
        if found.state is KeyState.SENDING:
            return False
        if found.state is KeyState.ABSENT:
            call.fail(errors.NotSent(f"the call was not placed: {found.detail}; no phone rang"))
            return True
        request_id = found.request_id or await self._look_up(found)
        call.name(found.token, Region(found.region))
        if request_id is not None:
            call.attach(request_id)
        else:
            call.fail(
                errors.CallOutcomeUnknown(
                    f"the call of this idempotency key may have been placed "
                    f"({found.detail or _GONE}): a phone may have rung",
                    reference=found.token,
                    cause=found.detail or _GONE,
                )
            )
        return True

    async def _look_up(self, found: KeyedCall) -> str | None:
        """Return a call's id by its events, which may have come to another process."""
        store = self._sources.store
        try:
            for stored in await store.get([found.token]) if store is not None else ():
                if stored.event.request_id is not None:
                    self._put_proof(found.token, stored.event.request_id)
                    return stored.event.request_id
        except errors.StoreError as error:
            logger.warning("call %s: its events could not be used: %s", found.token, error)
        return None

    async def _wait(self, found: KeyedCall) -> KeyedCall | None:
        """Return what is on record once a call that another process sends has an outcome."""
        pause, latest = _FIRST_LOOK, found
        until = anyio.current_time() + _LONGEST_WAIT
        while latest.token == found.token and latest.state is KeyState.SENDING:
            if anyio.current_time() >= until:  # the ledger's clock was set back
                return attrs.evolve(latest, state=KeyState.UNKNOWN)
            await anyio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)
            again = await self._keys.find_key(token=found.token)
            if again is None:
                return None
            latest = again
        return latest

    # -- events

    def _take(self, event: Event) -> None:
        token = self._references.find(event)
        if token is not None and event.request_id is not None:
            self._put_proof(token, event.request_id)

    def proven(self, call: Call) -> None:
        """Put on record that a keyed call was accepted, if an event proved it."""
        request_id = call.placement.request_id
        if request_id is not None and call.request is not None and call.request.idempotency_key:
            self._put_proof(call.reference, request_id)

    def _watch(self, call: Call) -> None:
        """Have a call of unknown outcome accepted once an event proves it."""
        if call.placement.status is CallStatus.UNKNOWN:
            self._unknown.add(call)

    def _put_proof(self, token: str, request_id: str) -> None:
        for call in tuple(self._unknown):
            if call.reference == token and call.placement.request_id is None:
                call.attach(request_id)
        if token in self._proven:  # it is on record, or on its way there
            return
        self._proven[token] = None
        if len(self._proven) > _MOST_PROVEN:
            self._proven.popitem(last=False)
        self._tasks.start(self._prove, (token, request_id))

    async def _prove(self, proof: tuple[str, str]) -> None:
        token, request_id = proof
        try:
            found = await self._keys.find_key(token=token)
            if found is not None and found.request_id is None:
                await self._keys.settle_key(token, KeyState.PLACED, request_id=request_id)
        except errors.StoreError as error:
            self._proven.pop(token, None)  # its next event is tried again
            logger.warning("call %s: an event of it is not on record: %s", token, error)


def _request_of(job: PlacementJob) -> CallRequest:
    assert job.call.request is not None  # noqa: S101  # only a call with a request is placed
    return job.call.request


def _name_other(call: Call, other: KeyedCall | None) -> None:
    """Have the error of a call that is given up name the call that has its key."""
    if other is not None and call.placement.elsewhere and not call.placement.settled:
        call.name(other.token, Region(other.region))


def _another_request() -> errors.InvalidCall:
    return errors.InvalidCall(
        "was used for another request: give each request a key of its own",
        path="idempotency_key",
    )

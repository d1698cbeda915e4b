"""End to end: many calls, faulty webhooks, and the outcomes of the handles."""

from __future__ import annotations

import gc
import os

import anyio
import pytest

from telecmi_async import (
    CallHandle,
    CallOutcomeUnknown,
    Flow,
    Hangup,
    Play,
    RateLimit,
    Receiver,
)
from telecmi_async.calls.call import Call
from telecmi_async.calls.history import History
from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Fault, Simulator, Webhooks

# `nox -s crash` asks for 10,000.
CALLS = int(os.environ.get("MANY_CALLS", "300"))
FROM = 19170000000
HALF_AN_HOUR = 1_900.0
BRIDGED = Flow().bridge([19170000002]).hangup()
PLAYED = [Play("welcome.wav"), Hangup()]

pytestmark = pytest.mark.anyio


def alive() -> int:
    """Count the objects that belong to handles."""
    gc.collect()
    # Not isinstance, which would load other packages' lazy objects.
    return sum(type(thing) in {Call, History, CallHandle} for thing in gc.get_objects())


async def test_every_handle_ends_with_the_truth() -> None:
    """Events are dropped, doubled, delayed and in every dialect; some replies are lost."""
    before = alive()
    receiver = Receiver(new_token())
    hooks = Webhooks(receiver, drop_share=0.2, double_share=0.1, delay=(0, 45), dialect="mixed")
    simulator = Simulator(
        latency=(0.1, 0.9), answered_share=0.8, magic=False, keep=None, webhooks=hooks
    )
    simulator.faults.add(Fault("reply_lost", share=0.02))
    wrong: list[object] = []
    lost: list[CallHandle] = []

    async def follow(handle: CallHandle) -> None:
        result = await handle.ended()
        call = simulator.call(result.request_id or "")
        if (result.answered, result.talk_seconds) != (call.answered, call.talk_seconds):
            wrong.append((result, call))

    async with simulator.service(
        from_=FROM, events=receiver, rate=RateLimit(200, max_in_flight=100)
    ) as service:
        handles = [
            service.make_call(to=FROM + n, pcmo=PLAYED if n % 10 else BRIDGED)
            for n in range(1, CALLS + 1)
        ]
        async with anyio.create_task_group() as tasks:
            for handle in handles:
                tasks.start_soon(follow, handle)
            for handle in handles:
                try:
                    await handle
                except CallOutcomeUnknown:
                    lost.append(handle)
        await anyio.sleep(HALF_AN_HOUR)
        for handle in handles:
            call = simulator.call(handle.request_id)
            result = handle.result
            if (result.complete, len(result.legs)) != (True, len(call.legs)):
                wrong.append((result, call))
        waiters = sum(handle._call.history.waiters for handle in handles)

    assert wrong == []
    assert waiters == 0
    assert 0.01 < len(lost) / CALLS < 0.035
    assert all(handle.accepted for handle in lost)
    assert simulator.numbers() == CALLS
    simulator.no_duplicates()
    assert receiver.counts.duplicates > CALLS
    del handles, handle, lost, result, call, service, tasks
    assert alive() == before

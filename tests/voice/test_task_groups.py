"""Handlers with a task group: playing and listening at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from voice_bots import sound

from telecmi_async import Receiver
from telecmi_async.simulator import Callee, Simulator
from telecmi_async.voice import Streams

if TYPE_CHECKING:
    from telecmi_async.voice import StreamSession

pytestmark = pytest.mark.anyio


async def counts_of_a_call(streams: Streams) -> tuple[int, int]:
    """Return how many sessions there were, and how many failed, after a callee hung up."""
    simulator = Simulator(
        streams=streams.asgi, callees={19170000001: Callee(hangs_up_after=1.0)}
    )
    events = Receiver("t" * 43)
    async with simulator.service(from_=19170000000, events=events, streams=streams) as service:
        call = await service.make_call(to=19170000001, pcmo=streams.flow().hangup())
        await call.ended()
    await streams.aclose()
    return streams.counts.connected, streams.counts.failed


async def test_a_caller_who_hangs_up_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """A closed stream that ends tasks of a group is logged no more than one that ends a play."""
    streams = Streams("wss://voice.example.com/talk")

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.play, sound(5))
            tasks.start_soon(session.play, sound(5))

    assert await counts_of_a_call(streams) == (1, 0)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_another_error_in_the_group_is_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error of the program is logged, also if the stream was closed meanwhile."""
    streams = Streams("wss://voice.example.com/talk")

    async def fail_afterwards(session: StreamSession) -> None:
        try:
            await session.play(sound(5))
        finally:
            raise ZeroDivisionError

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.play, sound(5))
            tasks.start_soon(fail_afterwards, session)

    assert await counts_of_a_call(streams) == (1, 1)
    assert "the stream handler" in caplog.text

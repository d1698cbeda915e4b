"""A service of the simulator with streams: who is connected to the calls that a flow streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from voice_bots import BotSocket, bot

from telecmi_async import CallService, Flow, Receiver
from telecmi_async.events.receiver import new_token
from telecmi_async.simulator import Callee, SimulatedCall, Simulator, Tone
from telecmi_async.voice import Streams

if TYPE_CHECKING:
    from telecmi_async.voice import StreamSession

pytestmark = pytest.mark.anyio

TO = 19170000001


def greeting(seconds: float) -> Streams:
    """Return streams of a bot that greets and hangs up."""
    streams = Streams("wss://voice.example.com/talk")

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        await session.play(Tone(seconds).pcm(session.rate))
        await session.hang_up()

    return streams


async def called(simulator: Simulator, service: CallService, flow: Flow) -> SimulatedCall:
    """Return a call that is over."""
    call = await service.make_call(to=TO, pcmo=flow)
    await call.ended()
    return simulator.call(call.request_id)


async def test_a_services_streams_get_its_calls() -> None:
    """While the service is open, and not any longer."""
    simulator, streams = Simulator(callees={TO: Callee()}), greeting(1)
    options = {"from_": 19170000000, "events": Receiver(new_token())}
    async with simulator.service(**options, streams=streams) as service:
        call = await called(simulator, service, streams.flow())
    async with simulator.service(**options) as service:
        unserved = await called(simulator, service, Flow().stream("wss://voice.example.com/"))

    assert call.heard.seconds == 1
    assert streams.counts.connected == 1
    assert unserved.answered
    assert unserved.heard.frames == 0
    assert simulator.streams is None


async def test_the_simulators_own_streams_go_before() -> None:
    """What the simulator was given is connected, whatever a service has."""
    simulator, streams = Simulator(streams=bot(BotSocket.close)), greeting(1)
    async with simulator.service(
        from_=19170000000, events=Receiver(new_token()), streams=streams
    ) as service:
        call = await called(simulator, service, streams.flow())

    assert call.heard.timeline[-1].detail.startswith("by the bot, code 1000")
    assert streams.counts.connected == 0
    assert simulator.streams is not None

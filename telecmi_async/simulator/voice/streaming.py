"""Streams: the line that a flow's stream action asks for, and one without a call."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.tasks import background_task_group
from telecmi_async.simulator.callee import Callee
from telecmi_async.simulator.voice.asgi_socket import AsgiSocket
from telecmi_async.simulator.voice.caller import CallVoice
from telecmi_async.simulator.voice.conversation import Conversation
from telecmi_async.simulator.voice.dialled_socket import DialledSocket
from telecmi_async.simulator.voice.line import StreamLine

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.simulator.call import SimulatedCall
    from telecmi_async.simulator.options import SimulatorOptions
    from telecmi_async.simulator.requests import FlowAction
    from telecmi_async.simulator.voice.asgi_socket import StreamTarget
    from telecmi_async.simulator.voice.socket import OpenSocket

# What ends a stream without a call.
_ENDS = frozenset({"hangup", "bridge", "connect", "stream"})


def line_of(
    action: FlowAction,
    options: SimulatorOptions,
    target: StreamTarget,
    call: SimulatedCall,
    callee: Callee,
    limit: tuple[float, str],
) -> StreamLine:
    """Return the line of a stream action; it is not connected yet."""
    rate = 16_000 if str(action.get("voice_quality")) == "16000" else 8_000
    return StreamLine(
        url=str(action.get("ws_url")),
        open_socket=_opener(target),
        voice=call.voice,
        callee=callee,
        heard=Conversation(rate, keep_audio=options.keep_audio),
        both=action.get("listen_mode") == "both",
        limit=limit,
        seed=f"{options.seed} {call.to} {call.attempt}",
        speed=options.speed,
    )


def dial_stream(
    target: StreamTarget,
    url: str = "ws://bot.example/",
    callee: Callee | None = None,
    *,
    rate: int = 8_000,
    both: bool = False,
    seed: int | str = 0,
    speed: float = 1.0,
    keep_audio: bool = True,
) -> AbstractAsyncContextManager[CallVoice]:
    """Connect a callee to a voice bot, without a call: for tests of the bot alone.

    Arrays of actions end the stream if they have a ``hangup``, ``bridge``, ``connect`` or
    ``stream``; the other actions take no time.

    Example:
        A bot that must greet within a second::

            from telecmi_async.simulator import Callee, Tone, dial_stream


            async def greets(app: object) -> None:
                async with dial_stream(app, callee=Callee(says=[Tone(1.5)])) as voice:
                    await voice.ended()
                assert voice.heard.first_audio < 1

    Args:
        target: The bot: an ASGI app in this process, or ``"dial"`` to connect over the network,
            with the extra ``voice``.
        url: The address it is connected at.
        callee: What the callee says, what goes wrong, and after how many seconds the callee
            hangs up.
        rate: Samples in a second.
        both: Whether the bot is sent what it says, too (``listen_mode="both"``).
        seed: Decides every random choice.
        speed: Seconds of the conversation in one of the event loop's.
        keep_audio: Whether the audio is kept.

    Returns:
        A context manager that gives the callee's `CallVoice`. Leaving it hangs up.
    """
    callee = callee or Callee()
    voice = CallVoice()
    line = StreamLine(
        url=url,
        open_socket=_opener(target),
        voice=voice,
        callee=callee,
        heard=Conversation(rate, keep_audio=keep_audio),
        both=both,
        limit=(callee.hangs_up_after or math.inf, "the callee"),
        seed=seed,
        speed=speed,
    )
    return _talking(line, voice)


@asynccontextmanager
async def _talking(line: StreamLine, voice: CallVoice) -> AsyncGenerator[CallVoice]:
    line.on_change = partial(_run_arrays, line)
    done = anyio.Event()

    async def run() -> None:
        await line.run()
        done.set()

    async with background_task_group() as tasks:
        tasks.start_soon(run)
        yield voice
        voice.hang_up()
        await done.wait()


def _run_arrays(line: StreamLine) -> None:
    """Do without a call what actions of arrays ask for."""
    while line.arrays:
        for action in line.arrays.popleft():
            if action["action"] in _ENDS:
                line.leave("by an array")


def _opener(target: StreamTarget) -> OpenSocket:
    return DialledSocket.open if target == "dial" else partial(AsgiSocket.open, target)

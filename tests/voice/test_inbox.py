"""The call's audio until the program reads it."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.testing import run
from telecmi_async.voice.inbox import AudioInbox

pytestmark = pytest.mark.anyio


@given(
    frames=st.lists(st.binary(max_size=9), max_size=30),
    reads=st.lists(st.booleans(), max_size=30),
)
def test_samples_stay_whole_and_in_order(frames: list[bytes], reads: list[bool]) -> None:
    """What is read is all that came but what was dropped, in whole samples, however it came."""

    async def main() -> None:
        inbox = AudioInbox(10)
        sent = b"".join(frames)
        read = b""
        for frame, reading in zip(frames, [*reads, *[False] * len(frames)], strict=False):
            inbox.put(frame)
            if reading and len(inbox._buffer) > 1:
                pcm = await inbox.get()
                assert pcm
                assert len(pcm) % 2 == 0
                read += pcm
        inbox.end()
        while (pcm := await inbox.get()) is not None:
            assert 0 < len(pcm) <= 10
            read += pcm
        assert len(read) == (len(sent) - inbox.dropped) // 2 * 2
        assert inbox.dropped % 2 == 0
        if not inbox.dropped:
            assert read == sent[: len(read)]

    run(main)


async def test_the_oldest_is_dropped_and_counted() -> None:
    """Beyond its limit an inbox keeps the newest samples."""
    inbox = AudioInbox(5)
    for frame in (b"aabb", b"ccd", b"d"):
        inbox.put(frame)

    assert await inbox.get() == b"ccdd"
    assert inbox.dropped == 4


async def test_all_readers_are_woken() -> None:
    """Of two tasks that wait, each gets audio or the end."""
    inbox = AudioInbox(100)
    got: list[bytes | None] = []

    async def read() -> None:
        got.append(await inbox.get())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        inbox.put(b"aa")
        await anyio.wait_all_tasks_blocked()
        inbox.end()

    assert got == [b"aa", None]


async def test_a_wait_that_is_cancelled_leaves_nothing() -> None:
    """A reader that gives up again and again costs no memory, and loses nothing."""
    inbox = AudioInbox(100)
    for _ in range(3):
        with anyio.move_on_after(1):
            await inbox.get()
    inbox.put(b"aa")

    assert inbox._waiting == []
    assert await inbox.get() == b"aa"

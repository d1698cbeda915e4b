"""Recordings: what is in the file, at every moment, and what fails."""

from __future__ import annotations

import errno
import wave
from array import array
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import anyio
import pytest
from stream_peer import StreamPeer, talk

from telecmi_async import ConfigurationError
from telecmi_async._internal.event_loop import current_loop, is_asyncio
from telecmi_async.testing import cancel_everywhere
from telecmi_async.voice import recording
from telecmi_async.voice.recording import _StereoFile, record_stereo

if TYPE_CHECKING:
    from collections.abc import Callable

    from telecmi_async.voice import StreamSession

pytestmark = pytest.mark.anyio

RATE = 8_000


def tone(value: int, seconds: float) -> bytes:
    """Return audio of one value."""
    return array("h", [value] * round(seconds * RATE)).tobytes()


def sides(path: Path) -> tuple[list[int], list[int]]:
    """Return the samples of a recording, left and right."""
    with wave.open(str(path)) as file:
        assert file.getparams()[:3] == (2, 2, RATE)
        samples = array("h", file.readframes(file.getnframes()))
    return list(samples[0::2]), list(samples[1::2])


def runs(samples: list[int]) -> list[tuple[int, float]]:
    """Return the values of a side, each with how many seconds it lasts."""
    return [(value, len([*run]) / RATE) for value, run in groupby(samples)]


async def test_both_sides_are_recorded_by_time(tmp_path: Path) -> None:
    """The file has the caller on its left and the bot on its right, when they were heard."""
    async with record_stereo(tmp_path / "call.wav", rate=RATE) as made:
        await anyio.sleep(1)
        made.add_caller(tone(1, 0.5))
        made.add_bot(tone(2, 2.0), at=anyio.current_time() + 0.25)
        await anyio.sleep(1)
        made.cut_bot(at=anyio.current_time())
        await anyio.sleep(0.5)

    left, right = sides(tmp_path / "call.wav")
    assert runs(left) == [(0, 0.5), (1, 0.5), (0, 1.5)]
    assert runs(right) == [(0, 1.25), (2, 0.75), (0, 0.5)]
    assert made.complete
    assert made.path == tmp_path / "call.wav"


async def test_a_long_call_takes_little_memory(tmp_path: Path) -> None:
    """Audio is written while the call goes on; no more than seconds of it are held."""
    path = tmp_path / "call.wav"
    async with record_stereo(path, rate=RATE) as made:
        for second in range(100):
            await anyio.sleep(1)
            made.add_caller(tone(1, 1.0))
            side = made._timeline._caller

            assert len(side._audio) <= 2 * RATE * 4
            assert len(sides(path)[0]) >= RATE * (second - 3)

    assert runs(sides(path)[0]) == [(1, 100.0)]


class _WatchedFile:
    """A file that is read by others each time something of it reaches the disk."""

    def __init__(self, file: IO[bytes], look: Callable[[], object]) -> None:
        self._file, self._look = file, look

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def flush(self) -> None:
        self._file.flush()
        self._look()


async def test_the_file_is_whole_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a process is killed, the file is a recording of what was written before."""
    path, lengths = tmp_path / "call.wav", []
    plain_open = Path.open

    def look() -> None:
        left, _ = sides(path)
        assert set(left) <= {1}
        lengths.append(len(left))

    def watched_open(*args: Any) -> Any:
        return _WatchedFile(plain_open(*args), look)

    monkeypatch.setattr(Path, "open", watched_open)
    async with record_stereo(path, rate=RATE) as made:
        for _ in range(50):
            await anyio.sleep(0.1)
            made.add_caller(tone(1, 0.1))

    assert lengths == sorted(lengths)
    assert lengths[0] == 0
    assert lengths[-1] == 5 * RATE
    assert len(set(lengths)) > 3


async def test_an_existing_file_is_kept(tmp_path: Path) -> None:
    """A file of that name is never overwritten; a number in its name is masked in the error."""
    path = tmp_path / "19170000002.wav"
    path.write_bytes(b"mine")

    with pytest.raises(ConfigurationError, match=r"cannot record to .*•0002\.wav: File exists"):
        async with record_stereo(path, rate=RATE):
            pass

    assert path.read_bytes() == b"mine"


async def test_a_folder_must_exist(tmp_path: Path) -> None:
    """What cannot be made is an error before the body, and so is never missed."""
    with pytest.raises(ConfigurationError, match=r"nowhere.*: No such file") as caught:
        async with record_stereo(str(tmp_path / "nowhere" / "call.wav"), rate=RATE):
            pytest.fail("the body ran")

    assert caught.value.__context__ is None


async def test_a_full_disk_does_not_end_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If the disk is full, a warning is logged once, and the recording says so."""
    asked = []

    def fail(_: object, frames: bytes) -> None:
        asked.append(len(frames))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_StereoFile, "write", fail)
    async with record_stereo(tmp_path / "call.wav", rate=RATE) as made:
        await anyio.sleep(10)
        assert not made.complete

    assert len(asked) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "a recording cannot be written, and ends: No space left on device"
    ]
    assert sides(tmp_path / "call.wav") == ([], [])


async def test_a_file_has_a_largest_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A recording ends before its header could not say its size."""
    monkeypatch.setattr(recording, "_LARGEST", 5 * RATE * 4)

    async with record_stereo(tmp_path / "call.wav", rate=RATE) as made:
        await anyio.sleep(10)

    assert not made.complete
    assert "a recording cannot be written, and ends: File too large" in caplog.text
    assert 4 * RATE <= len(sides(tmp_path / "call.wav")[0]) <= 5 * RATE


async def test_a_recording_ends_with_its_call(tmp_path: Path) -> None:
    """What comes after the end is not recorded, not even silence."""
    async with record_stereo(tmp_path / "call.wav", rate=RATE) as made:
        await anyio.sleep(1)
        made.add_caller(tone(1, 1.0))
        made.end()
        await anyio.sleep(10)
        made.add_caller(tone(2, 1.0))
        made.end()

    assert runs(sides(tmp_path / "call.wav")[0]) == [(1, 1.0)]


async def test_an_error_of_the_body_is_raised_as_it_is(tmp_path: Path) -> None:
    """An error in the context ends the recording, and comes out without a group."""
    with pytest.raises(ZeroDivisionError):
        async with record_stereo(tmp_path / "call.wav", rate=RATE) as made:
            await anyio.sleep(1)
            made.add_caller(tone(1, 1.0))
            raise ZeroDivisionError

    assert runs(sides(tmp_path / "call.wav")[0]) == [(1, 1.0)]


async def test_a_repr_shows_no_number(tmp_path: Path) -> None:
    """A repr has the file's name, with a phone number in it masked."""
    async with record_stereo(tmp_path / "19170000002.wav", rate=RATE) as made:
        assert "•••••••0002.wav" in repr(made)


def test_a_file_that_was_given_up_is_not_opened(tmp_path: Path) -> None:
    """A thread that comes to open the file after its task was cancelled does not."""
    file = _StereoFile(tmp_path / "call.wav", RATE)
    file.close(None)

    file.open(None)
    file.write(b"abcd")

    assert not (tmp_path / "call.wav").exists()


def test_a_closed_file_is_not_written(tmp_path: Path) -> None:
    """A thread that comes to write after the file was closed does nothing."""
    file = _StereoFile(tmp_path / "call.wav", RATE)
    file.open(None)
    file.close(None)

    file.write(bytes(8))

    assert sides(tmp_path / "call.wav") == ([], [])


@pytest.mark.parametrize("edge", [False, True])
async def test_a_cancellation_leaves_a_whole_file(
    tmp_path: Path, edge: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a recording is cancelled, its file is closed, and has what was said by then."""
    if edge and not is_asyncio(current_loop()):
        return
    files: list[_StereoFile] = []

    def make_file(path: Path, rate: int) -> _StereoFile:
        files.append(_StereoFile(path, rate))
        return files[-1]

    monkeypatch.setattr(recording, "_StereoFile", make_file)

    async def record(path: Path) -> None:
        async with record_stereo(path, rate=RATE) as made:
            await anyio.sleep(2.5)
            made.add_caller(tone(1, 0.5))
            await anyio.sleep(1)

    def check(path: Path) -> None:
        file = files[-1]
        assert file._closed
        assert file._file is None or file._file.closed
        if file._file is not None:
            assert set(sides(path)[0]) <= {0, 1}

    points = await cancel_everywhere(
        record, setup=lambda: tmp_path / f"{len(files)}.wav", check=check, edge=edge
    )

    assert points >= 4
    assert runs(sides(tmp_path / f"{points}.wav")[0]) == [(0, 2.0), (1, 0.5), (0, 1.0)]


async def test_a_session_records_what_is_heard(tmp_path: Path) -> None:
    """A session's recording has what the call says, and of a play what was heard of it."""
    peer = StreamPeer()

    async def handler(session: StreamSession) -> None:
        async with session.record(tmp_path / "call.wav"), anyio.create_task_group() as tasks:
            tasks.start_soon(session.play, tone(2, 3.0))
            await anyio.sleep(1)
            peer.say(tone(1, 0.5))
            await anyio.sleep(0.25)
            await session.interrupt()
            assert (await session.play(tone(3, 0.5))).complete
            peer.leave()
            await anyio.sleep(10)

    streams = await talk(handler, peer)

    left, right = sides(tmp_path / "call.wav")
    assert streams.counts.failed == 0
    assert runs(left) == [(0, 0.5), (1, 0.5), (0, 0.75)]
    assert runs(right) == [(2, 1.25), (3, 0.5)]


async def test_only_an_open_session_is_recorded(tmp_path: Path) -> None:
    """After the end of the stream no file is made; two recordings at once have the same."""
    peer = StreamPeer(tone(1, 0.5))

    async def handler(session: StreamSession) -> None:
        async with (
            session.record(tmp_path / "one.wav") as one,
            session.record(tmp_path / "two.wav"),
        ):
            await anyio.sleep(1)
            peer.leave()
            await session.wait_closed()
        assert one.complete
        async with session.record(tmp_path / "three.wav"):
            pytest.fail("a closed session is recorded")

    streams = await talk(handler, peer)

    assert streams.counts.failed == 0
    assert sides(tmp_path / "one.wav") == sides(tmp_path / "two.wav")
    assert not (tmp_path / "three.wav").exists()

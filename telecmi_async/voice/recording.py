"""Recordings: both sides of a call in a stereo WAV file, written while it goes on.

A file is written in worker threads, once a second, audio first and then its header. So at every
moment it is a WAV file of what was written before, also if the process is killed.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, TypeVar

import anyio
import anyio.to_thread

from telecmi_async._internal.event_loop import loop_time
from telecmi_async._internal.messages import mask_in
from telecmi_async._internal.seams import check_instance
from telecmi_async._internal.tasks import background_task_group
from telecmi_async._internal.threads import run_in_thread
from telecmi_async.errors import ConfigurationError
from telecmi_async.voice.stereo import StereoTimeline
from telecmi_async.voice.wav import wav_header

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

logger = logging.getLogger("telecmi_async")

_T = TypeVar("_T")

# Seconds between two writes, and after which audio is final: late audio is placed until then.
_EVERY: Final = 1.0
_FINAL: Final = 2.0
# What the sizes in a header of 32 bits can say.
_LARGEST: Final = 0xFFFFFFFF - 64


class _StereoFile:
    """The file, for worker threads; one may still open it when another closes it."""

    def __init__(self, path: Path, rate: int) -> None:
        self._path, self._rate = path, rate
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._size = 0

    def open(self, _: object) -> None:
        with self._lock:
            if self._closed:  # the task that wanted it was cancelled
                return
            self._file = self._path.open("xb")
            self._write_header(self._file)

    def write(self, frames: bytes) -> None:
        with self._lock:
            if self._file is None or self._closed:
                return
            if self._size + len(frames) > _LARGEST:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            self._file.write(frames)
            self._size += len(frames)
            self._write_header(self._file)

    def close(self, _: object) -> None:
        with self._lock:
            self._closed = True
            if self._file is not None:
                self._file.close()

    def _write_header(self, file: IO[bytes]) -> None:
        file.seek(0)  # before that, it writes what it has
        file.write(wav_header(channels=2, rate=self._rate, size=self._size))
        file.flush()
        file.seek(0, os.SEEK_END)


class Recording:
    """A recording of a call: left the caller, right the bot.

    Attributes:
        path: Where the file is.
        complete: False once audio could not be written, which is logged.
    """

    def __init__(self, path: Path, *, rate: int) -> None:
        self.path = path
        self.complete = True
        self._timeline = StereoTimeline(rate)
        self._rate = rate
        self._began = loop_time()
        self._ended: float | None = None
        self._file = _StereoFile(path, rate)

    def __repr__(self) -> str:
        return f"<Recording {mask_in(str(self.path))!r}>"

    def add_caller(self, pcm: bytes) -> None:
        """Add audio of the caller's that has just arrived, whole samples."""
        if self._ended is None:
            at = loop_time() - self._began - len(pcm) / 2 / self._rate
            self._timeline.add_caller(pcm, at)

    def add_bot(self, pcm: bytes, *, at: float) -> None:
        """Add audio of the bot's that the caller hears from a time of the event loop's clock."""
        self._timeline.add_bot(pcm, at - self._began)

    def cut_bot(self, *, at: float) -> None:
        """Remove what the caller would have heard of the bot from a time on."""
        self._timeline.cut_bot(at - self._began)

    def end(self) -> None:
        """End the recording here, as the call has ended; further audio is ignored."""
        if self._ended is None:
            self._ended = loop_time() - self._began

    async def open(self) -> None:
        """Make the file.

        Raises:
            ConfigurationError: There is one of that name, or it cannot be made.
        """
        try:
            await _in_thread(self._file.open, None)
        except OSError as error:
            failure = error.strerror
        except ValueError as error:  # a name that no file can have
            failure = str(error)
        else:
            return
        raise ConfigurationError(f"cannot record to {mask_in(str(self.path))}: {failure}")

    async def write_on(self) -> None:
        """Write audio once it is final, until this is cancelled."""
        while True:
            await anyio.sleep(_EVERY)
            await self._write(_FINAL)

    async def close(self) -> None:
        """Write the rest, and close the file; it is not cancelled."""
        try:
            with anyio.CancelScope(shield=True):
                await self._write(0)
                await self._in_file(self._file.close, None)
        finally:
            self._file.close(None)  # it is closed, unless asyncio's task.cancel() came between

    async def _write(self, hold: float) -> None:
        now = loop_time() - self._began
        until = now - hold if self._ended is None else min(now - hold, self._ended)
        frames = self._timeline.take(until)
        if frames and self.complete:
            with anyio.CancelScope(shield=True):
                await self._in_file(self._file.write, frames)

    async def _in_file(self, work: Callable[[_T], object], argument: _T) -> None:
        try:
            await _in_thread(work, argument)
        except OSError as error:
            self.complete = False
            logger.warning("a recording cannot be written, and ends: %s", error.strerror)


async def _in_thread(work: Callable[[_T], object], argument: _T) -> None:
    threads = anyio.to_thread.current_default_thread_limiter()
    await run_in_thread(work, argument, limiter=threads)


@asynccontextmanager
async def record_stereo(path: str | PathLike[str], *, rate: int) -> AsyncGenerator[Recording]:
    """Record to a new stereo WAV file for as long as the context is open.

    An existing file is never overwritten. If the disk is full later, or after 4 GiB, a warning is
    logged and the call goes on.

    Raises:
        ConfigurationError: The file exists, or cannot be made.
    """
    check_instance("path", path, str | PathLike, "a str or a Path")
    recording = Recording(Path(path), rate=rate)
    try:
        await recording.open()
        async with background_task_group() as tasks:
            tasks.start_soon(recording.write_on)
            yield recording
    finally:
        await recording.close()

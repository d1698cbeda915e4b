"""Virtual clock: hours of retries, pauses and pacing pass in milliseconds.

When all tasks wait for timers, the clock jumps to the earliest timer. Order and durations are
exactly those of a real clock, and the same in every run. On trio it is
`trio.testing.MockClock`, on asyncio `VirtualClockLoop`.

Work outside the event loop takes no virtual time, so it cannot be awaited: while a thread works
or a socket is silent, all timers fire at once. Therefore sockets raise an error on asyncio; on
trio you must avoid them yourself. A receiver's plain functions run in threads, too; while one of
them works, the clock stands still.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from _typeshed import FileDescriptorLike

Backend: TypeAlias = Literal["asyncio", "trio"]

_T = TypeVar("_T")


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on which waiting takes no time.

    Its `time` starts at 0 and stands still while any task can run; otherwise it jumps to the
    next timer. Registering a socket or pipe raises `RuntimeError`. Without timers the loop
    really waits, for threads.

    Use it as ``asyncio.Runner(loop_factory=VirtualClockLoop)``, or through `run` and
    `virtual_backend`.
    """

    def __init__(self) -> None:
        self._now = 0.0
        #: While there are any, the clock stands still.
        self.threads_at_work = 0
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    async def shutdown_default_executor(
        self,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109  # the signature is asyncio's
    ) -> None:
        """Wait for the loop's threads, without a limit.

        Args:
            timeout: Ignored; on this clock it would pass at once.
        """
        await super().shutdown_default_executor()

    def _jump(self, seconds: float) -> bool:
        """Move the clock forward; return False if it stands still."""
        if self.threads_at_work:
            return False
        self._now += seconds
        return True


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that watches the loop's own wake-up pipe and never waits for a timer."""

    def __init__(self, jump: Callable[[float], bool]) -> None:
        super().__init__()
        self._jump = jump

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        # The first one is the pipe by which threads and signals wake the loop.
        if self.get_map():
            raise RuntimeError(
                "a socket or pipe was opened on the virtual clock, where every time-out "
                "would go off while it is silent; use an in-process transport, or a real "
                "event loop"
            )
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout and not self._jump(timeout):
            return super().select()
        return ready


def virtual_backend(name: Backend) -> tuple[str, dict[str, Any]]:
    """Return a backend and its options, on a virtual clock that starts at 0.

    anyio's pytest plugin accepts it as ``anyio_backend``, and `anyio.run` as ``backend`` and
    ``backend_options``. A clock is for one run only: call this for every run.

    Args:
        name: ``"asyncio"`` or ``"trio"`` (which must be installed).

    Raises:
        ValueError: It is another name.
    """
    match name:
        case "asyncio":
            return name, {"loop_factory": VirtualClockLoop}
        case "trio":
            from trio.testing import MockClock  # noqa: PLC0415  # trio is optional

            return name, {"clock": MockClock(autojump_threshold=0)}
        case _:
            raise ValueError(f'must be "asyncio" or "trio", not {name!r}')


def run(function: Callable[[], Awaitable[_T]], *, backend: Backend = "asyncio") -> _T:
    """Run an async function on a virtual clock and return its result.

    Example:
        A day of calls in a moment::

            import anyio

            from telecmi_async.testing import run

            run(lambda: anyio.sleep(86_400))

    Args:
        function: An async function without arguments.
        backend: ``"asyncio"`` or ``"trio"``.
    """
    name, options = virtual_backend(backend)
    return anyio.run(function, backend=name, backend_options=options)

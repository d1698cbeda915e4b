"""A clock that jumps: hours of retries, pauses and pacing pass in milliseconds.

When every task waits for a time to come, the clock is moved to the earliest of them instead
of waiting. Order and durations are those of real life, to the last digit, and they are
the same in every run.

The two backends:

- trio has this built in (`trio.testing.MockClock`);
- for asyncio it is `VirtualClockLoop`, an ordinary selector loop whose selector does not
  wait.

What happens outside the event loop takes no virtual time, so it cannot be waited for
sensibly: while a thread works or a socket is silent, every timer goes off at once. On asyncio
sockets are refused for that reason. trio gives no such hold: there the rule is yours to keep.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from _typeshed import FileDescriptorLike

__all__ = ["Backend", "VirtualClockLoop", "run", "virtual_backend"]

Backend: TypeAlias = Literal["asyncio", "trio"]

_T = TypeVar("_T")


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on which waiting takes no time.

    Its `time` starts at 0 and stands still while anything can run; when nothing can, it jumps
    to the next timer. Registering a socket or pipe raises `RuntimeError`. With no timer
    left it waits for real, for what a thread may still bring.

    Use it as ``asyncio.Runner(loop_factory=VirtualClockLoop)``, or through `run` and
    `virtual_backend`.
    """

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_JumpingSelector(self._jump))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    async def shutdown_default_executor(
        self,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109  # the signature is asyncio's
    ) -> None:
        """Wait for the loop's threads however long they need: theirs is another time.

        Args:
            timeout: Not heeded; on this clock it would be over at once.
        """
        await super().shutdown_default_executor()

    def _jump(self, seconds: float) -> None:
        self._now += seconds


class _JumpingSelector(selectors.BaseSelector):
    """A selector that watches the loop's own wake-up pipe and never waits for a timer."""

    def __init__(self, jump: Callable[[float], None]) -> None:
        self._real = selectors.DefaultSelector()
        self._jump = jump

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        # The first one is the pipe that wakes the loop up from threads and signals.
        if self._real.get_map():
            raise RuntimeError(
                "a socket or pipe was opened on the virtual clock, where every time-out "
                "would go off while it is silent; use an in-process transport, or a real "
                "event loop"
            )
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(None if timeout is None else 0)
        if not ready and timeout:
            self._jump(timeout)
        return ready

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


def virtual_backend(name: Backend) -> tuple[str, dict[str, Any]]:
    """Return a backend and its options, on a virtual clock that starts at 0.

    It is what anyio's pytest plugin takes as ``anyio_backend``, and what `anyio.run` takes as
    ``backend`` and ``backend_options``. A clock is good for one run: ask anew for every
    run.

    Args:
        name: ``"asyncio"`` or ``"trio"`` (which must be installed).

    Raises:
        ValueError: It is neither of the two.
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
    """Run an async function to its end on a virtual clock and return what it returns.

    Args:
        function: An async function without arguments.
        backend: ``"asyncio"`` or ``"trio"``.
    """
    name, options = virtual_backend(backend)
    return anyio.run(function, backend=name, backend_options=options)

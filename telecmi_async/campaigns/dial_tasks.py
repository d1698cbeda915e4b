"""Dial tasks: a campaign's calls run in tasks that stay, since a task for each call costs more."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import anyio

from telecmi_async._internal.event_loop import make_signal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup

    from telecmi_async.calls.request import CallRequest
    from telecmi_async.campaigns.send_permit import PendingSend


class DialTasks:
    """Tasks of one run of a worker; each calls ``dial`` for one contact after another.

    A cancellation ends none of them: they end after `close`, when what was started is dialled.
    """

    def __init__(
        self, tasks: TaskGroup, dial: Callable[[PendingSend, CallRequest], Awaitable[None]]
    ) -> None:
        self._tasks = tasks
        self._dial = dial
        self._startable: deque[tuple[PendingSend, CallRequest]] = deque()
        # What wakes the tasks that wait for a contact.
        self._idle: list[Callable[[], None]] = []
        self._closed = False

    def start(self, send: PendingSend, request: CallRequest) -> None:
        """Dial a contact in a task that is idle, or in a new one."""
        self._startable.append((send, request))
        if self._idle:
            self._idle.pop()()
        else:
            self._tasks.start_soon(self._run)

    def close(self) -> None:
        """Let the tasks end."""
        self._closed = True
        while self._idle:
            self._idle.pop()()

    async def _run(self) -> None:
        with anyio.CancelScope(shield=True):
            while self._startable:
                await self._dial(*self._startable.popleft())
                if not self._startable and not self._closed:
                    idle, wake = make_signal()
                    self._idle.append(wake)
                    await idle

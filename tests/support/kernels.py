"""A real kernel of Jupyter: runs cells, and interrupts one as its stop button does."""

from __future__ import annotations

import queue
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Printed by the event loop of a cell that is to be interrupted: it awaits something then.
_WAITS = "the cell waits"
_ANNOUNCE = f"__import__('asyncio').get_running_loop().call_soon(print, {_WAITS!r})\n"
_PATIENCE = 60


class Kernel:
    """A kernel that is running."""

    def __init__(self, manager: KernelManager) -> None:
        self._manager = manager
        self._client: Any = manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=_PATIENCE)

    def close(self) -> None:
        """Close the connection."""
        self._client.stop_channels()

    def run(self, code: str, *, interrupt: bool = False) -> list[dict[str, Any]]:
        """Run a cell, and return its outputs: ``type`` and what the kernel says in it.

        With ``interrupt``, the cell is interrupted once it waits.
        """
        request = self._client.execute((_ANNOUNCE if interrupt else "") + code)
        shown: list[dict[str, Any]] = []
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                message = self._client.get_iopub_msg(timeout=1)
            except queue.Empty:
                continue
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if interrupt and kind == "stream" and _WAITS in content["text"]:
                self._manager.interrupt_kernel()
            elif kind == "status" and content["execution_state"] == "idle":
                return shown
            elif kind not in {"status", "execute_input"}:
                shown.append({"type": kind, **content})
        raise AssertionError(f"the cell did not end: {code}")

    def value(self, code: str) -> str:
        """Run a cell that must not fail, and return the text of its result."""
        shown = self.run(code)
        assert [each["type"] for each in shown if each["type"] != "stream"] == [
            "execute_result"
        ], shown
        text: str = shown[-1]["data"]["text/plain"]
        return text


@contextmanager
def running_kernel(folder: Path) -> Iterator[Kernel]:
    """Start a kernel of this Python in a folder, and end it."""
    manager = KernelManager()
    manager.start_kernel(cwd=str(folder))
    try:
        kernel = Kernel(manager)
        yield kernel
        kernel.close()
    finally:
        manager.shutdown_kernel(now=True)

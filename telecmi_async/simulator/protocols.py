"""Protocols of the simulator: what its fronts and its page need of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from telecmi_async.simulator.replies import Decision

__all__ = ["RequestHandler"]


class RequestHandler(Protocol):
    """Decides about requests; `Simulator` does."""

    def receive(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        at: float,
        local: bool = True,
    ) -> Decision:
        """Return what becomes of one request; the caller must call `leave` once."""
        ...

    def leave(self) -> None:
        """Note that a request that was received is no longer under way."""
        ...

    def running(self) -> AbstractAsyncContextManager[None]:
        """Let time pass in calls while the context is open."""
        ...

"""What a front asks of the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.simulator.answer import Decision

__all__ = ["Answering"]


class Answering(Protocol):
    """Decides about requests, without doing any I/O itself.

    A front must call `leave` exactly once for each `receive`, whatever happens in between.
    """

    def receive(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, *, at: float
    ) -> Decision:
        """Take one request and say what becomes of it; it never raises."""
        ...

    def leave(self) -> None:
        """Note that the answer was sent, or that nobody waits for it any more."""
        ...

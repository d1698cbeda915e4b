"""The simulator's page, for people: what it does now."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.simulator.answer import Answer
    from telecmi_async.simulator.simulator import Simulator

__all__ = ["answer"]


def answer(
    simulator: Simulator, method: str, target: str, headers: Mapping[str, str], body: bytes
) -> Answer | None:
    """Return a page, or ``None`` if the request is for none."""
    return None

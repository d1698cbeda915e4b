"""How many starts a window of one second holds."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def fullest_second(starts: Iterable[float]) -> int:
    """Return the most starts in any half-open window of one second."""
    window: deque[float] = deque()
    fullest = 0
    for start in starts:
        window.append(start)
        while start - window[0] >= 1.0:
            window.popleft()
        fullest = max(fullest, len(window))
    return fullest

"""Asynchronous generators that were left in the middle, and closed by the garbage collector."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator


@contextmanager
def left_generators() -> Iterator[list[str]]:
    """Yield a list to which the names of generators are added that the collector closes.

    Generators that begin before this are not noticed. It works on every event loop.
    """
    hooks, left = sys.get_asyncgen_hooks(), list[str]()

    def finalizer(generator: AsyncGenerator[object]) -> None:
        left.append(repr(generator))
        if hooks.finalizer is not None:
            hooks.finalizer(generator)

    sys.set_asyncgen_hooks(firstiter=hooks.firstiter, finalizer=finalizer)
    try:
        yield left
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(*hooks)

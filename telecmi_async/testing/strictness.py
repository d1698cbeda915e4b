"""Hold a test to what must never happen, whatever else it checks."""

from __future__ import annotations

import gc
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from telecmi_async._internal.messages import mask_in

if TYPE_CHECKING:
    from collections.abc import Generator

    from telecmi_async.simulator import Simulator

__all__ = ["strict"]

_LOGGER = logging.getLogger("telecmi_async")


@contextmanager
def strict(simulator: Simulator) -> Generator[None]:
    """Check what must hold of every test that places calls, when the context is left.

    No number was dialled twice. And the package logged no error: it logs those that have nobody
    to be raised to, such as that of a handler of events, or of a call that nobody awaited. A
    test would not see them.

    Args:
        simulator: Where the calls ended.

    Raises:
        AssertionError: Something of it does not hold; phone numbers are masked.
    """
    # A failed call says that nobody looked at it when it is forgotten, and one that was tried
    # again waits for the garbage collector. It is not to be found in the next test.
    gc.collect(1)
    errors = _Errors()
    _LOGGER.addHandler(errors)
    try:
        yield
        if simulator.requests:
            gc.collect()
    finally:
        _LOGGER.removeHandler(errors)
    simulator.no_duplicates()
    if errors.found:
        raise AssertionError("telecmi_async logged: " + "\n".join(errors.found))


class _Errors(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(mask_in(record.getMessage()))

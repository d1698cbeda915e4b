"""Strict checks: conditions that every test that places calls must meet."""

from __future__ import annotations

import gc
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from telecmi_async._internal.messages import mask_in

if TYPE_CHECKING:
    from collections.abc import Generator

    from telecmi_async.simulator import Simulator

_LOGGER = logging.getLogger("telecmi_async")


@contextmanager
def strict(simulator: Simulator) -> Generator[None]:
    """Check on exit that no number was dialled twice, and that the package logged no error.

    The package logs errors that it cannot raise to a caller: those of event handlers, and of
    failed calls that were never awaited. A test would miss them.

    Example:
        The block fails if a number was dialled twice, or an error was logged::

            from telecmi_async.simulator import Simulator
            from telecmi_async.testing import strict

            simulator = Simulator()
            with strict(simulator):
                async with simulator.service(from_=19170000000) as service:
                    await service.make_call(to=19170000001, pcmo=[Hangup()])

    Args:
        simulator: The simulator that received the calls.

    Raises:
        AssertionError: A check failed; phone numbers are masked.
    """
    # A failed call that was never awaited is logged when it is garbage-collected: collect now,
    # or an error of the last test appears in this one.
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
    """Collects the errors that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(mask_in(record.getMessage()))

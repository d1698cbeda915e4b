"""Log lines about single calls, which a command leaves out: it says what became of its calls."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def without_call_lines() -> Generator[None]:
    """Leave the lines about single calls out of the log as long as the context is open."""
    logger = logging.getLogger("telecmi_async")
    logger.addFilter(_is_about_more)
    try:
        yield
    finally:
        logger.removeFilter(_is_about_more)


def _is_about_more(record: logging.LogRecord) -> bool:
    return not hasattr(record, "telecmi_event")

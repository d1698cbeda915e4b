"""Log lines of a command: warnings, or all lines from the level of ``TELECMI_LOG`` on.

Only the command line reads the variable. In a program the application configures logging, and a
handler that an import installs would write its lines twice.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.messages import listed, shown
from telecmi_async._internal.validators import environment_variable
from telecmi_async.cli.exits import Exit, Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

_LEVELS: Final = ("debug", "info", "warning", "error")
_logger = logging.getLogger("telecmi_async")


class _LogLines(logging.Handler):
    """Gives each line to a function."""

    def __init__(self, level: str, write: Callable[[str], object]) -> None:
        super().__init__(level or logging.WARNING)
        self._write = write
        if level:
            self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        else:  # a command says itself what became of its calls
            self.addFilter(lambda record: not hasattr(record, "telecmi_event"))

    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record))


@contextmanager
def log_shown(environ: Mapping[str, str], write: Callable[[str], object]) -> Generator[None]:
    """Give the package's log lines to a function; of nested contexts the innermost has them.

    Raises:
        Stop: ``TELECMI_LOG`` is no level.
    """
    asked = environment_variable(environ, "TELECMI_LOG")
    if asked and asked.lower() not in _LEVELS:
        raise Stop(Exit.USAGE, f"TELECMI_LOG must be {listed(_LEVELS)}, not {shown(asked)}")
    lines, before = _LogLines(asked.upper(), write), _logger.level
    outer = [each for each in _logger.handlers if isinstance(each, _LogLines)]
    for each in outer:
        _logger.removeHandler(each)
    _logger.addHandler(lines)
    if asked:
        _logger.setLevel(lines.level)
    try:
        yield
    finally:
        _logger.setLevel(before)
        _logger.removeHandler(lines)
        for each in outer:
            _logger.addHandler(each)

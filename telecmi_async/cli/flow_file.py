"""Call flow files: read from a path, or stdin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from telecmi_async.errors import InvalidCall

if TYPE_CHECKING:
    from telecmi_async.cli.terminal import Terminal


def read_flow(terminal: Terminal, name: str) -> str | bytes:
    """Return the content of a call flow file, or of stdin for ``-``.

    Raises:
        InvalidCall: It cannot be read.
    """
    if name == "-":
        return terminal.stdin.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidCall(f"cannot read {name}: {error.strerror}", path="flow") from None

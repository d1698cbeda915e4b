"""Wire: how one HTTP request is written to TeleCMI, and how its reply is read."""

from __future__ import annotations

from telecmi_async._internal.public_names import public_dir
from telecmi_async.wire.transport import Timeouts

__all__ = ["Timeouts"]

__dir__ = public_dir(__name__, __all__)

"""The extra ``voice``: libraries that are imported when something needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from telecmi_async.errors import ConfigurationError


def voice_library(name: str, task: str) -> Any:
    """Import a library of the extra ``voice``.

    Raises:
        ConfigurationError: It is not installed, or cannot be loaded on this machine.
    """
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: its shared library cannot be loaded
        failure = error
    words = "" if isinstance(failure, ModuleNotFoundError) else f" ({type(failure).__name__})"
    raise ConfigurationError(
        f"{task} needs {name}{words}: pip install 'telecmi-async[voice]'"
    ) from None

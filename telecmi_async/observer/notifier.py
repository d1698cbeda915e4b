"""Notifier: how the package calls an observer, which is never in the way."""

from __future__ import annotations

import inspect
import re
from typing import Any, Final, NamedTuple, cast

from telecmi_async._internal.secrets import log_failure
from telecmi_async._internal.telecmi import TRACE_PATTERN
from telecmi_async.errors import ConfigurationError
from telecmi_async.observer.hooks import Observer

#: The column of a contact that holds the trace context in which it was loaded.
TRACE_COLUMN: Final = "traceparent"

_CONTEXT: Final = re.compile(TRACE_PATTERN)


class CallOrigin(NamedTuple):
    """The campaign of a call, and the trace context in which its contact was loaded."""

    campaign: str | None = None
    loaded_in: str | None = None


class Notifier:
    """Calls an observer, and keeps what it raises away from calls.

    The first failure of each method is logged with its traceback, and no other.
    """

    __slots__ = ("_failed", "_observer")

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._failed: set[str] = set()

    def __call__(self, method: str, *given: object) -> Any:
        """Call a method; return ``None`` if it fails."""
        try:
            return getattr(self._observer, method)(*given)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # such as a cancelled future's, which it read
            if method not in self._failed:
                self._failed.add(method)
                log_failure(
                    error, f"the observer's {method} failed; later failures are not logged"
                )
        return None

    def text(self, method: str, *given: object) -> str | None:
        """Call a method that returns a trace context; return ``None`` for anything else."""
        return trace_context_of(self(method, *given))


def trace_context_of(value: object) -> str | None:
    """Return a value if it is a ``traceparent``, and ``None`` for anything else."""
    return value if isinstance(value, str) and _CONTEXT.fullmatch(value) else None


def notifier_of(observer: Observer | None) -> Notifier | None:
    """Return what calls an observer.

    Raises:
        ConfigurationError: It is no observer, or one of its methods is asynchronous.
    """
    if observer is None:
        return None
    if not isinstance(cast("object", observer), Observer):
        raise ConfigurationError(
            "observer must be an object of a subclass of telecmi_async.observer.Observer, not "
            f"{type(observer).__name__}"
        )
    for name in vars(Observer):
        if not name.startswith("_") and inspect.iscoroutinefunction(getattr(observer, name)):
            raise ConfigurationError(
                f"observer.{name} must be a plain function: an async one would never be awaited"
            )
    return Notifier(observer)

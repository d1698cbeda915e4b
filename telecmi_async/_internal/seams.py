"""Seams: checks of what users hand in, when they hand it in.

An error names the parameter, what would be right and the type that was given. It never shows the
value: a text may be a URL with a password.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, TypeVar, cast

from telecmi_async._internal.messages import call_shape, uncalled
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import UnionType

_F = TypeVar("_F")


def kind_of(value: object) -> str:
    """Return a value's type for a message, or what to write in place of a class."""
    return uncalled(value) or type(value).__name__


def check_instance(name: str, value: object, kind: type | UnionType, wanted: str = "") -> None:
    """Require an instance of a class."""
    if not isinstance(value, kind):
        right = wanted
        if not wanted and isinstance(kind, type):
            right = f"a {kind.__name__}"
            if not isinstance(value, type):
                right += f", such as {kind.__name__}{call_shape(kind, example=True)}"
        raise ConfigurationError(f"{name} must be {right}, not {kind_of(value)}")


def check_implements(name: str, value: object, protocol: type, wanted: str) -> None:
    """Require an object, not a class, with all methods and attributes of a protocol."""
    missing = missing_of(value, protocol)
    if isinstance(value, type):
        raise ConfigurationError(f"{name} must be {wanted}, not {kind_of(value)}")
    if missing:
        raise ConfigurationError(
            f"{name} must be {wanted}, not {kind_of(value)}, which has no {missing}"
        )


def missing_of(value: object, protocol: type) -> str:
    """Return the first method or attribute of a protocol that a value lacks, else ""."""
    methods, attributes = _members_of(protocol)
    for name in methods:
        if not callable(getattr(value, name, None)):
            return f"method {name}"
    return next((f"attribute {name}" for name in attributes if not hasattr(value, name)), "")


@functools.cache
def _members_of(protocol: type) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the public methods and attributes that a protocol demands."""
    methods, attributes = dict[str, None](), dict[str, None]()
    for kind in reversed(protocol.__mro__):
        if getattr(kind, "_is_protocol", False):
            public = [name for name in vars(kind) if not name.startswith("_")]
            methods |= {name: None for name in public if callable(vars(kind)[name])}
            attributes |= dict.fromkeys(
                cast("dict[str, object]", vars(kind).get("__annotations__", {}))
            )
    return tuple(methods), tuple(name for name in attributes if not name.startswith("_"))


def check_function(name: str, function: _F, argument: str, *, plain: bool = False) -> _F:
    """Require a function that takes one argument; a ``plain`` one is not asynchronous."""
    kind = "a plain function" if plain else "a function, plain or async,"
    wanted = f"{name} must be {kind} of {argument}"
    if not callable(function):
        raise ConfigurationError(f"{wanted}, not {kind_of(function)}")
    call: Callable[..., object] = function
    if _is(inspect.isgeneratorfunction, call) or _is(inspect.isasyncgenfunction, call):
        raise ConfigurationError(f"{wanted}: one with a yield does nothing when it is called")
    if plain and _is(inspect.iscoroutinefunction, call):
        raise ConfigurationError(f"{wanted}: an async one would never be awaited")
    try:
        signature = inspect.signature(call)
    except (ValueError, TypeError):  # one that was written in C may have none
        return function
    try:
        signature.bind(object())
    except TypeError as error:
        raise ConfigurationError(f"{wanted}: it cannot be called so ({error})") from None
    return function


def check_clock(name: str, clock: Callable[[], float]) -> None:
    """Require a function that returns the time."""
    wanted = f"{name} must be a function that returns seconds since 1970"
    if not callable(cast("object", clock)) or isinstance(clock, type):
        raise ConfigurationError(f"{wanted}, not {kind_of(clock)}")


def _is(kind: Callable[[object], bool], function: Callable[..., object]) -> bool:
    """Return whether a function, a partial or an object that can be called is of a kind."""
    while isinstance(function, functools.partial):
        function = cast("functools.partial[object]", function).func
    return kind(function) or kind(getattr(type(function), "__call__", None))  # noqa: B004  # looked at, not called

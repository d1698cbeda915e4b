"""Argument errors and signatures: Python's `TypeError` for a wrong argument, and what to write instead.

Python says "got an unexpected keyword argument 'from'". A public class adds "did you mean
"from_"?". Its functions are wrapped when the class is first imported from a public module.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING, Any, cast

from telecmi_async._internal.messages import call_shape, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

_UNKNOWN = re.compile(r"got an unexpected keyword argument '(.*)'$")
_TOO_MANY = re.compile(r"takes .* positional arguments? but \d+ w")
_OWN = {"self", "cls"}
_EXPLAINED = "__explained__"


def explain_arguments(public: object) -> None:
    """Wrap the constructor and the plain methods of a class; leave everything else unchanged.

    Asynchronous methods stay as they are: `inspect` must recognise them.
    """
    if not isinstance(public, type):
        return
    kind = cast("type[object]", public)
    if _EXPLAINED in vars(kind) or issubclass(kind, BaseException):
        return
    if getattr(kind, "_is_protocol", False):
        return
    for name, member in list(vars(kind).items()):
        if name.startswith("_") and name != "__init__":
            continue
        if inspect.isfunction(member) and not inspect.iscoroutinefunction(member):
            setattr(kind, name, _explained(member))
        elif isinstance(member, classmethod):
            function = cast("Callable[..., object]", cast("Any", member).__func__)
            setattr(kind, name, classmethod(_explained(function)))
    setattr(kind, _EXPLAINED, True)


def copy_signature(source: Callable[..., Any], method: Any, *, leave_out: int = 0) -> None:
    """Give a method the docstring and the parameters of a function or class, for ``help()``.

    The method provides the first ``leave_out`` parameters itself.
    """
    described = inspect.signature(source)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    others = list(described.parameters.values())[leave_out:]
    method.__signature__ = described.replace(parameters=[own, *others])
    method.__doc__ = source.__doc__


def _explained(function: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(function)
    def call(*args: object, **arguments: object) -> object:
        try:
            return function(*args, **arguments)
        except TypeError as error:
            # An error from inside the function has its frame as well.
            if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                error.args = (_explanation(str(error), function),)
            raise
        finally:
            del args, arguments  # they may hold the secret, and a traceback may show locals

    return call


def _explanation(text: str, function: Callable[..., object]) -> str:
    """Return Python's message, with what to write instead."""
    if unknown := _UNKNOWN.search(text):
        parameters = inspect.signature(function).parameters.values()
        ordinary = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        names = [each.name for each in parameters if each.kind in ordinary]
        return f"{text}: {did_you_mean(unknown[1], [n for n in names if n not in _OWN])}"
    if _TOO_MANY.search(text) and (shape := call_shape(function, example=True)) != "()":
        return f"{text}: name the arguments, as in {shape}"
    return text

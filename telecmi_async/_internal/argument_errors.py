"""Argument errors: Python's `TypeError` for a wrong argument, and what to write instead.

Python says "got an unexpected keyword argument 'from'". A public class adds "did you mean
"from_"?". Its functions are wrapped when the class is first imported from a public module.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import TYPE_CHECKING, cast

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
    if not isinstance(public, type) or _EXPLAINED in vars(public):
        return
    if issubclass(public, BaseException) or getattr(public, "_is_protocol", False):
        return
    for name, member in list(vars(public).items()):
        if name.startswith("_") and name != "__init__":
            continue
        if inspect.isfunction(member) and not inspect.iscoroutinefunction(member):
            setattr(public, name, _explained(member))
        elif isinstance(member, classmethod):
            function = cast("Callable[..., object]", getattr(member, "__func__"))  # noqa: B009  # of no known type
            setattr(public, name, classmethod(_explained(function)))
    setattr(public, _EXPLAINED, True)


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

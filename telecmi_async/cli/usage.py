"""Usage errors: what is wrong with the arguments of a command, in their own words."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal, get_args, get_origin

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
)

from telecmi_async._internal.messages import listed, mask_in, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cyclopts import App

_PART_OF_A_NUMBER: Final = re.compile(r"[0-9()\-.]+")
_KINDS: Final[dict[object, str]] = {int: "must be a whole number", float: "must be a number"}


def usage_words(app: App, error: CycloptsError) -> str:
    """Return what is wrong, with numbers masked, and the help that says how it is right."""
    chain = " ".join([*app.name, *(error.command_chain or ())])
    return mask_in(f"{_words(app, error)} (see {chain} --help)")


def _words(app: App, error: CycloptsError) -> str:  # noqa: PLR0911  # one for each kind
    argument, unused = error.argument, error.unused_tokens or []
    options = [name for name in unused if name.startswith("--")]
    match error:
        case UnknownCommandError():
            names = [name for name in _command(app, error) if not name.startswith("-")]
            return f"there is no command {shown(unused[0])}{_nearest(unused[0], names)}"
        case UnknownOptionError():
            name = (error.token.keyword or error.token.value).partition("=")[0]
            known = [each for found in error.argument_collection for each in found.names]
            return f"there is no option {shown(name)}{_nearest(name, known)}"
        case MissingArgumentError() if argument is not None:
            name = argument.name
            if error.keyword is not None:
                return f"{error.keyword} needs a value"
            if wrong := get_close_matches(name, options, n=1):
                return f"there is no option {shown(wrong[0])}: did you mean {name}?"
            names = [name, *_also_missing(app, error, name)]
            return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
        case CoercionError() if argument is not None:
            token = error.token or argument.tokens[0]
            name, kind = token.keyword or argument.name, error.target_type
            if kind is bool:
                return f"{name} takes no value"
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            why = error.msg or _KINDS.get(kind) or f"must be {listed(choices)}"
            return f"{name} {why}, not {shown(token.value)}{_nearest(token.value, choices)}"
        case _ if unused and all(map(_PART_OF_A_NUMBER.fullmatch, unused)):
            return "write a number with blanks in quotation marks, or without blanks"
        case _:
            return f"not known here: {' '.join(map(shown, unused))}"


def _command(app: App, error: CycloptsError) -> App:
    for name in error.command_chain or ():
        app = app[name]
    return app


def _also_missing(app: App, error: CycloptsError, name: str) -> list[str]:
    """Return the other options that are required and were not given."""
    given = {token.partition("=")[0] for token in error.root_input_tokens or ()}
    found = _command(app, error).assemble_argument_collection()
    return [
        each.name
        for each in found
        if each.required
        and each.parse
        and each.field_info.is_keyword
        and not given & set(each.names)
        and each.name not in {name, "*"}
    ]


def _nearest(word: str, names: Iterable[str]) -> str:
    near = get_close_matches(word, names, n=1)
    return f": did you mean {near[0]}?" if near else ""

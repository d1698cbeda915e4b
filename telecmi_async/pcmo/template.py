"""Templates: call flows with placeholders for a contact's columns, such as ``"Hello {name}"``.

Placeholders occur in strings only, and hold only the name of a column, so that neither a flow
nor a contacts file can reach into the program. A column's value is always text: braces in it
stay braces, and inside a URL it is percent-encoded. ``{{`` and ``}}`` are literal braces,
``||`` between braces is a literal bar. For defaults see `Template`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, Union, cast
from urllib.parse import quote

from attrs import frozen

from telecmi_async._internal.characters import has_text
from telecmi_async._internal.frozen_json import freeze, thaw
from telecmi_async._internal.json_text import parse_json
from telecmi_async._internal.messages import did_you_mean, shown, step
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo.actions import ACTIONS, Raw
from telecmi_async.pcmo.codec import check_names, dump_pcmo, parse_actions, parse_pcmo
from telecmi_async.pcmo.flow import Flow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telecmi_async._internal.frozen_json import Json
    from telecmi_async.pcmo.actions import Action, AnyAction
    from telecmi_async.pcmo.flow import FlowLike

# Text, and columns: "Hello {name}" is ("Hello ", _Column("name")).
_PIECE = re.compile(r"\{\{|\}\}|\{(?P<column>[^{}]*)\}|[{}]|[^{}]+")
_COLUMN = re.compile(r"(?P<name>(?:[^|]|\|\|)*)(?:\|(?P<default>(?:[^|]|\|\|)*))?", re.DOTALL)
_BRACE_IN_DEFAULT = re.compile(r"\{[^{}|]+\|[^{}]*[{}]")
_NO_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NO_TEXT = re.compile("[\ud800-\udfff]")

#: Options that are whole numbers on the wire: a column alone may fill them.
_WHOLE: Final = frozenset({"duration", "loop", "max_digit", "max_retry", "timeout"})
_URLS: Final = frozenset({"action_url", "file_url", "ws_url"})
_LONGEST_VALUE = 4_000
# Replaces a column before there is a contact: a number, which is a text as well.
_PROBE: Final = "19170000001"


@frozen
class _Column:
    """A placeholder: the name of a column, and its default; ``None`` if it requires text."""

    name: str
    default: str | None = None


@frozen
class _Text:
    """A string with placeholders, and its place in the flow."""

    pieces: tuple[str | _Column, ...]
    path: str
    key: str

    @property
    def columns(self) -> Iterator[_Column]:
        """Its placeholders."""
        return (piece for piece in self.pieces if isinstance(piece, _Column))

    def fill(self, columns: Mapping[str, str]) -> str | int:
        """Return the string for one contact."""
        (first, *others) = self.pieces
        if isinstance(first, _Column) and not others:
            value = self._value(first, columns)
            # int() takes more than digits, and digits of all scripts.
            if self.key in _WHOLE and len(value) < 10 and value.isascii() and value.isdigit():
                return int(value)
            return value
        return "".join(
            self._inner(piece, columns) if isinstance(piece, _Column) else piece
            for piece in self.pieces
        )

    def _inner(self, column: _Column, columns: Mapping[str, str]) -> str:
        value = self._value(column, columns)
        return quote(value, safe="") if self.key in _URLS else value

    def _value(self, column: _Column, columns: Mapping[str, str]) -> str:
        """Return a column's value or default, if it is a text of bearable length."""
        name = column.name
        if name not in columns and column.default is None:
            raise self.lacks(column, columns)
        value = cast("Mapping[str, object]", columns).get(name, "")
        if not isinstance(value, str):
            raise self._flaw(f"the column {shown(name)} must hold text")
        if not has_text(value):
            if column.default is None:
                raise self._flaw(
                    f"needs text in the column {shown(name)}, which is empty: fill it in, or "
                    f"give the flow a default, such as {_written(name, 'there')}, or "
                    f"{_written(name, '')} if it may be empty"
                )
            return column.default
        if _NO_TEXT.search(value):
            raise self._flaw(f"the column {shown(name)} holds a character that is not text")
        if len(value) > _LONGEST_VALUE:
            longest = f"{_LONGEST_VALUE:_} characters"
            raise self._flaw(f"the column {shown(name)} is longer than {longest}")
        return value

    def _flaw(self, words: str) -> InvalidCall:
        return InvalidCall(words, path=self.path)

    def lacks(self, column: _Column, known: Iterable[str]) -> InvalidCall:
        """Return the error that a column does not exist; ``known`` are those that do."""
        names = list(known)
        hint = did_you_mean(column.name, names) if names else "it has none"
        barred = f"{column.name}|{column.default}"
        if column.default is not None and barred in names:
            hint = f"write {_written(barred)} for the column {shown(barred)}"
        return self._flaw(
            f"needs the column {shown(column.name)}, which the contact lacks: {hint}"
        )


def _written(name: str, default: str | None = None) -> str:
    """Return a placeholder as it is written in a flow, for a message."""
    inner = shown(name).strip('"').replace("|", "||")
    return f"{{{inner}}}" if default is None else f"{{{inner}|{default}}}"


_Node: TypeAlias = Union["_Text", "dict[str, _Node]", "list[_Node]", "Json"]


class Template:
    """A call flow whose strings may hold names of columns in braces.

    Example:
        A text with a required column and one with a default::

            from telecmi_async.pcmo import Template

            template = Template(
                [Speak("Hello {name|there}, your parcel {order} is here."), Hangup()]
            )
            flow = template.fill({"name": "", "order": "A-1"})

    Args:
        flow: Actions, or plain dicts as they go on the wire. Where an action's class requires
            more than text, such as a number, a placeholder needs a dict:
            ``{"action": "bridge", "connect": [{"type": "pstn", "number": "{agent}"}]}``.
            ``{name}`` requires text in the column, ``{name|there}`` has a default, and
            ``{name|}`` may be empty.

    Raises:
        InvalidCall: It is not a call flow, has a single brace, or a default that cannot be sent;
            the path names the place.
    """

    __slots__ = ("_data", "_items", "_texts", "columns", "required")

    def __init__(self, flow: FlowLike) -> None:
        items = [_Item(item, f"pcmo[{i}]") for i, item in enumerate(_items(flow))]
        self._items = items
        self._data = tuple(item.data for item in items)
        self._texts = {text.path: text for item in items for text in item.texts}
        found = [column for text in self._texts.values() for column in text.columns]
        #: The names of the columns it is filled from.
        self.columns = frozenset(column.name for column in found)
        #: Those that must hold text, since they have no default.
        self.required = frozenset(column.name for column in found if column.default is None)

    @classmethod
    def parse(cls, data: str | bytes | FlowLike, *, raw: bool = False) -> Template:
        """Return the template in JSON text, or in data decoded from it.

        Args:
            data: JSON text, or a sequence of dicts or actions.
            raw: Whether an action with an unknown name becomes a `Raw` instead of an error.

        Raises:
            InvalidCall: The data is not JSON, or not a template.
        """
        decoded = parse_json(data) if isinstance(data, str | bytes) else data
        if not raw:
            return cls(cast("FlowLike", decoded))
        return cls([_known_or_raw(item) for item in _items(decoded)])

    def dump(self) -> list[dict[str, object]]:
        """Return it as JSON with its placeholders, to be stored with a campaign."""
        return [cast("dict[str, object]", thaw(item)) for item in self._data]

    def check(self, columns: Iterable[str]) -> None:
        """Require that the template's columns, with a default or without, are among the given ones.

        Raises:
            InvalidCall: One is missing; the path names the place that needs it.
        """
        known = list(columns)
        for text in self._texts.values():
            for column in text.columns:
                if column.name not in known:
                    raise text.lacks(column, known)

    def empty(self, columns: Mapping[str, str]) -> frozenset[str]:
        """Return the names of the template's columns in which a contact has no text.

        Those of them that are in `required` keep the contact from being dialled; for the others
        their default is used. White space, invisible marks and quotation marks are no text.
        """
        return frozenset(
            name for name in self.columns if not has_text(str(columns.get(name, "")))
        )

    def fill(self, columns: Mapping[str, str]) -> Flow:
        """Return the call flow of one contact, checked.

        Args:
            columns: The contact's columns.

        Raises:
            InvalidCall: The contact lacks a column or text in it, or a value cannot be sent
                there. The message names the column, but not its value.
        """
        filled = [item.fill(columns) for item in self._items]
        try:
            return Flow(filled)
        except InvalidCall as error:
            raise self._without_values(error) from None

    def _without_values(self, error: InvalidCall) -> InvalidCall:
        """Return an error that repeats no value of the contact's columns."""
        text = self._texts.get(error.path)
        if text is None:
            return InvalidCall("cannot be sent with the contact's columns", path=error.path)
        names = " and ".join(sorted({shown(column.name) for column in text.columns}))
        wanted, _, _ = error.message.partition(", not ")
        return InvalidCall(f"{wanted} (filled from the column {names})", path=error.path)

    def __eq__(self, other: object) -> bool:
        return self._data == other._data if isinstance(other, Template) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._data)

    def __repr__(self) -> str:
        return f"Template({len(self._items)} actions, columns {sorted(self.columns)})"


class _Item:
    """One action of a template: created once if it has no placeholders."""

    __slots__ = ("data", "kind", "made", "node", "texts")

    def __init__(self, item: object, path: str) -> None:
        self.kind = Raw if isinstance(item, Raw) else None
        self.data = freeze(_plain(item, path), path)
        self.texts: list[_Text] = []
        self.node = _compile(self.data, path, "", self.texts)
        self.made: Action | None = None
        if not self.texts:
            self.made = _parsed(self._again({}), path)
        elif self.kind is None:
            self._check(path)

    def _check(self, path: str) -> None:
        """Reject errors that no contact's columns can correct, before all contacts are blocked."""
        check_names(cast("Mapping[object, object]", thaw(self.data)), path)
        found = [column for text in self.texts for column in text.columns]
        filled = {column.name: _PROBE for column in found}
        if error := self._error(filled, path):
            raise error
        # Their defaults are known already.
        required = {column.name for column in found if column.default is None}
        if required < filled.keys():
            only_required = {name: _PROBE if name in required else "" for name in filled}
            if error := self._error(only_required, path, known=filled.keys() - required):
                raise InvalidCall(f"{error.message} (the flow's default)", path=error.path)

    def _error(
        self, columns: Mapping[str, str], path: str, *, known: Collection[str] = ()
    ) -> InvalidCall | None:
        """Return the error of an action that other columns than the ``known`` do not correct."""
        try:
            _parsed(self._again(columns), path)
        except InvalidCall as error:
            where = error.path
            others = [
                text.path
                for text in self.texts
                if not all(column.name in known for column in text.columns)
            ]
            if not any(where.startswith(each) for each in others):
                return error
        return None

    def fill(self, columns: Mapping[str, str]) -> Action | Mapping[str, object]:
        """Return the action of one contact, or its dict."""
        return self._again(columns) if self.made is None else self.made

    def _again(self, columns: Mapping[str, str]) -> Action | Mapping[str, object]:
        filled = cast("Mapping[str, object]", _fill(self.node, columns))
        return filled if self.kind is None else self.kind(filled)


def _parsed(item: object, path: str) -> Action:
    """Return the action at a path."""
    # It is parsed as a separate flow, so an error's path names the first action.
    try:
        (made,) = parse_actions([item])
    except InvalidCall as error:
        raise InvalidCall(error.message, path=error.path.replace("pcmo[0]", path, 1)) from None
    return made


def _known_or_raw(item: object) -> Mapping[str, object] | AnyAction:
    action = cast("Mapping[str, object] | AnyAction", item)
    if isinstance(action, Mapping):
        name = action.get("action")
        if isinstance(name, str) and name not in ACTIONS:
            return Raw(action)
    return action


def _items(flow: object) -> Sequence[object]:
    """Return the actions of a flow, unchecked."""
    if not isinstance(flow, Sequence) or isinstance(flow, Mapping | str | bytes):
        parse_pcmo(flow)  # it raises with the reason
    if not flow:
        raise InvalidCall("must hold at least one action", path="pcmo")
    return cast("Sequence[object]", flow)


def _plain(item: object, path: str) -> object:
    """Return an action as the dict that goes on the wire."""
    if isinstance(item, Mapping):
        return cast("Mapping[str, object]", item)
    (data,) = dump_pcmo([_parsed(item, path)])
    return data


def _compile(value: Json, path: str, key: str, texts: list[_Text]) -> _Node:
    """Return a JSON value with its strings with placeholders parsed; collect those in ``texts``."""
    match value:
        case str():
            pieces = _pieces(value, path)
            plain = [piece for piece in pieces if isinstance(piece, str)]
            if len(plain) == len(pieces):
                return "".join(plain)
            if key in {"action", "type"}:
                raise InvalidCall("must not come from a column", path=path)
            text = _Text(pieces, path, key)
            texts.append(text)
            return text
        case dict():
            return {k: _compile(v, step(path, k), k, texts) for k, v in value.items()}
        case tuple():
            return [_compile(v, f"{path}[{i}]", key, texts) for i, v in enumerate(value)]
        case _:
            return value


def _pieces(text: str, path: str) -> tuple[str | _Column, ...]:
    """Return the parts of a string: text, and columns."""
    pieces: list[str | _Column] = []
    for found in _PIECE.finditer(text):
        piece, column = found.group(), found["column"]
        if column is not None:
            pieces.append(_column(column, path))
        elif piece in {"{", "}"}:
            hint = f"write {piece * 2} for the brace itself"
            if _BRACE_IN_DEFAULT.match(text, found.start()):
                hint = "a default holds no braces"
            raise InvalidCall(
                f"has a single {piece} at position {found.start()}: {hint}", path=path
            )
        else:
            pieces.append(piece[0] if piece in {"{{", "}}"} else piece)
    return tuple(pieces)


def _column(text: str, path: str) -> _Column:
    """Return the placeholder with this text between its braces."""
    found = _COLUMN.fullmatch(text)
    if found is None:
        raise InvalidCall(
            f"has braces with more than one |, {shown(text)}: the first ends the column's name, "
            "and || stands for the bar itself",
            path=path,
        )
    name, default = found["name"].replace("||", "|"), found["default"]
    if not has_text(name) or _NO_NAME.search(name):
        raise InvalidCall("has braces without a column's name in them", path=path)
    return _Column(name, None if default is None else default.replace("||", "|"))


def _fill(node: _Node, columns: Mapping[str, str]) -> object:
    match node:
        case _Text():
            return node.fill(columns)
        case dict():
            return {key: _fill(value, columns) for key, value in node.items()}
        case list():
            return [_fill(value, columns) for value in node]
        case _:
            return node

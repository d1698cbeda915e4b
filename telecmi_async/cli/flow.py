"""``telecmi-async flow``: check or show a call flow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from telecmi_async.campaigns.contacts.masking import mask_text
from telecmi_async.cli.exits import Exit
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo.template import Template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.cli.terminal import Terminal

# The keys of a flow that hold phone numbers.
_NUMBERS: Final = frozenset({"from", "number"})


def read_flow(terminal: Terminal, name: str) -> str | bytes:
    """Return the content of a call flow file, or of stdin for ``-``."""
    if name == "-":
        return terminal.stdin.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidCall(f"cannot read {name}: {error.strerror}", path="flow") from None


def check(terminal: Terminal, *, flow: str, as_json: bool) -> int:
    """Check a call flow; print its actions, its columns, and those without a default."""
    template = Template.parse(read_flow(terminal, flow))
    actions = [action.get("action") for action in template.dump()]
    columns, required = sorted(template.columns), sorted(template.required)
    if as_json:
        found = {"actions": actions, "columns": columns, "required": required}
        terminal.put(json.dumps(found))
        return Exit.OK
    terminal.put(f"{len(actions)} actions: {', '.join(map(str, actions))}")
    terminal.put(f"columns: {', '.join(columns) or 'none'}")
    if columns:
        terminal.put(f"must hold text: {', '.join(required) or 'none'}")
    return Exit.OK


def show_flow(terminal: Terminal, *, flow: str, as_json: bool) -> int:
    """Print a call flow as a tree; its numbers are masked unless a terminal shows it."""
    parsed = Template.parse(read_flow(terminal, flow), raw=True).dump()
    actions = [
        action if terminal.stdout.isatty() else cast("dict[str, object]", _masked(action))
        for action in parsed
    ]
    if as_json:
        terminal.put(json.dumps(actions))
        return Exit.OK
    for number, action in enumerate(actions, 1):
        terminal.put(f"{number}. {action.get('action')}")
        for line in _tree({k: v for k, v in action.items() if k != "action"}, "   "):
            terminal.put(line)
    return Exit.OK


def _masked(value: object, key: str = "") -> object:
    """Return a part of a flow with its numbers masked."""
    if isinstance(value, Mapping):
        given = cast("Mapping[str, object]", value)
        return {name: _masked(each, name) for name, each in given.items()}
    if isinstance(value, list):
        return [_masked(each, key) for each in cast("list[object]", value)]
    text = str(value)
    hidden = mask_text(text, "phone" if key in _NUMBERS else key)
    return value if hidden == text else hidden


def _tree(value: object, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        rows = list(cast("Mapping[str, object]", value).items())
    else:
        rows = [(f"[{n}]", item) for n, item in enumerate(cast("list[object]", value))]
    for key, item in rows:
        if isinstance(item, Mapping | list) and item:
            yield f"{indent}{key}"
            yield from _tree(cast("object", item), f"{indent}   ")
        else:
            yield f"{indent}{key}: {item}"

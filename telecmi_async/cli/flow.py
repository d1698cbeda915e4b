"""``telecmi-async flow``: look at a call flow before anybody hears it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from telecmi_async._internal.messages import mask_in
from telecmi_async.cli.exits import Exit
from telecmi_async.cli.flow_file import read_flow
from telecmi_async.cli.masking import masked
from telecmi_async.pcmo.template import Template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.cli.terminal import Terminal


def check(terminal: Terminal, *, flow: str, as_json: bool) -> int:
    """Say whether TeleCMI would take a call flow, and which columns it is filled from.

    Returns:
        An `Exit`.

    Raises:
        InvalidCall: It would not; the message leads to the place.
    """
    template = Template.parse(read_flow(terminal, flow))
    actions = [action.get("action") for action in template.dump()]
    columns = sorted(template.columns)
    if as_json:
        terminal.put(json.dumps({"actions": actions, "columns": columns}))
        return Exit.OK
    terminal.put(f"{len(actions)} actions: {', '.join(map(str, actions))}")
    terminal.put(f"columns: {', '.join(columns) or 'none'}")
    return Exit.OK


def show_flow(terminal: Terminal, *, flow: str, as_json: bool) -> int:
    """Print a call flow as a tree, its numbers masked.

    Returns:
        An `Exit`.

    Raises:
        InvalidCall: It is not a call flow.
    """
    actions = Template.parse(read_flow(terminal, flow), raw=True).dump()
    if as_json:
        terminal.put(json.dumps(masked(actions)))
        return Exit.OK
    for number, action in enumerate(actions, 1):
        terminal.put(f"{number}. {action.get('action')}")
        for line in _tree({k: v for k, v in action.items() if k != "action"}, "   "):
            terminal.put(mask_in(line))
    return Exit.OK


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

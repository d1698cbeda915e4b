"""``telecmi-async flow``: check or show a call flow, or write one to start from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias, cast

from cyclopts import App

from telecmi_async._internal.telecmi import STREAM_PLACEHOLDER
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.options import FILE_OR_STDIN, Here, JsonFlag, command, value
from telecmi_async.errors import InvalidCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.cli.output.terminal import Terminal


FlowFile: TypeAlias = Annotated[str, FILE_OR_STDIN]
FlowKind: TypeAlias = Literal["message", "menu", "bridge", "record", "stream"]
_HANGUP: Final[dict[str, object]] = {"action": "hangup"}
#: What `flow new` writes. The number is one that films use: no phone has it.
_NEW: Final[Mapping[FlowKind, list[dict[str, object]]]] = {
    "message": [{"action": "speak", "text": "Hello {name}, your order is ready."}, _HANGUP],
    "menu": [
        {"action": "speak", "text": "To hear it again, press 1. For an agent, press 2."},
        {"action": "input", "action_url": "https://example.com/keys", "max_digit": 1},
    ],
    "bridge": [
        {"action": "speak", "text": "Please wait, we connect you."},
        {
            "action": "bridge",
            "timeout": 30,
            "connect": [{"type": "pstn", "number": 12025550199}],
        },
    ],
    "record": [
        {"action": "record"},
        {"action": "speak", "text": "This call is recorded. Thank you for your time."},
        _HANGUP,
    ],
    "stream": [
        {
            "action": "stream",
            "ws_url": f"wss://voice.example.com/talk/8000/{STREAM_PLACEHOLDER}",
            "listen_mode": "caller",
            "voice_quality": "8000",
        },
        _HANGUP,
    ],
}

flow = App(name="flow", help="Check a call flow, show it, or write one to start from.")


def read_flow(terminal: Terminal, name: str) -> str | bytes:
    """Return the content of a call flow file, or of stdin for ``-``."""
    if name == "-":
        return terminal.stdin.read()
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise InvalidCall(f"cannot read the call flow {name}: {error.strerror}") from None


@command("check", "flow check greeting.json", into=flow)
def check(flow: FlowFile, /, *, as_json: JsonFlag = False, terminal: Here) -> int:
    """Say whether a file holds a call flow, and which columns it is filled from.

    Args:
        flow: A file with the call flow as JSON; - for stdin.
    """
    from telecmi_async.pcmo.template import Template

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


@command("new", "flow new", "flow new menu.json --kind menu", into=flow)
def new(
    file: Annotated[str, value("FILE")] = "flow.json",
    /,
    *,
    kind: FlowKind = "message",
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Write a small call flow to start from. No file is overwritten.

    Args:
        file: The file to write.
        kind: What the flow does: say a message, let the callee press a key, connect another phone, record, or stream the call to a voice bot.
    """
    text = json.dumps(_NEW[kind], indent=2)
    try:
        with Path(file).open("x", encoding="utf-8") as target:
            target.write(f"{text}\n")
    except OSError as error:
        raise Stop(Exit.USAGE, f"cannot write {file}: {error.strerror}") from None
    if as_json:
        terminal.put(json.dumps({"file": file, "kind": kind}))
    terminal.say(f"{file} holds a call flow: change it, and `flow check {file}` checks it.")
    return Exit.OK


@command("show", "flow show greeting.json", into=flow)
def show_flow(flow: FlowFile, /, *, as_json: JsonFlag = False, terminal: Here) -> int:
    """Print a call flow as a tree; its numbers are masked unless a terminal shows it.

    Args:
        flow: A file with the call flow as JSON; - for stdin.
    """
    from telecmi_async._internal.frozen_json import freeze
    from telecmi_async.cli.event_lines import masked_json
    from telecmi_async.pcmo.template import Template

    actions = Template.parse(read_flow(terminal, flow), raw=True).dump()
    if not terminal.stdout.isatty():
        actions = cast("list[dict[str, object]]", masked_json("", freeze(actions, "flow")))
    if as_json:
        terminal.put(json.dumps(actions))
        return Exit.OK
    for number, action in enumerate(actions, 1):
        terminal.put(f"{number}. {action.get('action')}")
        for line in _tree({k: v for k, v in action.items() if k != "action"}, "   "):
            terminal.put(line)
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

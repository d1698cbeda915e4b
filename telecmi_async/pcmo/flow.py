"""Call flow builder: ``Flow().play("a.wav").bridge([Pstn(…)]).hangup()``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias, overload

import attrs
from attrs import field, frozen

from telecmi_async._internal.argument_errors import copy_signature
from telecmi_async._internal.json_text import parse_json
from telecmi_async.pcmo.actions import (
    Action,
    Bridge,
    Connect,
    Hangup,
    Input,
    Param,
    Play,
    PlayGetInput,
    Raw,
    Record,
    Speak,
    Stream,
)
from telecmi_async.pcmo.codec import dump_pcmo, parse_actions
from telecmi_async.pcmo.fields import given, hide_tokens, wire_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async._internal.html import Html
    from telecmi_async.pcmo.actions import AnyAction
    from telecmi_async.pcmo.targets import Pstn, Sip

P = ParamSpec("P")

#: Any call flow that a function accepts: actions, plain dicts, or both.
FlowLike: TypeAlias = "Sequence[AnyAction | Mapping[str, object]]"


def _actions(value: FlowLike) -> tuple[Action, ...]:
    return parse_actions(value)


def _adds(kind: Callable[P, Action]) -> Callable[Concatenate[Flow, P], Flow]:
    """Return a method that appends an action, with the parameters of the action's class."""

    def add(self: Flow, /, *args: P.args, **kwargs: P.kwargs) -> Flow:
        return Flow((*self.actions, kind(*args, **kwargs)))

    name = kind.__name__
    add.__name__ = re.sub(r"(?<=.)(?=[A-Z])", "_", name).lower()
    copy_signature(kind, add)
    add.__doc__ = f"Return this flow with a `{name}` appended; it takes what `{name}` takes."
    return add


@frozen
class Flow(Sequence[Action]):
    """An immutable sequence of actions, built by its methods, by ``+`` or from JSON.

    Every method returns a new flow, so several flows can share a beginning. A flow compares,
    hashes and pickles by its actions, and can be used in place of a list of actions.

    Example:
        A greeting, then a colleague for 20 seconds, then the end::

            flow = Flow().play("welcome.wav").bridge([Pstn(19170000002)], timeout=20).hangup()
            call = await service.make_call(to=19170000001, pcmo=flow)

    Args:
        actions: The actions to begin with: actions, plain dicts, or both.

    Raises:
        InvalidCall: One of them cannot be sent.
    """

    actions: tuple[Action, ...] = field(default=(), converter=_actions)

    bridge = _adds(Bridge)
    connect = _adds(Connect)
    hangup = _adds(Hangup)
    input = _adds(Input)
    param = _adds(Param)
    play = _adds(Play)
    play_get_input = _adds(PlayGetInput)
    raw = _adds(Raw)
    record = _adds(Record)
    speak = _adds(Speak)
    stream = _adds(Stream)

    @classmethod
    def parse(cls, data: str | bytes | FlowLike, *, raw: bool = False) -> Flow:
        """Return the flow in JSON text or decoded JSON.

        Args:
            data: JSON text, or a sequence of dicts or actions.
            raw: Whether an action whose name is not known becomes a `Raw` instead of an
                error.

        Raises:
            InvalidCall: It is not JSON, or not a call flow; the error has the path.
        """
        decoded = parse_json(data) if isinstance(data, str | bytes) else data
        return cls(parse_actions(decoded, raw=raw))

    def dump(self) -> list[dict[str, object]]:
        """Return the array of plain dicts for the wire, and for the answer to a webhook."""
        return dump_pcmo(self.actions)

    def __add__(self, other: FlowLike) -> Flow:
        return Flow((*self.actions, *_actions(other)))

    def __radd__(self, other: FlowLike) -> Flow:
        return Flow((*_actions(other), *self.actions))

    def __len__(self) -> int:
        return len(self.actions)

    def __iter__(self) -> Iterator[Action]:
        return iter(self.actions)

    @overload
    def __getitem__(self, index: int) -> Action: ...

    @overload
    def __getitem__(self, index: slice) -> Flow: ...

    def __getitem__(self, index: int | slice) -> Action | Flow:
        found = self.actions[index]
        return Flow(found) if isinstance(found, tuple) else found

    def __repr__(self) -> str:
        return f"Flow([{', '.join(repr(action) for action in self.actions)}])"

    def _repr_html_(self) -> str:
        from telecmi_async._internal.html import card  # noqa: PLC0415  # for notebooks only

        return card("Call flow", html_of_flow(self.actions))


def html_of_flow(actions: Sequence[Action]) -> Html:
    """Return actions as numbered steps, with the targets that one rings under it."""
    from telecmi_async._internal.html import joined, nested, numbered, plain, tag  # noqa: PLC0415  # for notebooks only

    steps: list[Html] = []
    for action in actions:
        data = action.data.items() if isinstance(action, Raw) else ()
        words = [f"{key} {value}" for key, value in data if key != "action"]
        targets: tuple[Pstn | Sip, ...] = ()
        for one, value in given(action):
            if one.name == "connect":
                targets = value
            elif one.name != "data":
                unit = " s" if one.name in {"duration", "timeout"} else ""
                words.append(f"{wire_name(one)} {value}{unit}" if one.kw_only else str(value))
        name = plain(action.action.replace("_", " "))
        rung = [f"{each.type} {attrs.astuple(each)[0]}" for each in targets]
        details = [joined(" · ", plain(hide_tokens(each))) for each in words]
        steps.append(joined(tag("strong", name), *details, nested(rung)))
    return numbered(steps)

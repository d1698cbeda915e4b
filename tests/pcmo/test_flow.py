"""PCMO flows: composing, reading and writing them."""

from __future__ import annotations

import inspect
import json
import pickle
import re

import pytest
from call_strategies import actions, known_actions
from hypothesis import given
from hypothesis import strategies as st

from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo import (
    Action,
    Bridge,
    Connect,
    Hangup,
    Input,
    Param,
    Play,
    PlayGetInput,
    Pstn,
    Raw,
    Record,
    Sip,
    Speak,
    Stream,
)
from telecmi_async.pcmo.actions import ACTIONS
from telecmi_async.pcmo.flow import Flow

PHONE = 19170000002
HOOK = "https://example.com/digits"


def test_every_action_has_its_method() -> None:
    """Each method appends its action, with the arguments given."""
    flow = (
        Flow()
        .record()
        .play("welcome.wav")
        .play(file_url="https://example.com/a.wav")
        .speak("Hello")
        .param("name")
        .play_get_input(HOOK, file_name="menu.wav", max_digit=2)
        .input(HOOK, timeout=5)
        .bridge([Pstn(PHONE)], timeout=20, ring_type="group")
        .connect([Sip("anna")])
        .stream("wss://example.com/stream", listen_mode="both")
        .raw({"action": "clear"})
        .hangup()
    )

    assert list(flow) == [
        Record(),
        Play("welcome.wav"),
        Play(file_url="https://example.com/a.wav"),
        Speak("Hello"),
        Param("name"),
        PlayGetInput(HOOK, file_name="menu.wav", max_digit=2),
        Input(HOOK, timeout=5),
        Bridge([Pstn(PHONE)], timeout=20, ring_type="group"),
        Connect([Sip("anna")]),
        Stream("wss://example.com/stream", listen_mode="both"),
        Raw({"action": "clear"}),
        Hangup(),
    ]


@pytest.mark.parametrize("name", [*ACTIONS, "raw"])
def test_a_method_has_its_classs_signature(name: str) -> None:
    """Help and editors show the arguments of the action."""
    method = getattr(Flow, name)
    kind = ACTIONS.get(name, Raw)

    own, *others = inspect.signature(method).parameters.values()
    assert own.name == "self"
    assert others == list(inspect.signature(kind).parameters.values())
    assert (
        inspect.signature(getattr(Flow(), name)).parameters
        == inspect.signature(kind).parameters
    )
    assert kind.__name__ in (method.__doc__ or "")


def test_a_flow_is_never_changed() -> None:
    """A flow can be continued in several ways, because no method changes it."""
    start = Flow().play("welcome.wav")

    one, two = start.hangup(), start.speak("Bye")

    assert start.actions == (Play("welcome.wav"),)
    assert one.actions == (Play("welcome.wav"), Hangup())
    assert two.actions == (Play("welcome.wav"), Speak("Bye"))


def test_a_flow_is_a_sequence() -> None:
    """Length, index, slice, membership and truth value are those of its actions."""
    flow = Flow([Record(), Play("a.wav"), Hangup()])

    assert len(flow) == 3
    assert flow[0] == Record()
    assert flow[-1] == Hangup()
    assert flow[1:] == Flow([Play("a.wav"), Hangup()])
    assert Hangup() in flow
    assert not Flow()


def test_flows_are_joined() -> None:
    """A flow, a list or dicts may be on either side of the plus."""
    flow = Flow([Record()])

    assert flow + Flow([Hangup()]) == Flow([Record(), Hangup()])
    assert flow.__add__([Hangup(), {"action": "record"}]) == Flow(
        [Record(), Hangup(), Record()]
    )
    for first in ([Hangup()], (Hangup(),)):
        assert first + flow == Flow([Hangup(), Record()])


def test_joining_a_single_action_says_what_to_do() -> None:
    """Adding a single action is refused with a message that says to use a list."""
    with pytest.raises(InvalidCall, match=r"put \[ \] around"):
        Flow() + Hangup()  # type: ignore[operator]  # that is tested


@given(st.lists(actions, max_size=4))
def test_a_flow_is_a_value(items: list[Action]) -> None:
    """Flows of equal actions are equal, hash alike and survive pickling."""
    flow = Flow(items)

    assert flow == Flow(tuple(items)) == pickle.loads(pickle.dumps(flow))
    assert hash(flow) == hash(Flow(items))


def test_a_flow_equals_no_list() -> None:
    """A flow only equals other flows, so that equal objects hash alike."""
    actions: object = [Hangup()]

    assert Flow([Hangup()]) != actions


@given(st.lists(known_actions, max_size=4))
def test_a_flow_survives_json(items: list[Action]) -> None:
    """A flow that is dumped to JSON text and parsed again is equal."""
    flow = Flow(items)

    text = json.dumps(flow.dump())

    assert Flow.parse(text) == Flow.parse(text.encode()) == Flow.parse(json.loads(text)) == flow


@given(st.lists(actions, max_size=4))
def test_a_flow_with_raw_actions_survives_json(items: list[Action]) -> None:
    """With ``raw``, actions of unknown names survive JSON."""
    flow = Flow(items)

    assert Flow.parse(json.dumps(flow.dump()), raw=True) == flow


def test_a_dump_belongs_to_the_caller() -> None:
    """A dump is new data, so changing it does not change the flow."""
    flow = Flow().raw({"action": "x", "list": [1]}).bridge([PHONE])

    dump = flow.dump()
    dump[0]["list"].append(2)  # type: ignore[attr-defined]  # values are objects to a checker
    dump[1]["connect"].clear()  # type: ignore[attr-defined]  # as above

    assert flow.dump()[0] == {"action": "x", "list": [1]}
    assert flow == Flow().raw({"action": "x", "list": [1]}).bridge([PHONE])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[{]", r"not JSON: .* line 1, column 3"),
        ("", "not JSON"),
        (b"\xff\xfe[", "not JSON"),
        (b"[\xff]", "not UTF-8"),
        ("[" * 100_000, "nested too deep"),
        ("[" + "9" * 5000 + "]", "too long"),
        ("{}", r"put \[ \] around"),
        ('{"pcmo": []}', "without"),
        ('"hangup"', r"Flow\.parse"),
        ('[{"action": "brigde"}]', 'did you mean "bridge"'),
    ],
)
def test_json_that_is_no_flow_is_refused(text: str | bytes, says: str) -> None:
    """The error names the place, and no exception of the JSON library is raised."""
    with pytest.raises(InvalidCall) as caught:
        Flow.parse(text)

    assert re.search(says, caught.value.message)
    assert caught.value.path.startswith("pcmo")
    assert caught.value.__cause__ is None


def test_a_flow_shows_its_actions() -> None:
    """A flow's repr is a list of its actions, with numbers masked."""
    assert (
        repr(Flow().bridge([PHONE]).hangup())
        == "Flow([Bridge((Pstn(•••••••0002),)), Hangup()])"
    )

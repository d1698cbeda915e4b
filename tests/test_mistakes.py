"""Typical mistakes at run time: the message says what to write instead."""

from __future__ import annotations

import importlib
import inspect
import pydoc
from typing import TYPE_CHECKING, Any

import httpx
import pytest

import telecmi_async
from telecmi_async import (
    Bridge,
    CallHandle,
    CallRequest,
    CallService,
    CdrPoller,
    Connect,
    Flow,
    Hangup,
    Play,
    PlayGetInput,
    Pstn,
    RateLimit,
    Receiver,
    Record,
    RetryPolicy,
    Speak,
    Timeouts,
)
from telecmi_async._internal.messages import call_shape, shown
from telecmi_async.campaigns import (
    CallingWindow,
    Campaign,
    CampaignRules,
    CampaignSettings,
    Pace,
    Retries,
)
from telecmi_async.ledger import NewContact, SqliteLedger
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

TO = 19170000001
FROM = 19170000000
FLOW = [Hangup()]
WINDOW = CallingWindow("09:00", "18:00")
FACES = [
    "telecmi_async",
    *(
        f"telecmi_async.{name}"
        for name in (
            "calls",
            "campaigns",
            "campaigns.contacts",
            "errors",
            "events",
            "events.receiver",
            "events.store",
            "http_server",
            "ledger",
            "pacing",
            "pcmo",
            "phone",
            "service",
            "simulator",
            "testing",
            "wire",
        )
    ),
]
# What users make or are given, and read with help().
MAIN: list[type] = [
    CallHandle,
    CallRequest,
    CallService,
    Campaign,
    CampaignSettings,
    CdrPoller,
    Flow,
    Pace,
    RateLimit,
    Receiver,
    RetryPolicy,
    Simulator,
    SqliteLedger,
]

# Python's own words for wrong arguments, and its help pages, differ from version to version.
pytestmark = pytest.mark.source


# Misspelt names and wrong types are the subject, so nothing here is checked by a type checker.
any_of: Callable[[Any], Any] = lambda value: value  # noqa: E731  # a short name for what cannot be typed
service = any_of(CallService)(2222226, "a-secret", from_=FROM)
new: Any = lambda **given: any_of(CallService)(2222226, "a-secret", **given)  # noqa: E731  # a short name for what cannot be typed
request: Any = lambda *flow: CallRequest(to=TO, pcmo=any_of(flow[0] if flow else FLOW))  # noqa: E731  # a short name for what cannot be typed
campaign: Any = lambda **given: any_of(CampaignSettings)(flow=FLOW, from_=FROM, **given)  # noqa: E731  # a short name for what cannot be typed


async def number() -> int:
    """Return a number, later."""
    return TO


MISTAKES: list[tuple[Callable[[], object], str]] = [
    # flows
    (lambda: request([Speak("Hello."), Hangup]), "pcmo[1]: must be an action or a dict, not the class Hangup: write Hangup()"),
    (lambda: request([Speak]), "not the class Speak: write Speak(text=…)"),
    (lambda: request(Hangup), "pcmo: must be a list of actions, not the class Hangup: write Hangup()"),
    (lambda: request(Flow), "not the class Flow: write Flow()"),
    (lambda: request(Hangup()), "put [ ] around the action"),
    (lambda: request({"action": "hangup"}), "put [ ] around the action"),
    (lambda: request("Hello."), "must be a list of actions, not JSON text: parse it first, with Flow.parse(text)"),
    (lambda: request(["Hello."]), 'pcmo[0]: must be an action or a dict, not "Hello."'),
    (lambda: request([[Hangup()]]), "pcmo[0]: must be an action or a dict, not a value of type list"),
    (lambda: request([Flow().speak]), "not the function speak: write speak(text=…)"),
    (lambda: request([Flow().play_get_input]), "not the function play_get_input: write play_get_input(action_url=…)"),
    (lambda: request([any_of]), "not a function: call it"),
    (lambda: request(Pstn(TO)), "must be a list of actions"),
    (lambda: request([Pstn(TO)]), "put the Pstn into Bridge([…])"),
    (lambda: request([{"action": "speek", "text": "Hello."}]), 'did you mean "speak"?'),
    (lambda: request([{"action": "speak", "txt": "Hello."}]), 'did you mean "text"?'),
    (lambda: request([{"action": "bridge", "from_": FROM, "connect": []}]), 'on the wire it is "from"'),
    (lambda: any_of(Flow)(Speak("Hello."), Hangup()), "name the arguments, as in (actions=…)"),
    (lambda: any_of(Bridge)(Pstn), "connect: must be a list such as [Pstn(…)], not the class Pstn: write Pstn(number=…)"),
    (lambda: any_of(Connect)([Pstn(TO)]), "a phone goes into Bridge"),
    (lambda: any_of(Speak)(txt="Hello."), 'did you mean "text"?'),
    (lambda: any_of(Play)(url="a.wav"), 'did you mean "file_url"?'),
    (lambda: any_of(Record)(timeout=5), "it takes no options"),
    (lambda: any_of(Flow().speak)(txt="Hello."), 'did you mean "text"?'),
    (lambda: any_of(PlayGetInput)("/menu"), "must be a full URL such as https://example.com/path"),
    # numbers and arguments
    (lambda: any_of(CallRequest)(TO, FLOW), "name the arguments, as in (to=…, pcmo=…)"),
    (lambda: any_of(CallRequest)(to=TO, pcmo=FLOW, **{"from": FROM}), 'did you mean "from_"?'),
    (lambda: any_of(service).make_call(TO, FLOW), "name the arguments, as in (to=…, pcmo=…)"),
    (lambda: any_of(service).make_call(to=TO, pcmo=FLOW, frm=FROM), 'did you mean "from_"?'),
    (lambda: any_of(NewContact)(TO), "name the arguments, as in (number=…)"),
    (lambda: any_of(CallRequest)(to=1.9e10, pcmo=FLOW), "not a float: spreadsheets"),
    (lambda: any_of(CallRequest)(to=["+19170000001"], pcmo=FLOW), "not list: give one number"),
    (lambda: any_of(CallRequest)(to=(TO,), pcmo=FLOW), "not tuple: give one number"),
    (lambda: any_of(CallRequest)(to=None, pcmo=FLOW), "to: must be a phone number, not None"),
    (lambda: any_of(CallRequest)(to=TO, pcmo=FLOW, duration="60"), "leave the quotes out"),
    # settings
    (lambda: new(rate=10), "rate must be a RateLimit, such as RateLimit(calls_per_second=…), not int"),
    (lambda: new(rate=RateLimit), "rate must be a RateLimit, not the class RateLimit: write RateLimit()"),
    (lambda: new(retry=3), "retry must be a RetryPolicy, such as RetryPolicy(attempts=…), not int"),
    (lambda: new(retry=False), "retry must be a RetryPolicy, such as RetryPolicy(attempts=…), not bool"),
    (lambda: new(retries=3), 'did you mean "retry"?'),
    (lambda: new(**{"from": FROM}), 'did you mean "from_"?'),
    (lambda: new(events=Receiver), "not the class Receiver: write Receiver(token=…)"),
    (lambda: new(events=CdrPoller), "not the class CdrPoller: write CdrPoller()"),
    (lambda: new(http_client=httpx.Client()), "httpx.AsyncClient"),
    (lambda: new(region="inda"), '"auto", "india" or "global"'),
    (lambda: any_of(CallService).from_env(secret="a-secret", app_id=2222226, frm=FROM), 'did you mean "from_"?'),
    (lambda: any_of(CallService)("secret", 2222226), "is it the secret?"),
    (lambda: any_of(RateLimit)(per_second=10), 'did you mean "calls_per_second"?'),
    (lambda: any_of(RateLimit)("10"), "RateLimit.calls_per_second must be a number"),
    (lambda: any_of(RetryPolicy)(3), "name the arguments, as in (attempts=…)"),
    (lambda: any_of(Timeouts)(connect_timeout=3), 'did you mean "connect"?'),
    (lambda: any_of(CdrPoller)(first="5s"), "a positive number of seconds or a timedelta"),
    (lambda: any_of(Receiver)("short"), "make one with telecmi_async.events.receiver.new_token()"),
    (lambda: any_of(Simulator)(lattency=1), 'did you mean "latency"?'),
    # campaigns
    (lambda: campaign(pace=2), "must be a Pace, such as Pace(calls_per_second=…), not 2"),
    (lambda: campaign(pace=Pace), "not the class Pace: write Pace()"),
    (lambda: campaign(retries=Retries), "not the class Retries: write Retries()"),
    (lambda: campaign(rules=WINDOW), "must be a CampaignRules, such as CampaignRules(window=…)"),
    (lambda: campaign(retry=3), 'did you mean "retries"?'),
    (lambda: any_of(CampaignRules)(window=CallingWindow), "not the class CallingWindow: write CallingWindow(start=…, end=…)"),
    (lambda: any_of(CampaignRules)(window="09:00-18:00"), "must be a CallingWindow or None"),
    (lambda: any_of(CallingWindow)(9, 18), 'must be a time such as "09:00"'),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), MISTAKES)
def test_a_mistake_is_answered_with_what_to_write(
    make: Callable[[], object], said: str
) -> None:
    """The error of a typical mistake names the place and what would be right."""
    with pytest.raises((TypeError, telecmi_async.TelecmiError)) as caught:
        make()

    assert said in str(caught.value)


def test_a_forgotten_await_is_named() -> None:
    """A coroutine in the place of a number is not called "a value of type coroutine"."""
    later = number()

    with pytest.raises(telecmi_async.InvalidCall, match="an awaitable: write await before it"):
        any_of(CallRequest)(to=later, pcmo=FLOW)
    later.close()


def test_an_error_from_inside_a_function_is_not_explained() -> None:
    """Only arguments that do not fit the signature are; a TypeError of other code stays as it is."""

    class Failing(dict[str, object]):
        """A mapping that cannot be read."""

        def items(self) -> Any:
            raise TypeError("got an unexpected keyword argument 'from'")

    with pytest.raises(TypeError) as caught:
        CallRequest.parse(Failing())

    assert str(caught.value) == "got an unexpected keyword argument 'from'"


def test_arguments_that_are_missing_keep_the_words_of_python() -> None:
    """Python names them already."""
    with pytest.raises(TypeError, match=r"missing 1 required .* argument: 'token'$"):
        any_of(Receiver)()
    with pytest.raises(TypeError, match=r"takes 1 positional argument but 2 were given$"):
        any_of(Hangup)("now")


def test_a_function_without_a_signature_is_shown_without_its_arguments() -> None:
    """Some that are written in C have none."""
    assert call_shape(dict) == "(…)"
    assert shown(dict.fromkeys) == "the function fromkeys: write fromkeys(iterable=…)"


@pytest.mark.parametrize("face", FACES)
def test_a_module_lists_its_public_names_alone(face: str) -> None:
    """``dir()`` of a public module, and so an editor, shows no module or import of its own."""
    module = importlib.import_module(face)

    shown = {name for name in dir(module) if not name.startswith("__")}
    assert shown == set(module.__all__)


@pytest.mark.parametrize("kind", MAIN)
def test_help_of_a_main_class_says_what_it_does_and_takes(kind: type) -> None:
    """``help()`` shows the signature, and a text for the class and each of its public members."""
    text = pydoc.plain(pydoc.render_doc(kind))
    members = {
        name: member
        for name, member in inspect.getmembers_static(kind)
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }

    assert "*args" not in text
    assert "**arguments" not in text
    assert inspect.getdoc(kind)
    assert [name for name, member in members.items() if not inspect.getdoc(member)] == []


def test_explaining_changes_no_signature() -> None:
    """Editors, `inspect` and the documentation see what was written."""
    names = list(inspect.signature(CallService.make_call).parameters)

    assert names[:3] == ["self", "to", "pcmo"]
    assert inspect.iscoroutinefunction(CallService.channels)
    assert inspect.ismethod(CallService.from_env)

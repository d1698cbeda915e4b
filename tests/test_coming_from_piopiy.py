"""The page for users of piopiy: what is shown side by side sends the same to TeleCMI."""

from __future__ import annotations

import ast
import re
import socket
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import requests
from consoles import serving
from piopiy import Action, RestClient
from piopiy.voice import hangup, hold, pcmo_call
from project_paths import docs_page

import telecmi_async
from telecmi_async import (
    Bridge,
    CallOutcomeUnknown,
    CallRejected,
    CallService,
    InvalidCall,
    NotSent,
    RetryPolicy,
    dump_pcmo,
)
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from telecmi_async.simulator import SimulatedCall

PAGE = docs_page("coming-from-piopiy.md").read_text(encoding="utf-8")
# Each row of the table of actions that shows code on both sides.
ACTIONS = re.findall(r"^\| `(action\.\w+\(.*\))` \| `([A-Z]\w+\(.*\))` \|$", PAGE, re.MULTILINE)
THEIRS, OURS, NAMES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FROM, TO = 19170000000, 19170000001
ONCE = RetryPolicy(attempts=1)


@pytest.mark.parametrize(("theirs", "ours"), ACTIONS, ids=[row[0] for row in ACTIONS])
def test_an_action_is_the_same_json(theirs: str, ours: str) -> None:
    """Both columns of a row make the same action."""
    action = Action()
    names: dict[str, Any] = {}
    exec(NAMES, names)
    eval(theirs, {**names, "action": action})
    names |= {name: getattr(telecmi_async, name) for name in telecmi_async.__all__}
    made = eval(ours, names)

    assert dump_pcmo([made]) == action.PCMO()


def test_no_method_of_theirs_is_left_out() -> None:
    """The page names each public method of the vendor's builder and client."""
    methods = [name for kind in (Action, RestClient) for name in vars(kind) if name[0] != "_"]

    assert [name for name in methods if name != "clear" and f".{name}(" not in PAGE] == []
    assert len(ACTIONS) >= len([name for name in vars(Action) if name[0] != "_"]) - 2


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Simulator, dict[str, str]]]:
    """A simulator on a port, where piopiy, which has no setting for it, is led to."""
    simulator = Simulator(secret="your-secret", life="manual")
    with serving(simulator) as environ:
        host = environ["TELECMI_BASE_URL"].removesuffix("/v2")
        for voice in (pcmo_call.glob_voice, pcmo_call.ind_voice):
            monkeypatch.setitem(voice, "host", host)
        for module in (hangup, hold):
            monkeypatch.setattr(module, "host", f"{host}/v1/call/action")
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        yield simulator, environ


def with_service(place: Callable[[CallService], Awaitable[object]], **options: Any) -> None:
    """Open a service for the served simulator, and do something with it."""

    async def run() -> None:
        async with CallService.from_env(**options) as service:
            await place(service)

    anyio.run(run)


def body(call: SimulatedCall) -> tuple[object, ...]:
    """Return all that a call's request carried."""
    return call.to, call.from_, call.region, call.duration, call.extra_params, call.pcmo


@pytest.mark.real_clock
def test_the_same_call_in_both(served: tuple[Simulator, dict[str, str]]) -> None:
    """The page's two programs send the same request."""
    simulator, environ = served
    exec(THEIRS, {})
    ours = OURS.replace(
        "CallService(", f"CallService(base_url={environ['TELECMI_BASE_URL']!r}, app_id="
    )
    ours = ours.replace('"your-secret"', 'secret="your-secret"')
    code = compile(ours, "the page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)

    async def run() -> None:
        await eval(code, {})

    anyio.run(run)
    first, second = simulator.calls

    assert body(first) == body(second)


@pytest.mark.real_clock
def test_a_call_that_is_forwarded(
    served: tuple[Simulator, dict[str, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A number instead of a flow is a bridge to it; defaults of piopiy's are given by hand."""
    simulator, _ = served
    RestClient(2222226, "your-secret").voice.call(TO, FROM, 19170000002)
    flow = [Bridge([19170000002], from_=FROM, duration=5400, timeout=40, loop=1)]
    with_service(
        lambda service: service.make_call(to=TO, pcmo=flow, duration=5400, extra_params={})
    )
    first, second = simulator.calls

    assert body(first) == body(second)
    assert "'action': 'bridge'" in capsys.readouterr().out, "piopiy prints it"


@pytest.mark.real_clock
@pytest.mark.parametrize("command", ["hangup", "hold", "unhold"])
def test_commands_to_a_live_call(
    served: tuple[Simulator, dict[str, str]], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both send the same command for a leg."""
    simulator, _ = served
    sent: list[Any] = []
    post = requests.post

    def recorded(*args: Any, **options: Any) -> Any:
        sent.append(post(*args, **options))
        return sent[-1]

    monkeypatch.setattr(requests, "post", recorded)
    client = RestClient(2222226, "your-secret")

    async def both(service: CallService) -> None:
        for number in (TO, TO + 1):
            await service.make_call(to=number, pcmo=[{"action": "record"}])
        first, second = simulator.calls
        for call in (first, second):
            call.answer()
        getattr(client, command)(first.legs[0].cmiuuid)
        await getattr(service, command)(second.legs[0].cmiuuid, region="global")

    with_service(both)
    first, second = simulator.calls

    assert [reply.status_code for reply in sent] == [200]
    assert [note.what for note in first.timeline] == [note.what for note in second.timeline]
    assert first.over is second.over is (command == "hangup")


@pytest.mark.real_clock
@pytest.mark.parametrize(
    ("from_", "to", "theirs", "ours"),
    [
        (19170000000, 919170000001, "global", "india"),
        (919170000000, 19170000001, "india", "global"),
        (911170000000, 919170000001, "global", "india"),
    ],
)
def test_the_endpoint_is_chosen_differently(
    served: tuple[Simulator, dict[str, str]], from_: int, to: int, theirs: str, ours: str
) -> None:
    """Piopiy looks at the caller id, this package at the callee, unless it is given a region."""
    simulator, _ = served
    RestClient(2222226, "your-secret").voice.call(to, from_, [{"action": "hangup"}], {})
    for options in ({}, {"region": theirs}):
        with_service(
            lambda service: service.make_call(to=to, from_=from_, pcmo=[{"action": "hangup"}]),
            **options,
        )

    assert [str(call.region) for call in simulator.calls] == [theirs, ours, theirs]


@pytest.mark.real_clock
def test_what_fails_in_which_way(served: tuple[Simulator, dict[str, str]]) -> None:
    """Refusals, lost answers and missing servers end as the page's last table says."""
    _, environ = served
    client = RestClient(2222226, "your-secret")

    def theirs(to: object, piopiy: RestClient = client) -> Any:
        return piopiy.voice.call(to, FROM, [{"action": "hangup"}], {})

    def ours(to: object, **options: Any) -> None:
        with_service(
            lambda service: service.make_call(to=to, pcmo=[{"action": "hangup"}]),  # type: ignore[arg-type]  # some are no numbers
            retry=ONCE,
            **options,
        )

    assert theirs(19170009932)["code"] == 422
    with pytest.raises(CallRejected):
        ours(19170009932)
    with pytest.raises(requests.exceptions.ConnectionError):
        theirs(19170009920)
    with pytest.raises(CallOutcomeUnknown):
        ours(19170009920)
    with pytest.raises(NameError):
        theirs("19170000001")
    with pytest.raises(InvalidCall):
        ours("no number")

    with socket.socket() as sock:  # it listens to nobody
        sock.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{sock.getsockname()[1]}"
        pcmo_call.glob_voice["host"] = closed
        with pytest.raises(requests.exceptions.ConnectionError):
            theirs(TO)
        with pytest.raises(NotSent):
            ours(TO, base_url=closed)
    pcmo_call.glob_voice["host"] = environ["TELECMI_BASE_URL"].removesuffix("/v2")

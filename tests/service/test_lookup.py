"""Requests that place no call: channels in use, call detail records, commands to a leg."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from fake_store import FakeStore, answer_others, found, payload, row
from fake_telecmi import FLOW, TO, FakeTelecmi, always, gateway

from telecmi_async import (
    AuthenticationError,
    CallService,
    InvalidCall,
    RequestFailed,
    ServiceClosed,
    TelecmiError,
    WrongEventLoop,
)
from telecmi_async.testing import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ID = f"{0:043d}"
LEG = "ee6a7a9b-78ea-4693-9e77-5fc085567b2f"
V2 = "https://rest.telecmi.com/v2"
V1 = "https://piopiy.telecmi.com/v1"

pytestmark = pytest.mark.anyio


def said(status: int = 200, **body: Any) -> Callable[[], httpx.Response]:
    """Return a function that makes a JSON answer."""
    return lambda: httpx.Response(status, json=body)


async def test_channels_are_asked_for_as_documented() -> None:
    """The request has app id and secret, and the number in the reply is text."""
    telecmi = FakeTelecmi(always(said(code=200, channel="2")))
    async with telecmi.service() as service:
        assert await service.channels() == 2

    assert telecmi.urls == [f"{V2}/piopiy/get_channels"]
    assert telecmi.requests == [{"appid": 2222226, "secret": "a-secret"}]


@pytest.mark.parametrize("channel", [0, "0", 17, "17"])
async def test_a_number_of_channels_is_read_as_text_or_number(channel: Any) -> None:
    """The number may be text, as in TeleCMI's sample, or a number."""
    async with FakeTelecmi(always(said(code=200, channel=channel))).service() as service:
        assert await service.channels() == int(channel)


@pytest.mark.parametrize(
    "body",
    [
        {"code": 200},
        {"code": 200, "channel": None},
        {"code": 200, "channel": True},
        {"code": 200, "channel": "two"},
        {"code": 200, "channel": "-1"},
        {"code": 200, "channel": 1.5},
        {"code": 200, "channel": "9" * 5_000},
        {"code": 200, "channel": "२"},
        {"code": 200, "channel": ["2"]},
    ],
)
async def test_an_answer_without_a_number_of_channels_says_so(body: dict[str, Any]) -> None:
    """An answer without a valid number of channels raises an error that says so."""
    async with FakeTelecmi(always(said(**body))).service() as service:
        with pytest.raises(RequestFailed, match="does not say how many"):
            await service.channels()


async def test_an_answer_that_is_no_json_has_no_number_of_channels() -> None:
    """An answer that is not JSON, for example a proxy's page, raises the same error."""
    page = httpx.Response(200, html="<h1>Welcome</h1>")
    async with FakeTelecmi(always(lambda: page)).service() as service:
        with pytest.raises(RequestFailed, match="does not say how many"):
            await service.channels()


@pytest.mark.parametrize(
    "answer",
    [
        said(407, code=407, msg="authentication failed"),
        said(200, code=407),
        said(200, cmi_code="420"),
        said(401),
        lambda: httpx.Response(407, text="no"),
    ],
)
async def test_wrong_credentials_are_told(answer: Callable[[], httpx.Response]) -> None:
    """Wrong credentials raise AuthenticationError, whether status or body shows it."""
    async with FakeTelecmi(always(answer)).service() as service:
        with pytest.raises(AuthenticationError, match="app id or the secret"):
            await service.channels()


@pytest.mark.parametrize(
    ("answer", "code", "why"),
    [
        (said(400, code=400, msg="bad appid for +19170000001"), 400, "bad appid"),
        (said(200, code=500, message="try a-secret again"), 500, "try ••• again"),
        (said(500), 500, "did not say why"),
        (said(500, code=200), 200, "did not say why"),
        (gateway, 502, "did not say why"),
        (lambda: httpx.Response(302, headers={"location": "https://x.example"}), 302, "why"),
    ],
)
async def test_a_refusal_is_told_without_secret_or_number(
    answer: Callable[[], httpx.Response], code: int, why: str
) -> None:
    """The error has TeleCMI's message, if there is one, without the secret and the number."""
    async with FakeTelecmi(always(answer)).service() as service:
        with pytest.raises(RequestFailed, match=why) as caught:
            await service.channels()

    assert caught.value.code == code
    assert "19170000001" not in str(caught.value)
    assert "a-secret" not in str(caught.value)


async def test_no_answer_is_told_as_well() -> None:
    """A lost reply raises RequestFailed, not the HTTP client's exception."""
    lost = httpx.ReadTimeout("a-secret was sent")
    async with FakeTelecmi(always(lambda: lost)).service() as service:
        with pytest.raises(RequestFailed, match="did not answer: ReadTimeout") as caught:
            await service.channels()

    assert (caught.value.status, caught.value.code) == (None, None)


@pytest.mark.parametrize(
    ("do", "action"),
    [
        (CallService.hangup, "hangup"),
        (CallService.hold, "hold"),
        (CallService.unhold, "unhold"),
    ],
)
@pytest.mark.parametrize(
    ("region", "path", "key"),
    [("india", "/call/action", "cmiuuid"), ("global", "/call/global_action", "cmiuid")],
)
async def test_a_leg_is_told_what_to_do_as_the_sdks_do_it(
    do: Callable[..., Awaitable[object]], action: str, region: str, path: str, key: str
) -> None:
    """The region decides the path and the name of the leg's id."""
    telecmi = FakeTelecmi(always(said(code="cmi-200", msg="ok")))
    async with telecmi.service() as service:
        answer = await do(service, LEG, region=region)

    assert answer == {"code": "cmi-200", "msg": "ok"}
    assert telecmi.urls == [V1 + path]
    assert telecmi.requests[0] == {
        "appid": 2222226,
        "secret": "a-secret",
        key: LEG,
        "action": action,
    }


async def test_an_answer_to_a_command_may_be_a_text() -> None:
    """TeleCMI documents no answer; a text is returned with the secret and numbers masked."""
    text = httpx.Response(200, text="done, a-secret, 19170000001")
    async with FakeTelecmi(always(lambda: text)).service(region="india") as service:
        answer = await service.hangup(LEG)

    assert isinstance(answer, str)
    assert answer.startswith("done, •••")
    assert "19170000001" not in answer


@pytest.mark.parametrize(
    ("service_region", "call_region", "own", "path"),
    [
        ("auto", "india", None, "/call/action"),
        ("auto", "global", None, "/call/global_action"),
        ("global", "india", None, "/call/action"),
        ("auto", "india", "global", "/call/global_action"),
    ],
)
async def test_where_a_leg_is_follows_from_its_call(
    service_region: str, call_region: str, own: str | None, path: str
) -> None:
    """A leg known from events has its call's region, unless a region is given."""
    fake_store, telecmi = FakeStore(), FakeTelecmi()
    async with telecmi.service(events=fake_store, region=service_region) as service:
        call = await service.make_call(to=TO, pcmo=FLOW, region=call_region)
        await fake_store.lay(payload("out_answered", ID, cmiuuid=LEG))
        (leg,) = call.result.legs
        assert leg.cmiuuid == LEG
        await service.hangup(leg.cmiuuid, region=own)

    assert telecmi.urls[-1] == V1 + path


@pytest.mark.parametrize("options", [{}, {"events": FakeStore()}])
async def test_where_an_unknown_leg_is_must_be_said(options: Any) -> None:
    """The region must be given for an unknown leg, because its id does not show it."""
    telecmi = FakeTelecmi()
    async with telecmi.service(**options) as service:
        with pytest.raises(InvalidCall, match='"india" or "global"') as caught:
            await service.hold(LEG)
        with pytest.raises(InvalidCall):
            await service.hold(LEG, region="mars")

    assert caught.value.path == "region"
    assert telecmi.requests == []


@pytest.mark.parametrize("leg", [None, 7, "", "a b", "x" * 200, ["leg"], 'a", "b'])
async def test_what_is_no_leg_is_refused(leg: Any) -> None:
    """An invalid leg is refused before anything is sent."""
    telecmi = FakeTelecmi()
    async with telecmi.service(region="india", events=FakeStore()) as service:
        with pytest.raises(InvalidCall, match="cmiuuid") as caught:
            await service.unhold(leg)

    assert caught.value.path == "leg"
    assert telecmi.requests == []


async def test_the_older_api_follows_the_base_url() -> None:
    """Both APIs use the base URL, so that a simulator can serve both."""
    telecmi = FakeTelecmi(always(said(code=200, channel="1", cdr=[])))
    async with telecmi.service(base_url="http://127.0.0.1:8787/v2", region="india") as service:
        await service.channels()
        await service.hangup(LEG)
        await service.hangup(LEG, region="global")
        await service._parts.lookup.records(ID)

    assert telecmi.urls == [
        "http://127.0.0.1:8787/v2/piopiy/get_channels",
        "http://127.0.0.1:8787/v1/call/action",
        "http://127.0.0.1:8787/v1/call/global_action",
        "http://127.0.0.1:8787/v1/piopiy/requestid_cdr",
    ]


async def test_records_are_asked_for_as_documented() -> None:
    """Records are read from TeleCMI's sample: leg b first, money and numbers as numbers."""
    rows = (
        row(leg="b", answered=False, to=19170000002),
        row(balance=1135.14, rate=0.39, to=19170000001),
    )
    telecmi = FakeTelecmi(always(lambda: found(*rows)))
    async with telecmi.service() as service:
        records = await service._parts.lookup.records(ID)

    assert telecmi.urls == [f"{V1}/piopiy/requestid_cdr"]
    assert telecmi.requests == [{"appid": 2222226, "secret": "a-secret", "request_id": ID}]
    assert [(record.leg, record.answered, record.to) for record in records] == [
        ("b", False, "19170000002"),
        ("a", True, "19170000001"),
    ]
    assert (records[1].call_rate, records[1].balance) == (Decimal("0.39"), Decimal("1135.14"))
    assert {record.request_id for record in records} == {ID}


@pytest.mark.parametrize(
    "body",
    [
        {"code": 404},
        {"code": 200},
        {"code": 200, "cdr": []},
        {"code": 200, "cdr": "none"},
        {"code": 200, "cdr": [7, None, "row", {"a": {"b": list(range(300))}}]},
    ],
)
async def test_what_holds_no_records_is_none(body: dict[str, Any]) -> None:
    """A 404, which TeleCMI also sends before a call is over, and empty answers give ()."""
    async with FakeTelecmi(always(said(**body))).service() as service:
        assert await service._parts.lookup.records(ID) == ()


async def test_an_answer_of_text_holds_no_records() -> None:
    """An answer that is not JSON has no records."""
    page = httpx.Response(200, html="<h1>Welcome</h1>")
    async with FakeTelecmi(always(lambda: page)).service() as service:
        assert await service._parts.lookup.records(ID) == ()


@pytest.mark.parametrize(
    "ask", [lambda service: service.channels(), lambda service: service.hangup(LEG)]
)
async def test_a_closed_service_asks_nothing(
    ask: Callable[[CallService], Awaitable[object]],
) -> None:
    """A closed service sends no request."""
    async with FakeTelecmi().service() as service:
        pass
    with pytest.raises(ServiceClosed):
        await ask(service)


async def test_asking_belongs_to_the_services_loop() -> None:
    """Look-ups, like calls, must run in the service's own event loop."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:

        async def elsewhere() -> None:
            with pytest.raises(WrongEventLoop):
                await service.channels()

        await anyio.to_thread.run_sync(anyio.run, elsewhere)
    assert telecmi.requests == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda service: service.channels(),
        lambda service: service.hangup(LEG, region="india"),
    ],
)
async def test_cancelled_anywhere_a_question_is_awaited_to_its_end(
    ask: Callable[[CallService], Awaitable[object]], anyio_backend_name: str
) -> None:
    """A request that was sent is awaited, since it may take effect, and its task ends."""

    async def setup() -> tuple[FakeTelecmi, CallService]:
        telecmi = FakeTelecmi(always(said(code=200, channel="1")), delay=1)
        client = httpx.AsyncClient(transport=telecmi)
        return telecmi, CallService(2222226, "a-secret", http_client=client)

    async def operation(state: tuple[FakeTelecmi, CallService]) -> None:
        async with state[1] as service:
            await ask(service)

    def check(state: tuple[FakeTelecmi, CallService]) -> None:
        telecmi, service = state
        assert telecmi.finished == len(telecmi.requests) <= 1
        assert telecmi.in_flight == service._parts.tasks._running == 0

    for edge in {False, anyio_backend_name == "asyncio"}:
        points = await cancel_everywhere(operation, setup=setup, check=check, edge=edge)
        assert points >= 1


async def test_a_look_up_beside_calls_does_not_take_their_turns() -> None:
    """The rate limits calls only, so look-ups do not delay a call."""
    telecmi = FakeTelecmi(delay=1)
    answer_others(telecmi, lambda _, __: httpx.Response(200, json={"channel": "1"}))
    async with telecmi.service() as service, anyio.create_task_group() as tasks:
        began = anyio.current_time()
        for _ in range(30):
            tasks.start_soon(service.channels)
        await service.make_call(to=TO, pcmo=FLOW)

        assert anyio.current_time() == began + 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda service: service.channels(),
        lambda service: service.hangup(LEG, region="india"),
        lambda service: service.hold(LEG, region="global"),
        lambda service: service.unhold(LEG, region="global"),
    ],
)
@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            said(code=420),
            AuthenticationError,
            "TeleCMI refused the request (420): the app id or the secret is wrong",
        ),
        (
            said(code=404),
            RequestFailed,
            "TeleCMI refused the request (404): it did not say why",
        ),
        (lambda: httpx.ConnectError(""), RequestFailed, "TeleCMI did not answer: ConnectError"),
    ],
)
async def test_a_failed_question_is_not_told_as_a_call(
    ask: Callable[[CallService], Awaitable[object]],
    answer: Callable[[], Any],
    kind: type[TelecmiError],
    text: str,
) -> None:
    """No call was refused, and none may be dialled again because of it."""
    async with FakeTelecmi(always(answer)).service() as service:
        with pytest.raises(TelecmiError) as caught:
            await ask(service)

    assert (type(caught.value), str(caught.value)) == (kind, text)
    assert not caught.value.safe_to_redial
    assert not pickle.loads(pickle.dumps(caught.value)).safe_to_redial


async def test_no_error_about_a_live_call_says_that_it_may_be_dialled_again() -> None:
    """An invalid argument and a closed service say nothing about the call either."""
    async with FakeTelecmi().service(events=FakeStore()) as service:
        with pytest.raises(InvalidCall) as invalid:
            await service.hangup("no leg", region="india")
        with pytest.raises(InvalidCall) as unknown:
            service.handle_for("")
    with pytest.raises(ServiceClosed) as closed:
        await service.channels()
    with pytest.raises(ServiceClosed) as gone:
        service.handle_for(ID)

    for caught in (invalid, unknown, closed, gone):
        assert not caught.value.safe_to_redial

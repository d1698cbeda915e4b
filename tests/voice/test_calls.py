"""Which call a stream belongs to: addresses in what is sent, and handles in sessions."""

from __future__ import annotations

import gc
import json
import random
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from campaign_scene import Scene, contacts, settings
from fake_telecmi import TO, FakeTelecmi, accepted, in_turn, refused
from memory_ledger import MemoryLedger
from stream_peer import URL, StreamPeer, streams_for
from webhook_posts import TOKEN

from telecmi_async import (
    CallOutcomeUnknown,
    CallRejected,
    CallRequest,
    CallService,
    ConfigurationError,
    InvalidCall,
    Raw,
    Receiver,
    RetryPolicy,
    Speak,
    Stream,
)
from telecmi_async.campaigns import CampaignSettings
from telecmi_async.ledger import NewContact
from telecmi_async.service.keyed_calls import fingerprint_of
from telecmi_async.simulator import Simulator
from telecmi_async.voice import Streams

if TYPE_CHECKING:
    from telecmi_async.voice import Admission, StreamSession

pytestmark = pytest.mark.anyio


def addresses(sent: dict[str, Any]) -> list[str]:
    """Return the addresses of the streams in the body of a request."""
    return [action["ws_url"] for action in sent["pcmo"] if action["action"] == "stream"]


def admitted(streams: Streams, address: str) -> Admission:
    """Return the admission of an address that a service sent."""
    admission = streams.admit(address.removeprefix("wss://voice.example.com"))
    assert admission is not None
    return admission


async def nothing(session: StreamSession) -> None:
    """Handle a session."""


async def test_each_call_has_an_address_of_its_own() -> None:
    """A flow that many calls share is sent with each call's own signed reference."""
    fake = FakeTelecmi()
    streams = streams_for(nothing, secret=None)
    async with fake.service(streams=streams) as service:
        calls = [service.make_call(to=TO + n, pcmo=streams.flow()) for n in range(20)]
        for call in calls:
            await call

    sent = {body["to"]: admitted(streams, *addresses(body)) for body in fake.requests}
    assert {to: each.reference for to, each in sent.items()} == {
        TO + n: call.reference for n, call in enumerate(calls)
    }
    assert len({each.reference for each in sent.values()}) == 20


async def test_the_placeholder_is_replaced_wherever_a_stream_has_it() -> None:
    """In a stream of one's own, in a raw one, with a query; nowhere else."""
    fake = FakeTelecmi()
    flow: list[Any] = [
        Stream("wss://a.example/x/tcm_call?lang=en"),
        Raw({"action": "stream", "ws_url": f"{URL}/16000/tcm_call"}),
        Raw({"action": "stream", "ws_url": 5}),
        Stream("wss://a.example/tcm_call/x"),
        Stream("wss://a.example/?x=/tcm_call"),
        Stream("wss://a.example/not_tcm_call"),
        {"action": "play", "file_url": "https://a.example/tcm_call"},
    ]
    async with fake.service() as service:
        await service.make_call(to=TO, pcmo=flow)

    pcmo = fake.requests[0]["pcmo"]
    first = pcmo[0]["ws_url"].removeprefix("wss://a.example/x/").removesuffix("?lang=en")
    assert pcmo[1]["ws_url"] == f"{URL}/16000/{first}"
    assert [each.get("ws_url", each.get("file_url")) for each in pcmo[2:]] == [
        5,
        "wss://a.example/tcm_call/x",
        "wss://a.example/?x=/tcm_call",
        "wss://a.example/not_tcm_call",
        "https://a.example/tcm_call",
    ]
    assert first.startswith("tcm_")
    assert first != "tcm_call"


@pytest.mark.parametrize("status", [400, 500])
async def test_a_reply_that_quotes_the_request_shows_no_code(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """An error has the reference of the address that TeleCMI refused, and not its code."""
    caplog.set_level(0)

    class Quoting(FakeTelecmi):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            sent = json.loads(await request.aread())
            self.requests.append(sent)
            return httpx.Response(
                status, json={"code": status, "msg": f"bad {addresses(sent)}", "sent": sent}
            )

    fake, streams = Quoting(), streams_for(secret=None)
    async with fake.service(streams=streams, reference=True) as service:
        with pytest.raises((CallRejected, CallOutcomeUnknown)) as caught:
            await service.make_call(to=TO, pcmo=streams.flow())

    (address,) = addresses(fake.requests[0])
    reference, code = address.rpartition("/")[2].split(".")
    found = f"{caught.value!r} {vars(caught.value)} {caplog.text}"
    assert reference in found
    assert code not in found


async def test_a_retried_call_keeps_its_address() -> None:
    """All attempts of one call lead to one session."""
    fake = FakeTelecmi(in_turn(lambda: refused(429), lambda: accepted(1)))
    streams = streams_for(nothing)
    async with fake.service(streams=streams, retry=RetryPolicy(attempts=3)) as service:
        await service.make_call(to=TO, pcmo=streams.flow())

    assert len(fake.requests) == 2
    assert addresses(fake.requests[0]) == addresses(fake.requests[1])


async def test_a_session_knows_the_call_before_the_reply() -> None:
    """TeleCMI may connect first; the session's call is the handle, as long as it is used."""
    fake = FakeTelecmi(delay=5)
    streams = streams_for()
    found: list[Any] = []

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        found.append(session.call)

    async with fake.service(streams=streams) as service:
        call = service.make_call(to=TO, pcmo=streams.flow())
        await anyio.sleep(1)
        admission = admitted(streams, *addresses(fake.requests[0]))
        await streams.serve(admission, StreamPeer())
        assert not call.accepted
        await call
        assert found == [call]
        assert {call, found[0]} == {call}
        assert call != call.reference
        found.clear()
        del call
        await anyio.sleep(1)
        gc.collect()
        await streams.serve(admission, StreamPeer())

    assert found == [None]


async def test_another_process_knows_the_reference() -> None:
    """A process that has only the secret admits the calls of the one that places them."""
    fake = FakeTelecmi()
    placing = Streams(URL)
    found: list[Any] = []

    async def talk(session: StreamSession) -> None:
        found.append((session.reference, session.call))

    serving = streams_for(talk, secret="a-secret")  # that of the fake's services
    async with fake.service(streams=placing) as service:
        call = await service.make_call(to=TO, pcmo=placing.flow())
    await serving.serve(admitted(serving, *addresses(fake.requests[0])), StreamPeer())

    assert found == [(call.reference, None)]
    assert streams_for(talk).admit(addresses(fake.requests[0])[0]) is None


async def test_a_thousand_calls_are_not_cross_wired() -> None:
    """However connections and replies are ordered, each session has its own call."""
    fake = FakeTelecmi(delay=1)
    streams = streams_for()
    found: dict[str, Any] = {}

    @streams.on_stream
    async def talk(session: StreamSession) -> None:
        assert session.call is not None
        found[session.reference] = session.call.request

    async with fake.service(streams=streams) as service:
        calls = [service.make_call(to=TO + n, pcmo=streams.flow()) for n in range(1_000)]
        while len(fake.requests) < 1_000:  # noqa: ASYNC110  # the fake has no event for that
            await anyio.sleep(0.5)
        shuffled = random.Random(1).sample(fake.requests, 1_000)
        for sent in shuffled:
            await streams.serve(admitted(streams, *addresses(sent)), StreamPeer())
        for call in calls:
            await call

    assert {call.reference: call.request for call in calls} == found
    assert streams.counts.connected == 1_000


def test_an_idempotency_key_compares_the_flow_not_the_address() -> None:
    """The same request with the same key is the same, though its address would differ."""
    requests = [CallRequest(to=TO, pcmo=Streams(URL).flow()) for _ in range(2)]

    assert fingerprint_of(requests[0], 1) == fingerprint_of(requests[1], 1)


@pytest.mark.parametrize("wrong", [Streams, 5, "wss://a.example", object()])
def test_streams_that_are_none_are_refused(wrong: Any) -> None:
    """A service names the argument."""
    with pytest.raises(ConfigurationError, match="streams must be Streams"):
        CallService(2222226, "a-secret", streams=wrong)


async def test_two_services_share_streams() -> None:
    """The calls of both accounts are admitted, and the newest account answers inbound calls."""
    streams = streams_for(nothing, secret=None)
    fake = FakeTelecmi()
    async with fake.service(streams=streams) as one, fake.service(streams=streams) as two:
        for service in (one, two):
            await service.make_call(to=TO, pcmo=streams.flow())

    assert len({admitted(streams, *addresses(body)).reference for body in fake.requests}) == 2


# -- campaigns


def test_the_placeholder_passes_a_template_and_a_ledger() -> None:
    """A campaign's flow may have columns next to it, and is stored as it is."""
    flow = [*Streams(URL).flow(), Speak("Bye {name}")]

    stored = json.loads(json.dumps(settings(flow=flow).dump()))
    filled = CampaignSettings.parse(stored).flow.fill({"name": "Ann"})

    assert tuple(filled) == (*Streams(URL).flow(), Speak("Bye Ann"))


async def test_a_session_has_the_values_of_its_contact() -> None:
    """Columns in the query of the address are the session's, whatever is in them."""
    fake = FakeTelecmi()
    streams = streams_for(nothing)
    flow = streams.flow(query={"order": "{order}", "by name": "a&b"})
    async with fake.service(streams=streams) as service:
        here = Scene(MemoryLedger(), Simulator(), service, Receiver(TOKEN))
        campaign = here.campaign(settings(flow=flow))
        given = "7/ä & {x}?#%"
        await campaign.load([NewContact(number=TO, columns={"order": given})])
        await campaign.run()

    assert admitted(streams, *addresses(fake.requests[0])).query == {
        "order": given,
        "by name": "a&b",
    }


@pytest.mark.parametrize("wrong", [{1: "a"}, {"a": 1}, {"a": None}])
def test_a_query_holds_texts(wrong: Any) -> None:
    """Anything else is refused where the flow is made."""
    with pytest.raises(InvalidCall, match=r"query.*must be a mapping of texts"):
        Streams(URL).flow(query=wrong)


async def test_each_call_of_a_campaign_has_an_address_of_its_own() -> None:
    """Of the flow in the ledger, each call gets its own address, and a redial a new one."""
    fake = FakeTelecmi(lambda number: refused(429) if number == 0 else accepted(number))
    streams = streams_for(nothing)
    async with fake.service(streams=streams) as service, anyio.create_task_group() as tasks:
        here = Scene(MemoryLedger(), Simulator(), service, Receiver(TOKEN))
        campaign = here.campaign(settings(flow=streams.flow()))
        await campaign.load(contacts(3))
        tasks.start_soon(campaign.run)
        await anyio.sleep(120)
        tasks.cancel_scope.cancel()

    found = [admitted(streams, *addresses(body)).reference for body in fake.requests]
    assert len({body["to"] for body in fake.requests}) == 3
    assert len(set(found)) == len(found) == 4

"""Spans: one click, or one contact, is one story across processes."""

from __future__ import annotations

import json

import anyio
import httpx
import pytest
from campaign_scene import FIRST, contacts, settings
from fastapi import FastAPI, Request
from memory_ledger import MemoryLedger
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, StatusCode
from recorded_telemetry import Recorded, facts, ids, linked, parent

from telecmi_async import Hangup, RateLimit, Receiver, RetryPolicy, Speak
from telecmi_async._internal.secrets import Secret
from telecmi_async.campaigns import Campaign
from telecmi_async.errors import CallCancelled, CallOutcomeUnknown, InvalidCall
from telecmi_async.events.reference import References, new_reference
from telecmi_async.observer import ObservedDelivery
from telecmi_async.simulator import Fault, Simulator, Webhooks
from telecmi_async.telemetry import OpenTelemetryObserver

pytestmark = pytest.mark.anyio

FROM = 19170000000
TOKEN = "a-token-of-32-letters-and-digits1"
FLOW = [Speak("Your order is on its way."), Hangup()]


async def test_a_click_is_one_story(telecmi_simulator: Simulator) -> None:
    """Request, queue, a retried 502, the accepted attempt, webhooks and the end hang together."""
    seen = Recorded()
    receiver = Receiver(TOKEN, observer=seen.observer)
    app = FastAPI()
    app.mount("/telecmi", receiver.asgi)

    @app.post("/orders/{order}/call")
    async def call(order: str, request: Request) -> str:
        made = await service.make_call(to=19170009910, pcmo=FLOW)  # 502, the first time
        await made.ended()
        return order

    FastAPIInstrumentor.instrument_app(app, tracer_provider=seen.tracers)
    async with (
        receiver,
        telecmi_simulator.service(
            from_=FROM, events=receiver, observer=seen.observer
        ) as service,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://web") as browser,
    ):
        assert (await browser.post("/orders/42/call")).json() == "42"
        await anyio.sleep(5)  # for the rest of its events

    request = seen.span("POST /orders/{order}/call")
    placed = seen.span("telecmi.call")
    first, second = seen.spans("telecmi.attempt")
    conversation = seen.span("telecmi.conversation")
    webhooks = seen.spans("telecmi.webhook")
    assert parent(placed) == ids(request)
    assert {parent(first), parent(second), parent(conversation)} == {ids(placed)}
    assert "http.request.resend_count" not in facts(first)
    assert facts(second)["http.request.resend_count"] == 1
    statuses = [facts(span)["http.response.status_code"] for span in (first, second)]
    assert statuses == [502, 200]
    assert [facts(span)["telecmi.verdict"] for span in (first, second)] == [
        "rejected",
        "accepted",
    ]
    assert facts(placed)["telecmi.outcome"] == "progress"
    assert len(webhooks) >= 3
    assert {tuple(linked(span)) for span in webhooks} == {(ids(placed),)}
    assert facts(conversation)["telecmi.answered"] is True


async def test_a_contact_over_two_workers_is_one_story(telecmi_simulator: Simulator) -> None:
    """A load in one process, the calls of two others, and webhooks in a fourth are linked."""
    web, workers, hooks = Recorded(), [Recorded(), Recorded()], Recorded()
    receiver = Receiver(TOKEN, secret=telecmi_simulator.secret, observer=hooks.observer)
    telecmi_simulator.faults.add(Fault("unavailable", to=FIRST, attempts=1))
    ledger = MemoryLedger()

    async with telecmi_simulator.service(from_=FROM, observer=web.observer) as service:
        campaign = Campaign(ledger, service, "reminders", settings())
        with web.tracers.get_tracer("web").start_as_current_span("POST /appointments"):
            await campaign.load(contacts(1))
        await campaign.load(contacts(2))  # outside of any trace
    for seen, seconds in zip(workers, (0.5, 600), strict=True):
        async with telecmi_simulator.service(
            from_=FROM, events=receiver, observer=seen.observer
        ) as service:
            campaign = Campaign(ledger, service, "reminders", settings())
            with anyio.move_on_after(seconds):
                await campaign.run()

    load = web.span("POST /appointments")
    stories = [
        [facts(span)["telecmi.outcome"] for span in seen.spans("telecmi.call") if linked(span)]
        for seen in workers
    ]
    calls = [span for seen in workers for span in seen.spans("telecmi.call")]
    assert stories == [["rejected"], ["progress"]]
    assert {link for span in calls for link in linked(span)} == {ids(load)}
    assert {facts(span)["telecmi.campaign"] for span in calls} == {"reminders"}
    assert {span.parent for span in calls} == {None}
    placed = {ids(span) for span in calls if facts(span)["telecmi.outcome"] == "progress"}
    webhooks = hooks.spans("telecmi.webhook")
    assert {link for span in webhooks for link in linked(span)} == placed
    assert len(placed) == 2


async def test_an_event_proves_a_call(telecmi_simulator: Simulator) -> None:
    """A call of unknown outcome that an event proves has a span of the proof, and counts once."""
    seen = Recorded()
    receiver = Receiver(TOKEN, observer=seen.observer)
    telecmi_simulator.faults.add(Fault("reply_lost", to=19170000001))
    telecmi_simulator.webhooks = Webhooks(delay=2.0)
    async with telecmi_simulator.service(
        from_=FROM, events=receiver, observer=seen.observer, retry=RetryPolicy(attempts=1)
    ) as service:
        call = service.make_call(to=19170000001, pcmo=FLOW)
        with pytest.raises(CallOutcomeUnknown):
            await call
        await anyio.sleep(5)

    placed, proof = seen.span("telecmi.call"), seen.span("telecmi.proof")
    assert facts(placed)["telecmi.outcome"] == "unknown"
    assert placed.status.status_code is StatusCode.ERROR
    assert parent(proof) == ids(placed)
    assert facts(proof)["telecmi.outcome"] == "progress"
    assert [point[1] for point in seen.metrics()["telecmi.calls"]] == [1]


async def test_an_event_proves_a_call_before_its_reply(telecmi_simulator: Simulator) -> None:
    """The request whose reply never comes has a span, too: it ends before the call does."""
    seen = Recorded()
    receiver = Receiver(TOKEN, observer=seen.observer)
    telecmi_simulator.faults.add(Fault("slow", to=19170000001))
    async with telecmi_simulator.service(
        from_=FROM, events=receiver, observer=seen.observer
    ) as service:
        await service.make_call(to=19170000001, pcmo=FLOW)

    attempt, placed = seen.spans()[-2:]
    assert (attempt.name, facts(attempt)["telecmi.verdict"]) == ("telecmi.attempt", "unknown")
    assert parent(attempt) == ids(placed)
    assert facts(placed)["telecmi.outcome"] == "progress"


@pytest.mark.telecmi(latency=20.0)
async def test_a_call_that_was_found_by_its_id_first(telecmi_simulator: Simulator) -> None:
    """The end of a call is seen that came before the reply, to another handle of the call."""
    seen = Recorded()
    receiver = Receiver(TOKEN, observer=seen.observer)
    async with telecmi_simulator.service(
        from_=FROM, events=receiver, observer=seen.observer, reference=False
    ) as service:
        call = service.make_call(to=19170000001, pcmo=FLOW)
        await anyio.sleep(1)
        found = service.handle_for(telecmi_simulator.calls[0].request_id)
        await found.ended()
        assert call.status == "sending"
        await call

    assert facts(seen.span("telecmi.conversation"))["telecmi.answered"] is True


async def test_ids_are_shown_as_in_logs(telecmi_simulator: Simulator) -> None:
    """An id with seven digits in a row can be searched for; a number in its place is masked."""
    seen = Recorded()
    reference = f"tcm_{'2345672' * 4}"[:30]
    signed = References(Secret("the-secret")).sign(reference)
    receiver = Receiver(TOKEN, secret="the-secret", observer=seen.observer)  # of this test
    for request_id in (f"1234567{'x' * 36}", "+1 917 000 0001"):
        event = {"status": "started", "request_id": request_id}
        body = json.dumps(event | {"extra_params": {"tcm_reference": signed}})
        await receiver.handle("POST", f"/{TOKEN}", {}, body.encode())

    found = [facts(span) for span in seen.spans("telecmi.webhook")]
    assert [each["telecmi.reference"] for each in found] == [reference] * 2
    assert [each["telecmi.request_id"] for each in found] == [
        f"1234567{'x' * 36}",
        "+•••••••0001",
    ]


async def test_a_call_that_sends_nothing_ends_its_span(telecmi_simulator: Simulator) -> None:
    """Cancelled, closed or refused before anything leaves: each span ends and says so."""
    seen = Recorded()
    async with telecmi_simulator.service(
        from_=FROM, observer=seen.observer, reference=True, rate=RateLimit(0.001)
    ) as service:
        await service.make_call(to=19170000001, pcmo=FLOW)
        service.make_call(to=19170000002, pcmo=FLOW).cancel()
        with pytest.raises(InvalidCall, match="is set by the service itself"):
            service.make_call(to=19170000003, pcmo=FLOW, extra_params={"tcm_reference": "x"})
        closed = service.make_call(to=19170000004, pcmo=FLOW)
    with pytest.raises(CallCancelled):
        await closed

    outcomes = [facts(span)["telecmi.outcome"] for span in seen.spans("telecmi.call")]
    assert sorted(outcomes) == ["cancelled", "cancelled", "invalid", "progress"]
    assert len(seen.spans("telecmi.attempt")) == 1


@pytest.mark.parametrize("propagate", [True, False])
async def test_a_trace_goes_out_with_a_reference_only(
    telecmi_simulator: Simulator, propagate: bool
) -> None:
    """A call without a reference carries no trace, as its events could not be trusted."""
    seen = Recorded(propagate=propagate)
    for number, reference in ((19170000001, True), (19170000002, False)):
        async with telecmi_simulator.service(
            from_=FROM, observer=seen.observer, reference=reference
        ) as service:
            await service.make_call(to=number, pcmo=FLOW)

    sent = [call.extra_params or {} for call in telecmi_simulator.calls]
    assert ["tcm_trace" in params for params in sent] == [propagate, False]


async def test_a_trace_that_is_sampled_out_costs_no_spans(telecmi_simulator: Simulator) -> None:
    """Then there are metrics, and no span, not even of an attempt."""
    seen = Recorded(sampler=ALWAYS_OFF)
    async with telecmi_simulator.service(from_=FROM, observer=seen.observer) as service:
        await service.make_call(to=19170000001, pcmo=FLOW)

    assert seen.spans() == []
    assert [count for _, (count, _) in seen.metrics()["telecmi.attempt.duration"]] == [1]


async def test_without_an_sdk_nothing_happens(telecmi_simulator: Simulator) -> None:
    """The API alone makes spans that do nothing."""
    observer = OpenTelemetryObserver(
        tracer_provider=NoOpTracerProvider(), meter_provider=NoOpMeterProvider()
    )
    async with telecmi_simulator.service(
        from_=FROM, observer=observer, reference=True
    ) as service:
        result = await service.make_call(to=19170000001, pcmo=FLOW)

    assert result.request_id
    assert "tcm_trace" not in (telecmi_simulator.calls[0].extra_params or {})


async def test_a_forged_trace_is_no_link() -> None:
    """A webhook is linked to a call only if its reference is right."""
    seen = Recorded()
    receiver = Receiver(TOKEN, secret="the-secret", observer=seen.observer)  # of this test
    trace = f"00-{1:032x}-{2:016x}-01"
    signed = References(Secret("the-secret")).sign(new_reference())
    for params in ({"tcm_trace": trace}, {"tcm_trace": trace, "tcm_reference": signed}):
        body = {"status": "started", "request_id": "r" * 43, "extra_params": params}
        await receiver.handle("POST", f"/{TOKEN}", {}, json.dumps(body).encode())

    assert [linked(span) for span in seen.spans("telecmi.webhook")] == [[], [(1, 2)]]


async def test_a_call_that_may_be_a_duplicate_says_so(telecmi_simulator: Simulator) -> None:
    """A gateway's 502 that is repeated may have been placed before."""
    seen = Recorded()
    telecmi_simulator.faults.add(Fault("gateway_502", to=19170000001, attempts=1))
    async with telecmi_simulator.service(from_=FROM, observer=seen.observer) as service:
        await service.make_call(to=19170000001, pcmo=FLOW)

    assert facts(seen.span("telecmi.call"))["telecmi.may_be_duplicate"] is True


async def test_an_invalid_context_is_no_link() -> None:
    """A trace context of zeros, which the standard forbids, makes no link."""
    seen = Recorded()
    for digit in (0, 1):
        trace = f"00-{digit:032x}-{digit:016x}-00"
        seen.observer.delivered(ObservedDelivery(result="accepted", kind="X", trace=trace))

    assert [linked(span) for span in seen.spans()] == [[], [(1, 1)]]

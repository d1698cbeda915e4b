"""CallService: what it sends, how it opens and closes, and how it handles failures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import traceback
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
import respx
from bad_calls import BAD_CALLS
from fake_telecmi import (
    FLOW,
    FROM,
    TO,
    FakeTelecmi,
    accepted,
    always,
    gateway,
    in_turn,
    refused,
)

from telecmi_async import (
    AuthenticationError,
    CallCancelled,
    CallHandle,
    CallOutcomeUnknown,
    CallRejected,
    CallService,
    CallStatus,
    ConfigurationError,
    Hangup,
    InvalidCall,
    MissingProperty,
    NotSent,
    RateLimit,
    RateLimited,
    Region,
    RetryPolicy,
    ServiceClosed,
    Timeouts,
    WrongEventLoop,
)
from telecmi_async.testing import cancel_everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

GLOBAL_URL = "https://rest.telecmi.com/v2/global_pcmo_make_call"
INDIA_URL = "https://rest.telecmi.com/v2/ind_pcmo_make_call"


async def test_a_call_is_sent_as_documented_over_plain_httpx() -> None:
    """With its own client, the service posts exactly the documented JSON."""
    with respx.mock() as router:
        route = router.post(GLOBAL_URL).mock(return_value=accepted())
        async with CallService(2222226, "a-secret", from_=FROM) as service:
            handle = await service.make_call(
                to="+1 (917) 000-0001", pcmo=[Hangup()], extra_params={"order": "42"}
            )

    [exchange] = route.calls
    assert exchange.request.headers["content-type"] == "application/json"
    assert exchange.request.content == (
        b'{"appid":2222226,"secret":"a-secret","from":19170000000,"to":19170000001,'
        b'"extra_params":{"order":"42"},"pcmo":[{"action":"hangup"}]}'
    )
    assert handle.request_id == "0" * 43


@pytest.mark.parametrize(
    ("service_region", "call_region", "to", "url", "region"),
    [
        ("auto", None, TO, GLOBAL_URL, Region.GLOBAL),
        ("auto", None, 919876543210, INDIA_URL, Region.INDIA),
        ("india", None, TO, INDIA_URL, Region.INDIA),
        ("india", "auto", TO, GLOBAL_URL, Region.GLOBAL),
        (Region.GLOBAL, Region.INDIA, TO, INDIA_URL, Region.INDIA),
        ("auto", "global", 919876543210, GLOBAL_URL, Region.GLOBAL),
    ],
)
async def test_the_region_decides_the_endpoint(
    service_region: str, call_region: str | None, to: int, url: str, region: Region
) -> None:
    """The call's region overrides the service's; auto decides by the callee's number."""
    telecmi = FakeTelecmi()
    async with telecmi.service(region=service_region) as service:
        handle = await service.make_call(to=to, pcmo=FLOW, region=call_region)

    assert telecmi.urls == [url]
    assert handle.region is region


async def test_a_calls_own_caller_id_wins() -> None:
    """The call's `from_` overrides the service's."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        await service.make_call(to=TO, pcmo=FLOW)
        await service.make_call(to=TO, pcmo=FLOW, from_="+1 917 000 0009", duration=60)

    assert [request["from"] for request in telecmi.requests] == [FROM, 19170000009]
    assert [request.get("duration") for request in telecmi.requests] == [None, 60]


async def test_a_call_without_any_caller_id_is_refused() -> None:
    """The error names `from_`; there is no default caller id."""
    telecmi = FakeTelecmi()
    async with telecmi.service(from_=None) as service:
        with pytest.raises(InvalidCall, match="from: is missing"):
            service.make_call(to=TO, pcmo=FLOW)

    assert telecmi.requests == []


async def test_bad_calls_raise_at_once_and_send_nothing() -> None:
    """make_call refuses every bad call of the table with its path, and sends nothing."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        for bad in BAD_CALLS:
            with pytest.raises(InvalidCall) as caught:
                service.make_call(**bad.fields())
            assert caught.value.path == bad.path, bad.name
        await anyio.sleep(1)

    assert len(BAD_CALLS) >= 60
    assert telecmi.requests == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"app_id": "x"}, "app_id must be TeleCMI's number"),
        ({"app_id": True}, "app_id"),
        ({"app_id": 0}, "app_id"),
        ({"app_id": "6f9619ff-8b86-d011-b42d-00c04fc964ff"}, "v3"),
        ({"secret": ""}, "secret must be"),
        ({"secret": None}, "secret must be"),
        ({"secret": "two words"}, "secret holds spaces"),
        ({"from_": "nobody"}, 'from_: is not a phone number: "n" is not'),
        ({"region": "mars"}, 'region: must be "auto"'),
        ({"base_url": "rest.telecmi.com"}, "base_url must be an address"),
        ({"base_url": "http://rest.telecmi.com/v2"}, "base_url must start with https"),
        ({"base_url": None}, "base_url"),
        ({"timeout": 0}, "Timeouts.read must be a positive number"),
        ({"timeout": "3"}, "Timeouts.read"),
        ({"retry": 3}, "retry must be a RetryPolicy, such as"),
        ({"rate": 5}, "rate must be a RateLimit, such as"),
        ({"http_client": object()}, "http_client must be an httpx.AsyncClient, not object"),
    ],
)
async def test_a_service_that_cannot_work_is_refused(
    options: dict[str, Any], message: str
) -> None:
    """The error names the argument and a valid value."""
    with pytest.raises(ConfigurationError, match=message):
        CallService(**{"app_id": 1, "secret": "s", **options})


@pytest.mark.parametrize("options", [{"retry": 3}, {"timeout": -1}])
async def test_options_of_a_call_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    """Options are checked before anything is sent, for one call and for many."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        with pytest.raises(ConfigurationError):
            service.make_call(to=TO, pcmo=FLOW, **options)
        with pytest.raises(ConfigurationError):
            service.make_calls([], **options)

    assert telecmi.requests == []


async def test_from_env_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """from_env reads four variables without surrounding spaces; arguments override them."""
    monkeypatch.setenv("TELECMI_APP_ID", " 2222226 ")
    monkeypatch.setenv("TELECMI_SECRET", "from-env\n")
    monkeypatch.setenv("TELECMI_FROM", "+1 917 000 0000")
    monkeypatch.setenv("TELECMI_BASE_URL", "https://example.com/v2/")
    telecmi = FakeTelecmi()

    async with (
        httpx.AsyncClient(transport=telecmi) as client,
        CallService.from_env(http_client=client) as service,
        CallService.from_env(http_client=client, secret="mine", from_=TO) as other,
    ):
        await service.make_call(to=TO, pcmo=FLOW)
        await other.make_call(to=TO, pcmo=FLOW)

    assert telecmi.urls == ["https://example.com/v2/global_pcmo_make_call"] * 2
    assert [(r["appid"], r["secret"], r["from"]) for r in telecmi.requests] == [
        (2222226, "from-env", FROM),
        (2222226, "mine", TO),
    ]


@pytest.mark.parametrize("make", [CallService, CallService.from_env])
async def test_a_traceback_with_locals_of_a_failed_start_can_be_shown(make: Any) -> None:
    """Half-made objects have a repr, and no frame shows the secret."""
    with pytest.raises(ConfigurationError) as caught:
        make(app_id=1, secret="sesame-open", base_url="nope")

    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    text = "".join(shown.format())
    assert "<CallService not opened>" in text
    assert "sesame-open'" not in text.replace('secret="sesame-open"', "")


async def test_from_env_needs_no_variable_that_is_given() -> None:
    """With all arguments given, from_env needs no environment variables."""
    service = CallService.from_env(app_id=7, secret="s")

    assert repr(service) == "<CallService app_id=7 0 calls under way>"


@pytest.mark.parametrize("missing", ["TELECMI_APP_ID", "TELECMI_SECRET"])
async def test_from_env_names_the_variable_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """Both credentials must be set; an empty one counts as missing."""
    monkeypatch.setenv("TELECMI_APP_ID", "1")
    monkeypatch.setenv("TELECMI_SECRET", "s")
    monkeypatch.setenv(missing, " ")

    with pytest.raises(ConfigurationError, match=f"{missing} is not set"):
        CallService.from_env()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (420, AuthenticationError),
        (401, AuthenticationError),
        (407, AuthenticationError),
        (422, MissingProperty),
        (501, MissingProperty),
        (404, CallRejected),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True], ids=["as a status", "inside a 200"])
async def test_a_documented_refusal_has_its_error_and_is_not_repeated(
    code: int, kind: type[CallRejected], wrapped: bool
) -> None:
    """A refusal counts the same as an HTTP status or as a code inside a 200."""
    reply = {"code": code, "msg": "no"}
    telecmi = FakeTelecmi(
        always(lambda: httpx.Response(200 if wrapped else code, json=dict(reply)))
    )
    async with telecmi.service() as service:
        with pytest.raises(kind) as caught:
            await service.make_call(to=TO, pcmo=FLOW)

    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.body) == (code, reply)
    assert len(telecmi.requests) == 1


async def test_a_502_of_telecmi_is_repeated_and_bounded() -> None:
    """After four attempts, MissingProperty lists all of them."""
    telecmi = FakeTelecmi(always(lambda: refused(502)))
    async with telecmi.service() as service:
        with pytest.raises(MissingProperty) as caught:
            await service.make_call(to=TO, pcmo=FLOW)

    assert [attempt.number for attempt in caught.value.attempts] == [1, 2, 3, 4]
    assert len(telecmi.requests) == 4


async def test_a_gateways_502_is_repeated_unless_at_most_once() -> None:
    """With at_most_once, the call is unknown after a single request."""
    telecmi = FakeTelecmi(in_turn(gateway, gateway, accepted))
    async with telecmi.service() as service:
        assert (await service.make_call(to=TO, pcmo=FLOW)).accepted
        once = FakeTelecmi(always(gateway))
        async with once.service(retry=RetryPolicy(at_most_once=True)) as careful:
            with pytest.raises(CallOutcomeUnknown):
                await careful.make_call(to=TO, pcmo=FLOW)

    assert len(telecmi.requests) == 3
    assert len(once.requests) == 1


@pytest.mark.parametrize(
    "failure",
    [
        lambda: httpx.ReadTimeout("slow"),
        lambda: httpx.ReadError("reset"),
        lambda: httpx.RemoteProtocolError("closed"),
        lambda: httpx.WriteTimeout("stuck"),
        lambda: httpx.WriteError("reset"),
        lambda: RuntimeError("not httpx's at all"),
        lambda: httpx.Response(200, text="ok"),
        lambda: httpx.Response(500, text="oops"),
        lambda: httpx.Response(504, text="late"),
    ],
)
async def test_what_may_have_rung_is_never_repeated(
    failure: Callable[[], httpx.Response | Exception],
) -> None:
    """There is one request, the outcome is unknown, and no foreign exception is raised."""
    telecmi = FakeTelecmi(always(failure))
    async with telecmi.service(retry=RetryPolicy(attempts=9)) as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        with pytest.raises(CallOutcomeUnknown):
            await handle

    assert len(telecmi.requests) == 1
    assert handle.status is CallStatus.UNKNOWN


async def test_what_was_never_sent_is_repeated() -> None:
    """A refused connection is retried, and ends as NotSent if all attempts fail."""
    telecmi = FakeTelecmi(in_turn(lambda: httpx.ConnectError("refused"), accepted))
    down = FakeTelecmi(always(lambda: httpx.ConnectTimeout("nobody there")))
    async with telecmi.service() as service, down.service() as other:
        assert (await service.make_call(to=TO, pcmo=FLOW)).accepted
        with pytest.raises(NotSent, match="ConnectTimeout"):
            await other.make_call(to=TO, pcmo=FLOW)

    assert (len(telecmi.starts), len(telecmi.requests)) == (2, 1)
    assert (len(down.starts), len(down.requests)) == (4, 0)


async def test_after_slow_down_everyone_pauses_and_nobody_ends_it_early() -> None:
    """A 429 with Retry-After pauses all calls for that time, even if others succeed."""
    telecmi = FakeTelecmi(in_turn(lambda: refused(429, retry_after="10"), accepted), delay=1.0)
    async with telecmi.service() as service:
        first = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.5)
        second = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(1.0)
        third = service.make_call(to=TO, pcmo=FLOW)
        for handle in (first, second, third):
            await handle

    begin = telecmi.starts[0]
    assert [start - begin for start in telecmi.starts] == pytest.approx(
        [0.0, 0.5, 11.0, 11.0], abs=0.01
    )


@pytest.mark.parametrize(("header", "pause"), [("86400", 60.0), (None, 0.5), ("soon", 0.5)])
async def test_a_pause_is_capped_and_has_a_default(header: str | None, pause: float) -> None:
    """A Retry-After of a day is cut to a minute; without a valid one the first wait is used."""
    extra = {} if header is None else {"retry_after": header}
    telecmi = FakeTelecmi(in_turn(lambda: refused(429, **extra), accepted))
    async with telecmi.service() as service:
        await service.make_call(to=TO, pcmo=FLOW)

    assert telecmi.starts[1] - telecmi.starts[0] == pytest.approx(pause, abs=0.01)


async def test_rate_limited_is_raised_when_attempts_run_out() -> None:
    """The error has the pause that TeleCMI asked for, not the shorter one that was used."""
    telecmi = FakeTelecmi(always(lambda: refused(429, retry_after="86400")))
    async with telecmi.service(retry=RetryPolicy(attempts=1)) as service:
        with pytest.raises(RateLimited) as caught:
            await service.make_call(to=TO, pcmo=FLOW)

    assert caught.value.retry_after == 86400.0


async def test_a_refusal_before_the_queue_gave_up_is_the_answer() -> None:
    """If a retry gets no turn in time, the call is refused, not unsent."""
    telecmi = FakeTelecmi(in_turn(lambda: refused(502), accepted), delay=1.0)
    limit = RateLimit(max_in_flight=1, queue_timeout=20.0)
    async with telecmi.service(rate=limit) as service:
        first = service.make_call(to=TO, pcmo=FLOW, retry=RetryPolicy(wait_initial=0.001))
        await anyio.sleep(0.5)
        telecmi.delay = 50.0
        second = service.make_call(to=TO, pcmo=FLOW)
        with pytest.raises(MissingProperty) as caught:
            await first
        await second

    assert len(caught.value.attempts) == 1


async def test_queue_timeout_fails_a_call_instead_of_waiting() -> None:
    """With queue_timeout, a call that waits longer than that raises NotSent."""
    telecmi = FakeTelecmi(delay=10.0)
    limit = RateLimit(max_in_flight=1, queue_timeout=2.0)
    async with telecmi.service(rate=limit) as service:
        first = service.make_call(to=TO, pcmo=FLOW)
        second = service.make_call(to=TO, pcmo=FLOW)
        began = anyio.current_time()
        with pytest.raises(NotSent, match="no turn within its queue_timeout") as caught:
            await second
        assert caught.value.late
        waited = anyio.current_time() - began
        await first

    assert waited == pytest.approx(2.0)
    assert len(telecmi.requests) == 1
    assert second.attempts == ()


async def test_a_deadline_bounds_queue_and_retries_together() -> None:
    """No attempt starts after the deadline, neither from the queue nor after a wait."""
    telecmi = FakeTelecmi(always(lambda: refused(429, retry_after="4")), delay=3.0)
    policy = RetryPolicy(deadline=5.0)
    limit = RateLimit(max_in_flight=1, queue_timeout=100.0)
    async with telecmi.service(retry=policy, rate=limit) as service:
        first = service.make_call(to=TO, pcmo=FLOW)
        second = service.make_call(to=TO, pcmo=FLOW)
        began = anyio.current_time()
        with pytest.raises(RateLimited):
            await first
        with pytest.raises(NotSent, match="no turn within its deadline of 5 s") as caught:
            await second
        assert caught.value.late
        waited = anyio.current_time() - began

    assert waited == pytest.approx(5.0)
    assert len(telecmi.requests) == 1


async def test_the_budget_bounds_the_load_on_a_server_that_is_down() -> None:
    """A thousand calls during an outage make at most 1.1 times as many requests."""
    telecmi = FakeTelecmi(always(lambda: refused(502)))
    async with telecmi.service() as service:
        handles = [service.make_call(to=TO, pcmo=FLOW) for _ in range(1000)]
        for handle in handles:
            with pytest.raises(MissingProperty):
                await handle

    assert len(telecmi.requests) <= 1100


async def test_policy_and_timeouts_of_a_call_win() -> None:
    """`retry` and `timeout` of make_call override the service's."""
    telecmi = FakeTelecmi(always(lambda: refused(502)))
    async with telecmi.service(timeout=Timeouts(total=3.0)) as service:
        with pytest.raises(MissingProperty):
            await service.make_call(to=TO, pcmo=FLOW, retry=RetryPolicy(attempts=1))
        sent = len(telecmi.requests)
        telecmi.delay = 50.0
        began = anyio.current_time()
        with pytest.raises(CallOutcomeUnknown, match="no full answer within 3 s"):
            await service.make_call(to=TO, pcmo=FLOW)
        with pytest.raises(CallOutcomeUnknown, match="no full answer within 20 s"):
            await service.make_call(to=TO, pcmo=FLOW, timeout=10.0)
        waited = anyio.current_time() - began

    assert sent == 1
    assert waited == pytest.approx(23.0)


async def test_at_most_once_of_a_service_cannot_be_switched_off_by_a_call() -> None:
    """A call's own policy overrides all of the service's policy except at_most_once."""
    telecmi = FakeTelecmi(always(gateway))
    careful = RetryPolicy(at_most_once=True)
    async with telecmi.service(retry=careful) as service:
        with pytest.raises(CallOutcomeUnknown):
            await service.make_call(to=TO, pcmo=FLOW, retry=RetryPolicy(attempts=9))

    assert len(telecmi.requests) == 1


async def test_calls_that_closing_cancels_are_counted_in_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A warning counts the queued calls that closing cancelled."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service() as service:
        for _ in range(100):
            service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.5)

    assert telecmi.finished == 20
    assert caplog.messages == ["80 queued calls were cancelled: the service was closed"]


async def test_many_calls_run_concurrently_within_the_limit() -> None:
    """Of five hundred concurrent calls all are accepted, with at most twenty in flight."""
    telecmi = FakeTelecmi(delay=0.1)
    async with telecmi.service() as service:
        began = anyio.current_time()
        handles = [service.make_call(to=TO, pcmo=FLOW) for _ in range(500)]
        for handle in handles:
            await handle
        took = anyio.current_time() - began

    assert telecmi.max_in_flight == 20
    assert took == pytest.approx(500 / 20 * 0.1, rel=0.01)
    assert len({handle.request_id for handle in handles}) == 500


async def test_starts_keep_to_the_rate_retries_included() -> None:
    """With a third of the answers a 502, at most five requests start per second."""
    telecmi = FakeTelecmi(lambda n: refused(502) if n % 3 == 0 else accepted(n))
    async with telecmi.service(rate=RateLimit(5)) as service:
        handles = [service.make_call(to=TO, pcmo=FLOW) for _ in range(40)]
        for handle in handles:
            await handle

    starts = telecmi.starts
    assert len(starts) > 50
    assert all(
        later - earlier >= 1.0 for earlier, later in zip(starts, starts[5:], strict=False)
    )


async def test_leaving_waits_for_what_was_sent_and_cancels_the_queue() -> None:
    """Calls in flight are finished; queued calls raise CallCancelled."""
    telecmi = FakeTelecmi(delay=5.0)
    async with telecmi.service(rate=RateLimit(max_in_flight=2)) as service:
        handles = [service.make_call(to=TO, pcmo=FLOW) for _ in range(5)]
        await anyio.sleep(1.0)

    assert [handle.status for handle in handles] == ["progress"] * 2 + ["cancelled"] * 3
    assert telecmi.finished == len(telecmi.requests) == 2
    with pytest.raises(CallCancelled):
        await handles[4]


async def test_an_error_in_the_body_leaves_as_it_is() -> None:
    """The body's exception is not wrapped in a group, and calls in flight are finished."""
    telecmi = FakeTelecmi(delay=5.0)
    handle: CallHandle | None = None

    with pytest.raises(ZeroDivisionError):
        async with telecmi.service() as service:
            handle = service.make_call(to=TO, pcmo=FLOW)
            await anyio.sleep(1.0)
            raise ZeroDivisionError

    assert handle is not None
    assert handle.accepted


async def test_cancelling_the_whole_block_still_finishes_what_was_sent() -> None:
    """A time-out around the service does not abandon a call in flight."""
    telecmi = FakeTelecmi(delay=5.0)
    handles: list[CallHandle] = []
    with anyio.move_on_after(1.0) as scope:
        async with telecmi.service(rate=RateLimit(max_in_flight=1)) as service:
            handles = [service.make_call(to=TO, pcmo=FLOW) for _ in range(2)]
            await anyio.sleep(100)

    assert scope.cancelled_caught
    assert [handle.status for handle in handles] == ["progress", "cancelled"]
    assert telecmi.finished == 1


async def test_cancelling_anywhere_loses_no_call() -> None:
    """Wherever a program is cancelled, every call is settled with its true outcome."""

    class State:
        def __init__(self) -> None:
            self.telecmi = FakeTelecmi(
                lambda n: refused(502) if n == 1 else accepted(n), delay=1
            )
            self.handles: list[CallHandle] = []

    async def program(state: State) -> None:
        async with state.telecmi.service(rate=RateLimit(2, max_in_flight=2)) as service:
            for _ in range(4):
                state.handles.append(service.make_call(to=TO, pcmo=FLOW))
            for handle in state.handles:
                await handle
            await service.make_call(to=TO, pcmo=FLOW)

    async def check(state: State) -> None:
        await anyio.sleep(60)
        sent = len(state.telecmi.requests)
        assert state.telecmi.finished == sent
        statuses = [handle.status for handle in state.handles]
        assert set(statuses) <= {CallStatus.PROGRESS, CallStatus.CANCELLED}
        ids = [handle.request_id for handle in state.handles if handle.accepted]
        assert len(set(ids)) == len(ids)
        assert sum(len(handle.attempts) for handle in state.handles) in {sent, sent - 1}

    points = await cancel_everywhere(program, setup=State, check=check)

    assert points >= 3


async def test_two_may_close_a_service_at_once() -> None:
    """Each concurrent `aclose` returns when all calls are finished."""
    telecmi = FakeTelecmi(delay=1.0)
    async with telecmi.service() as service:
        service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.aclose)
            tasks.start_soon(service.aclose)
            await service.aclose()
            assert telecmi.finished == 1


async def test_the_bodys_error_survives_a_cancellation_around_it() -> None:
    """On both backends, an error of the body's clean-up is not replaced by the cancellation."""
    with pytest.raises(KeyError), anyio.move_on_after(5):
        async with FakeTelecmi(delay=2).service(rate=RateLimit(max_in_flight=1)) as service:
            for _ in range(9):
                service.make_call(to=TO, pcmo=FLOW)
            try:
                await anyio.sleep(100)
            finally:
                raise KeyError("could not write the results")


async def test_a_cancellation_without_an_error_of_the_body_goes_on() -> None:
    """A scope around the service is cancelled normally, and its calls are settled."""
    with anyio.move_on_after(1) as scope:
        async with FakeTelecmi(delay=2).service(rate=RateLimit(max_in_flight=1)) as service:
            handles = [service.make_call(to=TO, pcmo=FLOW) for _ in range(3)]
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1.5)

    assert scope.cancel_called
    assert {handle.status for handle in handles} == {"progress", "cancelled"}


async def test_a_hook_may_close_the_service() -> None:
    """If a call's own hook closes the service, it does not wait for that call."""

    async def stop(response: httpx.Response) -> None:
        await service.aclose()

    telecmi = FakeTelecmi(delay=1)
    client = httpx.AsyncClient(transport=telecmi, event_hooks={"response": [stop]})
    async with client, CallService(1, "s", from_=FROM, http_client=client) as service:
        handles = [service.make_call(to=TO, pcmo=FLOW)]
        await anyio.sleep(0.5)
        handles.append(service.make_call(to=TO, pcmo=FLOW))
        for handle in handles:
            with contextlib.suppress(CallOutcomeUnknown):
                await handle

    assert {handle.status for handle in handles} <= {"progress", "unknown"}


@pytest.mark.real_clock
def test_a_service_of_one_loop_is_not_opened_in_another() -> None:
    """A service that was used on asyncio is refused by trio before anything is started."""
    client = httpx.AsyncClient(transport=FakeTelecmi())

    async def use() -> CallService:
        service = CallService(1, "s", from_=FROM, http_client=client)
        await service.make_call(to=TO, pcmo=FLOW)
        return service

    async def open_again() -> None:
        with pytest.raises(WrongEventLoop):
            async with service:
                pass  # pragma: no cover  # it does not open

    home = asyncio.new_event_loop()
    service = home.run_until_complete(use())
    anyio.run(open_again, backend="trio")
    home.run_until_complete(service.aclose())
    home.close()


async def test_a_closed_service_takes_no_more_calls() -> None:
    """make_call and make_calls raise ServiceClosed; closing again has no effect."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        await service.aclose()
        with pytest.raises(ServiceClosed):
            service.make_call(to=TO, pcmo=FLOW)
        with pytest.raises(ServiceClosed):
            service.make_calls([])
        await service.aclose()

    with pytest.raises(ServiceClosed):
        async with service:
            pass  # pragma: no cover  # it does not open

    assert repr(service) == "<CallService app_id=2222226 closed>"


async def test_an_open_service_says_how_many_calls_are_under_way() -> None:
    """The repr shows the number of calls in flight, and no secret."""
    async with FakeTelecmi(delay=1).service() as service:
        service.make_call(to=TO, pcmo=FLOW)

        assert repr(service) == "<CallService app_id=2222226 1 calls under way>"


async def test_the_users_client_stays_open_and_its_own_is_closed() -> None:
    """The service never closes the user's http_client, and always closes its own."""
    telecmi = FakeTelecmi()
    async with httpx.AsyncClient(transport=telecmi) as client:
        async with CallService(1, "s", http_client=client):
            pass
        assert not client.is_closed
    with respx.mock():
        service = CallService(1, "s")
        async with service:
            pass

    assert service._parts.transport._client.is_closed


def test_outside_an_event_loop_a_call_is_refused() -> None:
    """Outside an event loop, make_call raises an error of the package."""
    service = CallService(1, "s", from_=FROM)

    with pytest.raises(WrongEventLoop, match="no running event loop"):
        service.make_call(to=TO, pcmo=FLOW)


@pytest.mark.real_clock
def test_a_second_event_loop_is_refused() -> None:
    """A service works only in the event loop of its first use, for calling and for closing."""
    telecmi = FakeTelecmi()
    client = httpx.AsyncClient(transport=telecmi)
    service = CallService(1, "s", from_=FROM, http_client=client)
    home = asyncio.new_event_loop()

    async def call() -> None:
        await service.make_call(to=TO, pcmo=FLOW)

    home.run_until_complete(call())
    with pytest.raises(WrongEventLoop, match="make one for every event loop"):
        asyncio.run(call())
    with pytest.raises(WrongEventLoop, match="and close it there"):
        asyncio.run(service.aclose())
    home.run_until_complete(service.aclose())
    home.run_until_complete(client.aclose())
    home.close()

    assert len(telecmi.requests) == 1


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_a_service_must_be_opened(anyio_backend: str) -> None:
    """On trio, a service without `async with` raises an error that says so."""
    service = CallService(1, "s", from_=FROM)

    with pytest.raises(WrongEventLoop, match="on trio a service must be opened"):
        service.make_call(to=TO, pcmo=FLOW)
    await service.aclose()


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_a_service_is_opened_once(anyio_backend: str) -> None:
    """Opening an open service is refused."""
    async with FakeTelecmi().service() as service:
        with pytest.raises(WrongEventLoop, match="open already"):
            async with service:
                pass  # pragma: no cover  # it does not open


async def test_retries_and_attempts_are_logged_without_numbers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """INFO logs every retry and the outcome, DEBUG every attempt, all by reference."""
    caplog.set_level(logging.DEBUG, logger="telecmi_async")
    async with FakeTelecmi(in_turn(lambda: refused(502), accepted)).service() as service:
        handle = await service.make_call(to=TO, pcmo=FLOW)

    levels = [record.levelname for record in caplog.records]
    assert levels == ["DEBUG", "INFO", "DEBUG", "INFO"]
    assert caplog.text.count(handle.reference) == 4
    assert "attempt 1 of 4: rejected (refused 502); retrying in" in caplog.text
    assert str(TO) not in caplog.text


async def test_a_bug_of_ours_is_not_taken_for_a_call_that_did_not_ring(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If judging a reply fails, the call is unknown, an error is logged, and others go on."""

    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    async with FakeTelecmi().service() as service:
        with monkeypatch.context() as patch:
            patch.setattr("telecmi_async.calls.placement.judge", broken)
            with pytest.raises(CallOutcomeUnknown, match="could not be judged"):
                await service.make_call(to=TO, pcmo=FLOW)
        assert (await service.make_call(to=TO, pcmo=FLOW)).accepted

    assert "its reply could not be judged" in caplog.text


@pytest.mark.real_clock
def test_a_call_is_cancelled_in_its_own_loop_only() -> None:
    """Outside the call's loop, cancel() is refused; for a settled call it returns False."""
    home = asyncio.new_event_loop()
    client = httpx.AsyncClient(transport=FakeTelecmi(delay=0.01))

    async def start() -> tuple[CallService, CallHandle]:
        service = CallService(1, "s", from_=FROM, http_client=client)
        return service, service.make_call(to=TO, pcmo=FLOW)

    async def finish() -> None:
        await handle
        await service.aclose()
        await client.aclose()

    service, handle = home.run_until_complete(start())
    with pytest.raises(WrongEventLoop, match="no running event loop"):
        handle.cancel()
    with pytest.raises(WrongEventLoop, match="in the event loop that placed it"):
        asyncio.run(_cancel(handle))
    home.run_until_complete(finish())
    home.close()

    assert handle.cancel() is False


async def _cancel(handle: CallHandle) -> None:
    handle.cancel()


@pytest.mark.parametrize(
    "body",
    [
        b'{"code":400,"x":' + b"[" * 700 + b"]" * 700 + b"}",
        b'{"code":400,"x":' + b'{"x":' * 700 + b"1" + b"}" * 701,
    ],
)
async def test_a_deeply_nested_reply_stops_nobody(body: bytes) -> None:
    """A deeply nested reply counts as invalid JSON, and other calls go on."""
    telecmi = FakeTelecmi(in_turn(lambda: httpx.Response(500, content=body), accepted))
    async with telecmi.service() as service:
        with pytest.raises(CallOutcomeUnknown):
            await service.make_call(to=TO, pcmo=FLOW)
        assert (await service.make_call(to=TO, pcmo=FLOW)).accepted


async def test_a_request_id_that_repeats_the_secret_is_none() -> None:
    """A request_id with the secret in it, or not short plain text, makes the call unknown."""
    for value in ("xx-a-secret-xx", "i" * 300, "\ud800", "a\nb"):
        reply = httpx.Response(200, content=json.dumps({"code": 200, "request_id": value}))
        async with FakeTelecmi(always(partial(_same, reply))).service() as service:
            handle = service.make_call(to=TO, pcmo=FLOW)
            with pytest.raises(CallOutcomeUnknown):
                await handle
            assert "a-secret" not in repr(handle)


@pytest.mark.parametrize("secret", ["s", "0000"])
async def test_a_short_secret_stands_in_a_request_id_by_chance(secret: str) -> None:
    """Very short secrets, as in tests, do not make accepted calls unknown."""
    client = httpx.AsyncClient(transport=FakeTelecmi())
    async with client, CallService(1, secret, from_=FROM, http_client=client) as service:
        handle = await service.make_call(to=TO, pcmo=FLOW)

    assert handle.request_id == "0" * 43


def _same(reply: httpx.Response) -> httpx.Response:
    return reply


async def test_a_hook_that_reads_the_reply_changes_nothing() -> None:
    """A user's logging hook that reads the body first changes nothing."""

    async def read(response: httpx.Response) -> None:
        await response.aread()

    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            yield accepted().content

    class Streaming(FakeTelecmi):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await super().handle_async_request(request)
            return httpx.Response(200, stream=Slow())

    hooks = {"response": [read]}
    async with (
        httpx.AsyncClient(transport=Streaming(), event_hooks=hooks) as client,
        CallService(1, "s", from_=FROM, http_client=client) as service,
    ):
        assert (await service.make_call(to=TO, pcmo=FLOW)).accepted


async def test_a_client_that_cannot_be_closed_does_no_harm(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's error is logged, and the service is closed."""
    service = CallService(1, "s")

    async def broken() -> None:
        raise OSError

    monkeypatch.setattr(service._parts.transport._client, "aclose", broken)
    async with service:
        pass

    assert "closing the HTTP client failed" in caplog.text


async def test_an_address_that_cannot_be_sent_to_proves_that_nothing_was() -> None:
    """A host name that httpx refuses to encode is a failure that was not sent."""
    service = CallService(
        1, "s", from_=FROM, base_url="https://xn--a/", retry=RetryPolicy(attempts=1)
    )
    async with service:
        with pytest.raises(NotSent):
            await service.make_call(to=TO, pcmo=FLOW)


@pytest.mark.parametrize(
    "seed", [None, 7, "seed", 10**5000], ids=["none", "int", "str", "huge"]
)
async def test_any_seed_works(seed: Any) -> None:
    """A seed of any size is accepted; values that are not int or str are refused."""
    async with FakeTelecmi(in_turn(lambda: refused(502), accepted)).service(
        seed=seed
    ) as service:
        assert (await service.make_call(to=TO, pcmo=FLOW)).accepted
    with pytest.raises(ConfigurationError, match="seed must be an int or a str"):
        CallService(1, "s", seed=1.5)  # type: ignore[arg-type]  # what is tested


async def test_a_hundred_services_leave_nothing_behind() -> None:
    """Opening, calling and closing a hundred times leaves no task and no call."""
    for _ in range(100):
        async with FakeTelecmi().service() as service:
            await service.make_call(to=TO, pcmo=FLOW)
        await anyio.lowlevel.checkpoint()
        assert not service._runner.calls
        assert service._parts.tasks._running == 0
        assert not service._feeds


async def test_the_repr_counts_calls_whose_outcome_is_not_known() -> None:
    """The number is true as soon as an await or a stream returns."""
    async with FakeTelecmi(delay=1.0).service() as service:
        first, second = (service.make_call(to=TO, pcmo=FLOW) for _ in range(2))
        counts = [repr(service)]
        second.cancel()
        counts.append(repr(service))
        await first
        counts.append(repr(service))
        async with service.make_calls([{"to": TO, "pcmo": FLOW}] * 50) as calls:
            async for call in calls:
                assert call.accepted
        counts.append(repr(service))

    names = [re.sub(r".*app_id=\d+ (.*)>", r"\1", text) for text in counts]
    assert names == [f"{n} calls under way" for n in (2, 1, 0, 0)]
    assert repr(service).endswith("closed>")

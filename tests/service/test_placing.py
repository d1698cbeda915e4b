"""Placing is total: whatever fails in a step, the call is settled by what is known."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import anyio
import httpx
import pytest
import trio
from fake_telecmi import FLOW, FROM, TO, FakeTelecmi, accepted, always, gateway, refused
from webhook_posts import TOKEN

from telecmi_async import (
    CallHandle,
    CallOutcomeUnknown,
    CallRequest,
    CallService,
    CallStatus,
    MissingProperty,
    NotSent,
    RateLimit,
    Receiver,
    RetryPolicy,
    TelecmiError,
    Timeouts,
)
from telecmi_async._internal.tasks import TaskRunner
from telecmi_async.wire.reply import Failure, Reply

pytestmark = pytest.mark.anyio

# As a library's error may quote a request.
LEAK = f"a-secret to {TO}"


def fail(*_: Any, **__: Any) -> Any:
    """Fail with a text that must not be logged."""
    raise OSError(24, LEAK)


async def fail_later(*_: Any, **__: Any) -> Any:
    """Fail after a suspension point."""
    await anyio.lowlevel.checkpoint()
    fail()


class BrokenClock:
    """In place of the class `datetime`."""

    now = staticmethod(fail)


async def error_of(handle: CallHandle) -> TelecmiError | None:
    """Return what awaiting a handle raises."""
    try:
        await handle
    except TelecmiError as error:
        return error
    return None


class Answers:
    """A transport that gives answers in turn, and repeats the last one."""

    def __init__(self, *answers: Reply | Failure) -> None:
        self.answers = answers
        self.posts = 0

    async def post(self, *_: Any, **__: Any) -> Reply | Failure:
        """Return the next answer."""
        await anyio.lowlevel.checkpoint()
        self.posts += 1
        return self.answers[min(self.posts, len(self.answers)) - 1]


def answers(service: CallService, *given: Reply | Failure) -> Answers:
    """Give a service a transport that answers so."""
    transport = Answers(*given)
    service._parts.placer._transport = transport  # type: ignore[assignment]  # it posts only
    return transport


def failures(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the failures that were logged, and check that they show no secret."""
    found = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    for text in found:
        assert "a-secret" not in text
        assert str(TO) not in text
        assert 'File "' in text
        assert text.rstrip().splitlines()[-1].startswith(("OSError", "asyncio"))
    assert str(TO) not in caplog.text
    return found


GATE = "telecmi_async.pacing.gate.Gate"
PLACEMENT = "telecmi_async.calls.placement"
STATE = "telecmi_async.calls.state.PlacementState"
RETRY = "telecmi_async.calls.retry"
SECRETS = "telecmi_async._internal.secrets.Redactor"


@pytest.mark.parametrize(
    ("step", "broken", "expected"),
    [
        # before a request began
        ("telecmi_async.pacing.channels.Channels.acquire", fail_later, NotSent),
        (f"{STATE}.start", fail, NotSent),
        (f"{PLACEMENT}.retry.run_attempts", fail_later, NotSent),
        (f"{GATE}.enter", fail_later, NotSent),
        (f"{STATE}.begin_request", fail, NotSent),
        # while it was under way
        (
            "telecmi_async.wire.httpx_transport.HttpxTransport.post",
            fail_later,
            CallOutcomeUnknown,
        ),
        (f"{PLACEMENT}.judge", fail, CallOutcomeUnknown),
        (f"{PLACEMENT}.datetime", BrokenClock, CallOutcomeUnknown),
        (f"{SECRETS}.may_be_in", fail, CallOutcomeUnknown),
        (f"{STATE}.record", fail, CallOutcomeUnknown),
        # after TeleCMI had accepted it
        (f"{GATE}.leave", fail, None),
        (f"{RETRY}.RetryBudget.record", fail, None),
        (f"{RETRY}.RetryPolicy.repeats", fail, None),
        (f"{RETRY}.RetryPolicy.pause", fail, None),
        ("telecmi_async.service.tracker.Tracker.call_settled", fail, None),
    ],
)
async def test_a_step_that_fails_is_judged_by_what_is_known(
    step: str,
    broken: Any,
    expected: type[TelecmiError] | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not sent before a request, unknown during it; it is logged once and ends no other call."""
    telecmi = FakeTelecmi(delay=1.0)
    limit = RateLimit(max_live_calls=10)
    async with telecmi.service(rate=limit, events=Receiver(TOKEN)) as service:
        other = service.make_call(to=TO, pcmo=FLOW)
        await anyio.sleep(0.5)
        telecmi.delay = 0.0
        with monkeypatch.context() as patch:
            patch.setattr(step, broken)
            error = await error_of(service.make_call(to=TO, pcmo=FLOW))
        later = await service.make_call(to=TO, pcmo=FLOW)
        await other

    assert type(error) is (expected or type(None))
    assert error is None or error.safe_to_redial is (expected is NotSent)
    if expected is NotSent:
        assert "OSError" in str(error)
        assert len(telecmi.requests) == 2
    assert other.accepted
    assert later.accepted
    assert len(failures(caplog)) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (lambda: httpx.ConnectError("refused"), NotSent),
        (lambda: refused(502), MissingProperty),
        (gateway, CallOutcomeUnknown),
    ],
)
@pytest.mark.parametrize(
    "step", ["tenacity.AsyncRetrying.__call__", f"{RETRY}._draw", f"{RETRY}.RetryPolicy.wait"]
)
async def test_a_retry_that_fails_leaves_what_the_attempt_came_to(
    step: str,
    answer: Any,
    expected: type[TelecmiError],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call ends by the attempt before: not sent, refused or unknown, and never cancelled."""
    telecmi = FakeTelecmi(always(answer))
    async with telecmi.service() as service:
        monkeypatch.setattr(step, fail_later if "tenacity" in step else fail)
        error = await error_of(service.make_call(to=TO, pcmo=FLOW))

    assert type(error) is expected
    assert len(error.attempts) == len(telecmi.starts) == 1
    assert len(failures(caplog)) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(lambda: refused(420), CallOutcomeUnknown), (None, NotSent)],
)
async def test_attempts_that_cannot_be_judged_end_the_call_all_the_same(
    answer: Any,
    expected: type[TelecmiError],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the verdict on the whole call fails, it is unknown once a request began."""
    monkeypatch.setattr("telecmi_async.calls.call.conclude", fail)
    async with FakeTelecmi(always(answer)).service() as service:
        handle = service.make_call(to=TO, pcmo=FLOW)
        if answer is None:
            handle.cancel()
        error = await error_of(handle)

    assert type(error) is expected
    assert "could not be judged" in str(error)
    assert len(failures(caplog)) == 1


@pytest.mark.parametrize(("readings", "expected"), [(0, NotSent), (1, CallOutcomeUnknown)])
async def test_a_clock_that_fails_loses_no_call(
    readings: int, expected: type[TelecmiError], caplog: pytest.LogCaptureFixture
) -> None:
    """Before the request it is not sent; after TeleCMI's reply the request may have rung."""
    left = readings

    def now() -> float:
        nonlocal left
        left -= 1
        if left < 0:
            fail()
        return anyio.current_time()

    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        service._parts.placer.use_clock(now)
        # The gate does not read it: there is neither a rate nor a pause.
        error = await error_of(service.make_call(to=TO, pcmo=FLOW))

    assert type(error) is expected
    assert len(telecmi.requests) == readings
    assert len(failures(caplog)) == 1


async def test_a_redactor_that_fails_shows_no_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the frames and the error's name then, for its text may hold the secret."""
    async with FakeTelecmi().service() as service:
        monkeypatch.setattr(f"{SECRETS}.may_be_in", fail)
        monkeypatch.setattr(f"{SECRETS}.secret", fail)
        error = await error_of(service.make_call(to=TO, pcmo=FLOW))

    assert isinstance(error, CallOutcomeUnknown)
    [text] = failures(caplog)
    assert text.endswith("OSError")


async def test_a_log_that_fails_changes_no_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that raises at every record neither ends the service nor loses a call."""
    monkeypatch.setattr("telecmi_async._internal.secrets.logger.error", fail)
    monkeypatch.setattr(f"{PLACEMENT}.logger.debug", fail)
    monkeypatch.setattr(f"{PLACEMENT}.logger.info", fail)
    async with FakeTelecmi(always(gateway)).service() as service:
        unknown = await error_of(service.make_call(to=TO, pcmo=FLOW))
    async with FakeTelecmi().service() as service:
        call = await service.make_call(to=TO, pcmo=FLOW)

    assert isinstance(unknown, CallOutcomeUnknown)
    assert call.accepted


@pytest.mark.parametrize(
    "step",
    [
        "telecmi_async.service.call_runner.encode_request",
        "telecmi_async.service.call_runner.make_call_url",
        "telecmi_async.events.reference.References.sign",
        "telecmi_async.service.tracker.Tracker.follow",
        f"{PLACEMENT}.CallPlacer.deadline",
    ],
)
async def test_a_call_that_cannot_be_prepared_is_not_sent(
    step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """make_call raises NotSent, a stream gives such a row, a campaign is told the same."""
    telecmi = FakeTelecmi()
    request = CallRequest(to=TO, pcmo=FLOW)

    async def permit(call: Any) -> float:
        return anyio.current_time()

    async with telecmi.service(events=Receiver(TOKEN)) as service:
        with monkeypatch.context() as patch:
            patch.setattr(step, fail)
            with pytest.raises(NotSent, match=r"\(OSError\).*no phone rang"):
                service.make_call(to=TO, pcmo=FLOW)
            with pytest.raises(NotSent):
                service._runner.place_once(request, permit, Timeouts())
            async with service.make_calls([request]) as calls:
                rows = [call async for call in calls]
        later = await service.make_call(to=TO, pcmo=FLOW)

    assert [row.status for row in rows] == [CallStatus.NOT_SENT]
    assert later.accepted
    assert len(telecmi.requests) == 1
    assert len(failures(caplog)) == 3


async def test_a_permit_that_fails_lets_nothing_through(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever a campaign's permit raises, nothing is sent and the next call is placed."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        request = CallRequest(to=TO, pcmo=FLOW)
        error = await error_of(service._runner.place_once(request, fail_later, Timeouts()))
        later = await service.make_call(to=TO, pcmo=FLOW)

    assert isinstance(error, NotSent)
    assert later.accepted
    assert len(telecmi.requests) == 1
    assert len(failures(caplog)) == 1


@pytest.mark.parametrize("waits", [False, True])
async def test_a_listener_that_fails_keeps_the_outcome_from_no_one(
    waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """on_settled is called once; if it fails, waiters wake and the call is what it is."""
    async with FakeTelecmi(delay=1.0).service() as service:
        runner, request = service._runner, CallRequest(to=TO, pcmo=FLOW)
        policy, timeouts = service._settings.for_call(None, None)
        call = runner.start(request, policy, timeouts, source=None, on_settled=fail)
        if waits:
            await call.wait()
        else:
            await anyio.sleep(2)
            await call.wait()

    assert call.placement.status is CallStatus.PROGRESS
    assert len(failures(caplog)) == 1


async def test_a_stream_whose_progress_fails_yields_every_call(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Counting, or on_progress, may fail: each call is yielded once."""
    telecmi = FakeTelecmi()
    async with telecmi.service() as service:
        monkeypatch.setattr("telecmi_async.service.stream.Progress", fail)
        requests = [CallRequest(to=TO + n, pcmo=FLOW) for n in range(30)]
        async with service.make_calls(requests, on_progress=print) as calls:
            rows = [call.source.to async for call in calls]

    assert sorted(rows) == [request.to for request in requests]
    assert caplog.text.count("on_progress failed") == 30


async def test_a_background_task_that_fails_ends_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Tasks and what runs at their ends may fail: it is logged, and the others go on."""
    tasks, done = TaskRunner(), []

    async def work(number: int) -> None:
        await anyio.sleep(number)
        if number == 1:
            fail()
        done.append(number)

    def ended(number: int) -> None:
        if number == 2:
            fail()

    await tasks.open()
    for number in range(4):
        tasks.start(work, number, ended)
    await tasks.drain()
    await tasks.close(None)

    assert done == [0, 2, 3]
    assert len(failures(caplog)) == 2


async def test_a_client_that_sends_twice_by_itself_is_noticed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Accepted: perhaps a duplicate. Anything else: unknown, and never repeated. It is logged."""
    request_id = accepted().json()["request_id"]
    policy = RetryPolicy(at_most_once=True)
    async with FakeTelecmi().service(retry=policy) as service:
        answers(service, Reply(200, accepted().content, resent=True))
        call = await service.make_call(to=TO, pcmo=FLOW)
        refusals = answers(service, Reply(502, b'{"code": 502}', resent=True))
        refusal = service.make_call(to=TO, pcmo=FLOW, retry=RetryPolicy())
        error = await error_of(refusal)
        answers(service, Failure("ConnectError", may_have_left=False, resent=True))
        failure = await error_of(service.make_call(to=TO, pcmo=FLOW))

    assert (call.request_id, call.may_be_duplicate) == (request_id, True)
    assert "more than once" in call.attempts[0].detail
    assert isinstance(error, CallOutcomeUnknown)
    assert "more than once" in error.cause
    assert (refusals.posts, refusal.may_be_duplicate) == (1, True)
    assert isinstance(failure, CallOutcomeUnknown)
    assert caplog.text.count("more than once by itself") == 3


async def test_a_request_that_cannot_be_built_is_no_outage() -> None:
    """It is not repeated, it leaves the retry budget as it is, and its error says what it was."""
    async with FakeTelecmi().service(retry=RetryPolicy(budget=2)) as service:
        unbuilt = answers(service, Failure("TypeError", may_have_left=False, permanent=True))
        for _ in range(5):
            error = await error_of(service.make_call(to=TO, pcmo=FLOW))
        spent = service._parts.placer._budget.spent
        outage = answers(service, Failure("ConnectError", may_have_left=False))
        await error_of(service.make_call(to=TO, pcmo=FLOW))

    assert isinstance(error, NotSent)
    assert str(error) == "the request could not be built (TypeError); no phone rang"
    assert (unbuilt.posts, spent) == (5, False)
    assert outage.posts == 3  # the budget of two was whole


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("where", ["hook", "permit"])
async def test_a_cancellation_from_elsewhere_is_a_failure(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On asyncio, awaiting a cancelled task raises CancelledError, though the call goes on."""
    gone = asyncio.ensure_future(asyncio.sleep(10))
    gone.cancel()

    async def hook(call: Any) -> Any:
        await gone

    telecmi = FakeTelecmi()
    hooks = {"request": [hook]} if where == "hook" else {}
    async with (
        httpx.AsyncClient(transport=telecmi, event_hooks=hooks) as client,
        CallService(1, "a-secret", from_=FROM, http_client=client) as service,
    ):
        if where == "hook":
            error = await error_of(service.make_call(to=TO, pcmo=FLOW))
        else:
            request = CallRequest(to=TO, pcmo=FLOW)
            error = await error_of(service._runner.place_once(request, hook, Timeouts()))

    assert type(error) is (CallOutcomeUnknown if where == "hook" else NotSent)
    assert len(failures(caplog)) == 1


@pytest.mark.real_clock
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_the_programs_end_stays_what_it_is(backend: str, kind: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit in a step end the program, and the call is settled."""
    handles: list[CallHandle] = []

    async def permit(call: Any) -> float:
        raise kind

    async def program() -> None:
        async with FakeTelecmi().service() as service:
            request = CallRequest(to=TO, pcmo=FLOW)
            handles.append(service._runner.place_once(request, permit, Timeouts()))
            await anyio.sleep(5)

    with pytest.raises(BaseException) as caught:  # noqa: PT011  # or a group with it
        asyncio.run(program()) if backend == "asyncio" else trio.run(program)

    error = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, kind)
    assert handles[0].status is CallStatus.CANCELLED

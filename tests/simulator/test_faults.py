"""Requests that go wrong: by their number, by a rule, within the process and on a port."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from project_paths import docs_page
from simulated import FROM, GLOBAL, HANGUP, TO, post, said

from telecmi_async import CallOutcomeUnknown, Hangup, RetryPolicy, TelecmiError, Timeouts
from telecmi_async.errors import ConfigurationError
from telecmi_async.http_server import ConnectionLimits
from telecmi_async.service.service import CallService
from telecmi_async.simulator import MAGIC, Fault, FaultKind, Simulator

if TYPE_CHECKING:
    from telecmi_async.simulator.replies import Decision

pytestmark = pytest.mark.anyio

ANSWERED = {
    FaultKind.VENDOR_502: 502,
    FaultKind.GATEWAY_502: 502,
    FaultKind.GATEWAY_502_PLACED: 502,
    FaultKind.CREDENTIALS: 420,
    FaultKind.CREDENTIALS_IN_200: 200,
    FaultKind.MISSING_PROPERTY: 422,
    FaultKind.RATE_LIMITED: 429,
    FaultKind.UNAVAILABLE: 503,
    FaultKind.NO_REQUEST_ID: 200,
    FaultKind.NO_JSON: 200,
}


def dial(simulator: Simulator, to: int = TO) -> Decision:
    """Send a request that places a call unless a fault prevents it."""
    return post(simulator, GLOBAL, {"from": FROM, "to": to, "pcmo": [HANGUP]})


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_says_what_is_answered_and_whether_a_phone_rings(kind: FaultKind) -> None:
    """Each kind sets the reply or breaks the connection, and says whether a call is placed."""
    simulator = Simulator()
    simulator.faults.add(kind)
    decision = dial(simulator)

    assert simulator.placed(TO) == kind.placed
    assert (decision.call is not None) is kind.placed
    assert decision.breach is kind.breach
    if kind in ANSWERED:
        assert decision.answer.status == ANSWERED[kind]
        assert b"request_id" not in decision.answer.body
    else:
        assert kind is FaultKind.SLOW or decision.breach is not None


def test_rules_can_be_changed_while_calls_are_placed() -> None:
    """Rules can be added, removed and cleared; the first that matches applies."""
    simulator = Simulator()
    first = simulator.faults.add(Fault("vendor_502", attempts=1))
    simulator.faults.add(FaultKind.CREDENTIALS)
    statuses = [dial(simulator).answer.status, dial(simulator).answer.status]
    simulator.faults.remove(first)
    simulator.faults.remove(first)
    statuses.append(dial(simulator, TO + 1).answer.status)
    rules = [fault.kind for _, fault in simulator.faults]
    simulator.faults.clear()
    statuses.append(dial(simulator).answer.status)

    assert statuses == [502, 420, 420, 200]
    assert rules == [FaultKind.CREDENTIALS]
    assert len(simulator.faults) == 0


def test_a_rule_is_about_a_number_or_about_a_share() -> None:
    """The share is drawn by seed, number and try, independently for each rule."""
    simulator = Simulator()
    simulator.faults.add(Fault("no_json", to="+1 917 000 0001"))
    simulator.faults.add(Fault("vendor_502", share=0.3))
    simulator.faults.add(Fault("rate_limited", share=0.3))
    one = dial(simulator).answer.body
    statuses = [dial(simulator, TO + n).answer.status for n in range(1, 501)]

    assert b"welcome" in one
    assert 110 < statuses.count(502) < 190
    assert 70 < statuses.count(429) < 140


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "bad"}, "Fault.kind must be"),
        ({"kind": "reset", "to": "home"}, "Fault.to"),
        ({"kind": "reset", "share": 2}, "Fault.share must be a number from 0 to 1"),
        ({"kind": "reset", "attempts": 0}, "Fault.attempts must be a whole number, 1 or more"),
    ],
)
def test_a_rule_that_cannot_be_right_is_refused(options: Any, message: str) -> None:
    """The error names the wrong field."""
    with pytest.raises(ConfigurationError, match=message):
        Fault(**options)


def test_a_rule_shows_no_number() -> None:
    """The repr of a rule shows only the number's last digits."""
    assert str(TO) not in repr(Fault("reset", to=TO))
    assert "None" in repr(Fault("reset"))


@pytest.mark.parametrize(("digits", "magic"), MAGIC.items())
def test_the_last_four_digits_choose(digits: str, magic: Any) -> None:
    """Magic numbers work in any country, and other rules do not apply to them."""
    simulator = Simulator(error_502_share=1)
    simulator.faults.add("no_json")
    to = int(f"9198000{digits}")
    first, second = dial(simulator, to), dial(simulator, to)

    fault = magic.fault
    expected = 200 if fault is None else ANSWERED.get(fault.kind, 200)
    assert first.answer.status == expected
    if fault is None or fault.attempts == 1:
        assert said(second)["request_id"]
    if fault is None:
        assert said(first)["request_id"]


def test_magic_can_be_switched_off() -> None:
    """With ``magic=False`` a magic number is an ordinary number."""
    assert said(dial(Simulator(magic=False), 19170009911))["request_id"]


def test_the_table_of_numbers_is_the_one_in_the_code() -> None:
    """The page's table of magic numbers is the one that is drawn from the code."""
    text = docs_page("simulator.md").read_text("utf-8")
    drawn = re.search(r"<!-- drawn: begin -->\n\n(.*?)<!-- drawn: end -->", text, re.DOTALL)

    assert drawn is not None
    rows = [f"| `…{digits}` | {magic.label} |" for digits, magic in MAGIC.items()]
    assert drawn[1].splitlines()[2:] == rows


# --- what a service makes of them --------------------------------------------------------

ONCE = RetryPolicy(attempts=2, wait_initial=0.01, wait_max=0.01, at_most_once=True)
# The error that the caller gets, for each number.
FATES = {
    "9911": "MissingProperty",
    "9912": "CallOutcomeUnknown",
    "9913": "CallOutcomeUnknown",
    "9920": "CallOutcomeUnknown",
    "9921": "CallOutcomeUnknown",
    "9922": "CallOutcomeUnknown",
    "9923": "CallOutcomeUnknown",
    "9924": "CallOutcomeUnknown",
    "9925": "CallOutcomeUnknown",
    "9930": "AuthenticationError",
    "9931": "AuthenticationError",
    "9932": "MissingProperty",
    "9940": "CallOutcomeUnknown",
    "9941": "CallOutcomeUnknown",
}


async def fate(service: CallService, digits: str) -> str:
    """Place a call to a magic number; return the error's name, or "accepted"."""
    try:
        await service.make_call(to=f"1917000{digits}", pcmo=[Hangup()])
    except TelecmiError as error:
        return type(error).__name__
    return "accepted"


@pytest.mark.parametrize("digits", MAGIC)
async def test_a_caller_always_knows_whether_a_phone_may_have_rung(digits: str) -> None:
    """Each magic number gives the documented outcome, and dials at most once."""
    simulator = Simulator()
    async with simulator.service(from_=FROM, retry=ONCE) as service:
        outcome = await fate(service, digits)

    assert outcome == FATES.get(digits, "accepted")
    assert simulator.placed(f"1917000{digits}") <= 1
    if outcome not in {"accepted", "CallOutcomeUnknown"}:
        assert simulator.placed(f"1917000{digits}") == 0


@pytest.mark.real_clock
async def test_on_a_port_connections_break_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults on a port lead to the same outcomes as in the process."""
    monkeypatch.setattr("telecmi_async.simulator.fronts._DRIP_SECONDS", 0.05)
    simulator = Simulator(life=None)
    outcomes: dict[str, str] = {}
    async with (
        simulator.serve(limits=ConnectionLimits(grace=0.1)) as base_url,
        CallService(
            simulator.app_id,
            simulator.secret,
            base_url=base_url,
            from_=FROM,
            retry=ONCE,
            timeout=Timeouts(read=0.3, total=0.6),
        ) as service,
    ):
        for digits in MAGIC:
            outcomes[digits] = await fate(service, digits)

    assert outcomes == {digits: FATES.get(digits, "accepted") for digits in MAGIC}
    simulator.no_duplicates()


@pytest.mark.real_clock
async def test_a_patient_client_gets_what_drips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without a time-out gets the whole slow reply."""
    monkeypatch.setattr("telecmi_async.simulator.fronts._DRIP_SECONDS", 0)
    simulator = Simulator(life=None)
    simulator.faults.add("drip")
    body = {"appid": simulator.app_id, "secret": simulator.secret, "from": FROM, "to": TO}
    async with simulator.serve() as base_url, httpx.AsyncClient() as client:
        reply = await client.post(
            f"{base_url}/global_pcmo_make_call", json={**body, "pcmo": [HANGUP]}
        )

    assert reply.json() == {"status": "progress", "code": 200}


async def test_within_the_process_what_drips_takes_its_time() -> None:
    """In the process a slow reply takes a second a byte, on the event loop's clock."""
    simulator = Simulator()
    simulator.faults.add("drip")
    async with simulator.service(from_=FROM, timeout=Timeouts(read=90, total=90)) as service:
        with pytest.raises(CallOutcomeUnknown):
            await service.make_call(to=TO, pcmo=[Hangup()])

    assert 30 < anyio.current_time() < 90

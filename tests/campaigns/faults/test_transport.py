"""Campaigns with network faults: a contact that may have rung is sent to only once."""

from __future__ import annotations

import email.utils
import socket
import time
from typing import TYPE_CHECKING, Any

import anyio
import fault_server as fs
import httpx
import pytest
from fake_telecmi import FakeTelecmi, accepted, always, refused
from faulty_campaign import (
    FIRST,
    FROM,
    NAME,
    SHORT,
    Request,
    account,
    busiest,
    contacts,
    read,
    scene,
    settings,
)
from ledgers import open_sqlite
from memory_ledger import MemoryLedger
from wire_faults import FAULTS

from telecmi_async import CallService, CallStatus, Timeouts
from telecmi_async.campaigns import Campaign, CampaignTimeouts, Retries
from telecmi_async.ledger import ContactState
from telecmi_async.simulator import Fault, FaultKind, Webhooks

if TYPE_CHECKING:
    from pathlib import Path


pytestmark = pytest.mark.anyio

S = ContactState
QUICK = Retries(first=0.001, attempts=2)
IMPATIENT = CampaignTimeouts(timeouts=Timeouts(connect=0.3, write=0.3, read=0.3, total=0.4))
#: Faults whose reply leaves the outcome unknown, with or without a call.
UNSURE = [
    "gateway_502", "gateway_502_placed", "reply_lost", "reset", "reset_placed", "slow", "cut",
    "drip", "no_request_id", "no_json",
]  # fmt: skip


# --- nothing was sent --------------------------------------------------------------------


@pytest.fixture
def unreachable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An address to which connections fail, in one of several ways."""
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **more: Any) -> Any:
        if host == "api.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "unknown host")
        return real(host, *args, **more)

    match request.param:
        case "refused":
            yield f"http://127.0.0.1:{fs.closed_port()}"
        case "unknown host":
            monkeypatch.setattr(socket, "getaddrinfo", look_up)
            yield "https://api.invalid"
        case "never accepted":
            # Its queue is full, so that the kernel lets the first packet go unanswered.
            with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
                ours = [socket.socket() for _ in range(4)]
                for one in ours:
                    one.setblocking(False)
                    one.connect_ex(full.getsockname())
                yield f"http://127.0.0.1:{full.getsockname()[1]}"
                for one in ours:
                    one.close()


async def run_until_unreached(campaign: Campaign) -> None:
    """Run a campaign until its circuit breaker opens since nothing can be connected."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(campaign.run)
        while not campaign.unreached:  # noqa: ASYNC110  # a property, which no event tells
            await anyio.sleep(0.01)
        campaign.leave()


@pytest.mark.real_clock
@pytest.mark.parametrize(
    "unreachable", ["refused", "unknown host", "never accepted"], indirect=True
)
async def test_who_cannot_be_connected_to_stays_pending(
    unreachable: str, tmp_path: Path
) -> None:
    """Failed connections open the circuit breaker, and use up no contact's attempts."""
    async with (
        open_sqlite(tmp_path, time.time) as ledger,
        CallService(2222226, "a-secret", from_=FROM, base_url=unreachable) as service,
    ):
        campaign = Campaign(ledger, service, NAME, settings(retries=QUICK), timeouts=IMPATIENT)
        await campaign.load(contacts(2))

        await run_until_unreached(campaign)

        assert await account(ledger, [], 2, open_=2) == {"pending": 2}
        assert (await ledger.state(NAME)).sends <= 6


@pytest.mark.real_clock
@pytest.mark.parametrize("script", [fs.close_at_once, fs.stall_at_once, fs.well_behaved])
async def test_who_cannot_be_spoken_to_in_secret_is_sent_nothing(
    script: fs.Script, tmp_path: Path
) -> None:
    """Without a TLS handshake, no byte of a request is written."""
    server = fs.FaultServer(script)
    async with (
        server.running(),
        open_sqlite(tmp_path, time.time) as ledger,
        CallService(
            2222226, "a-secret", from_=FROM, base_url=server.url.replace("http", "https")
        ) as service,
    ):
        campaign = Campaign(ledger, service, NAME, settings(retries=QUICK), timeouts=IMPATIENT)
        await campaign.load(contacts(2))

        await run_until_unreached(campaign)

        assert await account(ledger, [], 2, open_=2) == {"pending": 2}
        assert server.heads == 0
        assert server.connections <= 6


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_what_never_left_the_client_is_tried_again(error: type[Exception]) -> None:
    """A connection that cannot be made proves that nothing was sent."""
    fake, ledger = FakeTelecmi(lambda n: error("no") if n < 4 else accepted(n)), MemoryLedger()
    async with fake.service() as service:
        campaign = Campaign(ledger, service, NAME, settings(retries=Retries(first=1.0)))
        await campaign.load(contacts(2))

        await campaign.run()

    log = [read(body, dialled=True) for body in map(bodies_of, fake.requests)]
    assert await account(ledger, log, 2) == {"placed": 2}
    assert (len(fake.starts), len(fake.requests)) == (6, 2)


def bodies_of(fields: dict[str, Any]) -> bytes:
    """Return the body of a request as it was written."""
    return httpx.Request("POST", "http://x", json=fields).content


# --- a phone may have rung ---------------------------------------------------------------


@pytest.mark.usefixtures("campaigns_poll_seldom")
@pytest.mark.parametrize(
    ("kind", "policy"),
    # For dialled contacts, the dangerous policy is the one that may redial.
    [(kind, "retry_after_proof") for kind in UNSURE]
    + [(kind, policy) for kind in ("gateway_502", "reset") for policy in ("hold", "give_up")],
)
async def test_whoever_may_have_rung_is_dialled_once_under_every_policy(
    kind: str, policy: Any
) -> None:
    """A dialled contact is never redialled; one that was not dialled follows its policy."""
    unsure = {FIRST, FIRST + 5, FIRST + 10}
    # Three of twelve do not open the circuit breaker.
    faults = [Fault(kind, to=number, attempts=1) for number in unsure]
    rings = FaultKind(kind).placed
    async with scene(*faults, ring=60.0) as here:
        campaign = here.campaign(settings(unknown=policy))
        await campaign.load(contacts(12))

        await campaign.run()
        if policy == "give_up":  # the proof comes after this run; the next one uses it
            await anyio.sleep(SHORT.proof)
            await here.campaign(settings(unknown=policy)).run()

        states = await here.account(12)
        ends = {"hold": "unknown", "retry_after_proof": "finished", "give_up": "failed"}
        left = {} if rings or policy == "retry_after_proof" else {ends[policy]: 3}
        assert states == {"finished": 12 - sum(left.values()), **left}
        again = 3 if policy == "retry_after_proof" and not rings else 0
        assert len(here.simulator.log) == 12 + again


async def test_a_send_that_is_carried_out_late_is_found_by_its_events() -> None:
    """A call that TeleCMI places after the request timed out is found by its events."""
    late = Webhooks(delay=(150.0, 200.0))
    async with scene(Fault("slow", to=FIRST), webhooks=late) as here:
        campaign = here.campaign(settings(unknown="retry_after_proof"))
        await campaign.load(contacts(3))
        before: list[Any] = []

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(100)
            before.append(await here.ledger.find(NAME, FIRST))

        assert before[0].state is S.UNKNOWN
        assert await here.account(3) == {"finished": 3}
        assert len(here.simulator.log) == 3


@pytest.mark.real_clock
async def test_every_misdeed_of_a_server_leaves_its_contact_unknown_and_sent_once(
    tmp_path: Path,
) -> None:
    """Each server fault leaves exactly its own contact unknown, and sent once."""
    names = [name for name, fault in FAULTS.items() if fault.status is CallStatus.UNKNOWN]
    good = fs.answering(fs.reply(headers="Connection: close\r\n"))
    scripts: list[fs.Script] = []
    for name in names:
        # One of seven does not open the circuit breaker.
        scripts += [good, good, good, FAULTS[name].script, good, good, good]
    server = fs.FaultServer(*scripts)
    total = len(scripts)
    async with (
        server.running(),
        open_sqlite(tmp_path, time.time) as ledger,
        CallService(2222226, "a-secret", from_=FROM, base_url=server.url) as service,
    ):
        # One at a time, so that the fourth connection is the fourth contact's.
        config = settings(10_000.0, pace={"max_in_flight": 1})
        campaign = Campaign(ledger, service, NAME, config, timeouts=IMPATIENT)
        await campaign.load(contacts(total))

        await campaign.run()

        states = await account(ledger, map(read, server.bodies), total)
        unknown = [c.number async for c in ledger.contacts(NAME, states=[S.UNKNOWN])]
    assert states == {"unknown": len(names), "placed": total - len(names)}
    assert unknown == [FIRST + 7 * row + 3 for row in range(len(names))]
    assert server.connections == total


@pytest.mark.real_clock
@pytest.mark.parametrize("reads", [True, False], ids=["body read", "body not read"])
async def test_a_connection_closed_as_it_is_used_again_leaves_its_contact_unknown(
    reads: bool, tmp_path: Path
) -> None:
    """A request on a keep-alive connection that the server closes is unknown, and sent once."""

    async def script(peer: fs.Peer) -> None:
        await peer.request()
        await peer.send(fs.reply())
        await (peer.request() if reads else peer.head())

    server = fs.FaultServer(script, fs.well_behaved)
    async with (
        server.running(),
        open_sqlite(tmp_path, time.time) as ledger,
        CallService(2222226, "a-secret", from_=FROM, base_url=server.url) as service,
    ):
        campaign = Campaign(
            ledger,
            service,
            NAME,
            settings(1_000.0, pace={"max_in_flight": 1}),
            timeouts=IMPATIENT,
        )
        await campaign.load(contacts(3))

        await campaign.run()

        states = await account(ledger, map(read, server.bodies), 3)
        (unknown,) = [c.number async for c in ledger.contacts(NAME, states=[S.UNKNOWN])]
    assert states == {"unknown": 1, "placed": 2}
    assert unknown == FIRST + 1
    assert server.complete == (3 if reads else 2)


# --- the call was refused ----------------------------------------------------------------


async def test_what_is_refused_for_now_is_sent_again_within_rate_and_attempts() -> None:
    """Retries after TeleCMI's own 502 keep to the rate and the number of attempts."""
    async with scene(Fault("vendor_502", share=0.4)) as here:
        campaign = here.campaign(settings(10.0, retries=Retries(first=1.0, attempts=4)))
        await campaign.load(contacts(100))

        await campaign.run()

        states = await here.account(100)
        log = here.simulator.log
        assert set(states) == {"finished", "rejected"}
        assert len(log) > 140
        assert max(sum(r.number == n for r in log) for n in range(FIRST, FIRST + 100)) == 4
        assert busiest(log) <= 11


@pytest.mark.parametrize("code", [502, 200], ids=["HTTP status", "inside a 200"])
async def test_a_502_of_telecmi_ends_as_rejected(code: int) -> None:
    """TeleCMI's 502 ends as rejected, as HTTP status or inside a 200 reply."""
    body = {"code": 502, "msg": "property missing"}
    fake, ledger = FakeTelecmi(always(lambda: httpx.Response(code, json=body))), MemoryLedger()
    async with fake.service() as service:
        campaign = Campaign(ledger, service, NAME, settings())
        await campaign.load(contacts(1))

        await campaign.run()

    assert await account(ledger, [], 1) == {"rejected": 1}
    assert len(fake.requests) == 3


@pytest.mark.parametrize("kind", ["gateway_502", "gateway_502_placed"])
async def test_a_gateway_that_fails_stops_the_dialling(kind: str) -> None:
    """Circuit breaker: five unknown sends of ten open it, and then only probes are sent."""
    late = Webhooks(delay=(150.0, 150.0))  # no event within two minutes
    async with scene(Fault(kind), webhooks=late) as here:
        campaign = here.campaign(settings(10.0, pace={"max_in_flight": 2}))
        await campaign.load(contacts(60))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(campaign.run)
            await anyio.sleep(120)
            sent = len(here.simulator.log)
            here.simulator.faults.clear()

        states = await here.account(60)
        held = 0 if kind == "gateway_502_placed" else sent
        assert 5 <= sent <= 12
        assert states == {"finished": 60 - held} | ({"unknown": held} if held else {})


@pytest.mark.usefixtures("campaigns_poll_seldom")
@pytest.mark.parametrize(
    ("status", "header", "shortest", "longest"),
    [
        (429, "30", 30, 33),
        (503, "30", 30, 33),
        (429, "date", 28, 33),
        (429, None, 0.5, 4),
        (429, "-5", 0.5, 4),
        (429, "soon", 0.5, 4),
        (429, "86400", 3_600, 3_605),
        (503, "86400", 3_600, 3_605),
    ],
)
async def test_too_many_pauses_a_worker_for_as_long_as_is_asked(
    status: int, header: str | None, shortest: float, longest: float
) -> None:
    """Retry-After, in seconds or as a date, pauses a worker for that long, at most an hour."""
    said = email.utils.formatdate(time.time() + 30, usegmt=True) if header == "date" else header
    more = {} if said is None else {"retry_after": said}
    fake = FakeTelecmi(lambda n: refused(status, **more) if n == 3 else accepted(n), delay=0.5)
    ledger = MemoryLedger()
    async with fake.service() as service:
        campaign = Campaign(ledger, service, NAME, settings(5.0))
        await campaign.load(contacts(20))

        await campaign.run()

    gaps = [after - before for before, after in zip(fake.starts, fake.starts[1:], strict=False)]
    assert await account(ledger, [], 20) == {"placed": 20}
    assert len(fake.requests) == 21
    # The reply takes half a second.
    assert shortest - 0.5 <= max(gaps) <= longest
    assert sum(gap > shortest / 2 for gap in gaps) == 1 or shortest < 1


@pytest.mark.usefixtures("campaigns_poll_seldom")
@pytest.mark.parametrize("retry_after", [1, 30, 600])
async def test_too_many_pauses_all_workers(retry_after: int) -> None:
    """Retry-After pauses all workers of the campaign; afterwards they share the rate again."""

    def script(number: int) -> httpx.Response:
        until = 1.0 + retry_after
        refuses = 1.0 <= anyio.current_time() < until
        return refused(429, retry_after=str(retry_after)) if refuses else accepted(number)

    fakes, ledger = [FakeTelecmi(script) for _ in range(3)], MemoryLedger()
    config = settings(10.0, pace={"max_in_flight": 10})
    async with (
        fakes[0].service() as one,
        fakes[1].service() as two,
        fakes[2].service() as three,
        anyio.create_task_group() as tasks,
    ):
        workers = [Campaign(ledger, service, NAME, config) for service in (one, two, three)]
        await workers[0].load(contacts(60))
        for worker in workers:
            tasks.start_soon(worker.run)

    starts = sorted(at for fake in fakes for at in fake.starts)
    paused = [at for at in starts if 1.0 <= at < 1.0 + retry_after]
    log = [Request(at, 0, "", dialled=False) for at in starts]
    assert await account(ledger, [], 60) == {"placed": 60}
    # One start of each worker was reserved before.
    assert len(paused) <= 4
    assert len(starts) == 60 + len(paused)
    assert busiest(log) <= 11
    assert starts[-1] < 1.0 + 2 * retry_after + 20

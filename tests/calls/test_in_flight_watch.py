"""In-flight watch: slow replies that keep calls below their rate are said once, with a remedy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import anyio
import pytest
from memory_ledger import MemoryLedger

from telecmi_async import CallRequest, RateLimit, Receiver, Speak
from telecmi_async.calls.in_flight_watch import InFlightWatch
from telecmi_async.campaigns import Campaign, CampaignSettings, Pace
from telecmi_async.events.receiver import new_token
from telecmi_async.ledger import NewContact
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

FROM = 19170000000


def requests(count: int) -> Iterator[CallRequest]:
    """Return requests to different numbers."""
    for n in range(count):
        yield CallRequest(to=19170100000 + n, pcmo=[Speak("Hello.")])


async def test_a_window_that_is_too_small_is_said_with_what_to_set(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At 100 a second and a second a reply, 20 requests at a time are named as the reason."""
    simulator = Simulator(life=None, latency=1.0)
    async with simulator.service(from_=FROM, rate=RateLimit(100)) as service:
        began = anyio.current_time()
        async for call in service.make_calls(requests(100)):
            assert call.accepted
        slow = 100 / (anyio.current_time() - began)

    (said,) = [record.getMessage() for record in caplog.records]
    assert said == (
        "replies take 1.00 s, so 20 requests at a time are 20.0 calls a second and not 100: set "
        "RateLimit(max_in_flight=125)"
    )
    assert slow < 21

    simulator = Simulator(life=None, latency=1.0)
    async with simulator.service(from_=FROM, rate=RateLimit(100, max_in_flight=125)) as service:
        began = anyio.current_time()
        async for call in service.make_calls(requests(700)):
            assert call.accepted
        fast = 700 / (anyio.current_time() - began)

    assert len(caplog.records) == 1
    assert fast > 85


@pytest.mark.parametrize(
    "limit",
    [
        RateLimit(),
        RateLimit(100, max_in_flight=110),
        RateLimit(15),
        RateLimit(2, max_in_flight=2),
    ],
    ids=["no rate", "window large enough", "default window", "just enough"],
)
async def test_a_window_that_suffices_is_not_spoken_of(
    limit: RateLimit, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a rate, and where the rate is what limits calls, nothing is said."""
    simulator = Simulator(life=None, latency=1.0)
    async with simulator.service(from_=FROM, rate=limit) as service:
        async for call in service.make_calls(requests(200)):
            assert call.accepted

    assert caplog.records == []


async def test_a_campaign_names_its_own_setting(caplog: pytest.LogCaptureFixture) -> None:
    """A campaign's window is its pace's and its service's; the warning names both."""
    simulator = Simulator(life="immediate", latency=1.0)
    receiver = Receiver(new_token())
    settings = CampaignSettings(
        flow=[Speak("Hello.")], from_=FROM, pace=Pace(calls_per_second=100)
    )
    async with (
        MemoryLedger() as ledger,
        simulator.service(from_=FROM, events=receiver) as service,
    ):
        campaign = Campaign(ledger, service, "spring", settings)
        await campaign.load([NewContact(number=19170100000 + n) for n in range(100)])
        await campaign.run()

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert re.fullmatch(
        r"replies take 1\.\d\d s, so 20 requests at a time are (19|20)\.\d calls a second and not "
        r"100: set Pace\(max_in_flight=1[23]\d\) and the service's "
        r"RateLimit\(max_in_flight=1[23]\d\)",
        said[0],
    )


async def test_replies_that_take_no_time_never_limit(caplog: pytest.LogCaptureFixture) -> None:
    """On a clock that stands still no rate is too high; a rate that was named is named once."""
    watch = InFlightWatch(100.0, 1)

    def send(seconds: float, times: int = 2) -> None:
        for _ in range(times):
            watch.begin()
            watch.end(seconds)

    send(0.0)
    assert caplog.records == []

    send(1.0)
    send(1.0, times=10)
    assert len(caplog.records) == 1

    watch.expect(200.0, 1)
    send(1.0)
    assert "not 200: set Pace(" in caplog.records[-1].getMessage()
    assert len(caplog.records) == 2

"""Typical mistakes: each line marked ``wrong`` must be an error of mypy and pyright.

No other line may be one. `test_mistakes` runs both on this file; nothing here is executed.
"""

from __future__ import annotations

from datetime import timedelta

import httpx

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
from telecmi_async.campaigns import (
    CallingWindow,
    Campaign,
    CampaignRules,
    CampaignSettings,
    CostCap,
    Pace,
    Retries,
)
from telecmi_async.events import DigitsEvent, Event
from telecmi_async.events.receiver import new_token
from telecmi_async.ledger import NewContact, SqliteLedger
from telecmi_async.simulator import Simulator

TO = 19170000001
FROM = 19170000000
GREETING = [Speak("Hello."), Hangup()]


async def call_flows(service: CallService) -> None:
    """Actions, lists of actions, and what is taken for them."""
    await service.make_call(to=TO, pcmo=GREETING)
    await service.make_call(to=TO, pcmo=Flow().speak("Hello.").hangup())
    await service.make_call(to=TO, pcmo=[{"action": "speak", "text": "Hello."}, Hangup()])
    await service.make_call(to=TO, pcmo=[Speak("Hello."), Hangup])  # wrong: write Hangup()
    await service.make_call(to=TO, pcmo=Hangup)  # wrong: write [Hangup()]
    await service.make_call(to=TO, pcmo=Hangup())  # wrong: write [Hangup()]
    await service.make_call(to=TO, pcmo={"action": "hangup"})  # wrong: put [ ] around it
    await service.make_call(to=TO, pcmo={Hangup()})  # wrong: a set has no order
    await service.make_call(to=TO, pcmo=[[Hangup()]])  # wrong: one list
    await service.make_call(to=TO, pcmo=[Flow().hangup])  # wrong: write Flow().hangup()
    await service.make_call(to=TO, pcmo=None)  # wrong: nothing happens in this call
    await service.make_call(to=TO)  # wrong: pcmo is missing
    Flow().speek("Hello.")  # wrong: speak
    Flow(Speak("Hello."), Hangup())  # wrong: one list
    Speak(5)  # wrong: a text
    Speak(txt="Hello.")  # wrong: text
    Speak()  # wrong: text is missing
    Play("a.wav", "b.wav")  # wrong: one file
    Hangup("now")  # wrong: it takes nothing
    Bridge(Pstn(TO))  # wrong: [Pstn(…)]
    Connect([Pstn(TO)])  # wrong: a phone goes into Bridge
    Bridge([Pstn(TO)], ring_type="all")  # wrong: "single" or "group"
    Bridge([Pstn(TO)], timeout="40")  # wrong: 40 or a timedelta
    Record(timeout=5)  # wrong: it has no such option
    PlayGetInput()  # wrong: where the keys are sent is missing


async def numbers(service: CallService) -> None:
    """Numbers, and the arguments of a call."""
    await service.make_call(to="+1 917 000 0001", pcmo=GREETING, from_=FROM, duration=60)
    await service.make_call(TO, GREETING)  # wrong: name the arguments
    await service.make_call(to=1.9e10, pcmo=GREETING)  # wrong: an int or a str
    await service.make_call(to=["+19170000001"], pcmo=GREETING)  # wrong: one number
    await service.make_call(to=None, pcmo=GREETING)  # wrong: a number
    await service.make_call(to=TO, pcmo=GREETING, frm=FROM)  # wrong: from_
    await service.make_call(to=TO, pcmo=GREETING, ring_timeout=30)  # wrong: see Bridge
    await service.make_call(to=TO, pcmo=GREETING, duration="60")  # wrong: 60 or a timedelta
    await service.make_call(to=TO, pcmo=GREETING, extra_params=[1])  # wrong: a mapping
    CallRequest(TO, GREETING)  # wrong: name the arguments
    CallRequest(to=TO, flow=GREETING)  # wrong: pcmo


async def awaiting(service: CallService) -> None:
    """A forgotten await, and an await that does not belong there."""
    call: CallHandle = service.make_call(to=TO, pcmo=GREETING)
    await call
    result = await call.ended()
    print(result.talk_seconds)
    service.channels()  # wrong: await it
    call.ended()  # wrong: await it
    print(call.ended().talk_seconds)  # wrong: await it first
    await call.ended  # wrong: call it
    await service.make_calls([])  # wrong: async for
    for _ in service.make_calls([]):  # wrong: async for
        pass
    async for _ in call.events:  # wrong: call it
        pass
    with CallService(2222226, "secret"):  # wrong: async with
        pass
    Simulator().service().make_call(to=TO, pcmo=GREETING)  # wrong: async with
    if result.answered:
        call.status = "accepted"  # wrong: it cannot be set


def settings() -> None:
    """Settings of a service."""
    CallService(2222226, "secret", from_=FROM, rate=RateLimit(10), timeout=10)
    CallService(2222226)  # wrong: the secret is missing
    CallService(2222226, 12345)  # wrong: a text
    CallService(2222226, "secret", rate=10)  # wrong: RateLimit(10)
    CallService(2222226, "secret", rate=RateLimit)  # wrong: RateLimit(…)
    CallService(2222226, "secret", retry=3)  # wrong: RetryPolicy(attempts=3)
    CallService(2222226, "secret", retry=False)  # wrong: RetryPolicy(attempts=1)
    CallService(2222226, "secret", retries=3)  # wrong: retry
    CallService(2222226, "secret", timeout="10")  # wrong: 10
    CallService(2222226, "secret", http_client=httpx.Client())  # wrong: AsyncClient
    CallService(2222226, "secret", http_client=httpx.AsyncClient)  # wrong: AsyncClient()
    CallService(2222226, "secret", events="https://example.com")  # wrong: a Receiver
    CallService(2222226, "secret", events=Receiver)  # wrong: Receiver(token)
    RateLimit("10")  # wrong: 10
    RateLimit(timedelta(seconds=1))  # wrong: calls per second
    RateLimit(per_second=10)  # wrong: calls_per_second
    RetryPolicy(3)  # wrong: attempts=3
    RetryPolicy(attempts="3")  # wrong: 3
    Timeouts(10)  # wrong: name them
    CdrPoller(first="5 s")  # wrong: 5
    Simulator(life="fast")  # wrong: "timed", "immediate" or "manual"
    Receiver()  # wrong: the token is missing


def webhooks(receiver: Receiver) -> None:
    """Functions that a receiver calls."""

    @receiver.on_event
    def log(event: Event) -> None:
        print(event.cmiuid)  # wrong: request_id or cmiuuid

    def menu(event: DigitsEvent) -> str:
        return event.dtmf

    def nothing() -> None:
        pass

    receiver.on_input(menu)  # wrong: it must return a flow
    receiver.on_event(nothing)  # wrong: it must take the event


async def campaigns(service: CallService) -> None:
    """Settings of a campaign."""
    window = CallingWindow("09:00", "18:00")
    rules = CampaignRules(window=window, cost=CostCap(100))
    chosen = CampaignSettings(
        flow=GREETING, from_=FROM, pace=Pace(calls_per_second=2), rules=rules
    )
    async with SqliteLedger("calls.db") as ledger:
        campaign = Campaign(ledger, service, "spring", chosen)
        await campaign.load([NewContact(number=TO)])
        campaign.run()  # wrong: await it
        await campaign.load([TO])  # wrong: NewContact(number=…)
        await campaign.load(NewContact(number=TO))  # wrong: a list of them
        Campaign("calls.db", service, "spring", chosen)  # wrong: SqliteLedger("calls.db")
        Campaign(ledger, service, "spring", {"flow": GREETING})  # wrong: CampaignSettings(…)
    CampaignSettings(flow=GREETING, from_=FROM, pace=2)  # wrong: Pace(calls_per_second=2)
    CampaignSettings(flow=GREETING, from_=FROM, pace=Pace)  # wrong: Pace(…)
    CampaignSettings(flow=GREETING, from_=FROM, rules=window)  # wrong: CampaignRules(window=…)
    CampaignSettings(flow=GREETING, from_=FROM, retries=3)  # wrong: Retries(…)
    CampaignRules(window="09:00-18:00")  # wrong: CallingWindow("09:00", "18:00")
    CallingWindow(9, 18)  # wrong: "09:00", "18:00"
    Pace(cps=2)  # wrong: calls_per_second
    Retries(attempts="3")  # wrong: 3
    NewContact(TO)  # wrong: number=…


def environment() -> None:
    """A token is a text, made once."""
    Receiver(new_token)  # wrong: new_token()
    CallService.from_env(frm=FROM)  # wrong: from_

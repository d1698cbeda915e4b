"""A menu for callers (IVR): one key chooses, four digits name an order, 0 forwards to an agent.

Run it with ``uvicorn ivr:app --port 8000``.
"""

import os

from telecmi_async import Flow, Hangup, Receiver, Speak
from telecmi_async.events import DigitsEvent, InboundRequest

BASE = os.environ.get("PUBLIC_URL", "http://127.0.0.1:8000") + "/telecmi"
AGENT = 19170000002
ORDERS = {"4711": "on its way", "4712": "waiting for payment"}

receiver = Receiver(
    os.environ["TELECMI_WEBHOOK_TOKEN"],
    secret=os.environ["TELECMI_SECRET"],  # values in addresses are encrypted with it
    fallback=[Speak("Please call again later."), Hangup()],
)
app = receiver.asgi


@receiver.on_inbound
async def greet(event: InboundRequest) -> Flow:
    """Answer a call that comes in."""
    words = "Press 1 to ask for an order, or 0 to talk to us."
    return Flow().speak(words).input(receiver.url(BASE, "menu"), max_digit=1).hangup()


@receiver.on_input("menu")
async def choose(event: DigitsEvent) -> Flow:
    """Ask for the order, or connect the caller to an agent."""
    match event.dtmf:
        case "1":
            return ask_for_order(tries=1)
        case "0":
            return Flow().speak("Please hold the line.").bridge([AGENT], timeout=30).hangup()
        case _:
            return Flow().speak("Goodbye.").hangup()


def ask_for_order(tries: int) -> Flow:
    """Return the flow that asks for four digits."""
    url = receiver.url(BASE, "order", tries=tries)
    return Flow().speak("Please type four digits.").input(url, max_digit=4).hangup()


@receiver.on_input("order")
async def order_status(event: DigitsEvent) -> Flow:
    """Say how the order is, or ask again, three times at most."""
    if event.dtmf in ORDERS:
        return Flow().speak(f"Your order is {ORDERS[event.dtmf]}.").hangup()
    tries = int(event.query["tries"])
    return Flow().speak("Goodbye.").hangup() if tries == 3 else ask_for_order(tries + 1)

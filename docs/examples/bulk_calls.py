"""Call everyone in contacts.csv at most once, and write each row's outcome to results.csv."""

import asyncio
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from telecmi_async import CallHandle, CallService, Flow, RateLimit, RetryPolicy
from telecmi_async.campaigns.contacts import ContactsFile, Rejection

Write = Callable[[list[object]], object]


def requests(contacts: ContactsFile, write: Write) -> Iterator[dict[str, Any]]:
    """Yield a request for each row that can be called, and write down the others."""
    for item in contacts:
        if isinstance(item, Rejection):
            write([f"row {item.row}", "rejected", "", item.reason])
            continue
        name = item.columns.get("name") or "there"
        flow = Flow().speak(f"Hello {name}. Your order has arrived.").hangup()
        yield {"to": item.number, "pcmo": flow}


def row(call: CallHandle) -> list[object]:
    """Return what became of one call."""
    if call.accepted:
        return [call.source["to"], call.status, "no", call.request_id]
    again = "yes" if call.error and call.error.safe_to_redial else "no"
    return [call.source["to"], call.status, again, call.error]


async def call_all(write: Write) -> None:
    """Call them all, five a second, and none of them twice."""
    at_most_once = RetryPolicy(at_most_once=True)
    async with CallService.from_env(rate=RateLimit(5), retry=at_most_once) as service:
        contacts = ContactsFile("contacts.csv", country="1")
        stream = service.make_calls(requests(contacts, write))
        try:
            async for call in stream:
                write(row(call))
        finally:  # after Ctrl-C, too: requests that left are awaited and written down
            await stream.aclose()
            async for call in stream:
                write(row(call))


def main() -> None:
    """Write the results while calls are placed."""
    with Path("results.csv").open("w", newline="", encoding="utf-8") as file:
        write = csv.writer(file).writerow
        write(["number", "status", "dial again?", "detail"])
        asyncio.run(call_all(write))


if __name__ == "__main__":
    main()

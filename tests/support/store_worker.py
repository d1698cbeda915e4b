"""One worker process of a web application: it places calls and receives webhooks.

It reads orders and writes reports, as lines of JSON. `tests/processes/test_event_store.py`
starts four of them.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import httpx
from fake_telecmi import FLOW, FROM, TO, accepted

from telecmi_async import CallHandle, CallService, RateLimit, Receiver
from telecmi_async.events import Event, dedupe_key
from telecmi_async.events.store.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

HEADERS = {"Content-Type": "application/json"}
PATIENCE = 30.0


def say(**what: Any) -> None:
    """Send the test a message."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Telecmi(httpx.AsyncBaseTransport):
    """Accepts every call, and reports it to the test before its reply."""

    def __init__(self, first: int) -> None:
        self.next = first

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Report what the events will contain, and reply after a while."""
        sent = json.loads(await request.aread())
        number, self.next = self.next, self.next + 1
        say(placed=f"{number:043d}", extra_params=sent["extra_params"])
        await asyncio.sleep(random.uniform(0, 0.4))
        return accepted(number)


async def lines() -> AsyncGenerator[dict[str, Any]]:
    """Yield the messages of the test."""
    reader = asyncio.StreamReader(limit=1 << 20)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            yield json.loads(line)
    finally:
        transport.close()


async def place(service: CallService, ended: dict[str, float]) -> CallHandle:
    """Place a call and wait for its end, as a request handler would."""
    call = await service.make_call(to=TO, pcmo=FLOW)
    await call.ended(timeout=PATIENCE)
    ended[call.request_id] = time.monotonic()
    return call


async def main(url: str, worker: int, calls: int) -> None:
    """Place calls, and follow the test's orders."""
    token = "t" * 43
    seen: Counter[str] = Counter()
    ended: dict[str, float] = {}
    # All deliveries come at once, and a busy machine must not make the store time out.
    async with RedisStore(url, timeout=PATIENCE) as store:
        receiver = Receiver(token, store=store)

        @receiver.on_event
        def on_event(event: Event) -> None:
            seen[dedupe_key(event) or ""] += 1

        client = httpx.AsyncClient(transport=Telecmi(worker * calls))
        service = CallService(
            2222226,
            "a-secret",
            from_=FROM,
            http_client=client,
            rate=RateLimit(max_in_flight=50),
            events=receiver,
        )
        deliveries: set[asyncio.Task[Any]] = set()
        async with client, service, asyncio.TaskGroup() as tasks, aclosing(lines()) as orders:
            waiting = [tasks.create_task(place(service, ended)) for _ in range(calls)]
            async for line in orders:
                if "event" in line:
                    body = json.dumps(line["event"]).encode()
                    request = receiver.handle("POST", f"/{token}", HEADERS, body)
                    deliveries.add(tasks.create_task(request))
                elif "report" in line:
                    done = [task.result() for task in waiting if task.done()]
                    say(
                        report=True,
                        ended=ended,
                        answered=sum(bool(call.result.answered) for call in done),
                        records=sum(call.result.complete for call in done),
                        seen=seen,
                        replies=Counter(
                            task.result().status for task in deliveries if task.done()
                        ),
                        repeated=receiver.counts.duplicates,
                        unmatched=receiver.counts.unmatched,
                    )
                else:
                    break
        await receiver.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

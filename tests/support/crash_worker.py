"""One worker process of a campaign, with a receiver on a port; `crash` kills it.

It reads its options from a JSON argument, prints a line when it begins, and prints the states
of the contacts when nothing is left to be dialled.
"""

from __future__ import annotations

import faulthandler
import json
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import anyio

from telecmi_async import CallService, Hangup, Receiver, Timeouts
from telecmi_async.campaigns import Campaign, CampaignSettings, CampaignTimeouts, Pace, Retries
from telecmi_async.errors import ConfigurationError, LedgerLost, StoreError
from telecmi_async.ledger import NewContact, SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import SocketStream

    from telecmi_async.ledger import Ledger

TOKEN = "t" * 43
FROM = 19170000000
FIRST = 19170100000
#: The exit codes, as those of `dial`: the ledger is lost, of a newer version, or away.
LOST = 7
REFUSED = 2
AWAY = 6
#: A send without an outcome becomes unknown six seconds after its intent.
PATIENCE = CampaignTimeouts(
    claim=3.0,
    fence=2.0,
    timeouts=Timeouts(connect=1.0, write=1.0, read=2.0, total=3.0),
    grace=1.0,
    outcomes=12.0,
    evidence=6.0,
)


def open_ledger(where: str) -> AbstractAsyncContextManager[Ledger]:
    """Return the ledger at a path, or at a database's address."""
    if where.startswith("postgresql://"):
        from telecmi_async.ledger.postgres.ledger import PostgresLedger  # noqa: PLC0415  # an extra

        return PostgresLedger(where)
    return SqliteLedger(where)


def contacts(count: int, *, without: Collection[int] = ()) -> list[NewContact]:
    """Return the campaign's contacts, without some numbers."""
    return [
        NewContact(number=FIRST + row, columns={"row": str(row)})
        for row in range(count)
        if FIRST + row not in without
    ]


def settings_of(rate: float) -> CampaignSettings:
    """Return the campaign's settings."""
    return CampaignSettings(
        flow=[{"action": "speak", "text": "Row {row}"}, Hangup()],
        pace=Pace(calls_per_second=rate, max_in_flight=20),
        retries=Retries(first=0.2),
    )


async def serve(stream: SocketStream, receiver: Receiver) -> None:
    """Handle one webhook, as a minimal web server."""
    async with stream:
        data = b""
        while b"\r\n\r\n" not in data:
            data += await stream.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        while len(body) < int(headers["content-length"]):
            body += await stream.receive()
        reply = await receiver.handle(method, path, headers, body)
        await stream.send(f"HTTP/1.1 {reply.status} .\r\nConnection: close\r\n\r\n".encode())


async def main(options: dict[str, Any]) -> None:
    """Dial until nothing is left."""
    receiver = Receiver(TOKEN)

    async def handle(stream: SocketStream) -> None:
        try:
            await serve(stream, receiver)
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            pass  # the client was killed

    listener = await anyio.create_tcp_listener(
        local_host="127.0.0.1", local_port=options["port"], reuse_port=True,
        family=socket.AF_INET,
    )  # fmt: skip
    async with (
        listener,
        anyio.create_task_group() as tasks,
        open_ledger(options["ledger"]) as ledger,
    ):
        async with receiver, CallService(
            2222226, "simulated-secret", from_=FROM, base_url=options["base_url"],
            events=receiver,
        ) as service:  # fmt: skip
            campaign = Campaign(
                ledger,
                service,
                "crash",
                settings_of(options["rate"]),
                timeouts=PATIENCE,
            )
            tasks.start_soon(listener.serve, handle)
            await campaign.load(contacts(options["contacts"], without=options["without"]))
            sys.stdout.write("dialling\n")
            sys.stdout.flush()
            state = await campaign.run()
            counts = {str(name): count for name, count in state.counts.items() if count}
            sys.stdout.write(json.dumps(counts) + "\n")
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    options = json.loads(sys.argv[1])
    code = 0
    try:
        anyio.run(main, options, backend=options["backend"])
    except* LedgerLost as lost:
        code = LOST
        sys.stderr.write(f"{lost.exceptions}\n")
    except* ConfigurationError as refused:
        code = REFUSED
        sys.stderr.write(f"{refused.exceptions}\n")
    except* StoreError as away:
        code = AWAY
        sys.stderr.write(f"{away.exceptions}\n")
    sys.exit(code)

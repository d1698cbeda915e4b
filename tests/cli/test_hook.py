"""``hook listen`` and ``hook replay``: ledgers and forwarding; and ``dial`` with webhooks."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from consoles import Console, console, interrupted, serving
from free_ports import free_port

from telecmi_async.campaigns import CampaignSettings
from telecmi_async.cli import Exit, main
from telecmi_async.cli.hooks import LedgerStore
from telecmi_async.errors import StoreError
from telecmi_async.ledger import ContactState, NewContact, SqliteLedger
from telecmi_async.simulator import Simulator, Webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from telecmi_async.events.store import StoredEvent

TOKEN = "t" * 43
NUMBERS = range(19175550001, 19175550005)
DIAL = ["dial", "people.csv", "--flow", "flow.json", "--ledger", "l.db", "--window", "any"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with contacts and a flow."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "people.csv").write_text("phone\n" + "".join(f"+{n}\n" for n in NUMBERS))
    (tmp_path / "flow.json").write_text('[{"action": "hangup"}]')
    return tmp_path


def ran(*argv: str, **given: Any) -> tuple[int, Console]:
    """Run a command; return its exit code and what it wrote."""
    terminal = console(**given)
    return main(argv, terminal=terminal), terminal


def begun() -> Mapping[ContactState, int]:
    """Create a campaign that no worker runs; return its counts."""
    return anyio.run(_begin)


async def _begin() -> Mapping[ContactState, int]:
    async with SqliteLedger("l.db") as ledger:
        settings = CampaignSettings(flow=[{"action": "hangup"}])
        if await ledger.create("people", settings.dump()):
            await ledger.load("people", [NewContact(number=number) for number in NUMBERS])
        return (await ledger.state("people")).counts


def listening(port: int) -> str:
    """Wait until a server listens on a port, and return its address."""
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return f"http://127.0.0.1:{port}"


@contextmanager
def beside(work: Callable[[], None]) -> Iterator[list[BaseException]]:
    """Do work in a thread, and press Ctrl-C when it is done."""
    failures: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # the test checks it
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run)
    thread.start()
    with interrupted(done):
        yield failures
    thread.join()


def hook(port: int, *more: str, **environ: str) -> tuple[int, Console]:
    """Run `hook listen` until Ctrl-C."""
    environ = {"TELECMI_WEBHOOK_TOKEN": TOKEN, **environ}
    return ran("hook", "listen", "--port", str(port), *more, environ=environ)


@contextmanager
def target(status: int = 204) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that accepts events: its address, and the events it received."""
    got: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        """Keeps the requests it receives."""

        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write no log."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# --- a ledger ---------------------------------------------------------------------------


def test_a_campaign_hears_what_arrives_elsewhere() -> None:
    """Events received by one process release another's channels and record outcomes."""
    simulator = Simulator(life="immediate")
    port = free_port()
    simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/{TOKEN}")
    begun()
    (code, dialling) = (-1, console())

    def work() -> None:
        nonlocal code, dialling
        listening(port)
        # One call at a time: the second starts when the first one's record has arrived.
        code, dialling = ran(
            *DIAL, "--name", "second", "--max-live-calls", "1", "--cps", "100", "--yes", "4",
            "--without-webhooks", environ=environ,
        )  # fmt: skip
        until = time.monotonic() + 20
        while "finished           4" not in ran("status", *second)[1].out:
            assert time.monotonic() < until
            time.sleep(0.05)

    second = ("--ledger", "l.db", "--name", "second")
    with serving(simulator) as environ, beside(work) as failures:
        ended, terminal = hook(port, "--ledger", "l.db")
    _, exported = ran("export", *second, "--json")

    assert failures == []
    assert (ended, code) == (Exit.INTERRUPTED, Exit.OK), dialling.err
    assert f"of calls in the ledger: {len(terminal.out.splitlines())}," in terminal.err
    assert [json.loads(row)["answered"] for row in exported.out.splitlines()] == [True] * 4
    assert begun()[ContactState.PENDING] == 4


def test_the_environment_may_name_the_ledger() -> None:
    """An event of a call that the ledger does not know is accepted."""
    port = free_port()
    begun()
    statuses: list[int] = []

    def work() -> None:
        url = f"{listening(port)}/{TOKEN}"
        statuses.append(httpx.post(url, json={"type": "ping"}).status_code)

    with beside(work):
        _, terminal = hook(port, TELECMI_LEDGER="l.db")

    assert statuses == [204]
    assert "accepted: 1, of calls in the ledger: 0, duplicates: 0, refused: 0" in terminal.err


def test_a_ledger_that_is_not_there_ends_it() -> None:
    """`hook listen` does not listen if the ledger does not exist."""
    code, terminal = hook(0, "--ledger", "none.db")

    assert code == Exit.USAGE
    assert "there is no ledger none.db" in terminal.err


def test_telecmi_is_put_off_while_the_ledger_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event is answered with 503 until it is on record, so that TeleCMI sends it again."""
    port = free_port()
    begun()
    statuses: list[int] = []
    record_event = SqliteLedger.record_event
    event = {"type": "event", "request_id": "r" * 43, "status": "started"}

    async def fail(*_: object, **__: object) -> bool:
        raise StoreError("the disk is full")

    def work() -> None:
        url = f"{listening(port)}/{TOKEN}"
        monkeypatch.setattr(SqliteLedger, "record_event", fail)
        statuses.append(httpx.post(url, json=event).status_code)
        monkeypatch.setattr(SqliteLedger, "record_event", record_event)
        statuses.append(httpx.post(url, json=event).status_code)

    with beside(work):
        _, terminal = hook(port, "--ledger", "l.db")

    assert statuses == [503, 204]
    assert terminal.out.count("\n") == 1


class _NoFollower:
    """A follower that wants no events."""

    def wants(self, names: Collection[str]) -> bool:
        """Return False."""
        return False

    def take(self, stored: StoredEvent) -> None:
        """Ignore the event."""

    def waiting(self) -> list[str]:
        """Return no names."""
        return []


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_what_is_recorded_is_a_store_of_events() -> None:
    """The ledger's event store implements what a service needs of a store."""
    async with SqliteLedger("l.db") as ledger:
        store = LedgerStore(ledger)
        first = await store.claim("key")
        again = await store.claim("key")

        assert (first, again) == (True, False)
        assert await store.get(["name"]) == []
        async with store.follow(_NoFollower()):
            assert not store.shared


# --- forwarding -------------------------------------------------------------------------


def test_events_are_sent_on() -> None:
    """``--forward-to`` sends each full event to an address, which may contain the token."""
    port = free_port()

    def work() -> None:
        url = f"{listening(port)}/{TOKEN}"
        for to in NUMBERS:
            httpx.post(url, json={"type": "ping", "to": str(to)})

    with target() as (url, got), beside(work):
        _, terminal = hook(port, "--forward-to", f"{url}/hooks/{{token}}")

    assert [json.loads(body)["to"] for _, body in got] == [str(number) for number in NUMBERS]
    assert {path for path, _ in got} == {f"/hooks/{TOKEN}"}
    assert "Events are sent on to http" in terminal.err
    assert "/hooks/{token}" in terminal.err
    assert TOKEN not in terminal.err
    assert "1917555" not in terminal.out + terminal.err


def test_what_cannot_be_sent_on_is_told() -> None:
    """An event that cannot be forwarded is reported, and is still printed."""
    port = free_port()

    def work() -> None:
        httpx.post(f"{listening(port)}/{TOKEN}", json={"type": "ping"})

    with target(500) as (url, _), beside(work):
        _, refused = hook(port, "--forward-to", url)
    with beside(work):
        _, unreachable = hook(port, "--forward-to", url)

    assert "an event that was sent on was answered with 500" in refused.err
    assert "an event was not sent on: Connection refused" in unreachable.err
    assert refused.out.count("\n") == unreachable.out.count("\n") == 1


@pytest.mark.parametrize("url", ["localhost:3000", "http://localhost:x/", "ftp://localhost"])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    """An invalid forwarding address is rejected before listening."""
    code, terminal = hook(0, "--forward-to", url)

    assert code == Exit.USAGE
    assert "give an address that begins with https:// or http://" in terminal.err


def test_replay_fills_the_token_in() -> None:
    """`hook replay` fills the token into the address."""
    with target() as (url, got):
        code, _ = ran(
            "hook", "replay", "-", "--forward-to", f"{url}/{{token}}",
            typed='{"n": 1}\n', environ={"TELECMI_WEBHOOK_TOKEN": TOKEN},
        )  # fmt: skip

    assert code == Exit.OK
    assert got == [(f"/{TOKEN}", b'{"n": 1}\n')]


# --- unexpected requests ----------------------------------------------------------------


def test_what_is_no_request_is_answered_tersely() -> None:
    """Invalid and unknown requests get replies that do not identify the server."""
    port = free_port()
    replies: list[str] = []

    def work() -> None:
        listening(port)
        for sent in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(sent)
                client.settimeout(5)
                replies.append(client.recv(65_536).decode())

    with beside(work):
        hook(port)

    assert [reply.split()[1] for reply in replies] == ["400", "404"]
    assert "simulat" not in " ".join(replies).lower()
    assert "server:" not in " ".join(replies).lower()


# --- dial with webhooks -----------------------------------------------------------------


def test_dial_tries_out_that_webhooks_arrive() -> None:
    """`dial` checks that webhooks arrive at the public address before it places a call."""
    simulator = Simulator(life="immediate")
    port = free_port()
    simulator.webhooks = Webhooks(f"http://127.0.0.1:{port}/hooks/{TOKEN}")
    url = f"http://127.0.0.1:{port}/hooks/"
    with serving(simulator) as environ, target(404) as (elsewhere, _):
        environ["TELECMI_WEBHOOK_TOKEN"] = TOKEN
        more = ("--webhook-port", str(port), "--cps", "100", "--yes", "4")
        wrong, lost = ran(*DIAL, *more, "--webhook-url", elsewhere, environ=environ)
        gone, away = ran(
            *DIAL, *more, "--webhook-url", f"http://127.0.0.1:{free_port()}", environ=environ
        )
        leaky, secret = ran(*DIAL, *more, "--webhook-url", f"{url}{TOKEN}", environ=environ)
        none_called = simulator.requests == 0
        code, terminal = ran(*DIAL, *more, "--webhook-url", url, environ=environ)

    assert wrong == gone == Exit.UNAVAILABLE
    assert (
        f"what is sent to {elsewhere} does not arrive here: it was answered with 404"
        in lost.err
    )
    assert "no server answers at" in away.err
    assert leaky == Exit.USAGE
    assert "give --webhook-url without its token" in secret.err
    assert TOKEN not in secret.err
    assert none_called
    assert code == Exit.OK
    assert f"What is sent to {url} arrives here." in terminal.err
    assert "finished           4" in terminal.out


def test_a_port_is_chosen_for_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``--webhook-port``, the default port is used."""
    port = free_port()
    monkeypatch.setattr("telecmi_async.cli.options.WEBHOOK_PORT", port)
    url = f"http://127.0.0.1:{port}"
    with serving(Simulator()) as environ:
        environ["TELECMI_WEBHOOK_TOKEN"] = TOKEN
        doctor, found = ran("doctor", "--webhook-url", url, environ=environ)
        _, terminal = ran(*DIAL, "--webhook-url", url, environ=environ)

    assert doctor == Exit.PARTLY  # a simulator's answer proves nothing of TeleCMI
    assert f"what is sent to {url} arrives here" in found.out
    assert f"Listening for webhooks on 127.0.0.1 port {port}." in terminal.err

"""The comparison with other clients: its server, its clients, and how figures become ratios."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from project_paths import docs_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
DASH = "\N{EN DASH}"
SVG = "{http://www.w3.org/2000/svg}"


def load(path: str) -> ModuleType:
    """Import a script of the benchmarks, which are in no package."""
    name = "benchmark_" + Path(path).stem
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


servers = load("comparison/servers.py")
clients = load("comparison/clients.py")
pages = load("comparison/pages.py")
instructions = load("instructions.py")

KINDS = ["asyncio", *(["C"] if shutil.which("cc") and sys.platform == "linux" else [])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the C server is compiled once."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    """Run a server of each kind that answers at once."""
    with servers.start_server(folder, kinds=(request.param,)) as running:
        assert running.kind == request.param
        yield running


@pytest.fixture(params=KINDS)
def slow_server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    """Run a server of each kind that answers after 50 ms."""
    with servers.start_server(folder, kinds=(request.param,), latency_ms=50) as running:
        yield running


def post(body: bytes = b'{"to":1}', path: str = "/v2/global_pcmo_make_call") -> bytes:
    """Return a whole request, with a header that is spelt unusually."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\ncontent-LENGTH:  {len(body)}\r\n\r\n"
    return head.encode() + body


def connect(server: Any) -> socket.socket:
    """Open a connection to a server."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def read_reply(connection: socket.socket) -> tuple[str, Any]:
    """Read one reply: its status line and its JSON."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, f"the connection ended after {head!r}"
        head += byte
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return head.split(b"\r\n")[0].decode(), json.loads(body) if body else None


def test_a_request_in_single_bytes_is_answered_once(server: Any) -> None:
    """Wherever the network cuts a request, it counts when it is complete, and once."""
    with connect(server) as connection:
        request = post(b'{"a":"\r\n\r\n"}')
        for n, _ in enumerate(request[:-1]):
            connection.sendall(request[n : n + 1])
        before = server.counted().requests
        connection.sendall(request[-1:])

        status, body = read_reply(connection)

    assert before == 0
    assert status == "HTTP/1.1 200 OK"
    assert body["request_id"] == body["data"]["request_id"] == servers.REQUEST_ID
    assert server.counted()[:3] == (1, 1, len(b'{"a":"\r\n\r\n"}'))


def test_requests_in_one_piece_are_all_answered(server: Any) -> None:
    """Three and a half requests get three replies, and the fourth one when it is whole."""
    request = post()
    with connect(server) as connection:
        connection.sendall(3 * request + request[:-3])
        three = [read_reply(connection)[0] for _ in range(3)]
        counted = server.counted()
        connection.sendall(request[-3:])
        fourth, _ = read_reply(connection)

    assert [*three, fourth] == 4 * ["HTTP/1.1 200 OK"]
    assert (counted.requests, server.counted().requests) == (3, 4)
    assert server.counted().connections == 1


def test_a_body_larger_than_every_buffer_is_read_to_its_end(server: Any) -> None:
    """A body of a megabyte is one request."""
    with connect(server) as connection:
        connection.sendall(post(b"x" * 1_000_000))
        status, _ = read_reply(connection)

    assert status == "HTTP/1.1 200 OK"
    assert server.counted().body_bytes == 1_000_000


@pytest.mark.parametrize("path", servers.REPLIES)
def test_each_path_has_its_reply(server: Any, path: str) -> None:
    """Every client's own address brings the reply that this client understands."""
    with connect(server) as connection:
        connection.sendall(post(path=f"{path}anything"))
        status, body = read_reply(connection)

    assert (status.removeprefix("HTTP/1.1 "), body) == servers.REPLIES[path]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /v2/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411"),
        (b"POST /v2/x HTTP/1.1\r\nContent-Length: 12x\r\n\r\n", "400"),
        (b"POST /v2/x HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "400"),
        (b"x" * 70_000, "431"),
    ],
)
def test_what_it_cannot_count_is_refused(
    server: Any, request_bytes: bytes, status: str
) -> None:
    """A request whose end it would have to guess is refused, never counted."""
    with connect(server) as connection:
        connection.sendall(request_bytes)
        answered, _ = read_reply(connection)

    assert answered.split()[1] == status
    assert server.counted().requests == 0


def test_connection_close_is_obeyed(server: Any) -> None:
    """A client that asks for the end of the connection gets its reply first."""
    request = post().replace(b"Host: x", b"Host: x\r\nConnection: close")
    with connect(server) as connection:
        connection.sendall(request)
        status, _ = read_reply(connection)

        assert status == "HTTP/1.1 200 OK"
        assert connection.recv(1) == b""


def test_a_reply_waits_as_long_as_asked(slow_server: Any) -> None:
    """Two requests wait at the same time, and no reply leaves early."""
    with connect(slow_server) as one, connect(slow_server) as other:
        began = time.monotonic()
        one.sendall(post())
        other.sendall(post())
        read_reply(one)
        read_reply(other)
        took = time.monotonic() - began

    assert took >= 0.049
    assert slow_server.counted()[:2] == (2, 2)
    assert slow_server.counted().most_in_flight == 2


def test_pipelined_requests_wait_together(slow_server: Any) -> None:
    """Requests of one connection are answered in order after one latency, not after three."""
    with connect(slow_server) as connection:
        connection.sendall(post(path="/v2/a") + post(path="/v3/b") + post(path="/telnyx/c"))
        found = [read_reply(connection)[1] for _ in range(3)]

    assert found == [servers.REPLIES[path][1] for path in ("/v2/", "/v3/", "/telnyx/")]
    assert slow_server.counted().most_in_flight == 3


def test_a_client_that_left_takes_nothing_with_it(slow_server: Any) -> None:
    """A connection that ends before its reply is due leaves the server to the others."""
    with connect(slow_server) as leaving:
        leaving.sendall(post())
    with connect(slow_server) as staying:
        staying.sendall(post())
        status, _ = read_reply(staying)

    assert status == "HTTP/1.1 200 OK"
    assert slow_server.counted().requests == 2


def test_counting_starts_again(server: Any) -> None:
    """After a reset a connection that was there before counts once more."""
    with connect(server) as connection:
        connection.sendall(post())
        read_reply(connection)
        server.reset()
        assert server.counted()[:2] == (0, 0)
        connection.sendall(2 * post())
        read_reply(connection)
        read_reply(connection)

        assert server.counted()[:2] == (2, 1)


def run_client(name: str, server: Any, *, in_flight: int, calls: int) -> Any:
    """Run one client in a process of its own and return what it found."""
    script = BENCHMARKS / "comparison" / "clients.py"
    command = [sys.executable, str(script), name, server.url, str(in_flight), str(calls)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@pytest.mark.parametrize("name", ["own", "httpx", "httpx-gathered", "own-httpx"])
def test_clients_place_what_they_say_with_the_same_body(folder: Path, name: str) -> None:
    """Warm-up and measured calls arrive complete, in at most so many connections."""
    with servers.start_server(folder, kinds=("C", "asyncio")) as server:
        found = run_client(name, server, in_flight=5, calls=30)
        counted = server.counted()

    body = len(json.dumps(clients.BODY, separators=(",", ":")))
    assert counted.requests == 20 + 30
    assert counted.body_bytes == 50 * body
    # A client handed in gets a connection for each call until it has shown that it traces them.
    assert counted.connections == 5 or (name == "own-httpx" and counted.connections <= 10)
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["cpu_us"] > 0
    assert found["peak_mb"] > 5


def test_every_client_has_a_label() -> None:
    """Each client that can be asked for is in the tables, gathered ones apart."""
    apart = {"own-gather", "httpx-gather"}

    assert set(clients.CLIENTS) - apart == set(pages.LABELS)


# -- from figures to pages


def row(client: str, cpu_us: float, **more: Any) -> dict[str, Any]:
    """Return a row of results."""
    return {
        "client": client,
        "latency_ms": 0,
        "tls": False,
        "in_flight": 20,
        "cpu_us": cpu_us,
        "calls_per_second": 1e6 / cpu_us,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "peak_mb": 40.0,
        "connections": 20,
        "versions": {client: "1.0"},
        **more,
    }


def results(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return what a whole run found."""
    about = {
        "date": "2026-01-02",
        "machine": "a machine",
        "python": "3.11.7",
        "cores": "a core each",
        "rounds": 3,
        "servers": {"Plain HTTP, 0 ms": "C server"},
        "warnings": [],
    }
    return {"about": about | more, "rows": list(rows), "gathered": None}


PLAIN = pages.Setting(0, False, 20)


def test_ratios_are_of_the_same_round() -> None:
    """A machine that slows down between rounds changes no ratio."""
    found = results(
        *(
            row(client, cpu * slower)
            for slower in (1, 3, 10)
            for client, cpu in (("aiohttp", 100), ("httpx", 2000), ("own", 150))
        )
    )

    figures = pages.Figures(found)

    assert figures.ratio(PLAIN, "own", "aiohttp", "cpu_us") == pytest.approx(1.5)
    assert figures.ratio(PLAIN, "own", "httpx", "cpu_us") == pytest.approx(0.075)
    assert figures.median(PLAIN, "own", "cpu_us") == 450
    assert "| **telecmi_async** | 1.50 | 0.0750 |" in pages.summary(figures)


def test_a_round_that_failed_is_no_pair() -> None:
    """A failed run is left out with its round, and said; others keep their own pairs."""
    failed = {"client": "own", "latency_ms": 0, "tls": False, "in_flight": 20}
    found = results(
        row("aiohttp", 100),
        failed | {"failure": "it broke"},
        row("aiohttp", 50),
        row("own", 100),
    )

    figures = pages.Figures(found)

    assert figures.ratio(PLAIN, "own", "aiohttp", "cpu_us") == pytest.approx(2.0)
    where = "Plain HTTP, 0 ms at 20 in flight"
    assert f"Not measured: telecmi_async (it broke; {where})." in pages.summary(figures)


def test_what_was_never_measured_is_a_dash() -> None:
    """A client without any figure has a row of dashes, in both tables."""
    failed = {"client": "piopiy-1.0", "latency_ms": 0, "tls": False, "in_flight": 20}
    figures = pages.Figures(results(row("aiohttp", 100), failed | {"failure": "no network"}))

    assert f"| piopiy 1.0, threads | {DASH} | {DASH} |" in pages.summary(figures)
    assert "| piopiy 1.0, threads |" + 10 * f" {DASH} |" in pages.details(figures)


def test_a_busy_machine_is_named() -> None:
    """Figures of a machine that had other work say so above the table."""
    found = results(row("aiohttp", 100), warnings=["its load was 7.7 before the first run"])

    assert "**Not a quiet machine:** its load was 7.7" in pages.summary(pages.Figures(found))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, DASH),
        (0, "0"),
        (0.0756, "0.0756"),
        (1.234, "1.23"),
        (123.4, "123"),
        (45678.9, "45,679"),
        (9.996, "10.00"),
    ],
)
def test_figures_have_three_digits(value: float | None, shown: str) -> None:
    """A figure is as precise as the measurement."""
    assert pages.number(value) == shown


def test_only_what_is_between_the_marks_changes() -> None:
    """What was written by hand stays; a page that lost its marks is refused."""
    page = f"before\n{pages.BEGIN}\nold\n{pages.END}\nafter\n"

    once = pages.put_between_marks(page, "new")

    assert once == f"before\n{pages.BEGIN}\n\nnew\n\n{pages.END}\nafter\n"
    assert pages.put_between_marks(once, "new") == once
    with pytest.raises(ValueError, match="lost the marks"):
        pages.put_between_marks("no marks", "new")


def test_the_page_has_its_marks_and_its_plots() -> None:
    """docs/explanation/performance.md can be written again, and shows every plot that is drawn."""
    docs = BENCHMARKS.parent / "docs"
    page = docs_page("performance.md").read_text(encoding="utf-8")

    assert pages.BEGIN in pages.put_between_marks(page, "anything")
    for name in pages.PLOTS:
        assert f"](../images/{name})" in page
        assert (docs / "images" / name).exists()


def test_a_plot_is_a_drawing_for_light_and_dark() -> None:
    """Each client has a line with a shape for each number in flight, in order of size."""
    found = results(
        *(
            row(client, cpu, in_flight=in_flight)
            for in_flight in (1, 20, 100, 500)
            for client, cpu in (("aiohttp", 100), ("httpx", 2000), ("own", 150))
        )
    )

    drawn = pages.draw(pages.Figures(found), pages.PLOTS["performance-cpu.svg"])

    root = ET.fromstring(drawn)
    few = [float(each.attrib["cx"]) for each in root.iter(f"{SVG}circle")][
        1:
    ]  # after the legend
    assert "prefers-color-scheme: dark" in drawn
    # In the order of the labels: own, aiohttp, httpx.
    assert few[1] < few[0] < few[2]
    assert len(root.findall(f"{SVG}path")) == 2 * (1 + 3)


def test_a_plot_of_nothing_is_not_drawn() -> None:
    """Without figures of its setting there is no plot."""
    figures = pages.Figures(results(row("aiohttp", 100)))

    assert pages.draw(figures, pages.PLOTS["performance-cpu-tls.svg"]) is None


# -- the guard


BASELINE = {"instructions_per_call": 1_000_000, "packages": {}}


@pytest.mark.parametrize(
    ("measured", "passes"), [(1_050_000, True), (1_051_000, False), (500_000, True)]
)
def test_five_percent_more_fails(
    monkeypatch: pytest.MonkeyPatch, measured: float, passes: bool
) -> None:
    """The guard lets 5 % pass and no more, and asks for a new baseline when it is faster."""
    monkeypatch.setattr(instructions, "packages", dict)

    passed, text = instructions.verdict(measured, BASELINE)

    assert passed is passes
    assert f"{measured / 1000:,.0f} thousand" in text
    assert "baseline 1,000" in text
    assert ("--record" in text) is (measured != 1_050_000)


def test_other_packages_than_then_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure after an upgrade names what was upgraded."""
    monkeypatch.setattr(instructions, "packages", lambda: {"anyio": "5.0", "attrs": "24.1"})

    _, text = instructions.verdict(
        2e6, BASELINE | {"packages": {"anyio": "4.16", "attrs": "24.1"}}
    )

    assert "anyio 4.16 -> 5.0" in text
    assert "attrs" not in text


def test_another_build_of_python_has_no_baseline() -> None:
    """Without a baseline it passes and says that nothing was compared."""
    passed, text = instructions.verdict(1e6, None)

    assert passed
    assert "nothing is compared" in text
    assert instructions.build() in text


def test_a_missing_valgrind_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where valgrind is missing the guard says so and passes."""
    monkeypatch.setattr(instructions.shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["instructions.py"])

    instructions.main()

    assert "valgrind is missing" in capsys.readouterr().out

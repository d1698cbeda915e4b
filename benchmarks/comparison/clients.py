"""The clients that are compared, each measured alone in a process.

    python clients.py NAME URL IN_FLIGHT CALLS

prints, as JSON, what CALLS calls cost with IN_FLIGHT of them under way. It imports the one
client that it measures, and nothing of this project unless that is the client: piopiy's two
versions run it in environments of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import itertools
import json
import os
import resource
import ssl
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from typing import TypeAlias

    Call: TypeAlias = Callable[[], Awaitable[object]]

APP_ID, SECRET = 2222226, "6f9619ff"
FROM, TO = 19170000000, 19170000001
PCMO: list[dict[str, Any]] = [
    {"action": "play", "file_name": "welcome.wav"},
    {
        "action": "bridge",
        "duration": 300,
        "timeout": 20,
        "from": FROM,
        "loop": 2,
        "connect": [{"type": "pstn", "number": 19170000002}],
    },
    {"action": "hangup"},
]
EXTRA = {"order": "4711", "customer": "a-customer-of-ours", "campaign": "autumn-reminders"}
BODY = {
    "appid": APP_ID,
    "secret": SECRET,
    "from": FROM,
    "to": TO,
    "pcmo": PCMO,
    "extra_params": EXTRA,
}
PATIENCE = 600  # seconds: no time-out of a client may decide a comparison
MAKE_CALL = "/v2/global_pcmo_make_call"

# How the calls of a client are started.
WORKERS, SEMAPHORE, WAVES, GATHER, THREADS = (
    "workers",
    "semaphore",
    "waves",
    "gather",
    "threads",
)


class Failed(Exception):  # it is not raised to be caught
    """A client did not get the reply that it should."""


def check(request_id: object) -> None:
    if not request_id:
        raise Failed("the reply was not understood")


@contextlib.asynccontextmanager
async def aiohttp_alone(url: str, in_flight: int) -> AsyncIterator[Call]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=in_flight)
    timeout = aiohttp.ClientTimeout(PATIENCE)
    # Without spaces, as the other clients encode.
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, json_serialize=encode
    ) as session:

        async def call() -> None:
            async with session.post(url + MAKE_CALL, json=BODY) as reply:
                check((await reply.json())["request_id"])

        yield call


@contextlib.asynccontextmanager
async def pyreqwest(url: str, in_flight: int) -> AsyncIterator[Call]:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().max_connections(in_flight)
    if authority := os.environ.get("SSL_CERT_FILE"):
        with open(authority, "rb") as file:  # noqa: ASYNC230, PTH123  # before anything is measured
            builder = builder.add_root_certificate_pem(file.read())
    async with builder.build() as client:

        async def call() -> None:
            reply = await client.post(url + MAKE_CALL).body_json(BODY).build().send()
            check((await reply.json())["request_id"])

        yield call


@contextlib.asynccontextmanager
async def twilio(url: str, _in_flight: int) -> AsyncIterator[Call]:
    from twilio.http.async_http_client import AsyncTwilioHttpClient
    from twilio.rest import Client

    class Local(AsyncTwilioHttpClient):  # type: ignore[misc]  # its types are not looked at
        """Twilio's own client, which has no setting for the address."""

        async def request(self, method: str, url_: str, *args: Any, **options: Any) -> Any:
            return await super().request(
                method, url_.replace("https://api.twilio.com", url, 1), *args, **options
            )

    async with Local(timeout=PATIENCE) as http:
        client = Client("AC0123456789abcdef0123456789abcdef", SECRET, http_client=http)
        flow = (
            "<Response><Play>https://example.com/welcome.mp3</Play><Dial timeout='20' "
            "timeLimit='300' callerId='+19170000000'><Number>+19170000002</Number></Dial>"
            "<Hangup/></Response>"
        )

        async def call() -> None:
            made = await client.calls.create_async(
                to="+19170000001", from_="+19170000000", twiml=flow
            )
            check(made.sid)

        yield call


@contextlib.asynccontextmanager
async def post_with(client: Any, url: str) -> AsyncIterator[Call]:
    """Post the body as users of httpx and its like do."""
    async with client:

        async def call() -> None:
            reply = await client.post(url + MAKE_CALL, json=BODY)
            check(reply.json()["request_id"])

        yield call


@contextlib.asynccontextmanager
async def httpx_default(url: str, _in_flight: int) -> AsyncIterator[Call]:
    import httpx

    async with post_with(httpx.AsyncClient(timeout=PATIENCE), url) as call:
        yield call


@contextlib.asynccontextmanager
async def httpx_over_aiohttp(url: str, in_flight: int) -> AsyncIterator[Call]:
    async with post_with(aiohttp_backed(in_flight), url) as call:
        yield call


@contextlib.asynccontextmanager
async def httpx2_default(url: str, _in_flight: int) -> AsyncIterator[Call]:
    import httpx2

    async with post_with(httpx2.AsyncClient(timeout=PATIENCE), url) as call:
        yield call


def aiohttp_backed(in_flight: int) -> Any:
    import httpx
    from httpx_aiohttp import AiohttpTransport

    transport = AiohttpTransport(limits=httpx.Limits(max_connections=in_flight))
    return httpx.AsyncClient(transport=transport, timeout=PATIENCE)


@contextlib.asynccontextmanager
async def openai(url: str, _in_flight: int) -> AsyncIterator[Call]:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(
        api_key=SECRET, base_url=f"{url}/openai", max_retries=0, timeout=PATIENCE
    )
    async with client:

        async def call() -> None:
            made = await client.chat.completions.create(
                model="any",
                messages=[{"role": "user", "content": json.dumps(PCMO)}],
            )
            check(made.choices[0].message.content)

        yield call


@contextlib.asynccontextmanager
async def telnyx(url: str, _in_flight: int) -> AsyncIterator[Call]:
    from telnyx import AsyncTelnyx

    client = AsyncTelnyx(
        api_key=SECRET, base_url=f"{url}/telnyx", max_retries=0, timeout=PATIENCE
    )
    async with client:

        async def call() -> None:
            made = await client.calls.dial(
                connection_id="7267xxxxxxxxxxxxxx",
                to="+19170000001",
                from_="+19170000000",
                audio_url="https://example.com/welcome.mp3",
                client_state="aGF2ZSBhIG5pY2UgZGF5ID1d",
                timeout_secs=20,
                time_limit_secs=300,
                webhook_url="https://example.com/calls",
            )
            check(made.data and made.data.call_control_id)

        yield call


@contextlib.asynccontextmanager
async def service_with(url: str, in_flight: int, client: Any = None) -> AsyncIterator[Call]:
    """Place calls with this package."""
    from telecmi_async import Bridge, CallService, Hangup, Play, Pstn, RateLimit

    options: dict[str, Any] = {}
    if client is None and url.startswith("https"):
        # Its own client reads no certificates from the environment.
        options["ssl_context"] = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    flow = [
        Play("welcome.wav"),
        Bridge([Pstn(19170000002)], timeout=20, duration=300, loop=2, from_=FROM),
        Hangup(),
    ]
    async with CallService(
        APP_ID,
        SECRET,
        from_=FROM,
        base_url=f"{url}/v2",
        rate=RateLimit(max_in_flight=in_flight),
        http_client=client,
        **options,
    ) as service:

        async def call() -> None:
            made = await service.make_call(to=TO, pcmo=flow, extra_params=EXTRA)
            check(made.request_id)

        yield call


@contextlib.asynccontextmanager
async def service_with_httpx(url: str, in_flight: int) -> AsyncIterator[Call]:
    import httpx

    # Up to 100 in flight it is the default client: a larger pool would make httpx slower.
    limits = httpx.Limits(max_connections=max(100, in_flight), max_keepalive_connections=20)
    client = httpx.AsyncClient(limits=limits, timeout=PATIENCE)
    async with client, service_with(url, in_flight, client) as call:
        yield call


@contextlib.asynccontextmanager
async def service_with_httpx2(url: str, in_flight: int) -> AsyncIterator[Call]:
    import httpx2

    limits = httpx2.Limits(max_connections=max(100, in_flight), max_keepalive_connections=20)
    client = httpx2.AsyncClient(limits=limits, timeout=PATIENCE)
    async with client, service_with(url, in_flight, client) as call:
        yield call


@contextlib.asynccontextmanager
async def service_with_aiohttp(url: str, in_flight: int) -> AsyncIterator[Call]:
    client = aiohttp_backed(in_flight)
    async with client, service_with(url, in_flight, client) as call:
        yield call


def piopiy_1_0(url: str) -> Callable[[], object]:
    from piopiy import RestClient
    from piopiy.voice import pcmo_call

    pcmo_call.glob_voice["host"] = url  # it has no setting for the address
    client = RestClient(APP_ID, SECRET)
    options = {"duration": 300, "extra_params": EXTRA}
    return lambda: check(client.voice.call(TO, FROM, PCMO, options)["request_id"])


def piopiy_1_2(url: str) -> Callable[[], object]:
    from piopiy import RestClient

    client = RestClient(SECRET, base_url=f"{url}/v3", timeout=PATIENCE)
    pipeline = [{"action": "play", "file_name": "welcome.wav"}, {"action": "hangup"}]

    def call() -> None:
        made = client.pcmo.call(
            str(FROM),
            str(TO),
            "9e8d7c6b-5a4f-4e3d-2c1b-0a9f8e7d6c5b",
            pipeline,
            options={"max_duration_sec": 300},
            variables=EXTRA,
        )
        check(made["request_id"])

    return call


# Name on the command line: what is opened, how its calls are started, and the packages to name.
CLIENTS: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "aiohttp": (aiohttp_alone, WORKERS, ("aiohttp",)),
    "httpx": (httpx_default, SEMAPHORE, ("httpx",)),
    "own": (service_with, WORKERS, ("telecmi-async",)),
    "pyreqwest": (pyreqwest, WORKERS, ("pyreqwest",)),
    "twilio": (twilio, WORKERS, ("twilio",)),
    "httpx-gathered": (httpx_default, WAVES, ("httpx",)),
    "httpx-aiohttp": (httpx_over_aiohttp, WORKERS, ("httpx-aiohttp",)),
    "httpx2": (httpx2_default, SEMAPHORE, ("httpx2",)),
    "openai": (openai, WORKERS, ("openai",)),
    "telnyx": (telnyx, WORKERS, ("telnyx",)),
    "piopiy-1.0": (piopiy_1_0, THREADS, ("piopiy",)),
    "piopiy-1.2": (piopiy_1_2, THREADS, ("piopiy",)),
    "own-httpx": (service_with_httpx, WORKERS, ("telecmi-async", "httpx")),
    "own-httpx2": (service_with_httpx2, WORKERS, ("telecmi-async", "httpx2")),
    "own-httpx-aiohttp": (service_with_aiohttp, WORKERS, ("telecmi-async", "httpx-aiohttp")),
    # Asked for all at once, whatever IN_FLIGHT says.
    "own-gather": (service_with, GATHER, ("telecmi-async",)),
    "httpx-gather": (httpx_default, GATHER, ("httpx",)),
}


async def run(
    one: Callable[[], Awaitable[object]], calls: int, in_flight: int, how: str
) -> None:
    """Place the calls in the way of this client."""
    if how == GATHER:
        await asyncio.gather(*(one() for _ in range(calls)))
    elif how == WAVES:
        for begin in range(0, calls, in_flight):
            await asyncio.gather(*(one() for _ in range(min(in_flight, calls - begin))))
    elif how == SEMAPHORE:
        gate = asyncio.Semaphore(in_flight)

        async def gated() -> None:
            async with gate:
                await one()

        await asyncio.gather(*(gated() for _ in range(calls)))
    else:
        left = iter(range(calls))

        async def work() -> None:
            for _ in left:
                await one()

        await asyncio.gather(*(work() for _ in range(min(in_flight, calls))))


def run_threads(one: Callable[[], object], calls: int, in_flight: int) -> None:
    """Place the calls with as many threads as may be in flight."""
    left, lock = itertools.count(), threading.Lock()
    failures: list[Exception] = []

    def work() -> None:
        while not failures:
            with lock:
                if next(left) >= calls:
                    return
            try:
                one()
            except Exception as error:  # noqa: BLE001  # raised below, in the main thread
                failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(min(in_flight, calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


class Stopwatch:
    """Measures CPU and elapsed time, and each call's."""

    def __init__(self) -> None:
        self._spent: list[float] = []
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    async def timed(self, one: Callable[[], Awaitable[object]]) -> None:
        began = time.perf_counter()
        await one()
        self._spent.append(time.perf_counter() - began)

    def timed_now(self, one: Callable[[], object]) -> None:
        began = time.perf_counter()
        one()
        self._spent.append(time.perf_counter() - began)

    def result(self, calls: int) -> dict[str, float]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        if len(self._spent) != calls:
            raise Failed(f"{len(self._spent)} of {calls} calls ended")
        ranked = sorted(self._spent)
        return {
            "cpu_us": cpu / calls * 1e6,
            "calls_per_second": calls / wall,
            "p50_ms": ranked[int(0.50 * (calls - 1))] * 1000,
            "p99_ms": ranked[int(0.99 * (calls - 1))] * 1000,
            "seconds": wall,
        }


async def measure(
    opened: Any, how: str, url: str, in_flight: int, calls: int
) -> dict[str, float]:
    """Warm the client up, so that its connections are open, and measure it."""
    # What is asked for all at once meets the default limits of the client.
    async with opened(url, 20 if how == GATHER else in_flight) as one:
        if how != GATHER:
            await run(one, max(in_flight, 20), in_flight, how)
        watch = Stopwatch()
        await run(lambda: watch.timed(one), calls, in_flight, how)
        return watch.result(calls)


def measure_threads(opened: Any, url: str, in_flight: int, calls: int) -> dict[str, float]:
    one = opened(url)
    run_threads(one, max(in_flight, 20), in_flight)
    watch = Stopwatch()
    run_threads(lambda: watch.timed_now(one), calls, in_flight)
    return watch.result(calls)


def peak_mb() -> float:
    """Return the most memory that this process held; what it was forked from does not count."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:  # noqa: PTH123  # a file of numbers
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(name: str, url: str, in_flight: str, calls: str) -> None:
    opened, how, packages = CLIENTS[name]
    if how == THREADS:
        found = measure_threads(opened, url, int(in_flight), int(calls))
    else:
        found = asyncio.run(measure(opened, how, url, int(in_flight), int(calls)))
    versions = {each: importlib.metadata.version(each) for each in packages}
    print(json.dumps({**found, "peak_mb": peak_mb(), "versions": versions}))


if __name__ == "__main__":
    main(*sys.argv[1:])

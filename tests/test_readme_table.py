"""README's table of what goes wrong: each cell, with the client that it is about.

The clients talk to a simulator on a real port. What a killed process does is tested in
`tests/processes/test_readme.py`, since it needs processes.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
import requests
from consoles import serving
from piopiy import RestClient
from piopiy.voice import pcmo_call
from project_paths import ROOT, docs_page

from telecmi_async import CallOutcomeUnknown, CallService, Hangup, RetryPolicy, Timeouts
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async import CallHandle

pytestmark = pytest.mark.real_clock

FLOW = [{"action": "hangup"}]


def cell(row: str, column: int) -> str:
    """Return what README's table says in a row about a client: 1 httpx, 2 piopiy, 3 this one."""
    for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines():
        cells = [each.strip() for each in line.strip("|").split("|")]
        if cells[0] == f"**{row}**":
            return cells[column]
    pytest.fail(f"README's table has no row {row!r}")


def place_with_httpx(environ: dict[str, str], to: int, **options: Any) -> httpx.Response:
    """Place a call as a program without an SDK does."""
    body = {"appid": 2222226, "secret": environ["TELECMI_SECRET"], "from": 19170000000}
    url = environ["TELECMI_BASE_URL"] + "/global_pcmo_make_call"
    return httpx.post(url, json={**body, "to": to, "pcmo": FLOW}, **options)


def place_with_piopiy(environ: dict[str, str], to: int) -> Any:
    """Place a call as piopiy's documentation shows."""
    client = RestClient(2222226, environ["TELECMI_SECRET"])
    return client.voice.call(to, 19170000000, FLOW, {})


async def _place(environ: dict[str, str], to: int, options: dict[str, Any]) -> CallHandle:
    async with CallService(
        environ["TELECMI_APP_ID"],
        environ["TELECMI_SECRET"],
        base_url=environ["TELECMI_BASE_URL"],
        from_=19170000000,
        **options,
    ) as service:
        return await service.make_call(to=to, pcmo=[Hangup()])


def place(environ: dict[str, str], to: int, **options: Any) -> CallHandle:
    """Place a call with this package."""
    return anyio.run(_place, environ, to, options)


@contextmanager
def simulator_for_all(
    monkeypatch: pytest.MonkeyPatch, **options: Any
) -> Iterator[tuple[Simulator, dict[str, str]]]:
    """Serve a simulator where piopiy finds it, too: it has no setting for an address."""
    simulator = Simulator(**options)
    with serving(simulator) as environ:
        host = environ["TELECMI_BASE_URL"].removesuffix("/v2")
        monkeypatch.setitem(pcmo_call.glob_voice, "host", host)
        yield simulator, environ


def test_a_slow_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is placed, and its answer takes ten minutes."""
    limits: list[object] = []
    send = requests.adapters.HTTPAdapter.send

    def patient(*args: Any, **options: Any) -> Any:
        limits.append(options["timeout"])
        return send(*args, **{**options, "timeout": 0.5})

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", patient)

    with simulator_for_all(monkeypatch) as (simulator, environ):
        with pytest.raises(httpx.ReadTimeout):
            place_with_httpx(environ, 19172009923, timeout=0.5)
        with pytest.raises(requests.exceptions.ReadTimeout):
            place_with_piopiy(environ, 19173009923)
        with pytest.raises(CallOutcomeUnknown):
            place(environ, 19174009923, timeout=0.5)
        sent = [simulator.placed(19172009923 + n * 1_000_000) for n in range(3)]

    assert cell("a slow answer", 1) == "`ReadTimeout` after 5 s: did it ring?"
    assert httpx.Client().timeout == httpx.Timeout(5)
    assert cell("a slow answer", 2) == "waits without a limit, and blocks"
    assert limits == [None]
    assert cell("a slow answer", 3).startswith("`CallOutcomeUnknown`, sent once")
    assert Timeouts().read == 30
    assert sent == [1, 1, 1]


def test_a_gateways_502(monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is placed, and a gateway answers 502."""
    safe = RetryPolicy(at_most_once=True)
    with simulator_for_all(monkeypatch) as (simulator, environ):
        response = place_with_httpx(environ, 19172009913)
        with pytest.raises(requests.exceptions.JSONDecodeError):
            place_with_piopiy(environ, 19173009913)
        with pytest.raises(CallOutcomeUnknown):
            place(environ, 19174009913, retry=safe)
        sent = [simulator.placed(19172009913 + n * 1_000_000) for n in range(3)]
        call = place(environ, 19175009913)

    assert cell("a gateway's 502", 1) == "a response like any other"
    assert response.status_code == 502
    assert cell("a gateway's 502", 2) == "`JSONDecodeError`"
    assert cell("a gateway's 502", 3) == (
        "never repeated with `at_most_once=True`: `CallOutcomeUnknown`"
    )
    assert sent == [1, 1, 1]
    assert call.may_be_duplicate, "without that, the call is repeated and marked"


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """TeleCMI asks for a pause of a second."""

    async def place_two(environ: dict[str, str]) -> tuple[CallHandle, float]:
        async with CallService(
            environ["TELECMI_APP_ID"],
            environ["TELECMI_SECRET"],
            base_url=environ["TELECMI_BASE_URL"],
            from_=19170000000,
        ) as service:
            paused = service.make_call(to=19174009933, pcmo=[Hangup()])
            while not paused.attempts:  # noqa: ASYNC110  # a handle has no event for that
                await anyio.sleep(0.01)
            began = time.monotonic()
            await service.make_call(to=19174000001, pcmo=[Hangup()])
            return await paused, time.monotonic() - began

    with simulator_for_all(monkeypatch) as (simulator, environ):
        response = place_with_httpx(environ, 19172009933)
        reply = place_with_piopiy(environ, 19173009933)
        began = time.monotonic()
        place_with_httpx(environ, 19172000001)
        place_with_piopiy(environ, 19173000001)
        at_once = time.monotonic() - began
        call, waited = anyio.run(place_two, environ)
        placed = [simulator.placed(19172009933 + n * 1_000_000) for n in range(3)]

    next_one_goes_out = "like any other; the next call goes out"
    assert cell("429, too many", 1) == f"a response {next_one_goes_out}"
    assert response.status_code == 429
    assert cell("429, too many", 2) == f"a `dict` {next_one_goes_out}"
    assert reply["code"] == 429
    assert at_once < 0.8, "the pause that TeleCMI asked for is a second"
    assert cell("429, too many", 3).startswith("all calls pause for `Retry-After`")
    assert call.accepted
    assert waited > 0.8
    assert placed == [0, 0, 1]


def test_two_thousand_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds are those of the page on performance; piopiy blocks, and reuses nothing."""
    page = docs_page("performance.md").read_text(encoding="utf-8")
    at_once = page[page.index("**2,000 calls asked for at once**") :]
    seconds = {
        name: float(found[1])
        for name in ("**telecmi_async**", "httpx, gathered")
        if (found := re.search(rf"\| {re.escape(name)} \| ([\d.]+) \|", at_once))
    }
    adapters: list[int] = []
    monkeypatch.setattr(
        requests.adapters.HTTPAdapter, "close", lambda self: adapters.append(id(self))
    )
    with simulator_for_all(monkeypatch) as (_, environ):
        for number in range(3):
            place_with_piopiy(environ, 19173000001 + number)

    assert cell("2,000 at once", 1).startswith(f"{seconds['httpx, gathered']:.0f} s with")
    assert cell("2,000 at once", 3).startswith(f"{seconds['**telecmi_async**']:.2f} s")
    assert cell("2,000 at once", 2) == "one after the other, each on a new connection"
    # requests closes both of a session's adapters, http and https, after each call.
    assert len(adapters) == 3 * 2

"""The simulator on a port: real clients over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from simulated import FROM, HANGUP

from telecmi_async.errors import ConfigurationError
from telecmi_async.http_server import ConnectionLimits
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

LIMITS = ConnectionLimits(header_bytes=2_000, body_bytes=5_000, idle=30, slow=10, grace=5)


@pytest.fixture
def simulator() -> Simulator:
    """A simulator without latency."""
    return Simulator()


def serve(simulator: Simulator) -> AbstractAsyncContextManager[str]:
    """Open a port for a simulator, with short limits for clients."""
    return simulator.serve(limits=LIMITS)


@pytest.fixture
async def base_url(simulator: Simulator) -> AsyncIterator[str]:
    """The base URL of the simulator on a port."""
    async with serve(simulator) as url:
        yield url


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_httpx_talks_to_it_over_one_connection(
    simulator: Simulator, base_url: str
) -> None:
    """A real client on a real port gets replies, and its connection stays open."""
    async with httpx.AsyncClient() as client:
        replies = [
            await client.post(
                f"{base_url}/global_pcmo_make_call",
                json={
                    "appid": simulator.app_id,
                    "secret": simulator.secret,
                    "from": FROM,
                    "to": 19170000000 + n,
                    "pcmo": [HANGUP],
                },
            )
            for n in range(5)
        ]
        (connection,) = client._transport._pool.connections  # type: ignore[attr-defined]  # a look inside

    assert [reply.status_code for reply in replies] == [200] * 5
    assert "Request Count: 5" in repr(connection)
    assert base_url.startswith("http://127.0.0.1:")
    assert base_url.endswith("/v2")


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_a_refusal_arrives_even_while_the_client_is_talking(base_url: str) -> None:
    """A body that is far too large gets a 413, not a connection reset."""
    async with httpx.AsyncClient() as client:
        reply = await client.post(f"{base_url}/x", content=b"x" * 2_000_000)

    assert reply.status_code == 413


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_an_address_that_cannot_be_had_is_refused(
    simulator: Simulator, base_url: str
) -> None:
    """A port that is taken, and an impossible one, raise an error that names it."""
    port = int(base_url.removesuffix("/v2").rpartition(":")[2])
    with pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1 port {port}"):
        async with simulator.serve(port=port):
            pass
    with pytest.raises(ConfigurationError, match="port must be from 0 to 65535, not 65536"):
        async with simulator.serve(port=65_536):
            pass


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_an_error_inside_comes_out_as_itself(simulator: Simulator) -> None:
    """An error in the block is raised as itself, not in a group, and the port is closed."""
    with pytest.raises(LookupError, match="mine"):
        async with serve(simulator) as url:
            raise LookupError("mine")

    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(url)


@pytest.mark.anyio
@pytest.mark.real_clock
async def test_an_address_of_ipv6_goes_into_brackets(simulator: Simulator) -> None:
    """The base URL of an IPv6 address works in a client."""
    try:
        async with simulator.serve("::1") as url, httpx.AsyncClient() as client:
            reply = await client.get(url)
    except ConfigurationError:
        pytest.skip("no IPv6 on this machine")

    assert url.startswith("http://[::1]:")
    assert reply.status_code == 404

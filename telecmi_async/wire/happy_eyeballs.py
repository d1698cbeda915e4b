"""Happy eyeballs: which of a host's addresses is connected to (RFC 8305), on every event loop.

Both drivers share it: they try addresses in the same order, and however an attempt ends, its
socket is closed.
"""

from __future__ import annotations

import ipaddress
import socket
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from telecmi_async.wire.connection import Origin

_T = TypeVar("_T")

# RFC 8305, section 5: for how many seconds an address is tried alone.
_NEXT_ADDRESS = 0.25


async def addresses_of(
    origin: Origin, look_up: Callable[..., Awaitable[Sequence[tuple[Any, ...]]]]
) -> list[str]:
    """Return a host's addresses, those of IPv6 and IPv4 by turns (RFC 8305, section 4)."""
    try:
        return [str(ipaddress.ip_address(origin.host))]
    except ValueError:
        pass
    try:
        found = await look_up(origin.host, origin.port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "the host has no valid name") from None
    by_family: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        by_family.setdefault(family, []).append(str(address[0]))
    taking_turns = chain.from_iterable(zip_longest(*by_family.values()))
    return [address for address in taking_turns if address is not None]


async def first_to_answer(
    addresses: Sequence[str],
    connect: Callable[[str], Awaitable[_T]],
    close: Callable[[_T], object],
) -> _T:
    """Connect to the first address that answers (RFC 8305, section 5: happy eyeballs).

    The next address is tried as soon as one fails, or has not answered for 0.25 s. However
    ``connect`` ends, it leaves nothing open; ``close`` closes at once what it returned. If no
    address answers, the error is the first one's.
    """
    if len(addresses) == 1:
        return await connect(addresses[0])
    won: list[_T] = []
    failures: list[OSError] = []

    async def attempt(address: str, failed: anyio.Event) -> None:
        try:
            won.append(await connect(address))
        except OSError as error:
            failures.append(error)
            failed.set()
            return
        attempts.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as attempts:
            for address in addresses:
                failed = anyio.Event()
                attempts.start_soon(attempt, address, failed)
                with anyio.move_on_after(_NEXT_ADDRESS):
                    await failed.wait()
    except BaseException:
        for made in won:
            close(made)
        raise
    for made in won[1:]:
        close(made)  # waiting here could be cancelled, and lose the first
    if not won:
        raise failures[0]
    return won[0]

"""Which event loop is running, so that a service notices when it is used from another."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeGuard

from telecmi_async.errors import WrongEventLoop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


def current_loop() -> object:
    """Return the running asyncio loop, or the token of the running trio.

    Neither library is imported here: one that nobody imported has no loop running.

    Raises:
        WrongEventLoop: None is running.
    """
    # trio comes first: in its guest mode it runs inside another loop.
    trio = getattr(sys.modules.get("trio"), "lowlevel", None)  # it may be half imported
    if trio is not None and trio.in_trio_run():
        token: object = trio.current_trio_token()
        return token
    asyncio = sys.modules.get("asyncio")
    loop: object = None if asyncio is None else asyncio._get_running_loop()  # noqa: SLF001  # its documented form raises where this returns None
    if loop is None:
        raise WrongEventLoop(
            "there is no running event loop here: call this from an async function"
        )
    return loop


def clock_of(loop: object) -> Callable[[], float]:
    """Return the clock of a result of `current_loop`.

    It is `anyio.current_time`, without finding out at every reading which loop is running.
    """
    return loop.time if is_asyncio(loop) else sys.modules["trio"].current_time


def is_asyncio(loop: object) -> TypeGuard[asyncio.AbstractEventLoop]:
    """Tell whether a result of `current_loop` is one of asyncio's."""
    return hasattr(loop, "create_task")

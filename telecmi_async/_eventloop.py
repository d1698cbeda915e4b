"""Which event loop is running, so that a service notices when it is used from another."""

from __future__ import annotations

import asyncio
import sys

from telecmi_async.errors import WrongEventLoop


def current_loop() -> object:
    """Return the running asyncio loop, or the token of the running trio.

    Raises:
        WrongEventLoop: None is running.
    """
    # trio comes first: in its guest mode it runs inside another loop.
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        token: object = trio.lowlevel.current_trio_token()
        return token
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise WrongEventLoop(
            "there is no running event loop here: call this from an async function"
        ) from None

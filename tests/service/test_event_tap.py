"""Event tap: a receiver's events reach a service's loop, and no more of them once it is closed."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from telecmi_async.service.event_tap import EventTap

pytestmark = pytest.mark.anyio


async def put_later(put: Any) -> None:
    """Put an event, in an event loop."""
    put("ringing")


@pytest.mark.real_clock
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["same loop", "another loop"])
async def test_no_event_is_taken_after_the_end(*, closed: bool, elsewhere: bool) -> None:
    """An event that was on its way when the tap closed is not taken."""
    recorders: list[Any] = []
    handlers = SimpleNamespace(add_recorder=recorders.append, remove_recorder=recorders.remove)
    taken: list[Any] = []
    tap = EventTap(SimpleNamespace(handlers=handlers), taken.append)  # type: ignore[arg-type]  # the part of an intake that it uses
    tap.open()
    (put,) = recorders
    if closed and not elsewhere:
        tap.close()
    if elsewhere:
        thread = threading.Thread(target=anyio.run, args=(put_later, put))
        thread.start()
        thread.join()
    else:
        put("ringing")
    if closed:
        tap.close()
        assert recorders == []
    await anyio.wait_all_tasks_blocked()

    assert taken == ([] if closed else ["ringing"])

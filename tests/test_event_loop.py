"""Event loops: what a cancellation says on each of them."""

from __future__ import annotations

import anyio
import pytest

from telecmi_async._internal.event_loop import is_failure, is_foreign_cancellation


@pytest.mark.anyio
async def test_a_cancellation_of_the_running_task_is_no_failure() -> None:
    """What its own scope cancels is meant for the task, on both event loops."""
    found: tuple[bool, bool] | None = None
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.sleep(1)
        except anyio.get_cancelled_exc_class() as error:
            found = is_failure(error), is_foreign_cancellation()
            raise

    assert found == (False, False)

"""The tasks in which a campaign's calls run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from telecmi_async.calls.request import CallRequest
from telecmi_async.campaigns import CampaignSettings
from telecmi_async.campaigns.dial_tasks import DialTasks
from telecmi_async.campaigns.send_permit import PendingSend
from telecmi_async.ledger import Claim

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

REQUEST = CallRequest(to=919000000000, pcmo=[{"action": "hangup"}])


def send(row: int) -> PendingSend:
    """Return a contact on its way."""
    claim = Claim(
        contact=row, number=919000000000, columns={}, epoch=1, sends=0, not_after=None
    )
    settings = CampaignSettings(flow=[{"action": "hangup"}])
    return PendingSend(claim, "w", settings, 0)


class Dialled:
    """Dials by waiting, and records which task dialled which contact."""

    def __init__(self, seconds: Callable[[int], float] = lambda _: 1.0) -> None:
        self.tasks: dict[int, int] = {}
        self.done: list[int] = []
        self._seconds = seconds

    async def __call__(self, send: PendingSend, request: CallRequest) -> None:
        """Dial a contact."""
        assert request is REQUEST
        row = send.claim.contact
        self.tasks[row] = anyio.get_current_task().id
        await anyio.sleep(self._seconds(row))
        self.done.append(row)


async def test_contacts_one_after_another_share_a_task() -> None:
    """A contact that is started when a task is idle takes no task of its own."""
    dial = Dialled()
    async with anyio.create_task_group() as group:
        tasks = DialTasks(group, dial)
        for row in range(5):
            tasks.start(send(row), REQUEST)
            await anyio.sleep(2)
        tasks.close()

    assert dial.done == [0, 1, 2, 3, 4]
    assert len(set(dial.tasks.values())) == 1


async def test_contacts_at_a_time_have_a_task_each() -> None:
    """Contacts wait for no other one; later, as many at a time share the tasks that stayed."""
    dial = Dialled()
    async with anyio.create_task_group() as group:
        tasks = DialTasks(group, dial)
        for begin in (0, 10):
            for row in range(begin, begin + 10):
                tasks.start(send(row), REQUEST)
            await anyio.sleep(1.5)
            assert len(dial.done) == begin + 10
        tasks.close()

    assert len(set(dial.tasks.values())) == 10


async def test_what_was_started_is_dialled_after_the_end() -> None:
    """Closing, and a cancellation of the group, wait for the contacts that were started."""
    dial = Dialled(lambda row: 1.0 + row)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            tasks = DialTasks(group, dial)
            try:
                for row in range(3):
                    tasks.start(send(row), REQUEST)
                await anyio.sleep(1.5)  # one is idle by now
                scope.cancel()
                await anyio.sleep(1)
            finally:
                tasks.close()

    assert scope.cancelled_caught
    assert dial.done == [0, 1, 2]


async def test_an_error_ends_the_group_and_not_the_others() -> None:
    """An error of one contact is raised by the group, after the others are dialled."""

    def seconds(row: int) -> float:
        if row == 1:
            raise ZeroDivisionError
        return 1.0

    dial = Dialled(seconds)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            tasks = DialTasks(group, dial)
            try:
                for row in range(3):
                    tasks.start(send(row), REQUEST)
                await anyio.sleep(9)
            finally:
                tasks.close()

    assert caught.group_contains(ZeroDivisionError)
    assert sorted(dial.done) == [0, 2]


async def test_a_task_takes_what_another_was_started_for() -> None:
    """A contact that comes when a task ends one is dialled once, by that task."""
    dialled: list[tuple[int, int]] = []

    async def dial(send: PendingSend, _: CallRequest) -> None:
        dialled.append((send.claim.contact, anyio.get_current_task().id))
        if send.claim.contact == 0:
            tasks.start(next_one, REQUEST)

    next_one = send(1)
    async with anyio.create_task_group() as group:
        tasks = DialTasks(group, dial)
        tasks.start(send(0), REQUEST)
        await anyio.sleep(1)
        tasks.close()

    assert [row for row, _ in dialled] == [0, 1]
    assert len({task for _, task in dialled}) == 1

"""Cancellation sweep: it finds every await, and a leak at any of them."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest
from attrs import define, field

from telecmi_async.testing import cancel_everywhere

pytestmark = pytest.mark.anyio


@define
class Phone:
    """A toy that can leak: lines that were acquired and not released."""

    lines: int = 0
    log: list[str] = field(factory=list)

    async def call(self) -> None:
        """Acquire a line, wait twice, and release the line in any case."""
        await anyio.lowlevel.checkpoint()
        self.lines += 1
        try:
            await anyio.sleep(1)
            await anyio.sleep(1)
        finally:
            self.lines -= 1
        await anyio.lowlevel.checkpoint()
        self.log.append("over")

    async def call_carelessly(self) -> None:
        """Acquire a line, wait, and release the line only without an exception."""
        await anyio.lowlevel.checkpoint()
        self.lines += 1
        await anyio.sleep(1)
        self.lines -= 1


def put_back(phone: Phone) -> None:
    """Fail if a line leaked."""
    assert phone.lines == 0, "a line leaked"


# Both kinds of cancellation, where the backend has both.
both_kinds = pytest.mark.parametrize(
    ("anyio_backend", "edge"),
    [("asyncio", False), ("trio", False), ("asyncio", True)],
    indirect=["anyio_backend"],
    ids=["asyncio", "trio", "asyncio-edge"],
)


@both_kinds
async def test_every_suspension_is_tried_once(edge: bool) -> None:
    """A clean operation of four awaits is cancelled four times and then runs to its end."""
    phones: list[Phone] = []

    def setup() -> Phone:
        phones.append(Phone())
        return phones[-1]

    points = await cancel_everywhere(Phone.call, setup=setup, check=put_back, edge=edge)

    assert points == 4
    assert [phone.log for phone in phones] == [[], [], [], [], ["over"]]


@both_kinds
async def test_a_missing_finally_is_found(edge: bool) -> None:
    """The error about a leak names the point at which the operation was cancelled."""
    with pytest.raises(AssertionError, match="a line leaked") as caught:
        await cancel_everywhere(Phone.call_carelessly, setup=Phone, check=put_back, edge=edge)

    assert caught.value.__notes__ == ["cancelled at suspension point 2, if it came that far"]


@both_kinds
async def test_edge_cancellation_lets_clean_up_wait(edge: bool) -> None:
    """Clean-up may await after one cancel, but not in a cancelled scope."""
    runs: list[bool] = []

    async def operation(finished: list[bool]) -> None:
        try:
            await anyio.sleep(1)
        finally:
            await anyio.sleep(1)
            finished.append(True)

    def check(finished: list[bool]) -> None:
        runs.append(bool(finished))

    points = await cancel_everywhere(operation, setup=list[bool], check=check, edge=edge)

    assert points == 2
    assert runs == [edge, False, True]


async def test_setup_and_check_may_be_async() -> None:
    """Setup and check may be async, for state that needs an event loop."""
    checked: list[int] = []

    async def setup() -> int:
        await anyio.sleep(1)
        return 7

    async def check(state: int) -> None:
        await anyio.sleep(1)
        checked.append(state)

    async def operation(state: int) -> None:
        await anyio.sleep(state)

    points = await cancel_everywhere(operation, setup=setup, check=check)

    assert points == 1
    assert checked == [7, 7]


@both_kinds
async def test_an_operation_that_fails_is_no_success(edge: bool) -> None:
    """An exception of the operation itself is raised with the point at which it happened."""

    async def operation(_state: None) -> None:
        try:
            await anyio.sleep(1)
        finally:
            raise LookupError("clean-up failed")

    with pytest.raises(LookupError, match="clean-up failed") as caught:
        await cancel_everywhere(
            operation, setup=lambda: None, check=lambda _state: None, edge=edge
        )

    assert caught.value.__notes__ == ["cancelled at suspension point 1, if it came that far"]


@both_kinds
async def test_a_task_of_the_operation_is_cancelled_with_it(edge: bool) -> None:
    """Tasks inside the operation have ended before the check runs."""

    async def operation(phone: Phone) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(phone.call)

    points = await cancel_everywhere(operation, setup=Phone, check=put_back, edge=edge)

    assert points >= 1


async def test_an_endless_operation_is_given_up() -> None:
    """An operation that never ends raises an error instead of hanging."""

    async def operation(_state: None) -> None:
        for _ in range(20):
            await anyio.lowlevel.checkpoint()

    with pytest.raises(RuntimeError, match="still running after 10"):
        await cancel_everywhere(
            operation, setup=lambda: None, check=lambda _state: None, limit=10
        )


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_edge_cancellation_is_refused_on_trio() -> None:
    """Edge cancellation on trio, which does not have it, is refused at once."""
    with pytest.raises(RuntimeError, match="asyncio only"):
        await cancel_everywhere(Phone.call, setup=Phone, check=put_back, edge=True)

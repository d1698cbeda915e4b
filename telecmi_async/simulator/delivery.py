"""Lets time pass in a simulator, and carries its webhooks to where they go."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import httpx

from telecmi_async.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from telecmi_async.simulator.clock import Clock
    from telecmi_async.simulator.webhooks import Delivery
    from telecmi_async.simulator.world import World

__all__ = ["Carrier"]

logger = logging.getLogger("telecmi_async.simulator")

_HEADERS: Final = {"Content-Type": "application/json", "X-TeleCMI-Simulator": "1"}
_NOWHERE: Final = "http://simulator.invalid"
_TIMEOUT: Final = 10.0
_AT_ONCE: Final = 20


class Carrier:
    """Delivers what falls due, for as long as it runs.

    Args:
        world: The calls.
        clock: Their time.
    """

    def __init__(self, world: World, clock: Clock) -> None:
        self._world = world
        self._clock = clock
        self._changed = anyio.Event()
        self._slots = anyio.CapacityLimiter(_AT_ONCE)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Let time pass while the context is open. What is under way at its end is dropped."""
        failure: BaseException | None = None
        world = self._world
        world.carriers.append(self._wake)
        try:
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._run, client)
                try:
                    yield
                except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # raised again below
                    failure = error
                tasks.cancel_scope.cancel()
        finally:
            world.carriers.remove(self._wake)
            if not world.carriers:
                world.outbox.clear()
        if failure is not None:  # as itself, while the task group would have wrapped it
            try:
                raise failure
            finally:
                del failure

    def _wake(self) -> None:
        self._changed.set()

    async def _run(self, client: httpx.AsyncClient) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                self._world.advance(anyio.current_time())
                while self._world.outbox:
                    tasks.start_soon(self._carry, self._world.outbox.popleft(), client)
                self._changed = anyio.Event()
                due = self._world.due()
                pause = None if due is None else self._clock.until(due)
                with anyio.move_on_after(pause):
                    await self._changed.wait()

    async def _carry(self, delivery: Delivery, client: httpx.AsyncClient) -> None:
        """Deliver one message, and tell what came of it."""
        status: int | None = None
        reply: object = None
        target = self._world.webhooks.to
        url = delivery.ask.url if delivery.ask else None
        try:
            if isinstance(target, Receiver):
                path = urlsplit(url or target.url(_NOWHERE)).path
                answer = await target.handle("POST", path, _HEADERS, delivery.body)
                status, body = answer.status, answer.body
            elif url or target:
                async with self._slots:
                    response = await client.post(
                        url or target or "", content=delivery.body, headers=_HEADERS
                    )
                status, body = response.status_code, response.content
            else:
                body = b""
            reply = json.loads(body) if delivery.ask and body else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            logger.warning(
                "a %s could not be delivered: %s", delivery.what, type(error).__name__
            )
        if delivery.ask is not None:
            self._world.advance(anyio.current_time())
        self._world.delivered(delivery, status, reply)

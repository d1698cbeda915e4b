"""Webhook delivery: runs the simulated time, and sends the messages that are due."""

from __future__ import annotations

import functools
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import httpx

from telecmi_async._internal.messages import mask
from telecmi_async._internal.tasks import TaskRunner
from telecmi_async.events.receiver import Receiver
from telecmi_async.simulator.webhooks import host_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncGenerator

    from telecmi_async.simulator.webhooks import Delivery
    from telecmi_async.simulator.world import World

logger = logging.getLogger("telecmi_async.simulator")

_HEADERS: Final = {"Content-Type": "application/json", "X-TeleCMI-Simulator": "1"}
_NOWHERE: Final = "http://simulator.invalid"
_TIMEOUT: Final = 10.0
_AT_ONCE: Final = 20
_HERE: Final = ("127.0.0.1", "::1", "localhost")


class _NotSent(Exception):  # it becomes a state of the message
    """A message has nowhere to go."""


class WebhookSender:
    """Sends the messages that are due, for as long as it runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._changed = anyio.Event()
        self._slots = anyio.CapacityLimiter(_AT_ONCE)
        self._failures: set[str] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Let time pass while the context is open. Messages under way at its end are dropped."""
        world, tasks = self._world, TaskRunner()
        world.wakers.append(self._wake)
        try:
            async with (
                httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False, verify=_tls()) as client,
                tasks.running(tasks.cancel),
            ):
                tasks.start(self._run, client)
                yield
        finally:
            world.wakers.remove(self._wake)
            if not world.wakers:
                world.drop_outbox()

    def _wake(self) -> None:
        self._changed.set()

    async def _run(self, client: httpx.AsyncClient) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    self._world.advance(anyio.current_time())
                    while self._world.lines:
                        tasks.start_soon(self._world.lines.popleft().run)
                    while self._world.outbox:
                        tasks.start_soon(self._send, self._world.outbox.popleft(), client)
                    self._changed = anyio.Event()
                    with anyio.move_on_after(self._world.pause()):
                        await self._changed.wait()
        except Exception:
            logger.exception("the simulator failed; from here on no time passes in its calls")

    async def _send(self, delivery: Delivery, client: httpx.AsyncClient) -> None:
        """Deliver one message, and report its result."""
        status: int | None = None
        reply: object = None
        failure = ""
        try:
            status, body = await self._post(delivery, client)
            reply = json.loads(body) if delivery.ask and body else None
        except _NotSent as error:
            failure = f"not sent: {error}"
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            failure = f"failed: {type(error).__name__}"
        if failure:
            self._log(delivery, failure)
        if delivery.ask is not None:
            self._world.advance(anyio.current_time())
        self._world.delivered(delivery, status, reply, failure)

    def _log(self, delivery: Delivery, failure: str) -> None:
        """Warn of a failure once: each call has several messages."""
        level = logging.DEBUG if failure in self._failures else logging.WARNING
        self._failures.add(failure)
        what, number = delivery.what, mask(delivery.call.to)
        logger.log(level, "a message (%s, %s) was not delivered; %s", what, number, failure)

    async def _post(self, delivery: Delivery, client: httpx.AsyncClient) -> tuple[int, bytes]:
        """Post one message to its target, and return the answer; raise if that cannot be."""
        target = self._world.target_of(delivery.call)
        url = delivery.ask.url if delivery.ask else None
        if isinstance(target, Receiver):
            asked = urlsplit(url or target.url(_NOWHERE))
            path = asked._replace(scheme="", netloc="", fragment="").geturl()
            answer = await target.handle("POST", path, _HEADERS, delivery.body)
            return answer.status, answer.body
        if target is None:
            raise _NotSent("no target for webhooks")
        url = url or target
        # A flow's address may be the real program's, which must not be asked.
        if host_of(url) not in {host_of(target), *_HERE}:
            raise _NotSent("its address is on another machine")
        async with self._slots:
            response = await client.post(url, content=delivery.body, headers=_HEADERS)
        return response.status_code, response.content


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the TLS settings of all senders: making some takes 13 ms, and each test has one."""
    return httpx.create_ssl_context(trust_env=False)

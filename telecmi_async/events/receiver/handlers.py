"""Webhook handlers: the user's functions for events and questions. Their errors are logged."""

from __future__ import annotations

import functools
import inspect
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import anyio

from telecmi_async._internal.event_loop import is_failure
from telecmi_async._internal.messages import mask_in
from telecmi_async._internal.seams import check_function
from telecmi_async._internal.threads import run_in_thread
from telecmi_async.errors import ConfigurationError
from telecmi_async.events import DigitsEvent, Event, InboundRequest
from telecmi_async.events.receiver.tokens import check_name
from telecmi_async.pcmo.codec import encode_pcmo, parse_pcmo

if TYPE_CHECKING:
    from telecmi_async.pcmo.flow import FlowLike

logger = logging.getLogger("telecmi_async")

#: Called with every event, once; plain or async.
EventHandler: TypeAlias = Callable[[Event], object]
#: Returns how a call goes on after keys were pressed; plain or async.
InputHandler: TypeAlias = "Callable[[DigitsEvent], Awaitable[FlowLike] | FlowLike]"
#: Returns how an inbound call is answered; plain or async.
InboundHandler: TypeAlias = "Callable[[InboundRequest], Awaitable[FlowLike] | FlowLike]"

# From this many keys on they may be a PIN.
_SHORTEST_PIN: Final = 3
# How many plain functions answer questions at the same time, each in a thread.
_THREADS: Final = 40
# After so many seconds a plain function is said to block the event loop.
_BLOCKED: Final = 1.0

_H = TypeVar("_H", bound=Callable[..., object])


class Handlers:
    """The functions that a receiver's user registered, and the flow that answers else."""

    def __init__(self, fallback: FlowLike) -> None:
        self.of_events: list[EventHandler] = []
        self._of_input: dict[str, Callable[[Any], object]] = {}
        self._of_inbound: Callable[[Any], object] | None = None
        #: The fallback, as JSON.
        self.fallback = encode_pcmo(parse_pcmo(fallback))
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._slow: set[str] = set()

    def add_event(self, handler: _H) -> _H:
        """Call a function with every event."""
        self.of_events.append(check_function("the on_event handler", handler, "one event"))
        return handler

    def add_recorder(self, record: EventHandler) -> None:
        """Call a function that returns at once with every event, before all others."""
        self.of_events.insert(0, record)

    def remove_recorder(self, record: EventHandler) -> None:
        """Call a recorder no more."""
        self.of_events.remove(record)

    def add_input(self, name: str, handler: _H) -> _H:
        """Ask a function how a call goes on after keys were pressed, at the address of that name."""
        if name:
            check_name(name)
        if name in self._of_input:
            raise ConfigurationError(f"there is an on_input handler for {name!r} already")
        self._of_input[name] = check_function("the on_input handler", handler, "one event")
        return handler

    def add_inbound(self, handler: _H) -> _H:
        """Ask a function how an inbound call is answered."""
        if self._of_inbound is not None:
            raise ConfigurationError("there is an on_inbound handler already")
        self._of_inbound = check_function("the on_inbound handler", handler, "one event")
        return handler

    def check_address(self, name: str) -> None:
        """Require a handler for the address of that name, unless this process has none at all."""
        if name and self._of_input and name not in self._of_input:
            known = (
                ", ".join(repr(each) for each in self._of_input if each) or "none with a name"
            )
            raise ConfigurationError(
                f"no on_input handler is registered for {name!r}; there is {known}"
            )

    def may_be_asked(self, name: str) -> bool:
        """Return whether what comes to the address of that name may be a question."""
        return name in self._of_input or "" in self._of_input or self._of_inbound is not None

    def name_for(self, question: DigitsEvent | InboundRequest, name: str) -> str:
        """Return the name of a question's handler, for logs."""
        handler = self._find(question, name)
        return "no handler" if handler is None else name_of(handler)

    def _find(
        self, question: DigitsEvent | InboundRequest, name: str
    ) -> Callable[[Any], object] | None:
        if isinstance(question, DigitsEvent):
            return self._of_input.get(name, self._of_input.get(""))
        return self._of_inbound

    async def answer(self, question: DigitsEvent | InboundRequest, name: str) -> bytes:
        """Return the call flow, as JSON, that answers a question at the address of that name.

        A plain function runs in a thread, so that it may block. It takes as long as it takes.
        """
        handler = self._find(question, name)
        if handler is None:
            logger.warning("there is no handler for %r; the fallback answers", question)
            return self.fallback
        try:
            flow: object = (
                handler(question)
                if _is_async(handler)
                else await run_in_thread(handler, question, limiter=self._threads)
            )
            if inspect.isawaitable(flow):
                flow = await flow
            return encode_pcmo(parse_pcmo(cast("FlowLike", flow)))
        except BaseException as error:
            if not is_failure(error):
                raise
            _log_failure(error, handler, question, "the fallback answers")
        return self.fallback

    async def notify(self, handler: EventHandler, event: Event) -> None:
        """Call an event handler."""
        began = time.perf_counter()
        try:
            returned = handler(event)
            if (took := time.perf_counter() - began) > _BLOCKED:
                self._blocked(handler, took)
            if inspect.isawaitable(returned):
                await returned
        except BaseException as error:
            if not is_failure(error):
                raise
            _log_failure(error, handler, event, "the event is not repeated")

    def _blocked(self, handler: EventHandler, seconds: float) -> None:
        """Log, once for each handler, that it held up the event loop."""
        name = name_of(handler)
        if name not in self._slow:
            self._slow.add(name)
            logger.warning(
                "the handler %s blocked the event loop for %.1f s, in which nothing else ran; "
                "make it async, or let it use a thread",
                name,
                seconds,
            )


def name_of(handler: object) -> str:
    """Return a handler's name, as logs show it."""
    while isinstance(handler, functools.partial):
        handler = cast("functools.partial[object]", handler).func
    module = getattr(handler, "__module__", None) or type(handler).__module__
    return f"{module}.{getattr(handler, '__qualname__', type(handler).__qualname__)}"


def _is_async(handler: Callable[[Any], object]) -> bool:
    """Return whether calling a handler merely makes a coroutine."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004  # of an object that is called
    )


def _log_failure(error: BaseException, handler: object, event: Event, consequence: str) -> None:
    """Log that a handler failed, with a cleaned traceback."""
    logger.error(
        "the handler %s failed on %r; %s\n%s",
        name_of(handler),
        event,
        consequence,
        _trace(error, event),
    )


def _trace(error: BaseException, event: Event) -> str:
    """Return a traceback without phone numbers, and without the keys that were pressed.

    ``menu[event.dtmf]`` has them in its `KeyError`.
    """
    text = mask_in("".join(traceback.format_exception(error))).rstrip()
    if isinstance(event, DigitsEvent) and len(event.dtmf) >= _SHORTEST_PIN:
        text = text.replace(event.dtmf, "•••")
    return text

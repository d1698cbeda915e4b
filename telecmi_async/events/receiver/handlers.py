"""Webhook handlers: the user's functions for events and questions. Their errors are logged."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import anyio

from telecmi_async._internal.event_loop import is_failure
from telecmi_async._internal.messages import mask_in
from telecmi_async._internal.seams import check_function
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

_H = TypeVar("_H", bound=Callable[..., object])


class Handlers:
    """The functions that a receiver's user registered, and the flow that answers else."""

    def __init__(self, fallback: FlowLike, answer_timeout: float | None) -> None:
        self.of_events: list[EventHandler] = []
        self._of_input: dict[str, Callable[[Any], object]] = {}
        self._of_inbound: Callable[[Any], object] | None = None
        #: The fallback, as JSON.
        self.fallback = encode_pcmo(parse_pcmo(fallback))
        self._answer_timeout = answer_timeout

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

    async def answer(self, question: DigitsEvent | InboundRequest, name: str) -> bytes:
        """Return the call flow, as JSON, that answers a question at the address of that name."""
        handler = self._of_inbound
        if isinstance(question, DigitsEvent):
            handler = self._of_input.get(name, self._of_input.get(""))
        if handler is None:
            logger.warning("there is no handler for %r; the fallback answers", question)
            return self.fallback
        with anyio.move_on_after(self._answer_timeout) as scope:  # it ends last
            try:
                flow = handler(question)
                if inspect.isawaitable(flow):
                    flow = await flow
                return encode_pcmo(parse_pcmo(flow))
            except BaseException as error:
                if not is_failure(error):
                    raise
                logger.error(  # noqa: TRY400  # its traceback is cleaned first
                    "the handler for %r failed; the fallback answers\n%s",
                    question,
                    _trace(error, question),
                )
        if scope.cancelled_caught:
            logger.error(
                "the handler for %r took more than %s s; the fallback answers",
                question,
                self._answer_timeout,
            )
        return self.fallback

    async def run(self, event: Event) -> None:
        """Call the event handlers one after the other."""
        for handler in tuple(self.of_events):
            try:
                returned = handler(event)
                if inspect.isawaitable(returned):
                    await returned
            except BaseException as error:
                if not is_failure(error):
                    raise
                logger.error(  # noqa: TRY400  # its traceback is cleaned first
                    "a handler failed on %r; the event is not repeated\n%s",
                    event,
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

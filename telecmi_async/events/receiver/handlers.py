"""The user's own functions, called for events and questions. What they raise stays here."""

from __future__ import annotations

import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import anyio

from telecmi_async._internal.event_loop import is_foreign_cancellation
from telecmi_async._internal.messages import mask_in
from telecmi_async.errors import ConfigurationError
from telecmi_async.events import DigitsEvent, Event, InboundRequest
from telecmi_async.events.receiver.tokens import check_name
from telecmi_async.pcmo.codec import encode_pcmo, parse_pcmo

if TYPE_CHECKING:
    from telecmi_async.pcmo.flow import FlowLike

__all__ = ["EventHandler", "Handlers", "InboundHandler", "InputHandler"]

logger = logging.getLogger("telecmi_async")

#: What is called with every event, once; plain or async.
EventHandler: TypeAlias = Callable[[Event], object]
#: What says how a call goes on after keys were pressed; plain or async.
InputHandler: TypeAlias = "Callable[[DigitsEvent], Awaitable[FlowLike] | FlowLike]"
#: What says what becomes of a call that comes in; plain or async.
InboundHandler: TypeAlias = "Callable[[InboundRequest], Awaitable[FlowLike] | FlowLike]"

# So many keys are a PIN rather than a choice.
_SHORTEST_PIN: Final = 3

_H = TypeVar("_H", bound=Callable[..., object])


class Handlers:
    """The functions that a receiver's user registered.

    Args:
        fallback: The flow that answers a question when nobody else does.
        answer_timeout: How many seconds an answer may take; None for no limit.

    Raises:
        InvalidCall: It is no call flow.
    """

    def __init__(self, fallback: FlowLike, answer_timeout: float | None) -> None:
        self.of_events: list[EventHandler] = []
        self._of_input: dict[str, InputHandler] = {}
        self._of_inbound: InboundHandler | None = None
        #: It, as JSON.
        self.fallback = encode_pcmo(parse_pcmo(fallback))
        self._answer_timeout = answer_timeout

    def add_event(self, handler: _H) -> _H:
        """Call a function with every event."""
        self.of_events.append(_function(handler))
        return handler

    def add_input(self, name: str, handler: _H) -> _H:
        """Ask a function what follows after keys were pressed, at the address of that name."""
        if name:
            check_name(name)
        if name in self._of_input:
            raise ConfigurationError(f"there is an on_input handler for {name!r} already")
        self._of_input[name] = _function(handler)
        return handler

    def add_inbound(self, handler: _H) -> _H:
        """Ask a function what becomes of a call that comes in."""
        if self._of_inbound is not None:
            raise ConfigurationError("there is an on_inbound handler already")
        self._of_inbound = _function(handler)
        return handler

    async def answer(self, question: DigitsEvent | InboundRequest, name: str) -> bytes:
        """Return the call flow that answers a question, as JSON.

        Args:
            question: Keys that were pressed, or a call that comes in.
            name: What stands before the token in the address that was asked.
        """
        handler: object = self._of_inbound
        if isinstance(question, DigitsEvent):
            handler = self._of_input.get(name, self._of_input.get(""))
        if handler is None:
            logger.warning("nobody answers %r: there is no handler for it", question)
            return self.fallback
        with anyio.move_on_after(self._answer_timeout):
            try:
                said = cast("Callable[[object], object]", handler)(question)
                flow = await said if inspect.isawaitable(said) else said
                return encode_pcmo(parse_pcmo(flow))
            except _raised() as error:
                if _is_ours_to_raise(error):
                    raise
                logger.error(  # noqa: TRY400  # its traceback is cleaned first
                    "the handler for %r failed; the fallback answers\n%s",
                    question,
                    _trace(error, question),
                )
                return self.fallback
        logger.error(
            "the handler for %r took more than %s s; the fallback answers",
            question,
            self._answer_timeout,
        )
        return self.fallback

    async def tell(self, event: Event) -> None:
        """Call every handler of events with one, one after the other."""
        for handler in self.of_events:
            try:
                said = handler(event)
                if inspect.isawaitable(said):
                    await said
            except _raised() as error:
                if _is_ours_to_raise(error):
                    raise
                logger.error(  # noqa: TRY400  # its traceback is cleaned first
                    "a handler failed on %r; the event is not repeated\n%s",
                    event,
                    _trace(error, event),
                )


def _raised() -> tuple[type[BaseException], ...]:
    """Return what a handler may raise and nobody else shall hear of."""
    return Exception, anyio.get_cancelled_exc_class()


def _is_ours_to_raise(error: BaseException) -> bool:
    """Tell whether we are cancelled ourselves, and not what a handler waited for."""
    return not isinstance(error, Exception) and not is_foreign_cancellation()


def _trace(error: BaseException, event: Event) -> str:
    """Return a traceback without phone numbers, and without the keys that were pressed.

    ``menu[event.dtmf]`` has them in its `KeyError`.
    """
    text = mask_in("".join(traceback.format_exception(error))).rstrip()
    if isinstance(event, DigitsEvent) and len(event.dtmf) >= _SHORTEST_PIN:
        text = text.replace(event.dtmf, "•••")
    return text


def _function(handler: object) -> Any:
    """Return what is to be called, if it can be.

    Raises:
        ConfigurationError: It cannot.
    """
    if not callable(handler):
        raise ConfigurationError(
            f"a handler must be a function, plain or async, not {type(handler).__name__}"
        )
    return handler

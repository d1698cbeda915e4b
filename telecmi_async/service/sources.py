"""Event sources: what ``CallService(…, events=…)`` accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

from telecmi_async._internal.seams import kind_of, missing_of
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from telecmi_async.events import Event
    from telecmi_async.events.receiver.intake import Intake
    from telecmi_async.events.receiver.receiver import Receiver
    from telecmi_async.events.store import EventStore
    from telecmi_async.service.poller import CdrPoller

#: Where events come from: a `telecmi_async.events.receiver.Receiver` for webhooks, the store of
#: a receiver in another process, or a `CdrPoller` for look-ups.
EventSource: TypeAlias = "Receiver | EventStore | CdrPoller"

_WANTED = "a Receiver, an event store, a CdrPoller, or several of them"


class Sources(NamedTuple):
    """The sources of one service, at most one of a kind."""

    #: The internal side of a receiver in this process.
    intake: Intake | None = None
    #: Where a receiver stores events, this process's or another's.
    store: EventStore | None = None
    poller: CdrPoller | None = None

    @classmethod
    def of(cls, events: EventSource | Sequence[EventSource] | None) -> Sources:
        """Return the sources that an argument names."""
        given = cast("object", events)
        if given is None:
            return cls()
        # A service without events starts faster.
        from telecmi_async.events.receiver.receiver import Receiver, intake_of  # noqa: PLC0415  # as above
        from telecmi_async.service.poller import CdrPoller  # noqa: PLC0415  # as above

        found: Sequence[object] = (given,)
        if isinstance(given, list | tuple):
            found = cast("Sequence[object]", given)
        intake: Intake | None = None
        store: EventStore | None = None
        poller: CdrPoller | None = None
        for source in found:
            match source:
                case Receiver() if store is None:
                    intake, store = intake_of(source), source.store
                case CdrPoller() if poller is None:
                    poller = source
                case _ if store is None and _is_store(source):
                    store = cast("EventStore", source)
                case _ if isinstance(source, Receiver | CdrPoller) or _is_store(source):
                    raise ConfigurationError(
                        "events may name one CdrPoller, and one receiver or store: a receiver "
                        "brings its store along"
                    )
                case _:
                    raise ConfigurationError(f"events must be {_WANTED}, not {kind_of(source)}")
        return cls(intake=intake, store=store, poller=poller)

    @property
    def has_any(self) -> bool:
        """Whether there is a store or a poller."""
        return self.store is not None or self.poller is not None

    @property
    def only_polls(self) -> bool:
        """Whether records are looked up alone."""
        return self.poller is not None and self.store is None

    @property
    def dispatch(self) -> Callable[[Event], None] | None:
        """Calls the user's handlers with an event; None without a receiver."""
        return None if self.intake is None else self.intake.runner.dispatch


def _is_store(source: object) -> bool:
    from telecmi_async.events.store import EventStore  # noqa: PLC0415  # as above

    return not isinstance(source, type) and not missing_of(source, EventStore)

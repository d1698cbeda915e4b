"""Service parts: the objects that a service is made of, wired in one place."""

from __future__ import annotations

import codecs
from importlib import import_module
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

import attrs

from telecmi_async._internal.secrets import Redactor
from telecmi_async._internal.tasks import TaskRunner
from telecmi_async.calls import retry
from telecmi_async.calls.placement import CallPlacer
from telecmi_async.errors import ConfigurationError
from telecmi_async.events.reference import References, reference_in
from telecmi_async.events.state import CallState
from telecmi_async.pacing.channels import Channels
from telecmi_async.pcmo import codec
from telecmi_async.service.event_tap import EventTap
from telecmi_async.service.lookup import Lookup
from telecmi_async.wire.httpx_transport import HttpxTransport
from telecmi_async.wire.own_client import open_own_client

if TYPE_CHECKING:
    import ssl

    import httpx

    from telecmi_async.calls.call import Call
    from telecmi_async.events import Event
    from telecmi_async.pacing.shared_channels import SharedChannels  # noqa: TC004  # its annotation is never evaluated
    from telecmi_async.pacing.shared_starts import (
        SharedStarts,  # its annotation is never evaluated
    )
    from telecmi_async.service.keyed_calls import KeyedCalls  # noqa: TC004  # its annotation is never evaluated
    from telecmi_async.service.options import ServiceSettings
    from telecmi_async.service.tracker import Tracker  # noqa: TC004  # its annotation is never evaluated


# Modules that are imported inside functions, which may run for the first time after the service was
# made: methods of a handle and a service, and asyncio's look-up of a host.
_MODULES: Final = (
    "concurrent.futures.thread",
    "telecmi_async.calls.result",
    "telecmi_async.service.stream",
)
# Text codecs that Python imports when they are first used: of host names and certificates, and of
# JSON with a byte order mark or in UTF-16 or UTF-32.
_CODECS: Final = (
    "idna",
    "utf-8-sig",
    "utf-16",
    "utf-16-be",
    "utf-16-le",
    "utf-32",
    "utf-32-be",
    "utf-32-le",
)


@attrs.frozen(eq=False)
class ServiceParts:
    """What a service is made of, lowest part first."""

    #: Removes the secret from what is logged and raised.
    redact: Redactor
    #: Runs the service's tasks in its event loop.
    tasks: TaskRunner
    #: Carries its requests.
    transport: HttpxTransport
    #: Signs the references of calls, and finds them in events.
    references: References
    #: Limits live calls, if they are limited.
    channels: Channels | SharedChannels | None
    placer: CallPlacer
    lookup: Lookup
    #: None without a source of events and without a limit on live calls.
    tracker: Tracker | None
    #: None without a ledger.
    keyed: KeyedCalls | None
    #: Frees the channels of other processes' calls; None if channels are not shared.
    tap: EventTap | None


def build_parts(
    settings: ServiceSettings,
    http_client: httpx.AsyncClient | None,
    ssl_context: ssl.SSLContext | None,
) -> ServiceParts:
    """Make the parts of a service, with a new HTTP client unless the user has one.

    What they need later is imported now: a process may be out of files by then, and an import that
    fails in the middle of a call says nothing about the call.
    """
    if http_client is not None and ssl_context is not None:
        raise ConfigurationError(
            "give http_client or ssl_context, not both: a client has its own TLS settings"
        )
    _load_modules()
    secret, limit = settings.credentials.secret, settings.rate
    redact, references = Redactor(secret), References(secret)
    if settings.streams is not None:
        settings.streams.check_references(references)
    tasks = TaskRunner(redact)
    transport = HttpxTransport(
        _open_client(settings, ssl_context) if http_client is None else http_client,
        owned=http_client is None,
    )
    channels = _channels(settings, tasks)
    placer = CallPlacer(
        transport,
        limit,
        redact=redact,
        budget=settings.retry.budget,
        channels=channels,
        starts=_shared_starts(settings),
    )
    lookup = Lookup(
        transport,
        tasks,
        settings.credentials,
        base_url=settings.base_url,
        redact=redact,
        timeouts=settings.timeouts,
    )
    keyed = _keyed_calls(settings, placer, tasks, references)
    tracker = None
    if settings.sources.has_any or channels is not None:
        from telecmi_async.service.tracker import Tracker  # noqa: PLC0415  # a service without events starts faster

        tracker = Tracker(
            settings.sources,
            tasks,
            records=lookup.records,
            channels=channels,
            references=references,
            signed=settings.signed,
            proven=None if keyed is None else keyed.proven,
        )
    tap = _tap(settings, channels)
    return ServiceParts(
        redact, tasks, transport, references, channels, placer, lookup, tracker, keyed, tap
    )


def _load_modules() -> None:
    """Import what a service needs later."""
    retry.load_tenacity()
    codec.load_cattrs()
    for name in _MODULES:
        import_module(name)
    for name in _CODECS:
        codecs.lookup(name)


def _channels(settings: ServiceSettings, tasks: TaskRunner) -> Channels | SharedChannels | None:
    limit, limits = settings.rate, settings.limits
    if limit.max_live_calls is None:
        return None
    if limits is None:
        return Channels(limit.max_live_calls)
    from telecmi_async.pacing.shared_channels import SharedChannels  # noqa: PLC0415  # a service without limits starts faster

    return SharedChannels(
        limits,
        limit.shared,
        limit.max_live_calls,
        tasks=tasks,
        name=lambda call: cast("Call", call).reference,
    )


def _tap(
    settings: ServiceSettings, channels: Channels | SharedChannels | None
) -> EventTap | None:
    """Return what frees a shared channel at the end of a call that another process placed."""
    if channels is None or isinstance(channels, Channels):
        return None

    def take(event: Event) -> None:
        token = reference_in(event)
        if token is not None and CallState().after(event).over:
            channels.release_other(token)

    return EventTap(settings.sources.intake, take)


def _shared_starts(settings: ServiceSettings) -> SharedStarts | None:
    rate, limits = settings.rate, settings.limits
    if limits is None or rate.calls_per_second is None:
        return None
    from telecmi_async.pacing.shared_starts import SharedStarts  # noqa: PLC0415  # a service without limits starts faster

    return SharedStarts(limits, rates=lambda: {rate.shared: rate.calls_per_second})


def _keyed_calls(
    settings: ServiceSettings, placer: CallPlacer, tasks: TaskRunner, references: References
) -> KeyedCalls | None:
    if settings.keys is None:
        return None
    from telecmi_async.service.keyed_calls import KeyedCalls  # noqa: PLC0415  # a service without a ledger starts faster

    return KeyedCalls(
        settings.keys,
        settings.key_lifetime,
        app_id=settings.credentials.app_id,
        references=references,
        placer=placer,
        tasks=tasks,
        sources=settings.sources,
    )


def _open_client(
    settings: ServiceSettings, ssl_context: ssl.SSLContext | None
) -> httpx.AsyncClient:
    """Open the service's own client; plain http, for this machine, needs no certificates."""
    return open_own_client(ssl_context, secure=urlsplit(settings.base_url).scheme != "http")

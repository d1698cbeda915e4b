"""Service parts: the objects that a service is made of, wired in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from telecmi_async._internal.secrets import Redactor
from telecmi_async._internal.tasks import TaskRunner
from telecmi_async.calls.placement import CallPlacer
from telecmi_async.events.reference import References
from telecmi_async.pacing.channels import Channels
from telecmi_async.service.lookup import Lookup
from telecmi_async.service.tracker import Tracker
from telecmi_async.wire.httpx_transport import HttpxTransport, default_client

if TYPE_CHECKING:
    import httpx

    from telecmi_async.service.options import ServiceSettings

__all__ = ["ServiceParts", "build_parts"]


@attrs.frozen(kw_only=True, eq=False)
class ServiceParts:
    """What a service is made of.

    Args:
        tasks: Runs the service's tasks in its event loop.
        transport: Carries its requests.
        references: Signs the references of calls, and finds them in events.
        channels: Limits live calls, if they are limited.
        placer: Places calls.
        lookup: Sends the requests that place no call.
        tracker: Follows calls after they were accepted, if there is a source of events or a
            limit on live calls.
    """

    tasks: TaskRunner
    transport: HttpxTransport
    references: References
    channels: Channels | None
    placer: CallPlacer
    lookup: Lookup
    tracker: Tracker | None


def build_parts(
    settings: ServiceSettings, http_client: httpx.AsyncClient | None
) -> ServiceParts:
    """Make the parts of a service.

    Args:
        settings: The service's settings.
        http_client: The user's HTTP client; without one, the service makes and owns one.

    Raises:
        ConfigurationError: ``http_client`` is no asynchronous client.
    """
    tasks = TaskRunner()
    transport = HttpxTransport(
        default_client() if http_client is None else http_client, owned=http_client is None
    )
    redact = Redactor(settings.credentials.secret)
    references = References(settings.credentials.secret)
    max_live_calls = settings.rate.max_live_calls
    channels = None if max_live_calls is None else Channels(max_live_calls)
    placer = CallPlacer(
        transport,
        settings.rate,
        redact=redact,
        budget=settings.retry.budget,
        channels=channels,
    )
    lookup = Lookup(
        transport,
        tasks,
        settings.credentials,
        base_url=settings.base_url,
        redact=redact,
        timeouts=settings.timeouts,
    )
    tracker = Tracker.of(
        settings.sources,
        tasks,
        records=lookup.records,
        channels=channels,
        references=references,
        signed=settings.signed,
    )
    return ServiceParts(
        tasks=tasks,
        transport=transport,
        references=references,
        channels=channels,
        placer=placer,
        lookup=lookup,
        tracker=tracker,
    )

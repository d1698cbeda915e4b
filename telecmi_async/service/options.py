"""Service options: the arguments of `CallService`, by name and type, and validated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeAlias, TypedDict, TypeVar

import attrs

from telecmi_async._internal.messages import shown
from telecmi_async._internal.secrets import Secret
from telecmi_async._internal.telecmi import BASE_URL
from telecmi_async._internal.validators import environment_variable, required_variable
from telecmi_async.calls.retry import RetryPolicy
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.pacing.rate_limit import RateLimit
from telecmi_async.phone import Region, parse_number, parse_region
from telecmi_async.service.sources import Sources
from telecmi_async.wire.credentials import Credentials
from telecmi_async.wire.endpoints import parse_base_url
from telecmi_async.wire.transport import Timeouts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from telecmi_async._internal.validators import Duration
    from telecmi_async.service.sources import EventSource

__all__ = ["Number", "Options", "ServiceSettings", "complete_from_environment"]

_T = TypeVar("_T")

#: A phone number with its country code.
Number: TypeAlias = int | str


class Options(TypedDict, total=False):
    """What `CallService` takes."""

    app_id: int | str
    secret: str | Secret
    from_: Number | None
    region: Region | str
    base_url: str
    timeout: Timeouts | Duration | None
    retry: RetryPolicy | None
    rate: RateLimit | None
    http_client: httpx.AsyncClient | None
    seed: int | str | None
    events: EventSource | Sequence[EventSource] | None
    reference: bool | None


@attrs.frozen(kw_only=True, repr=False)
class ServiceSettings:
    """The arguments of a service, validated.

    Args:
        credentials: The account's app id and secret.
        base_url: Where the API is.
        from_: The caller id of calls that name none.
        region: The region of calls that name none.
        timeouts: How long an attempt may take.
        retry: When a call is tried again.
        rate: How fast calls start and how many requests may be under way.
        sources: Where events come from.
        signed: Whether calls carry their references.
        seed: Makes the jitter of retries the same in every run.
    """

    credentials: Credentials
    base_url: str
    from_: int | None
    region: Region
    timeouts: Timeouts
    retry: RetryPolicy
    rate: RateLimit
    sources: Sources
    signed: bool
    seed: str

    @classmethod
    def parse(
        cls,
        *,
        app_id: int | str,
        secret: Secret,
        from_: Number | None,
        region: Region | str,
        base_url: str,
        timeout: Timeouts | Duration | None,
        retry: RetryPolicy | None,
        rate: RateLimit | None,
        seed: int | str | None,
        events: EventSource | Sequence[EventSource] | None,
        reference: bool | None,
    ) -> ServiceSettings:
        """Return the settings that the arguments of a service describe.

        Raises:
            ConfigurationError: A value that cannot work.
        """
        credentials = Credentials(app_id, secret)
        base_url = parse_base_url(base_url)
        caller_id, default_region = _parse_defaults(from_, region)
        timeouts = Timeouts.of(Timeouts() if timeout is None else timeout)
        policy = _instance_or_default("retry", retry, RetryPolicy)
        limit = _instance_or_default("rate", rate, RateLimit)
        sources = Sources.of(events)
        return cls(
            credentials=credentials,
            base_url=base_url,
            from_=caller_id,
            region=default_region,
            timeouts=timeouts,
            retry=policy,
            rate=limit,
            sources=sources,
            signed=sources.store is not None if reference is None else reference,
            seed=os.urandom(8).hex() if seed is None else _parse_seed(seed),
        )

    def for_call(
        self, retry: RetryPolicy | None, timeout: Timeouts | Duration | None
    ) -> tuple[RetryPolicy, Timeouts]:
        """Return a call's policy and time-outs: its own, else the service's.

        ``at_most_once`` of the service always holds.

        Raises:
            ConfigurationError: ``retry`` or ``timeout`` cannot work.
        """
        timeouts = self.timeouts if timeout is None else Timeouts.of(timeout)
        if retry is None:
            return self.retry, timeouts
        policy = _instance_or_default("retry", retry, RetryPolicy)
        if self.retry.at_most_once and not policy.at_most_once:
            policy = attrs.evolve(policy, at_most_once=True)
        return policy, timeouts


def complete_from_environment(options: Options) -> None:
    """Add the options of a service that are missing and that the environment has.

    They are changed in place, so that no copy of a plain-text secret remains.

    Raises:
        ConfigurationError: A variable is missing.
    """
    if "secret" in options:
        options["secret"] = Secret(options["secret"])
    else:
        options["secret"] = Secret(required_variable(os.environ, "TELECMI_SECRET"))
    if "app_id" not in options:
        options["app_id"] = required_variable(os.environ, "TELECMI_APP_ID")
    if "from_" not in options:
        options["from_"] = environment_variable(os.environ, "TELECMI_FROM") or None
    if "base_url" not in options:
        options["base_url"] = environment_variable(os.environ, "TELECMI_BASE_URL") or BASE_URL


def _parse_defaults(from_: Number | None, region: Region | str) -> tuple[int | None, Region]:
    try:
        return None if from_ is None else parse_number(from_, "from_"), parse_region(region)
    except InvalidCall as error:
        raise ConfigurationError(str(error)) from None


def _instance_or_default(name: str, value: _T | None, kind: type[_T]) -> _T:
    """Return ``value`` if it is a ``kind``, and a default one for ``None``."""
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigurationError(
            f"{name} must be a {kind.__name__}, not {type(value).__name__}"
        )
    return value


def _parse_seed(value: object) -> str:
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ConfigurationError(f"seed must be an int or a str, not {shown(value)}")
    return f"{value:x}" if isinstance(value, int) else value

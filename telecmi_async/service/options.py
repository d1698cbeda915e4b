"""Service options: the arguments of `CallService`, by name and type, and validated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, SupportsIndex, TypeAlias, TypedDict, TypeVar, cast

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
    import ssl
    from collections.abc import Sequence

    import httpx

    from telecmi_async._internal.validators import Duration
    from telecmi_async.service.sources import EventSource

_T = TypeVar("_T")

#: A phone number with its country code: an integer of any library, or text as people write it.
Number: TypeAlias = SupportsIndex | str


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
    ssl_context: ssl.SSLContext | None
    seed: int | str | None
    events: EventSource | Sequence[EventSource] | None
    reference: bool | None


def _caller_id(value: Number | None) -> int | None:
    try:
        return None if value is None else parse_number(value, "from_")
    except InvalidCall as error:
        raise ConfigurationError(str(error)) from None


def _region(value: Region | str) -> Region:
    try:
        return parse_region(value)
    except InvalidCall as error:
        raise ConfigurationError(str(error)) from None


def _timeouts(value: Timeouts | Duration | None) -> Timeouts:
    return Timeouts() if value is None else Timeouts.of(value)


def _policy(value: RetryPolicy | None) -> RetryPolicy:
    return _instance_or_default("retry", value, RetryPolicy)


def _limit(value: RateLimit | None) -> RateLimit:
    return _instance_or_default("rate", value, RateLimit)


def _instance_or_default(name: str, value: _T | None, kind: type[_T]) -> _T:
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigurationError(
            f"{name} must be a {kind.__name__}, not {type(value).__name__}"
        )
    return value


def _sources(value: EventSource | Sequence[EventSource] | None) -> Sources:
    return Sources.of(value)


def _seed(value: int | str | None) -> str:
    if value is None:
        return os.urandom(8).hex()
    if not isinstance(cast("object", value), int | str) or isinstance(value, bool):
        raise ConfigurationError(f"seed must be an int or a str, not {shown(value)}")
    return f"{value:x}" if isinstance(value, int) else value


@attrs.frozen(kw_only=True, repr=False)
class ServiceSettings:
    """The arguments of `CallService`, validated, under their own names."""

    credentials: Credentials
    base_url: str = attrs.field(converter=parse_base_url)
    from_: int | None = attrs.field(converter=_caller_id)
    region: Region = attrs.field(converter=_region)
    timeouts: Timeouts = attrs.field(converter=_timeouts)
    retry: RetryPolicy = attrs.field(converter=_policy)
    rate: RateLimit = attrs.field(converter=_limit)
    sources: Sources = attrs.field(converter=_sources)
    reference: bool | None
    seed: str = attrs.field(converter=_seed)

    @property
    def signed(self) -> bool:
        """Whether calls carry their references."""
        return self.sources.store is not None if self.reference is None else self.reference

    def for_call(
        self, retry: RetryPolicy | None, timeout: Timeouts | Duration | None
    ) -> tuple[RetryPolicy, Timeouts]:
        """Return a call's policy and time-outs: its own, else the service's.

        ``at_most_once`` of the service always holds.
        """
        timeouts = self.timeouts if timeout is None else Timeouts.of(timeout)
        if retry is None:
            return self.retry, timeouts
        policy = _policy(retry)
        if self.retry.at_most_once and not policy.at_most_once:
            policy = attrs.evolve(policy, at_most_once=True)
        return policy, timeouts


def complete_from_environment(options: Options) -> None:
    """Add the options of a service that are missing and that the environment has.

    They are changed in place, so that no copy of a plain-text secret remains.
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

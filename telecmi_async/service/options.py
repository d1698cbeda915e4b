"""Service options: the arguments of `CallService`, by name and type, and validated."""

from __future__ import annotations

import os
from typing import (
    TYPE_CHECKING,
    NamedTuple,
    SupportsIndex,
    TypeAlias,
    TypedDict,
    TypeVar,
    cast,
)

import attrs

from telecmi_async._internal.messages import shown
from telecmi_async._internal.seams import check_implements, check_instance, kind_of, missing_of
from telecmi_async._internal.secrets import Secret
from telecmi_async._internal.telecmi import BASE_URL
from telecmi_async._internal.validators import (
    environment_variable,
    required_variable,
    seconds_or_none,
)
from telecmi_async.calls.retry import RetryPolicy
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.observer.notifier import Notifier, notifier_of
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
    from telecmi_async.calls.streamed_calls import (  # noqa: TC004  # its annotation is never evaluated
        CallStreams,
        StreamedCalls,
    )
    from telecmi_async.ledger import IdempotencyKeys, Ledger  # noqa: TC004  # its annotation is never evaluated
    from telecmi_async.observer import Observer
    from telecmi_async.pacing.shared import SharedLimits  # noqa: TC004  # its annotation is never evaluated
    from telecmi_async.service.sources import EventSource

_T = TypeVar("_T")

#: A phone number with its country code: an integer of any library, or text as people write it.
Number: TypeAlias = SupportsIndex | str


class Options(TypedDict, total=False):
    """What `CallService` takes besides ``app_id``, ``secret`` and ``from_``.

    These stand for themselves, so that a function of yours may set them and pass the rest on:
    ``CallService.from_env(from_=…, **options)``.
    """

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
    ledger: Ledger | IdempotencyKeys | None
    key_lifetime: Duration
    limits: SharedLimits | None
    observer: Observer | None
    streams: CallStreams | None


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
    check_instance(name, value, kind)
    return value


def _sources(value: EventSource | Sequence[EventSource] | None) -> Sources:
    return Sources.of(value)


def _reference(value: bool | None) -> bool | None:  # noqa: FBT001  # a converter has one argument
    if value is not None:
        check_instance("reference", value, bool, "True, False or None")
    return value


def _keys(value: Ledger | IdempotencyKeys | None) -> IdempotencyKeys | None:
    if value is None:
        return None
    from telecmi_async.ledger.idempotency import IdempotencyKeys  # noqa: PLC0415  # a service without a ledger starts faster

    for keys in (value, getattr(value, "keys", None)):
        if not isinstance(value, type) and not missing_of(keys, IdempotencyKeys):
            return cast("IdempotencyKeys", keys)
    raise ConfigurationError(
        f"ledger must be a ledger that is open, such as SqliteLedger, not {kind_of(value)}"
    )


def _lifetime(value: Duration) -> float:
    seconds = seconds_or_none("key_lifetime", value)
    if seconds is None:
        raise ConfigurationError("key_lifetime must be seconds or a timedelta, not None")
    return seconds


def _shared_limits(value: SharedLimits | None) -> SharedLimits | None:
    if value is not None:
        from telecmi_async.pacing.shared import SharedLimits  # noqa: PLC0415  # a service without limits starts faster

        wanted = "shared limits, such as RedisLimits(url) or a ledger"
        check_implements("limits", value, SharedLimits, wanted)
    return value


def _check_limits(settings: ServiceSettings, _: object, limits: SharedLimits | None) -> None:
    rate = settings.rate
    if limits is not None and rate.calls_per_second is None and rate.max_live_calls is None:
        raise ConfigurationError(
            "limits need a rate that is shared: CallService(…, limits=…, rate=RateLimit(10))"
        )


def _streams(value: CallStreams | None) -> StreamedCalls | None:
    if value is None:
        return None
    from telecmi_async.calls.streamed_calls import StreamedCalls  # noqa: PLC0415  # a service without streams starts faster

    calls: object = getattr(value, "calls", None)
    if not isinstance(calls, StreamedCalls) or isinstance(value, type):
        raise ConfigurationError(f"streams must be Streams(url), not {kind_of(value)}")
    return calls


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
    reference: bool | None = attrs.field(converter=_reference)
    seed: str = attrs.field(converter=_seed)
    keys: IdempotencyKeys | None = attrs.field(converter=_keys)
    key_lifetime: float = attrs.field(converter=_lifetime)
    limits: SharedLimits | None = attrs.field(converter=_shared_limits, validator=_check_limits)
    notify: Notifier | None = attrs.field(converter=notifier_of)
    streams: StreamedCalls | None = attrs.field(converter=_streams)

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


class EnvironmentAccount(NamedTuple):
    """Who places calls: the arguments of `CallService` that the environment may hold."""

    app_id: int | str
    secret: Secret
    from_: Number | None


def account_from_environment(
    app_id: int | str | None, secret: str | Secret | None, from_: Number | None
) -> EnvironmentAccount:
    """Return an account by arguments, and by the environment where they are None."""
    if secret is None:
        secret = required_variable(os.environ, "TELECMI_SECRET")
    secret = Secret(secret)  # a traceback may show locals
    if app_id is None:
        app_id = required_variable(os.environ, "TELECMI_APP_ID")
    if from_ is None:
        from_ = environment_variable(os.environ, "TELECMI_FROM") or None
    return EnvironmentAccount(app_id, secret, from_)


def base_url_from_environment() -> str:
    """Return the address of the API that the environment names, else TeleCMI's."""
    return environment_variable(os.environ, "TELECMI_BASE_URL") or BASE_URL

"""The arguments of a service, by name and type."""

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
from telecmi_async.phone import Region, parse_number, parse_region
from telecmi_async.wire.transport import Timeouts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from telecmi_async._internal.validators import Duration
    from telecmi_async.pacing.rate_limit import RateLimit
    from telecmi_async.service.sources import EventSource

__all__ = [
    "Number",
    "Options",
    "complete",
    "of_a_call",
    "parse_defaults",
    "parse_instance",
    "parse_seed",
]

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


def complete(options: Options) -> None:
    """Add to the options of a service what is not given but in the environment.

    They are changed in place: of a secret in plain text no copy remains.

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


def parse_defaults(from_: Number | None, region: Region | str) -> tuple[int | None, Region]:
    """Return the caller id and the region of calls that name none.

    Raises:
        ConfigurationError: One of them is none.
    """
    try:
        return None if from_ is None else parse_number(from_, "from_"), parse_region(region)
    except InvalidCall as error:
        raise ConfigurationError(str(error)) from None


def parse_instance(name: str, value: _T | None, kind: type[_T]) -> _T:
    """Return ``value`` if it is of a kind, and the kind's default for ``None``.

    Raises:
        ConfigurationError: It is something else.
    """
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ConfigurationError(
            f"{name} must be a {kind.__name__}, not {type(value).__name__}"
        )
    return value


def parse_seed(value: object) -> str:
    """Return a seed as text.

    Raises:
        ConfigurationError: It is neither an int nor a str.
    """
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise ConfigurationError(f"seed must be an int or a str, not {shown(value)}")
    return f"{value:x}" if isinstance(value, int) else value


def of_a_call(
    policy: RetryPolicy,
    own_policy: RetryPolicy | None,
    timeouts: Timeouts,
    own_timeouts: Timeouts | Duration | None,
) -> tuple[RetryPolicy, Timeouts]:
    """Return the policy and the time-outs of a call: its own, else the service's.

    An ``at_most_once`` of the service's stays.

    Raises:
        ConfigurationError: One of its own is none.
    """
    if own_timeouts is not None:
        timeouts = Timeouts.of(own_timeouts)
    if own_policy is None:
        return policy, timeouts
    found = parse_instance("retry", own_policy, RetryPolicy)
    strict = policy.at_most_once and not found.at_most_once
    return attrs.evolve(found, at_most_once=True) if strict else found, timeouts

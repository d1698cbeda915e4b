"""The arguments of a service, by name and type."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypedDict

if TYPE_CHECKING:
    import httpx

    from telecmi_async._settings import Duration
    from telecmi_async.credentials import Secret
    from telecmi_async.phone import Region
    from telecmi_async.rate import RateLimit
    from telecmi_async.retry import RetryPolicy
    from telecmi_async.transport import Timeouts

__all__ = ["Number", "Options"]

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

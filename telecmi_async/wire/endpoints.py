"""Endpoints: the addresses of TeleCMI's API."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from telecmi_async._internal.telecmi import BASE_URL, LEGACY_URL, MAKE_CALL_PATHS
from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from telecmi_async.phone import Region


def make_call_url(base_url: str, region: Region) -> str:
    """Return the endpoint of a region, which must not be ``AUTO``."""
    return base_url + MAKE_CALL_PATHS[region]


def parse_base_url(value: object) -> str:
    """Return the API's address: https, or http on this machine, as requests hold the secret."""
    parts = _split(value)
    if (
        parts is None
        or not parts.hostname
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise ConfigurationError(
            f"base_url must be an address such as {BASE_URL}, without user, query or fragment"
        )
    if parts.scheme != "https" and not (
        parts.scheme == "http" and _is_loopback(parts.hostname)
    ):
        raise ConfigurationError(
            "base_url must start with https://, or with http:// on this machine alone: the "
            "secret is in every request"
        )
    return str(value).rstrip("/")


def _split(value: object) -> SplitResult | None:
    """Return the parts of an address, or None if it cannot be one."""
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port  # reading it is what checks it
    except ValueError:
        return None
    return None if " " in value else parts


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def legacy_url(base_url: str) -> str:
    """Return the address of the older API, which alone has look-ups and commands to calls.

    TeleCMI's has a separate host. On any other host, such as a simulator's, it is the same
    address with ``/v1`` for ``/v2``.
    """
    if urlsplit(base_url).hostname == urlsplit(BASE_URL).hostname:
        return LEGACY_URL
    return f"{base_url.removesuffix('/v2')}/v1"

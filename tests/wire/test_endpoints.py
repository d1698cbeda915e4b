"""Endpoints: the addresses to which calls are sent, and those that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from telecmi_async._internal.telecmi import BASE_URL, LEGACY_URL
from telecmi_async.errors import ConfigurationError
from telecmi_async.phone import Region
from telecmi_async.wire.endpoints import legacy_url, make_call_url, parse_base_url


@pytest.mark.parametrize(
    ("region", "url"),
    [
        (Region.GLOBAL, "https://rest.telecmi.com/v2/global_pcmo_make_call"),
        (Region.INDIA, "https://rest.telecmi.com/v2/ind_pcmo_make_call"),
    ],
)
def test_each_region_has_its_documented_endpoint(region: Region, url: str) -> None:
    """The endpoints are exactly those of TeleCMI's documentation."""
    assert make_call_url(BASE_URL, region) == url


def test_the_default_address_is_one() -> None:
    """The built-in address passes its own check unchanged."""
    assert parse_base_url(BASE_URL) == BASE_URL


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://rest.telecmi.com/v2/", "https://rest.telecmi.com/v2"),
        ("https://rest.telecmi.com//", "https://rest.telecmi.com"),
        ("https://proxy.example:8443/telecmi/v2", "https://proxy.example:8443/telecmi/v2"),
        ("HTTPS://rest.telecmi.com", "HTTPS://rest.telecmi.com"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:8787", "http://localhost:8787"),
        ("http://127.0.0.1:8787/v2", "http://127.0.0.1:8787/v2"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:8787", "http://[::1]:8787"),
        ("http://LOCALHOST", "http://LOCALHOST"),
    ],
)
def test_an_address_is_taken_without_its_last_slash(given: str, url: str) -> None:
    """An https address may be anywhere, an http address only on this machine."""
    assert parse_base_url(given) == url


@pytest.mark.parametrize(
    "url",
    [
        "http://rest.telecmi.com/v2",
        "http://example.com",
        "http://10.0.0.1",
        "http://192.168.0.1:8787",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://0.0.0.0",
        "http://[2001:db8::1]",
        "ftp://localhost",
        "ws://localhost",
        "file://localhost/x",
        "//rest.telecmi.com",
    ],
)
def test_no_secret_travels_in_the_clear(url: str) -> None:
    """Plain http and other schemes are refused beyond this machine."""
    with pytest.raises(ConfigurationError, match="base_url must start with https://"):
        parse_base_url(url)


@pytest.mark.parametrize(
    "url",
    [
        None,
        5,
        b"https://rest.telecmi.com",
        ["https://rest.telecmi.com"],
        "",
        " ",
        "rest.telecmi.com/v2",
        "https://",
        "https:///v2",
        "https://user@rest.telecmi.com",
        "https://user:pass@rest.telecmi.com",
        "https://:pass@rest.telecmi.com",
        "https://@rest.telecmi.com",
        "https://rest.telecmi.com/v2?x=1",
        "https://rest.telecmi.com/v2#x",
        "https://rest.telecmi.com:port",
        "https://rest.telecmi.com:70000",
        "https://[::1",
        "https://rest.telecmi.com/v 2",
        " https://rest.telecmi.com",
        "https://rest.telecmi.com/v2\n",
        "https://rest.telecmi.com/\tv2",
        "https://réseau.example",
        "https://rest.telecmi.com/\u200bv2",
    ],
)
def test_what_is_no_address_is_refused(url: Any) -> None:
    """The error shows a valid address and repeats nothing of the wrong one."""
    with pytest.raises(ConfigurationError, match="base_url must be an address such as https"):
        parse_base_url(url)


@pytest.mark.parametrize(
    ("base_url", "legacy"),
    [
        (BASE_URL, LEGACY_URL),
        ("https://REST.telecmi.com:443/v2", LEGACY_URL),
        ("http://127.0.0.1:8787/v2", "http://127.0.0.1:8787/v1"),
        ("http://localhost:8787", "http://localhost:8787/v1"),
        ("https://proxy.example/telecmi/v2", "https://proxy.example/telecmi/v1"),
        ("https://rest.telecmi.com.example/v2", "https://rest.telecmi.com.example/v1"),
    ],
)
def test_the_older_api_is_beside_the_newer_one(base_url: str, legacy: str) -> None:
    """The older API is under `/v1` on the same host, except for TeleCMI's own host."""
    assert legacy_url(parse_base_url(base_url)) == legacy

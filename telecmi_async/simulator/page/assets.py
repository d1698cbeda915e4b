"""Assets of the page: style, script and picture."""

from __future__ import annotations

from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Asset:
    """A file that the page loads: its content type, content, entity tag and address.

    The address changes with the content.
    """

    kind: str
    body: bytes
    tag: str
    address: str


def _asset(name: str, kind: str) -> Asset:
    body = (files("telecmi_async.simulator.page") / "static" / name).read_bytes()
    version = blake2b(body, digest_size=8).hexdigest()
    return Asset(f"{kind}; charset=utf-8", body, f'"{version}"', f"{name}?v={version}")


#: By their paths.
ASSETS: Final[Mapping[str, Asset]] = {
    "/style.css": _asset("style.css", "text/css"),
    "/script.js": _asset("script.js", "text/javascript"),
    "/icon.svg": _asset("icon.svg", "image/svg+xml"),
}

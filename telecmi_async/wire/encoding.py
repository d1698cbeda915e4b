"""Body encoding: a request to TeleCMI as JSON, with the credentials first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async._internal.json_text import encode_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.wire.credentials import Credentials


def encode_body(fields: Mapping[str, object], credentials: Credentials) -> bytes:
    """Return the body of any request, UTF-8 JSON with the credentials first."""
    rest = encode_json(fields)[1:]
    # The secret never is in a local variable: tracebacks may show those.
    return (
        f'{{"appid":{credentials.app_id},"secret":{encode_json(credentials.secret.reveal())}'
        f"{',' if fields else ''}{rest}"
    ).encode()

"""JSON text: compact encoding, and decoding with or without errors."""

from __future__ import annotations

import json
from typing import cast

from telecmi_async.errors import InvalidCall

#: Return a value as compact JSON text; NaN and infinities raise `ValueError`.
encode_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


_DECODER = json.JSONDecoder(parse_constant=lambda _: None)


def decode_json(data: bytes) -> object | None:
    """Return the content of a reply's body, or ``None`` if it is not JSON; it never raises.

    A byte order mark is skipped; ``NaN`` and ``Infinity`` become ``None``.
    """
    try:
        # As `json.loads` does, which makes a decoder for each text.
        text = data.decode(json.detect_encoding(data), "surrogatepass")
        return cast("object", _DECODER.decode(text))
    except (ValueError, RecursionError):
        return None


def parse_json(text: str | bytes, path: str = "pcmo") -> object:
    """Return the content of JSON text from the user."""
    try:
        return cast("object", json.loads(text))
    except json.JSONDecodeError as error:
        raise InvalidCall(
            f"is not JSON: {error.msg} in line {error.lineno}, column {error.colno}", path=path
        ) from None
    except UnicodeDecodeError:
        raise InvalidCall("is not JSON: its bytes are not UTF-8 text", path=path) from None
    except ValueError:
        raise InvalidCall(
            "is not JSON: it holds a number that is too long", path=path
        ) from None
    except RecursionError:
        raise InvalidCall("is nested too deep", path=path) from None

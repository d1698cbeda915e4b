"""JSON text: encoded as compactly as TeleCMI writes it, decoded with or without an error."""

from __future__ import annotations

import json
from typing import cast

from telecmi_async.errors import InvalidCall

__all__ = ["decode_json", "encode_json", "parse_json"]

#: Return a value as compact JSON text; NaN and the infinities are refused.
encode_json = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")
).encode


def decode_json(data: bytes) -> object | None:
    """Return what a reply's body holds, or ``None`` for anything that is no JSON.

    It never raises: what a server or a proxy on the way sends is not the caller's doing. A
    byte order mark is skipped, and ``NaN`` and ``Infinity`` are read as ``None``.
    """
    try:
        return cast("object", json.loads(data, parse_constant=_no_constant))
    except (ValueError, RecursionError):
        return None


def parse_json(text: str | bytes, path: str = "pcmo") -> object:
    """Return what JSON text holds.

    Raises:
        InvalidCall: It is no JSON; the message says in which line and column.
    """
    try:
        return cast("object", json.loads(text))
    except json.JSONDecodeError as error:
        raise InvalidCall(
            f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}", path=path
        ) from None
    except UnicodeDecodeError:
        raise InvalidCall("is no JSON: its bytes are no UTF-8 text", path=path) from None
    except ValueError:
        raise InvalidCall("is no JSON: it holds a number that is too long", path=path) from None
    except RecursionError:
        raise InvalidCall("is nested too deep", path=path) from None


def _no_constant(_: str) -> None:
    """Read ``NaN`` and its like as nothing."""

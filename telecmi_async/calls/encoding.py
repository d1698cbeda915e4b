"""Call encoding: a call request as the JSON body that TeleCMI documents."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from telecmi_async._internal.telecmi import STREAM_PLACEHOLDER
from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo.codec import dump_pcmo
from telecmi_async.wire.encoding import encode_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telecmi_async.calls.request import CallRequest
    from telecmi_async.wire.credentials import Credentials


# The placeholder as the last part of a path.
_PLACEHOLDER: Final = re.compile(rf"\A([^?#]*/){STREAM_PLACEHOLDER}(?=$|[?#])")


def is_streamed(request: CallRequest) -> bool:
    """Return whether a call is streamed to an address with the placeholder for its reference."""
    return any(
        action.action == "stream" and _PLACEHOLDER.search(_address(dump_pcmo([action])[0]))
        for action in request.pcmo
    )


def _address(action: Mapping[str, object]) -> str:
    address = action.get("ws_url")
    return address if isinstance(address, str) else ""


def address_streams(pcmo: Iterable[dict[str, object]], streamed_as: str) -> None:
    """Put a call's signed reference where a flow on its way has the placeholder for it."""
    for action in pcmo:
        if action["action"] == "stream" and (address := _address(action)):
            action["ws_url"] = _PLACEHOLDER.sub(rf"\1{streamed_as}", address)


def encode_request(
    request: CallRequest,
    credentials: Credentials,
    *,
    from_: int,
    more_params: Mapping[str, object] | None = None,
    streamed_as: str = "",
) -> bytes:
    """Return a call's request body, UTF-8 JSON with its keys in the documented order.

    ``more_params`` are added to the call's own ``extra_params``, which must not have their keys.
    ``streamed_as`` is the call's signed reference, for the addresses of its streams.

    Source: the sample request of doc.telecmi.com/piopiy/docs/outbound-make-call.
    ``duration`` is not on that page; the vendor's SDKs send it.
    """
    params: Mapping[str, object] = request.extra_params or {}
    more = more_params or {}
    if taken := params.keys() & more.keys():
        raise InvalidCall(
            "is set by the service itself: choose another key",
            path=f"extra_params.{min(taken)}",
        )
    body: dict[str, object] = {"from": from_, "to": request.to}
    if request.extra_params is not None or more:
        body["extra_params"] = {**params, **more}
    body["pcmo"] = pcmo = dump_pcmo(request.pcmo)
    if streamed_as:
        address_streams(pcmo, streamed_as)
    if request.duration is not None:
        body["duration"] = request.duration
    return encode_body(body, credentials)

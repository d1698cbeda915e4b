"""Call encoding: a call request as the JSON body that TeleCMI documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.errors import InvalidCall
from telecmi_async.pcmo.codec import dump_pcmo
from telecmi_async.wire.encoding import encode_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telecmi_async.calls.request import CallRequest
    from telecmi_async.wire.credentials import Credentials


def encode_request(
    request: CallRequest,
    credentials: Credentials,
    *,
    from_: int,
    more_params: Mapping[str, object] | None = None,
) -> bytes:
    """Return a call's request body, UTF-8 JSON with its keys in the documented order.

    ``more_params`` are added to the call's own ``extra_params``, which must not have their keys.

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
    body["pcmo"] = dump_pcmo(request.pcmo)
    if request.duration is not None:
        body["duration"] = request.duration
    return encode_body(body, credentials)

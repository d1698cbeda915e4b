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

    Args:
        request: The call.
        credentials: The account's app id and secret.
        from_: The caller id.
        more_params: Added to the call's own ``extra_params``.

    Raises:
        InvalidCall: The call's own ``extra_params`` have one of these keys.

    Source: the sample request of doc.telecmi.com/piopiy/docs/outbound-make-call.
    ``duration`` is not on that page; the vendor's SDKs send it.
    """
    body: dict[str, object] = {"from": from_, "to": request.to}
    if request.extra_params is not None or more_params:
        body["extra_params"] = _joined(request.extra_params or {}, more_params or {})
    body["pcmo"] = dump_pcmo(request.pcmo)
    if request.duration is not None:
        body["duration"] = request.duration
    return encode_body(body, credentials)


def _joined(params: Mapping[str, object], more: Mapping[str, object]) -> Mapping[str, object]:
    if taken := params.keys() & more.keys():
        raise InvalidCall(
            "is set by the service itself: choose another key",
            path=f"extra_params.{min(taken)}",
        )
    return {**params, **more} if more else params

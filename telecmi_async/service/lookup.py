"""Look-ups: requests for live channels and call records, and commands to a live call.

Except for the channels, TeleCMI documents them for its older API only, which has its own host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

import anyio

from telecmi_async._internal.json_text import decode_json
from telecmi_async._internal.secrets import RequestBody
from telecmi_async._internal.telecmi import AUTHENTICATION_CODES
from telecmi_async.calls.verdict import body_code, message_of
from telecmi_async.errors import AuthenticationError, InvalidCall, RequestFailed, WebhookError
from telecmi_async.phone import Region, parse_region
from telecmi_async.wire.encoding import encode_body
from telecmi_async.wire.endpoints import legacy_url
from telecmi_async.wire.reply import Failure

if TYPE_CHECKING:
    from telecmi_async._internal.secrets import Redactor
    from telecmi_async._internal.tasks import TaskRunner
    from telecmi_async.events import CallRecord
    from telecmi_async.wire.credentials import Credentials
    from telecmi_async.wire.reply import Reply
    from telecmi_async.wire.transport import Timeouts, Transport

#: A command to a leg.
CallCommand: TypeAlias = Literal["hangup", "hold", "unhold"]
#: TeleCMI's reply to a command: an object, or a text if it is not JSON. Neither is documented.
CommandAnswer: TypeAlias = "Mapping[str, object] | str"

# The path of a command, and the name of its leg field: TeleCMI's Python SDK uses the first, its
# Node SDK the second, with one "u" less.
_ACT: Final = {
    Region.INDIA: ("/call/action", "cmiuuid"),
    Region.GLOBAL: ("/call/global_action", "cmiuid"),
}
_MOST_RECORDS: Final = 64
_COUNT: Final = re.compile(r"[0-9]{1,9}")
_LEG: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


class Lookup:
    """Sends look-ups and commands over a service's own connections.

    Each request runs in a separate task: the caller may give up at any time, and the request is
    still awaited to its end, as an abandoned connection is lost.
    """

    def __init__(
        self,
        transport: Transport,
        tasks: TaskRunner,
        credentials: Credentials,
        *,
        base_url: str,
        redact: Redactor,
        timeouts: Timeouts,
    ) -> None:
        self._transport = transport
        self._tasks = tasks
        self._credentials = credentials
        self._base_url = base_url
        self._legacy_url = legacy_url(base_url)
        self._redact = redact
        self._timeouts = timeouts

    async def channels(self) -> int:
        """Return how many calls of the account are live.

        Source: doc.telecmi.com/piopiy/docs/get-channel, where the count is a text.
        """
        body = await self._ask(f"{self._base_url}/piopiy/get_channels", {})
        found = body.get("channel") if isinstance(body, Mapping) else None
        text = str(found)
        if not _COUNT.fullmatch(text):
            raise RequestFailed("TeleCMI's answer does not say how many channels are in use")
        return int(text)

    async def records(self, request_id: str) -> tuple[CallRecord, ...]:
        """Return the records of a call's legs, if there are any yet.

        TeleCMI answers "not found" to wrong credentials, too, so they look like a call that is
        not over.

        Source: doc.telecmi.com/piopiy-india/docs/get-request-id.
        """
        url = f"{self._legacy_url}/piopiy/requestid_cdr"
        body = await self._ask(url, {"request_id": request_id}, missing=True)
        rows = body.get("cdr") if isinstance(body, Mapping) else None
        if not isinstance(rows, list):
            return ()
        found = [_record(row, request_id) for row in cast("list[object]", rows)[:_MOST_RECORDS]]
        return tuple(record for record in found if record is not None)

    async def act(self, action: CallCommand, leg: str, region: Region | str) -> CommandAnswer:
        """Send a command to a leg, by its ``cmiuuid``, and return TeleCMI's answer."""
        if not isinstance(cast("object", leg), str) or not _LEG.fullmatch(leg):
            raise InvalidCall("must be the cmiuuid of a leg, as its events have it", path="leg")
        where = _ACT.get(parse_region(region))
        if where is None:
            raise InvalidCall(
                'must be "india" or "global": a leg\'s id does not say which', path="region"
            )
        path, key = where
        return await self._ask(f"{self._legacy_url}{path}", {key: leg, "action": action})

    async def _ask(
        self, url: str, fields: Mapping[str, Any], *, missing: bool = False
    ) -> CommandAnswer:
        """Send a request and return the body of the reply, without the secret.

        With ``missing``, 404 means an empty result.

        Raises:
            AuthenticationError: TeleCMI says that the app id or the secret is wrong.
            RequestFailed: TeleCMI refused, or there was no answer.
        """
        answers: list[Reply | Failure] = []
        over = anyio.Event()

        async def send(request: RequestBody) -> None:
            timeouts = self._timeouts
            deadline = anyio.current_time() + timeouts.total
            answers.append(
                await self._transport.post(url, request, timeouts, deadline=deadline)
            )

        request = RequestBody(encode_body(fields, self._credentials))
        self._tasks.start(send, request, lambda _: over.set())
        await over.wait()
        answer = answers[0] if answers else Failure("interrupted", may_have_left=True)
        if isinstance(answer, Failure):
            raise RequestFailed(f"TeleCMI did not answer: {self._redact.text(answer.reason)}")
        decoded = decode_json(answer.body)
        body = cast("Mapping[str, object]", decoded) if isinstance(decoded, dict) else None
        said = body_code(body)
        code = answer.status if said is None else said
        if missing and code == 404:
            return {}
        if code in AUTHENTICATION_CODES:
            raise AuthenticationError(
                "the app id or the secret is wrong",
                status=answer.status,
                code=code,
                body=self._redact.body(body or {}),
                refused="request",
            )
        if not 200 <= code < 300 or not 200 <= answer.status < 300:
            message = self._redact.text(message_of(body) or "it did not say why")
            raise RequestFailed(
                f"TeleCMI refused the request ({code}): {message}",
                status=answer.status,
                code=code,
            )
        if body is not None:
            return self._redact.reply(body)
        return self._redact.text(answer.body.decode("utf-8", "replace"))


def _record(row: object, request_id: str) -> CallRecord | None:
    """Return a row of a look-up as a record; None if it cannot be read."""
    # Loaded with a `CdrPoller`: a service without one starts faster.
    from telecmi_async.events.model import CallRecord  # noqa: PLC0415  # as above
    from telecmi_async.events.parse import parse_event  # noqa: PLC0415  # as above

    if not isinstance(row, dict):
        return None
    fields = cast("dict[str, object]", row)
    try:
        event = parse_event({**fields, "type": "cdr", "request_id": request_id})
    except WebhookError:
        return None
    return event if isinstance(event, CallRecord) else None

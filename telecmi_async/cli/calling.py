"""One real call: shown, placed when that is confirmed, and followed if that was asked for."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from attrs import asdict

from telecmi_async import (
    CallHandle,
    CallRequest,
    CallService,
    CdrPoller,
    Flow,
    TelecmiError,
    dump_pcmo,
)
from telecmi_async._internal.json_text import parse_json
from telecmi_async._internal.validators import environment_variable
from telecmi_async.cli.account import account_of, target_words
from telecmi_async.cli.commands.flow import read_flow
from telecmi_async.cli.exits import Exit, Stop, exit_of
from telecmi_async.cli.messages import error_words, fate_words
from telecmi_async.cli.rows import number_for, say_row, step_lines
from telecmi_async.cli.webhook_server import receiving
from telecmi_async.events import Stage
from telecmi_async.phone import Region, route
from telecmi_async.wire.endpoints import make_call_url

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from telecmi_async import Receiver
    from telecmi_async.cli.account import Account
    from telecmi_async.cli.options import CallOptions, WebhookOptions
    from telecmi_async.cli.output.terminal import Terminal

_RECEIVED: Final = "received here: the call is followed to its end"
_LOOKED_UP: Final = "none: its record is looked up until it is over"
_NOT_FOLLOWED: Final = "none: you will not learn whether it is answered; --wait follows it"
# What a campaign would fill from a contact's columns.
_BLANK: Final = re.compile(r"(?<!\{)\{[^{}'\":,\[\]]+\}(?!\})")


def place_call(
    terminal: Terminal, given: CallOptions, webhooks: WebhookOptions, *, as_json: bool
) -> Exit:
    """Show a call, and place it when that is confirmed."""
    from_ = given.from_ or environment_variable(terminal.environ, "TELECMI_FROM") or None
    extra = given.extra_params
    request = CallRequest(
        to=given.to,
        from_=from_,
        pcmo=Flow.parse(read_flow(terminal, given.flow)),
        # The request requires an object.
        extra_params=None
        if extra is None
        else cast("Mapping[str, object]", parse_json(extra, "extra_params")),
        duration=given.duration,
        region=given.region,
    )
    if webhooks.receives and not given.wait:
        raise Stop(Exit.USAGE, "--webhook-url and --webhook-port need --wait")
    needed = [*([] if from_ else ["TELECMI_FROM"]), *webhooks.needed]
    account = account_of(terminal, *needed)
    learns = _RECEIVED if webhooks.receives else _LOOKED_UP if given.wait else _NOT_FOLLOWED
    _show(terminal, request, account.base_url, learns)
    if not given.confirmed:
        if given.flow == "-" or not terminal.can_ask:
            raise Stop(Exit.USAGE, "there is no terminal to ask on: add --yes")
        if terminal.ask("Place it? Type yes: ").lower() not in {"y", "yes"}:
            raise Stop(Exit.FAILED, "not placed")
    source = receiving(terminal, webhooks) if given.wait else None
    return _place(terminal, account, request, source, as_json=as_json)


def _show(terminal: Terminal, request: CallRequest, base_url: str, learns: str) -> None:
    """Say what is about to happen."""
    region = route(request.region or Region.AUTO, request.to)
    actions = dump_pcmo(request.pcmo)
    longest = request.duration
    rows = [
        ("target", target_words(base_url)),
        ("endpoint", f"{region}: POST {make_call_url(base_url, region)}"),
        ("from", number_for(terminal, request.from_ or 0)),
        ("to", number_for(terminal, request.to)),
        ("extra_params", ", ".join(request.extra_params or ())),
        ("duration", "" if longest is None else f"at most {longest} s"),
        *zip(["flow", *[""] * len(actions)], step_lines(terminal, actions), strict=False),
        ("webhooks", learns),
    ]
    terminal.say("One call:")
    for name, text in rows:
        if text:
            say_row(terminal, name, text, width=13)
    blank = _BLANK.search(str(actions))
    if blank:
        note = f"{blank[0]} is sent as it stands: only `dial` fills it in"
        say_row(terminal, "note", note, width=13)


def _place(
    terminal: Terminal,
    account: Account,
    request: CallRequest,
    source: AbstractAsyncContextManager[Receiver | None] | None,
    *,
    as_json: bool,
) -> Exit:
    """Place the call, and report it even if Ctrl-C came in between.

    With a ``source`` of its events it is followed to its end.
    """
    handles: list[CallHandle] = []
    ended: list[Exit] = []

    async def place() -> None:
        async with (
            source or nullcontext() as receiver,
            CallService(
                account.credentials.app_id,
                account.credentials.secret,
                base_url=account.base_url,
                events=receiver or (None if source is None else CdrPoller()),
            ) as service,
        ):
            # A request's fields are the arguments of a call.
            handle = service.make_call(**cast("Any", asdict(request, recurse=False)))
            handles.append(handle)
            with suppress(TelecmiError):  # the handle knows
                await handle
            if source is not None and handle.accepted:
                terminal.say(_words(handle))
                ended.append(await _follow(terminal, handle))

    interrupted = False
    try:
        anyio.run(place)
    except KeyboardInterrupt:
        interrupted = True
    if not handles:
        raise Stop(Exit.INTERRUPTED, "interrupted; nothing was sent")
    (handle,) = handles
    if as_json:
        terminal.put(json.dumps(_as_json(handle, with_result=bool(ended))))
    elif handle.accepted:
        terminal.put(handle.request_id)
    if not ended:
        terminal.say(_words(handle))
    code = ended[0] if ended else exit_of(handle.error)
    return Exit.INTERRUPTED if interrupted else code


async def _follow(terminal: Terminal, handle: CallHandle) -> Exit:
    """Say each stage of a call until it is over, and how it went; return what that says."""
    stage = Stage.NEW
    try:
        async for _ in handle.events():
            if handle.result.stage is not stage:
                stage = handle.result.stage
                terminal.say(f"  {stage.replace('_', ' ')}")
    except TelecmiError as error:
        terminal.say(f"How it goes on is not known: {error_words(error)}")
        return Exit.UNKNOWN
    result = handle.result
    code, talked = {
        True: (Exit.OK, f"answered, {result.talk_seconds} s"),
        False: (Exit.PARTLY, "not answered"),
        None: (Exit.UNKNOWN, "over, and whether it was answered is not known"),
    }[result.answered]
    cost = "unknown" if result.cost is None else result.cost
    terminal.say(f"The call was {talked}; cost: {cost}.")
    return code


def _as_json(handle: CallHandle, *, with_result: bool) -> dict[str, object]:
    """Return all there is to know about a settled call, its number masked."""
    error, result = handle.error, handle.result
    found: dict[str, object] = {
        "status": handle.status,
        "request_id": handle.request_id if handle.accepted else None,
        "reference": handle.reference,
        "region": handle.region,
        "attempts": len(handle.attempts),
        "may_be_duplicate": handle.may_be_duplicate,
        "error": error
        and {
            "type": type(error).__name__,
            "message": str(error),
            "exit_code": int(exit_of(error)),
            "safe_to_redial": error.safe_to_redial,
        },
    }
    if with_result:
        found |= {name: getattr(result, name) for name in ("stage", "answered", "talk_seconds")}
        found["cost"] = None if result.cost is None else float(result.cost)
    return found


def _words(handle: CallHandle) -> str:
    if handle.error is not None:
        return fate_words(handle.error)
    again = ", perhaps for the second time" if handle.may_be_duplicate else ""
    return f"TeleCMI accepted it and is placing the call{again}."

"""``telecmi-async call``: one real call, shown before it is placed."""

from __future__ import annotations

from typing import Annotated, Literal

from attrs import frozen
from cyclopts import Parameter

from telecmi_async.cli.options import (
    FILE_OR_STDIN,
    CallerId,
    Here,
    JsonFlag,
    WebhookOptions,
    command,
    number,
    unwrapped,
    value,
)


@Parameter(name="*")
@frozen(kw_only=True)
class CallOptions:
    """The call, and how it is placed.

    Args:
        to: Who is called.
        flow: The call flow as JSON; - for stdin.
        duration: The longest the call may last.
        extra_params: Your own data, given back with every event.
        region: Which endpoint takes it; auto: India for 91 and ten digits, else global.
        wait: Follow the call to its end; print its stages, talk time and cost.
    """

    to: Annotated[str, value("NUMBER")]
    flow: Annotated[str, FILE_OR_STDIN, Parameter(name=("--flow", "--pcmo"))]
    from_: CallerId = None
    extra_params: Annotated[str | None, value("JSON")] = None
    duration: Annotated[int | None, value("SECONDS", converter=number(int))] = None
    region: Literal["auto", "india", "global"] = "auto"
    confirmed: Annotated[bool, Parameter(name="--yes", help="Do not ask.")] = False
    wait: bool = False


CallOptions.__doc__ = unwrapped(CallOptions.__doc__)


@command(
    "call",
    "call --to '+91 98765 43210' --flow greeting.json",
    "call --to 12025550123 --flow greeting.json --wait",
)
def call(
    *,
    given: CallOptions,
    webhooks: WebhookOptions = WebhookOptions(),
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Place one real call.

    It is shown first, and placed when you say yes. With --wait it is followed to its end, by
    webhooks if they are received here, else by looking its record up. The exit code is then 0 if
    it was answered, 3 if not, and 7 if that is not known.
    """
    from telecmi_async.cli.calling import place_call

    return place_call(terminal, given, webhooks, as_json=as_json)

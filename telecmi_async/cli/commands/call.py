"""``telecmi-async call``: one real call, shown before it is placed."""

from __future__ import annotations

from telecmi_async.cli.options import CallOptions, Here, JsonFlag, WebhookOptions, command


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

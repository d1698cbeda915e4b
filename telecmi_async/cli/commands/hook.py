"""``telecmi-async hook``: see what TeleCMI sends, put it on record, and send it on."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App

from telecmi_async.cli.options import (
    FILE_OR_STDIN,
    LOCALHOST,
    PORT,
    WEBHOOK_PORT,
    Here,
    Host,
    JsonFlag,
    LedgerOption,
    MetricsOption,
    command,
    value,
)

hook = App(name="hook", help="Print webhooks as they arrive, or send them again.")


@command(
    "listen",
    "hook listen --ledger people.db",
    "hook listen --reveal > events.jsonl",
    "hook listen --forward-to http://127.0.0.1:8000/{token}",
    into=hook,
)
def listen(
    *,
    port: Annotated[int, value("PORT", converter=PORT)] = WEBHOOK_PORT,
    host: Host = LOCALHOST,
    reveal: bool = False,
    ledger: LedgerOption = None,
    forward_to: Annotated[str | None, value("URL")] = None,
    metrics: MetricsOption = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Print each event that arrives, until Ctrl-C: a line on a terminal, else JSON.

    With a ledger each event is put on record there before TeleCMI gets its answer: so campaigns
    learn how their calls went, on any machine.

    Args:
        port: The port to listen on; 0 for any free one.
        reveal: Print numbers in full; masked events cannot be replayed.
        forward_to: Send each event on to this address, too; {token} in it stands for
            TELECMI_WEBHOOK_TOKEN.
    """
    from telecmi_async.cli.hooks import listen_for_events

    as_json = as_json or not terminal.stdout.isatty()
    return listen_for_events(
        terminal,
        ledger,
        forward_to,
        host=host,
        port=port,
        reveal=reveal,
        metrics=metrics,
        as_json=as_json,
    )


@command("replay", "hook replay events.jsonl --forward-to http://127.0.0.1:8000", into=hook)
def replay(
    events: Annotated[str, FILE_OR_STDIN],
    /,
    *,
    forward_to: Annotated[str, value("URL")],
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Send events that `hook listen --reveal` printed to an address, in their order.

    Args:
        events: The file, an event a line; - for stdin.
        forward_to: The address; {token} in it stands for TELECMI_WEBHOOK_TOKEN.
    """
    from telecmi_async.cli.hooks import replay_events

    del as_json
    return replay_events(terminal, events, forward_to)

"""``telecmi-async doctor``: whether everything is in place for a call, without placing one."""

from __future__ import annotations

from telecmi_async.cli.options import (
    Here,
    JsonFlag,
    LedgerOption,
    SecretFlag,
    WebhookOptions,
    command,
)


@command(
    "doctor",
    "doctor",
    "doctor --ledger people.db --webhook-url https://example.com/t",
)
def doctor(
    *,
    ledger: LedgerOption = None,
    webhooks: WebhookOptions = WebhookOptions(),
    secret_stdin: SecretFlag = False,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Check that everything is in place, without placing a call.

    That is credentials, TLS, clock, time zones, and ledger and webhooks if they are named. The
    exit code is that of the first problem; without one, 3 if a check could not be made.
    """
    from telecmi_async.cli.checks import check_all

    return check_all(terminal, ledger, webhooks, secret_stdin=secret_stdin, as_json=as_json)

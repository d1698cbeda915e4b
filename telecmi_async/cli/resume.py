"""``telecmi-async resume``: go on with a campaign that was left, or was asked to pause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from telecmi_async.campaigns import Campaign, CampaignSettings, clock_check
from telecmi_async.cli.account import account_of
from telecmi_async.cli.ledgers import campaign_named, opened
from telecmi_async.cli.running import print_state, run_campaign
from telecmi_async.cli.webhook_server import campaign_service, check_caps, resume_arguments
from telecmi_async.errors import InvalidCall

if TYPE_CHECKING:
    from telecmi_async.cli.exits import Exit
    from telecmi_async.cli.terminal import Terminal


def run(
    terminal: Terminal,
    *,
    ledger: str | None,
    name: str | None,
    webhook_url: str | None,
    webhook_host: str,
    webhook_port: int | None,
    without_webhooks: bool,
    patient: bool,
    clock_was_ahead: bool,
    secret_stdin: bool,
    as_json: bool,
) -> int:
    """Dial what is left of a campaign.

    It asks nothing: its contacts were confirmed when the campaign was started.
    """
    options = {
        "webhook_url": webhook_url,
        "webhook_host": webhook_host,
        "webhook_port": webhook_port,
        "without_webhooks": without_webhooks,
        "patient": patient,
        "secret_stdin": secret_stdin,
    }
    account = account_of(terminal, secret_stdin=secret_stdin)

    receives = (webhook_port, webhook_url) != (None, None)

    async def go_on() -> Exit:
        async with opened(terminal, ledger) as book:
            found = await campaign_named(book, name)
            settings = CampaignSettings.parse(await book.settings(found))
            check_caps(settings, found, receives=receives, without_webhooks=without_webhooks)
            if settings.from_ is None and account.from_ is None:
                raise InvalidCall("is missing: set TELECMI_FROM", path="from")
            async with campaign_service(
                terminal, account, host=webhook_host, port=webhook_port, url=webhook_url
            ) as (service, _):
                campaign = await Campaign.attach(
                    book, service, found, without_events=without_webhooks
                )
                if clock_was_ahead:
                    await clock_check.go_on(book, found, settings)
                await campaign.resume()
                state, code = await run_campaign(
                    terminal, campaign, book, patient=patient, receives=receives
                )
            print_state(
                terminal,
                state,
                as_json=as_json,
                ledger=ledger or "",
                needed=resume_arguments(options),
            )
            return code

    return anyio.run(go_on)

"""``telecmi-async resume``: go on with a campaign that was left, or was asked to pause."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from telecmi_async.campaigns import Campaign, CampaignSettings, clock_check
from telecmi_async.cli.account import account_of
from telecmi_async.cli.ledgers import campaign_named, opened
from telecmi_async.cli.options import (
    CampaignOption,
    Here,
    JsonFlag,
    LedgerOption,
    RunOptions,
    command,
)
from telecmi_async.cli.running import print_state, run_campaign
from telecmi_async.cli.webhook_server import campaign_service, check_caps, check_token
from telecmi_async.errors import InvalidCall


@command(
    "resume",
    "resume --ledger people.db",
    "resume --ledger people.db --name people --wait",
)
async def resume(
    *,
    ledger: LedgerOption = None,
    name: CampaignOption = None,
    running: RunOptions = RunOptions(),
    clock_was_ahead: Annotated[
        bool,
        Parameter(
            help="Go on at once after the clock was ahead and was set back; make sure that it "
            "is right now."
        ),
    ] = False,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Go on with a campaign that was left or paused.

    It asks nothing: its contacts were confirmed when the campaign was started.
    """
    lacking: dict[str, str] = {}
    if not running.without_webhooks:
        check_token(terminal, running.webhooks, lacking)
    account = account_of(terminal, secret_stdin=running.secret_stdin, lacking=lacking)
    async with opened(terminal, ledger) as book:
        found = await campaign_named(book, name)
        settings = CampaignSettings.parse(await book.settings(found))
        check_caps(settings, found, running)
        if settings.from_ is None and account.from_ is None:
            raise InvalidCall("the caller id is missing: set TELECMI_FROM")
        async with campaign_service(terminal, account, running) as (service, _):
            campaign = await Campaign.attach(
                book, service, found, without_events=running.without_webhooks
            )
            if clock_was_ahead:
                await clock_check.go_on(book, found, settings)
            await campaign.resume()
            state, code = await run_campaign(
                terminal,
                campaign,
                book,
                patient=running.wait,
                receives=running.webhooks.receives,
            )
        print_state(
            terminal,
            state,
            as_json=as_json,
            ledger=ledger or "",
            needed=running.arguments(),
            rules=settings.rules,
        )
        return code

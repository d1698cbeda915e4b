"""``telecmi-async resume``: go on with a campaign that was left, or was asked to pause."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from telecmi_async.campaigns import Campaign
from telecmi_async.cli.account import account_of
from telecmi_async.cli.campaign_service import campaign_service
from telecmi_async.cli.ledgers import campaign_named, opened
from telecmi_async.cli.running import print_state, run_campaign
from telecmi_async.errors import InvalidCall

if TYPE_CHECKING:
    from telecmi_async.cli.account import Account
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
    patient: bool,
    secret_stdin: bool,
    as_json: bool,
) -> int:
    """Dial what is left of a campaign.

    It asks nothing: who is in the campaign was confirmed when it was begun.

    Returns:
        An `Exit`.

    Raises:
        Stop: There is no such campaign, or there are no credentials.
        TelecmiError: The ledger cannot be used, or fails.
    """
    account = account_of(terminal, secret_stdin=secret_stdin)

    async def go_on(account: Account) -> Exit:
        async with (
            opened(terminal, ledger) as book,
            campaign_service(
                terminal, account, host=webhook_host, port=webhook_port, url=webhook_url
            ) as (
                service,
                receiver,
            ),
        ):
            campaign = await Campaign.attach(
                book, service, await campaign_named(book, name), receiver=receiver
            )
            if campaign.settings.from_ is None and account.from_ is None:
                raise InvalidCall("is missing: set TELECMI_FROM", path="from")
            await campaign.resume()
            state, code = await run_campaign(
                terminal, campaign, book, patient=patient, hears=receiver is not None
            )
            print_state(terminal, state, as_json=as_json, ledger=ledger or "")
            return code

    return anyio.run(partial(go_on, account))

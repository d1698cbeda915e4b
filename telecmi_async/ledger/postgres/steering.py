"""Steering: what people change of a campaign and of the do-not-call list, on PostgreSQL."""

from __future__ import annotations

import secrets
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final, SupportsIndex

from telecmi_async.ledger import rows, sanitize
from telecmi_async.ledger.changes import (
    CampaignChange,
    DoNotCallEntry,
    SettingsRevision,
    withdrawn_from,
    words_of_withdrawal,
)
from telecmi_async.ledger.postgres import queries
from telecmi_async.phone import parse_numbers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from telecmi_async.ledger.changes import Withdrawn
    from telecmi_async.ledger.postgres.pipeline import PostgresPipeline
    from telecmi_async.ledger.states import ContactState

# Numbers in one transaction, and entries that are read at once.
_BATCH: Final = 2_000
_PAGE: Final = 1_000


def new_operation() -> str:
    """Return the id of a change: a query that is repeated is one change."""
    return secrets.token_hex(8)


class PostgresSteering:
    """The part of a ledger that people change a campaign with."""

    _moves: PostgresPipeline
    _queries: PostgresPipeline
    # The rows of campaigns by name.
    _campaigns: dict[str, int]

    async def _campaign(self, name: str) -> int:
        """Return a campaign's row. It is looked up once: campaigns are never deleted."""
        if name not in self._campaigns:
            found = await self._queries.fetch("SELECT id FROM campaign WHERE name = %s", name)
            if not found:
                raise rows.no_campaign(name)
            self._campaigns[name] = int(found[0][0])
        return self._campaigns[name]

    # -- settings

    async def settings_revision(self, name: str) -> SettingsRevision | None:
        """Return the settings of a campaign, with the count of their changes."""
        found = await self._queries.fetch(queries.SETTINGS_REVISION, name)
        if not found:
            return None
        number, settings, original = found[0]
        return SettingsRevision(number=number, settings=settings, original=original)

    async def change_settings(
        self,
        name: str,
        settings: Mapping[str, object],
        *,
        revision: int,
        detail: str = "",
        by: str = "",
    ) -> bool:
        """Change a campaign's settings, unless they were changed since a revision."""
        text = sanitize.to_json(settings, "settings")
        return bool(await self._moves.value(
            "SELECT change_settings(%s::integer, %s::json, %s::integer, %s, %s, %s)",
            await self._campaign(name), text, revision, new_operation(),
            sanitize.clean(by), sanitize.clean(detail),
        ))  # fmt: skip

    # -- contacts

    async def withdraw(
        self, name: str, numbers: Iterable[SupportsIndex | str], *, by: str = "", why: str = ""
    ) -> Withdrawn:
        """Have contacts not be dialled any more, because a person decided so."""
        campaign, operation = await self._campaign(name), new_operation()
        by, why = sanitize.clean(by), sanitize.clean(why)
        rest, total, found = parse_numbers(numbers), 0, Counter[str]()
        while batch := list(islice(rest, _BATCH)):
            states = await self._moves.fetch(
                "SELECT * FROM withdraw(%s::integer, %s::bigint[], %s, %s, %s, %s)",
                campaign, batch, words_of_withdrawal(by, why), operation, by, why,
            )  # fmt: skip
            found.update(dict(states))
            total += len(batch)
        return withdrawn_from(found, total)

    async def redial_unknown(
        self,
        name: str,
        numbers: Iterable[SupportsIndex | str] | None = None,
        *,
        by: str = "",
    ) -> int:
        """Make unknown contacts pending because a person decided so."""
        call = "redial_2(%s::integer, %s::bigint[])"
        return await self._decide(call, name, numbers, change=("redial_unknown", by, ""))

    async def reopen(
        self,
        name: str,
        state: ContactState,
        numbers: Iterable[SupportsIndex | str] | None = None,
        *,
        reason: str = "",
        by: str = "",
    ) -> int:
        """Make rejected, failed or blocked contacts pending because a person decided so."""
        sanitize.check_choice("state", state, sanitize.REOPENED)
        call = "reopen_2(%s::integer, %s::bigint[], %s::contact_state, %s)"
        text = sanitize.clean(reason)
        change = "reopen", by, f"{state}{f', {text}' if text else ''}"
        return await self._decide(call, name, numbers, str(state), text, change=change)

    async def redial_missed(
        self,
        name: str,
        waits: Sequence[float] | None,
        numbers: Iterable[SupportsIndex | str] | None = None,
        *,
        revision: int = 0,
        by: str = "",
    ) -> int:
        """Make finished contacts pending whose calls were not answered."""
        call = "redial_missed_2(%s::integer, %s::bigint[], %s::double precision[], %s::integer)"
        given = None if waits is None else [float(wait) for wait in waits]
        change = ("redial_missed", by, "") if waits is None else None
        return await self._decide(call, name, numbers, given, revision, change=change)

    async def _decide(
        self,
        call: str,
        name: str,
        numbers: Iterable[SupportsIndex | str] | None,
        *given: object,
        change: tuple[str, str, str] | None,
    ) -> int:
        """Make a move for all contacts or for those of some numbers, and record a ``change``."""
        wanted = None if numbers is None else list(parse_numbers(numbers))
        campaign = await self._campaign(name)
        given = (campaign, wanted, *given)
        if change is None:
            return int(await self._queries.value(f"SELECT {call}", *given))
        what, by, detail = change
        noted = (campaign, new_operation(), sanitize.clean(by), what, detail)
        found = await self._queries.fetch(queries.DECIDE.format(call=call), *given, *noted)
        return int(found[0][0])

    # -- do not call

    async def add_do_not_call(
        self, numbers: Iterable[SupportsIndex | str], source: str, *, by: str = ""
    ) -> int:
        """Add numbers to the do-not-call list; return how many are new."""
        words = sanitize.clean(source), sanitize.clean(by)
        added, rest, operation = 0, parse_numbers(numbers), new_operation()
        while batch := list(islice(rest, _BATCH)):
            given = (*words, batch, operation)
            added += int((await self._moves.fetch(queries.ADD_DO_NOT_CALL, *given))[0][0])
        return added

    async def remove_do_not_call(
        self, numbers: Iterable[SupportsIndex | str], *, by: str = ""
    ) -> int:
        """Remove numbers from the list; they stay on record."""
        removed, rest, operation = 0, parse_numbers(numbers), new_operation()
        while batch := list(islice(rest, _BATCH)):
            given = (batch, sanitize.clean(by), operation)
            removed += int((await self._moves.fetch(queries.REMOVE_DO_NOT_CALL, *given))[0][0])
        return removed

    async def do_not_call(self) -> AsyncGenerator[DoNotCallEntry]:
        """Iterate over the do-not-call list, in the order of numbers."""
        last = 0
        while page := await self._queries.fetch(queries.DO_NOT_CALL, last, _PAGE):
            last = page[-1][0]
            for number, source, at, by in page:
                yield DoNotCallEntry(number=number, source=source, at=at, by=by)

    # -- history

    async def changes(self, name: str) -> AsyncGenerator[CampaignChange]:
        """Iterate over what was changed, and by whom, oldest first."""
        campaign, last = await self._campaign(name), 0
        while page := await self._queries.fetch(queries.CHANGES, last, campaign, _PAGE):
            last = page[-1][0]
            for _, at, by, what, detail, count in page:
                yield CampaignChange(at=at, by=by, what=what, detail=detail, count=count)

"""PostgreSQL ledger: one database, for workers on several machines."""

from __future__ import annotations

import secrets
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final, NoReturn, Self, SupportsIndex

from telecmi_async._internal import validators
from telecmi_async.errors import ConfigurationError, LedgerLost
from telecmi_async.ledger import rows, sanitize
from telecmi_async.ledger.changes import (
    CampaignChange,
    DoNotCallEntry,
    SettingsRevision,
    withdrawn_from,
    words_of_withdrawal,
)
from telecmi_async.ledger.idempotency import KEY_OUTCOMES, KeyState, keyed_call_from
from telecmi_async.ledger.postgres import jobs, queries
from telecmi_async.ledger.postgres.connector import PostgresConnector
from telecmi_async.ledger.postgres.pipeline import PostgresPipeline
from telecmi_async.ledger.postgres.schema import open_schema
from telecmi_async.ledger.postgres.server_clock import ServerClock
from telecmi_async.ledger.records import Loaded, Reaped
from telecmi_async.ledger.send_records import Intent, RuleDecision
from telecmi_async.ledger.states import ContactState
from telecmi_async.phone import parse_number, parse_numbers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from telecmi_async.ledger.changes import Withdrawn
    from telecmi_async.ledger.idempotency import KeyedCall
    from telecmi_async.ledger.records import CampaignState, Claim, Contact, NewContact
    from telecmi_async.ledger.send_records import CallEvidence, SendLimits, SendResult

# Contacts that are loaded in one transaction; the event loop waits while they are read.
_BATCH: Final = 2_000
# After so many new contacts the server should analyse its table.
_MANY: Final = 20_000
_PAGE: Final = 1_000
_ANOTHER: Final = "the ledger failed: the campaign is gone from its database, or that is another one than before"


def _operation() -> str:
    """Return the id of a change: a query that is repeated is one change."""
    return secrets.token_hex(8)


class PostgresLedger:
    """Keeps campaigns in PostgreSQL (13 or newer), for any number of workers and machines.

    It works on asyncio and on trio, and through a pooler such as PgBouncer (the server's own
    address is faster). It keeps up to three connections, each in its own thread. Times are those
    of the server's clock, so the workers' clocks need not agree. Its methods are those of `Ledger`.

    A commit waits for the server's disk. With an asynchronous replica, a failover can lose the
    last commits, and a contact that was sent may be pending again: use a synchronous one.

    If the connection breaks, it is opened again and queries are repeated for ``timeout`` seconds;
    those that were done before are recognised. Then `StoreError` is raised, and nothing is sent.

    Example:
        Numbers that no campaign dials::

            from telecmi_async.ledger import PostgresLedger

            async with PostgresLedger("postgresql://localhost/calls") as ledger:
                await ledger.add_do_not_call(["+91 98765 43210"], "asked not to be called")

    Args:
        conninfo: The database, as a URL (``postgresql://…``) or as libpq's ``key=value`` pairs.
        schema: The schema of its tables; it is created if it does not exist.
        timeout: How long the server may be away, and how long it may take for an answer, in
            seconds or as a `timedelta`. Loading contacts may take longer.
        migrate: Whether opening makes the tables, or brings them up to date. With False a
            ledger of another version is refused, and it suffices that the role may read.

    Raises:
        ConfigurationError: A value is invalid, or psycopg is not installed.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        schema: str = "telecmi",
        timeout: validators.Duration = 10.0,
        migrate: bool = True,
    ) -> None:
        seconds = validators.seconds_or_none("PostgresLedger.timeout", timeout)
        if seconds is None:
            raise ConfigurationError("PostgresLedger.timeout must be a number of seconds")
        connector = PostgresConnector(conninfo, schema=schema, timeout=seconds)
        del conninfo  # a traceback may show locals
        self._connector = connector
        self._migrate = migrate
        self._moves = PostgresPipeline(connector)
        self._queries = PostgresPipeline(connector)
        # A reservation that a power loss takes back is over by the time the server is up.
        self._reservations = PostgresPipeline(connector, durable=False, separate=True)
        self._campaigns: dict[str, int] = {}
        self._clock = ServerClock(self._queries)
        # Batches that were claimed, perhaps: the query failed. By campaign and worker.
        self._lost: dict[tuple[str, str], list[int]] = {}

    def __repr__(self) -> str:
        made = hasattr(self, "_connector")
        return f"<PostgresLedger {self._connector.schema}>" if made else "<…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PostgresLedger is not pickled: make one in every process")

    async def __aenter__(self) -> Self:
        try:
            self._connector.identity, self._connector.version = await self._queries.do(
                lambda connection: open_schema(connection, migrate=self._migrate)
            )
            await self._moves.fetch("SELECT 1")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    @property
    def through_pooler(self) -> bool:
        """Whether it is connected through a pooler, such as PgBouncer."""
        return self._connector.through_pooler

    async def __aexit__(self, *error: object) -> None:
        for pipeline in (self._moves, self._reservations, self._queries):
            await pipeline.close()

    async def now(self, *, within: float = 0.0) -> float:
        """Return the time by the server's clock, ahead of it by a round trip at most."""
        return await self._clock.now(within=within)

    # -- campaigns

    async def create(self, name: str, settings: Mapping[str, object]) -> bool:
        """Create a campaign; return False if the name is taken."""
        text = sanitize.to_json(settings, "settings")
        # A repeated query takes a campaign with the same settings for its own.
        return bool(
            await self._moves.fetch(queries.CREATE, name, text, name, text, takes_again=True)
        )

    async def _campaign(self, name: str) -> int:
        """Return a campaign's row. It is looked up once: campaigns are never deleted."""
        if name not in self._campaigns:
            found = await self._queries.fetch("SELECT id FROM campaign WHERE name = %s", name)
            if not found:
                raise rows.no_campaign(name)
            self._campaigns[name] = int(found[0][0])
        return self._campaigns[name]

    async def settings(self, name: str) -> Mapping[str, object] | None:
        """Return the settings of a campaign."""
        found = await self._queries.fetch("SELECT settings FROM campaign WHERE name = %s", name)
        return found[0][0] if found else None

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
            await self._campaign(name), text, revision, _operation(),
            sanitize.clean(by), sanitize.clean(detail),
        ))  # fmt: skip

    async def campaigns(self) -> list[str]:
        """Return the names of all campaigns, oldest first."""
        return [row[0] for row in await self._queries.fetch(queries.CAMPAIGNS)]

    async def set_status(self, name: str, status: str, why: str = "", *, by: str = "") -> None:
        """Ask all workers of a campaign to run, pause or stop."""
        sanitize.check_choice("status", status, sanitize.STATUSES)
        campaign = await self._campaign(name)
        words = sanitize.clean(why), campaign, _operation(), sanitize.clean(by)
        await self._moves.fetch(queries.SET_STATUS, status, *words)

    async def state(self, name: str) -> CampaignState:
        """Return the state of a campaign: a million contacts are counted in 0.1 seconds."""
        campaign = await self._campaign(name)
        found = await self._queries.fetch(queries.STATE, campaign, self._connector.identity)
        if not found:
            raise LedgerLost(_ANOTHER)
        *row, counts = found[0]
        return rows.state_from(name, counts or {}, row)

    # -- contacts

    async def load(self, name: str, contacts: Iterable[NewContact], *, by: str = "") -> Loaded:
        """Add contacts over a separate connection, 2,000 a transaction."""
        campaign, source = await self._campaign(name), iter(contacts)
        pipeline, operation = PostgresPipeline(self._connector), _operation()
        by = sanitize.clean(by)
        added = total = 0
        try:
            while batch := list(islice(source, _BATCH)):
                added += await pipeline.do(jobs.loading(campaign, batch, operation, by))
                total += len(batch)
            if total > _MANY:
                await pipeline.do(jobs.vacuum)
        finally:
            await pipeline.close()
        return Loaded(added=added, known=total - added)

    async def withdraw(
        self, name: str, numbers: Iterable[SupportsIndex | str], *, by: str = "", why: str = ""
    ) -> Withdrawn:
        """Have contacts not be dialled any more, because a person decided so."""
        campaign, operation = await self._campaign(name), _operation()
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

    async def claim(self, name: str, worker: str, *, most: int, lease: float) -> list[Claim]:
        """Claim contacts that are due, longest due first.

        If an earlier call failed with a `StoreError` and its contacts were claimed all the
        same, these come first.
        """
        campaign = await self._campaign(name)
        lost = self._lost.setdefault((name, worker), [])
        batch = lost.pop() if lost else secrets.randbits(62)
        try:
            found = await self._moves.fetch(
                queries.CLAIM,
                self._connector.identity, campaign, worker, batch, most, lease,
            )  # fmt: skip
        except BaseException:
            lost.append(batch)
            raise
        return [rows.claim_from(row) for row in found]

    async def renew(self, worker: str, *, lease: float) -> int:
        """Lengthen the leases of all claims of a worker."""
        return int(await self._moves.value("SELECT renew(%s, %s)", worker, lease))

    async def release(self, claim: Claim, worker: str, *, not_before: float = 0.0) -> bool:
        """Release a contact that was not sent."""
        return await self._put_back(claim, worker, "release", "", not_before)

    async def _put_back(
        self,
        claim: Claim,
        worker: str,
        move: str,
        reason: str,
        until: float | None,
        revision: int | None = None,
    ) -> bool:
        return bool(await self._moves.value(
            "SELECT put_back_2(%s, %s::integer, %s, %s, %s, %s::double precision,"
            " %s::integer, %s)",
            claim.contact, claim.epoch, worker, move, sanitize.clean(reason), until,
            revision, takes_again=True,
        ))  # fmt: skip

    async def next_due(self, name: str) -> float | None:
        """Return when the next pending contact is due."""
        found = await self._queries.fetch(queries.NEXT_DUE, await self._campaign(name))
        return found[0][0] if found else None

    # -- sending

    async def intend(
        self,
        claim: Claim,
        worker: str,
        token: str,
        *,
        limits: SendLimits,
        fence: float,
        lease: float,
    ) -> Intent | RuleDecision | None:
        """Put the intent to send on record, unless a limit denies it.

        Limits of a day or of a number are exact: intents that share one wait for each other.
        """
        found = await self._moves.fetch(
            "SELECT * FROM intend_2(%s, %s::integer, %s, %s, %s, %s, %s, %s::integer[],"
            " %s::double precision[], %s::integer, %s, %s::double precision, %s::integer, %s)",
            claim.contact, claim.epoch, worker, token, fence, lease,
            limits.check_do_not_call,
            [min(count, sanitize.INT_32) for count, _ in limits.per_number],
            [float(seconds) for _, seconds in limits.per_number],
            None if limits.per_day is None else min(limits.per_day, sanitize.INT_32),
            limits.day_began, limits.cost, limits.revision, takes_again=True,
        )  # fmt: skip
        if not found:
            return None
        (send_by, rule, reason, until) = found[0]
        if send_by is None:
            return RuleDecision(rule=rule, reason=reason, until=until)
        return Intent(token=token, send_by=send_by)

    async def block(
        self, claim: Claim, worker: str, refusal: RuleDecision, *, revision: int | None = None
    ) -> bool:
        """Postpone or block a claimed contact by a campaign's rule."""
        move = "block" if refusal.until is None else "postpone"
        reason = f"{refusal.rule}: {refusal.reason}"
        return await self._put_back(claim, worker, move, reason, refusal.until, revision)

    async def settle(self, token: str, outcome: SendResult) -> bool:
        """Put the result of a send on record."""
        detail, request_id = (
            sanitize.clean(outcome.detail),
            sanitize.clean_id(outcome.request_id),
        )
        return bool(await self._moves.value(
            "SELECT settle_4(%s, %s::contact_state, %s, %s, %s, %s, %s)", token,
            outcome.state.value, detail, request_id, outcome.not_before, outcome.counts,
            takes_again=True,
        ))  # fmt: skip

    async def reap(self, name: str) -> Reaped:
        """Take back contacts whose lease expired."""
        ((released, unknown),) = await self._moves.fetch(
            "SELECT * FROM reap(%s::integer)", await self._campaign(name)
        )
        return Reaped(released=released, unknown=unknown)

    # -- evidence

    async def record_event(self, event: CallEvidence) -> str | None:
        """Record an event of a call."""
        event = sanitize.clean_event(event)
        if leg := event.leg_cost:
            await self._moves.fetch(queries.ADD_LEG, *leg, event.token, event.request_id)
        name: str | None = await self._moves.value(
            queries.RECORD_EVENT, event.token, event.request_id, event.at, event.over,
            event.answered, event.talk_seconds, event.call_cost, event.detail,
        )  # fmt: skip
        return name

    async def resolve_unknown(self, name: str, *, older_than: float, policy: str) -> int:
        """Move unknown contacts whose calls are proven absent."""
        sanitize.check_choice("policy", policy, sanitize.UNKNOWN_POLICIES)
        campaign = await self._campaign(name)
        if policy == "hold":
            return 0
        call = "SELECT resolve_unknown_2(%s::integer, %s, %s)"
        return int(await self._queries.value(call, campaign, older_than, policy))

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
        noted = (campaign, _operation(), sanitize.clean(by), what, detail)
        found = await self._queries.fetch(queries.DECIDE.format(call=call), *given, *noted)
        return int(found[0][0])

    # -- do not call

    async def add_do_not_call(
        self, numbers: Iterable[SupportsIndex | str], source: str, *, by: str = ""
    ) -> int:
        """Add numbers to the do-not-call list; return how many are new."""
        words = sanitize.clean(source), sanitize.clean(by)
        added, rest, operation = 0, parse_numbers(numbers), _operation()
        while batch := list(islice(rest, _BATCH)):
            given = (*words, batch, operation)
            added += int((await self._moves.fetch(queries.ADD_DO_NOT_CALL, *given))[0][0])
        return added

    async def remove_do_not_call(
        self, numbers: Iterable[SupportsIndex | str], *, by: str = ""
    ) -> int:
        """Remove numbers from the list; they stay on record."""
        removed, rest, operation = 0, parse_numbers(numbers), _operation()
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

    # -- reading

    async def contacts(
        self, name: str, *, states: Sequence[ContactState] = ()
    ) -> AsyncGenerator[Contact]:
        """Iterate over contacts in the order of loading, without their histories."""
        wanted = [state.value for state in states or ContactState]
        campaign = await self._campaign(name)
        last = 0
        while page := await self._queries.fetch(queries.PAGE, campaign, last, wanted, _PAGE):
            last = page[-1][0]
            for row in page:
                yield rows.contact_from(row[1:])

    async def changes(self, name: str) -> AsyncGenerator[CampaignChange]:
        """Iterate over what was changed, and by whom, oldest first."""
        campaign, last = await self._campaign(name), 0
        while page := await self._queries.fetch(queries.CHANGES, last, campaign, _PAGE):
            last = page[-1][0]
            for _, at, by, what, detail, count in page:
                yield CampaignChange(at=at, by=by, what=what, detail=detail, count=count)

    async def find(self, name: str, number: SupportsIndex | str) -> Contact | None:
        """Return one contact with its whole history."""
        wanted = parse_number(number)
        campaign = await self._campaign(name)
        found = await self._queries.fetch(queries.CONTACT, campaign, wanted)
        if not found:
            return None
        history = await self._queries.fetch(queries.HISTORY, found[0][0])
        return rows.contact_from(found[0][1:], history)

    # -- shared limits

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts, each under all of several limits or under none of them."""
        # Of a name that is there twice, the longest interval stays.
        slowest = dict(sorted(keys, key=lambda pair: pair[1]))
        waits: list[float] = await self._reservations.value(
            "SELECT reserve(%s::text[], %s::double precision[], %s, %s::integer)",
            [*slowest], [*map(float, slowest.values())], longest, most,
        )  # fmt: skip
        return waits

    async def advance_starts(self, keys: Sequence[tuple[str, float]], *, beyond: float) -> None:
        """Have starts that are due far in the future come due soon."""
        names, seconds = [key for key, _ in keys], [each for _, each in keys]
        await self._moves.fetch(queries.ADVANCE_STARTS, names, seconds, beyond)

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Lease one of a number of channels; return False if all are taken."""
        call = "SELECT lease_channel(%s, %s, %s::integer, %s)"
        most = min(limit, sanitize.INT_32)
        return bool(await self._moves.value(call, key, holder, most, seconds))

    async def free_channel(self, key: str, holder: str) -> None:
        """Give a channel back."""
        await self._moves.fetch(queries.FREE_CHANNEL, key, holder)

    # -- idempotency keys

    async def claim_key(
        self,
        key: str,
        fingerprint: str,
        token: str,
        *,
        region: str,
        lease: float,
        lifetime: float,
    ) -> KeyedCall:
        """Claim a key for a call, if it is free, and return the call that has it."""
        given = (key, fingerprint, token, region, float(lease), float(lifetime))
        return keyed_call_from(*await self._moves.fetch(queries.CLAIM_KEY, *given))

    async def settle_key(
        self, token: str, state: KeyState, *, request_id: str | None = None, detail: str = ""
    ) -> bool:
        """Put the outcome of a keyed call on record; return False if no key has the call."""
        sanitize.check_choice("state", state, KEY_OUTCOMES)
        given = (state.value, sanitize.clean_id(request_id), sanitize.clean(detail), token)
        placed = state is KeyState.PLACED
        return bool(await self._moves.fetch(queries.SETTLE_KEY, *given, placed))

    async def find_key(
        self, *, key: str | None = None, token: str | None = None
    ) -> KeyedCall | None:
        """Return the call of a key, or the one with a reference; ``None`` if there is none."""
        column, value = ("key", key) if token is None else ("token", token)
        found = await self._queries.fetch(f"{queries.FIND_KEY}{column} = %s", value)
        return keyed_call_from(found[0]) if found else None

"""PostgreSQL ledger: one database, for workers on several machines."""

from __future__ import annotations

import secrets
from itertools import islice
from typing import TYPE_CHECKING, Final, NoReturn, Self, SupportsIndex

from telecmi_async._internal import validators
from telecmi_async.errors import ConfigurationError, LedgerLost
from telecmi_async.ledger import rows, sanitize
from telecmi_async.ledger.postgres import jobs, queries
from telecmi_async.ledger.postgres.connector import PostgresConnector
from telecmi_async.ledger.postgres.limits import PostgresLimits
from telecmi_async.ledger.postgres.pipeline import PostgresPipeline
from telecmi_async.ledger.postgres.schema import open_schema
from telecmi_async.ledger.postgres.server_clock import ServerClock
from telecmi_async.ledger.postgres.steering import PostgresSteering, new_operation
from telecmi_async.ledger.records import Loaded, Reaped
from telecmi_async.ledger.send_records import Intent, RuleDecision
from telecmi_async.ledger.states import ContactState
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from telecmi_async.ledger.records import CampaignState, Claim, Contact, NewContact
    from telecmi_async.ledger.send_records import CallEvidence, SendLimits, SendResult

# Contacts that are loaded in one transaction; the event loop waits while they are read.
_BATCH: Final = 2_000
# After so many new contacts the server should analyse its table.
_MANY: Final = 20_000
_PAGE: Final = 1_000
_ANOTHER: Final = "the ledger failed: the campaign is gone from its database, or that is another one than before"


class PostgresLedger(PostgresLimits, PostgresSteering):
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

    async def settings(self, name: str) -> Mapping[str, object] | None:
        """Return the settings of a campaign."""
        found = await self._queries.fetch("SELECT settings FROM campaign WHERE name = %s", name)
        return found[0][0] if found else None

    async def campaigns(self) -> list[str]:
        """Return the names of all campaigns, oldest first."""
        return [row[0] for row in await self._queries.fetch(queries.CAMPAIGNS)]

    async def set_status(self, name: str, status: str, why: str = "", *, by: str = "") -> None:
        """Ask all workers of a campaign to run, pause or stop."""
        sanitize.check_choice("status", status, sanitize.STATUSES)
        campaign = await self._campaign(name)
        words = sanitize.clean(why), campaign, new_operation(), sanitize.clean(by)
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
        await self._campaign(name)
        source, operation = iter(contacts), new_operation()
        pipeline = PostgresPipeline(self._connector)
        added = total = 0
        try:
            while batch := list(islice(source, _BATCH)):
                added += await pipeline.do(jobs.loading(name, batch, operation, by))
                total += len(batch)
            if total > _MANY:
                await pipeline.do(jobs.vacuum)
        finally:
            await pipeline.close()
        return Loaded(added=added, known=total - added)

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

    async def find(self, name: str, number: SupportsIndex | str) -> Contact | None:
        """Return one contact with its whole history."""
        wanted = parse_number(number)
        campaign = await self._campaign(name)
        found = await self._queries.fetch(queries.CONTACT, campaign, wanted)
        if not found:
            return None
        history = await self._queries.fetch(queries.HISTORY, found[0][0])
        return rows.contact_from(found[0][1:], history)

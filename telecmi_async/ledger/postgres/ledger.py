"""A ledger in PostgreSQL, for workers on several machines."""

from __future__ import annotations

import secrets
from itertools import islice
from typing import TYPE_CHECKING, Final, NoReturn, Self, cast

from telecmi_async._internal import validators
from telecmi_async._internal.messages import listed, shown
from telecmi_async.errors import ConfigurationError
from telecmi_async.ledger.base import (
    CallEvidence,
    CampaignState,
    Claim,
    Contact,
    Intent,
    Reaped,
    RuleDecision,
    SendLimits,
    SendResult,
)
from telecmi_async.ledger.contact import Loaded
from telecmi_async.ledger.postgres import rows
from telecmi_async.ledger.postgres.connector import PostgresConnector
from telecmi_async.ledger.postgres.pipeline import PostgresPipeline
from telecmi_async.ledger.sanitize import INT_32, clean, heard_of, id_of, json_of
from telecmi_async.ledger.states import ContactState
from telecmi_async.phone import parse_number

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from telecmi_async.ledger.contact import NewContact

__all__ = ["PostgresLedger"]

# Contacts that are loaded in one transaction; the event loop waits while they are read.
_AT_ONCE: Final = 2_000
# After so many new ones the server should look at its table anew.
_MANY: Final = 20_000
_PAGE: Final = 1_000
_STATUSES: Final = ("running", "paused", "stopped")
_POLICIES: Final = ("hold", "retry_after_proof", "give_up")
_OUTCOMES: Final = tuple(
    map(ContactState, ("placed", "pending", "rejected", "failed", "unknown"))
)


class PostgresLedger:
    """Keeps campaigns in PostgreSQL (13 or newer), for any number of workers and machines.

    It works on asyncio and on trio, and keeps up to three connections, each in a thread of
    its own. What happens at the same time goes to the server together. Times are those of
    the server's clock, so the workers' clocks need not agree::

        async with PostgresLedger(os.environ["DATABASE_URL"]) as ledger:
            ...

    A commit waits for the server's disk (``synchronous_commit = on``, whatever the server's
    setting). With an asynchronous replica, a failover can still lose the last commits:
    afterwards a contact may be pending that was sent. Use a synchronous one.

    If the connection breaks, it is opened again, with growing pauses, for ``timeout`` seconds;
    what was asked is asked again, and recognised if it was done before. Then a `StoreError`
    is raised, and nothing may be sent.

    Connect to the server itself, or through a pooler that gives a session its own connection:
    transaction pooling does not keep the session's settings.

    Args:
        conninfo: The database, as a URL (``postgresql://…``) or as libpq's ``key=value`` pairs.
        schema: The schema that its tables are in; it is made if there is none.
        timeout: How long the server may be away, and how long it may take for an answer, in
            seconds or as a `timedelta`. Loading and looking through contacts may take longer.

    Raises:
        ConfigurationError: A value that cannot work, or psycopg is not installed.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        schema: str = "telecmi",
        timeout: validators.Duration = 10.0,
    ) -> None:
        seconds = validators.seconds_or_none("PostgresLedger.timeout", timeout)
        if seconds is None:
            raise ConfigurationError("PostgresLedger.timeout must be a number of seconds")
        door = PostgresConnector(conninfo, schema=schema, timeout=seconds)
        del conninfo  # a traceback may show locals
        self._door = door
        self._moves = PostgresPipeline(door)
        self._looks = PostgresPipeline(door)
        # A reservation that a power loss takes back is over by the time the server is up.
        self._paces = PostgresPipeline(door, durable=False, apart=True)
        self._known: dict[str, int] = {}
        # Claims that were asked for, and nobody knows whether they were given.
        self._lost: dict[tuple[str, str], list[int]] = {}

    def __repr__(self) -> str:
        return f"<PostgresLedger {self._door.schema}>" if hasattr(self, "_door") else "<…>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PostgresLedger is not pickled: make one in every process")

    async def __aenter__(self) -> Self:
        try:
            await self._looks.do(rows.migrate_postgres)
            await self._moves.ask("SELECT 1")
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._close()

    async def _close(self) -> None:
        for lane in (self._moves, self._paces, self._looks):
            await lane.close()

    async def now(self) -> float:
        """Return the time by the server's clock."""
        return float(await self._looks.value("SELECT clock()"))

    # -- campaigns

    async def create(self, name: str, settings: Mapping[str, object]) -> bool:
        """Begin a campaign; False if there is one of that name. It starts ``"running"``.

        Raises:
            ConfigurationError: The settings are not JSON's.
        """
        text = json_of(settings, "settings")
        made = await self._moves.ask(rows.CREATE, name, text, name, text, says_again=True)
        return bool(made)

    async def _campaign(self, name: str) -> int:
        """Return a campaign's row: it is looked up once, for no campaign is ever deleted.

        Raises:
            ConfigurationError: There is none of that name.
        """
        if name not in self._known:
            found = await self._looks.ask("SELECT id FROM campaign WHERE name = %s", name)
            if not found:
                raise ConfigurationError(
                    f"there is no campaign named {shown(name)} in this ledger"
                )
            self._known[name] = int(found[0][0])
        return self._known[name]

    async def settings(self, name: str) -> Mapping[str, object] | None:
        """Return what a campaign was begun with; ``None`` if there is none of that name."""
        found = await self._looks.ask("SELECT settings FROM campaign WHERE name = %s", name)
        return found[0][0] if found else None

    async def campaigns(self) -> list[str]:
        """Return the names of all campaigns, oldest first."""
        return [
            name for (name,) in await self._looks.ask("SELECT name FROM campaign ORDER BY id")
        ]

    async def set_status(self, name: str, status: str, why: str = "") -> None:
        """Ask all workers of a campaign to run, pause or stop.

        Raises:
            ConfigurationError: There is no such status, or no campaign of that name.
        """
        if status not in _STATUSES:
            raise ConfigurationError(f"status must be {listed(_STATUSES)}, not {shown(status)}")
        campaign = await self._campaign(name)
        await self._moves.ask(rows.SET_STATUS, status, clean(why), campaign)

    async def state(self, name: str) -> CampaignState:
        """Return how a campaign stands: a million contacts are counted in a tenth of a second.

        Raises:
            ConfigurationError: There is none of that name.
        """
        found = await self._looks.ask(rows.STATE, await self._campaign(name))
        (status, why, sends, cost, kept) = found[0]
        counts = cast("dict[str, int]", kept or {})
        return CampaignState(
            name=name,
            status=status,
            why=why,
            counts={state: counts.get(state.value, 0) for state in ContactState},
            sends=int(sends or 0),
            cost=float(cost or 0.0),
        )

    # -- contacts

    async def load(self, name: str, contacts: Iterable[NewContact]) -> Loaded:
        """Add contacts, each number once in a campaign. The iterable may be huge, and lazy.

        It is done in many transactions. If one fails, those before it stay: load the same
        again, and nothing is doubled.

        Raises:
            ConfigurationError: There is no campaign of that name, or what is to be loaded is no
                `NewContact`, or one that cannot be kept.
        """
        campaign = await self._campaign(name)
        lane = PostgresPipeline(self._door)
        added = total = 0
        try:
            source = iter(contacts)
            while batch := list(islice(source, _AT_ONCE)):
                added += await lane.do(rows.loading(campaign, batch))
                total += len(batch)
            if total > _MANY:
                await lane.do(rows.tidy)
        finally:
            await lane.close()
        return Loaded(added=added, known=total - added)

    async def claim(self, name: str, worker: str, *, most: int, lease: float) -> list[Claim]:
        """Take contacts that are due, those that have been due longest first.

        Nobody else gets them while the lease lasts. None are given unless the campaign runs.
        Contacts of an earlier call that failed with a `StoreError`, but were given all the
        same, come first.
        """
        campaign = await self._campaign(name)
        lost = self._lost.setdefault((name, worker), [])
        batch = lost.pop() if lost else secrets.randbits(62)
        try:
            found = await self._moves.ask(rows.CLAIM, campaign, worker, batch, most, lease)
        except BaseException:
            lost.append(batch)
            raise
        return [rows.claim_of(row) for row in found]

    async def renew(self, worker: str, *, lease: float) -> int:
        """Lengthen the leases of all claims a worker holds; return how many it holds."""
        return int(await self._moves.value("SELECT renew(%s, %s)", worker, lease))

    async def release(self, claim: Claim, worker: str, *, not_before: float = 0.0) -> bool:
        """Give a contact back that was not sent; False if it was lost meanwhile."""
        return await self._put_back(claim, worker, "release", "", not_before)

    async def _put_back(
        self, claim: Claim, worker: str, move: str, reason: str, until: float | None
    ) -> bool:
        done: bool = await self._moves.value(
            rows.PUT_BACK, claim.contact, claim.epoch, worker, move, clean(reason), until,
            says_again=True,
        )  # fmt: skip
        return done

    async def next_due(self, name: str) -> float | None:
        """Return when the next pending contact is due; ``None`` if there is none pending."""
        found = await self._looks.ask(rows.NEXT_DUE, await self._campaign(name))
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
        """Put the intent to send on record, unless a limit forbids it: in one transaction.

        Limits of a day or of a number are exact: intents they concern wait for each other.

        Args:
            claim: The contact.
            worker: Who sends.
            token: The send's own id.
            limits: What must hold.
            fence: Within how many seconds the request must leave.
            lease: For how many seconds the send is this worker's; then it is unknown.

        Returns:
            The intent; a refusal, and the contact is pending again (``until``) or blocked; or
            ``None``: the claim was lost, and nothing may be sent.

        Raises:
            StoreError: It is not known to be on record: nothing may be sent.
        """
        found = await self._moves.ask(
            rows.INTEND, claim.contact, claim.epoch, worker, token, fence, lease,
            limits.check_do_not_call,
            [min(count, INT_32) for count, _ in limits.per_number],
            [float(seconds) for _, seconds in limits.per_number],
            None if limits.per_day is None else min(limits.per_day, INT_32),
            limits.day_began, limits.cost, says_again=True,
        )  # fmt: skip
        if not found:
            return None
        (send_by, rule, reason, until) = found[0]
        if send_by is None:
            return RuleDecision(rule=rule, reason=reason, until=until)
        return Intent(token=token, send_by=send_by)

    async def block(self, claim: Claim, worker: str, refusal: RuleDecision) -> bool:
        """Postpone or block a claimed contact by a rule of the engine's; False if it was lost."""
        move = "block" if refusal.until is None else "postpone"
        reason = f"{refusal.rule}: {refusal.reason}"
        return await self._put_back(claim, worker, move, reason, refusal.until)

    async def settle(self, token: str, outcome: SendResult) -> bool:
        """Put on record what a send came to; False if an event was faster, or it was reaped.

        A send that was reaped as unknown is settled all the same by an outcome of ``PLACED``.

        Raises:
            ConfigurationError: A send comes to no such state.
        """
        if outcome.state not in _OUTCOMES:
            raise ConfigurationError(
                f"a send comes to {listed(_OUTCOMES)}, not to {shown(outcome.state)}"
            )
        done: bool = await self._moves.value(
            rows.SETTLE, token, outcome.state.value, clean(outcome.detail),
            id_of(outcome.request_id), outcome.not_before, says_again=True,
        )  # fmt: skip
        return done

    async def reap(self, name: str) -> Reaped:
        """Release and lose what workers left behind whose leases are over."""
        ((released, lost),) = await self._moves.ask(rows.REAP, await self._campaign(name))
        return Reaped(released=released, unknown=lost)

    # -- evidence

    async def record_event(self, event: CallEvidence) -> str | None:
        """Note an event of a call: it was placed, and perhaps it is over.

        It is found by its token, else by its ``request_id``.

        Returns:
            The campaign whose call it is; ``None`` if neither is known here.
        """
        event = heard_of(event)
        name: str | None = await self._moves.value(
            rows.RECORD_EVENT, event.token, event.request_id, event.at, event.over, event.answered,
            event.talk_seconds, event.cost, event.detail,
        )  # fmt: skip
        return name

    async def resolve_unknown(self, name: str, *, older_than: float, policy: str) -> int:
        """Make unknown contacts pending whose calls are proven absent; return how many.

        Raises:
            ConfigurationError: There is no such policy.
        """
        campaign = await self._campaign(name)
        if policy not in _POLICIES:
            raise ConfigurationError(f"policy must be {listed(_POLICIES)}, not {shown(policy)}")
        if policy == "hold":
            return 0
        return int(await self._looks.value(rows.RESOLVE_UNKNOWN, campaign, older_than, policy))

    async def redial_unknown(
        self, name: str, numbers: Iterable[int | str] | None = None
    ) -> int:
        """Make unknown contacts pending by somebody's decision; return how many."""
        wanted = None if numbers is None else [parse_number(each) for each in numbers]
        return int(await self._looks.value(rows.REDIAL, await self._campaign(name), wanted))

    # -- do not call

    async def add_do_not_call(self, numbers: Iterable[int | str], source: str) -> int:
        """Add numbers to the do-not-call list of this ledger; return how many are new."""
        added = 0
        pending = map(parse_number, numbers)
        while some := list(islice(pending, _AT_ONCE)):
            added += int(await self._moves.value(rows.ADD_DO_NOT_CALL, clean(source), some))
        return added

    # -- looking

    async def contacts(
        self, name: str, *, states: Sequence[ContactState] = ()
    ) -> AsyncIterator[Contact]:
        """Iterate over contacts in the order of loading, without their histories."""
        wanted = [state.value for state in states or ContactState]
        campaign = await self._campaign(name)
        last = 0
        while page := await self._looks.ask(rows.CONTACTS, campaign, last, wanted, _PAGE):
            last = page[-1][0]
            for row in page:
                yield rows.contact_of(row)

    async def find(self, name: str, number: int | str) -> Contact | None:
        """Return one contact with its whole history."""
        wanted = parse_number(number)
        found = await self._looks.ask(rows.FIND, await self._campaign(name), wanted)
        if not found:
            return None
        history = await self._looks.ask(rows.HISTORY, found[0][0])
        return rows.contact_of(found[0], history)

    # -- shared limits

    async def reserve(
        self, keys: Sequence[tuple[str, float]], *, longest: float, most: int = 1
    ) -> list[float]:
        """Reserve starts, each under all of several limits at once or under none of them."""
        slowest: dict[str, float] = {}
        for key, interval in keys:
            slowest[key] = max(float(interval), slowest.get(key, 0.0))
        waits: list[float] = await self._paces.value(
            rows.RESERVE, [*slowest], [*slowest.values()], longest, most
        )
        return waits

    async def lease_channel(self, key: str, holder: str, *, limit: int, seconds: float) -> bool:
        """Take one of a number of channels for so many seconds; False if all are taken."""
        most = min(limit, INT_32)
        done: bool = await self._moves.value(rows.LEASE, key, holder, most, seconds)
        return done

    async def free_channel(self, key: str, holder: str) -> None:
        """Give a channel back."""
        await self._moves.ask(rows.FREE, key, holder)

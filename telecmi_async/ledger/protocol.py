"""Ledger: the durable record of a campaign's contacts and of each call sent to them.

A ledger is a database. It decides which worker dials which contact: every move is one guarded
update, and an update that changes no row means "the claim is lost, do not send". A method
returns after its change is on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, SupportsIndex

from telecmi_async.ledger.idempotency import IdempotencyKeys
from telecmi_async.pacing.shared import SharedLimits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from telecmi_async.ledger.changes import (
        CampaignChange,
        DoNotCallEntry,
        SettingsRevision,
        Withdrawn,
    )
    from telecmi_async.ledger.records import (
        CampaignState,
        Claim,
        Contact,
        Loaded,
        NewContact,
        Reaped,
    )
    from telecmi_async.ledger.send_records import (
        CallEvidence,
        Intent,
        RuleDecision,
        SendLimits,
        SendResult,
    )
    from telecmi_async.ledger.states import ContactState


class Ledger(SharedLimits, IdempotencyKeys, Protocol):
    """Keeps the contacts of campaigns, the limits they share, and the calls of idempotency keys.

    An implementer must make every move one guarded update in one transaction, which is durable
    before the method returns (a power loss must not undo it); must survive any number of
    workers and their sudden ends; and must map every failure to a `StoreError`: no foreign
    exception may escape, and no message may hold a number, a column or a password.

    A ledger is an async context manager: entering it opens the database and brings its schema
    up to date. A name of a campaign that does not exist is a `ConfigurationError`, unless a
    method says otherwise.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def now(self, *, within: float = 0.0) -> float:
        """Return the time by the ledger's own clock, which all workers share.

        A reading that is at most ``within`` seconds old may be carried forward by the clocks of
        this machine, if they show that it did not sleep meanwhile and was not set.
        """
        ...

    # -- campaigns

    async def create(self, name: str, settings: Mapping[str, object]) -> bool:
        """Create a campaign that is ``"running"``; return False if the name is taken.

        Raises:
            ConfigurationError: JSON cannot hold the settings.
        """
        ...

    async def settings(self, name: str) -> Mapping[str, object] | None:
        """Return the settings of a campaign now; ``None`` if there is no such name."""
        ...

    async def settings_revision(self, name: str) -> SettingsRevision | None:
        """Return the settings of a campaign, with the count of their changes."""
        ...

    async def change_settings(
        self,
        name: str,
        settings: Mapping[str, object],
        *,
        revision: int,
        detail: str = "",
        by: str = "",
    ) -> bool:
        """Change a campaign's settings, unless they were changed since a revision.

        From then on `intend` permits no send by an earlier revision. Contacts that a rule of days,
        hours, counts or cost postponed are due at once, so that the new rules judge them.

        Args:
            name: The campaign.
            settings: All of its new settings.
            revision: The revision of the settings that they are made from.
            detail: What is changed, in words.
            by: Who changes it.

        Returns:
            False if the settings have another revision: nothing is changed.

        Raises:
            ConfigurationError: JSON cannot hold the settings.
        """
        ...

    async def campaigns(self) -> list[str]:
        """Return the names of all campaigns, oldest first."""
        ...

    async def set_status(self, name: str, status: str, why: str = "", *, by: str = "") -> None:
        """Ask all workers of a campaign to run, pause or stop.

        Args:
            name: The campaign.
            status: ``"running"``, ``"paused"`` or ``"stopped"`` (else `ConfigurationError`).
            why: The reason, in words.
            by: Who asks for it.
        """
        ...

    async def state(self, name: str) -> CampaignState:
        """Return the state of a campaign, in well under a second at a million contacts."""
        ...

    # -- contacts

    async def load(self, name: str, contacts: Iterable[NewContact], *, by: str = "") -> Loaded:
        """Add contacts, each number once in a campaign. The iterable may be huge, and lazy.

        It takes many transactions. If one fails, those before it stay: load the same contacts
        again, and known ones are left as they are.

        Raises:
            ConfigurationError: Something is not a `NewContact`, or cannot be kept.
        """
        ...

    async def withdraw(
        self, name: str, numbers: Iterable[SupportsIndex | str], *, by: str = "", why: str = ""
    ) -> Withdrawn:
        """Have contacts not be dialled any more, because a person decided so.

        A contact that is pending or claimed is blocked. Any other one keeps its state, since its
        phone may ring or may have rung; where it would be dialled again, by a retry, a proof or
        a redial plan, it is blocked instead. A decision of a person that names the contact
        takes that back, as does `reopen` with ``BLOCKED`` and its reason.

        Args:
            name: The campaign.
            numbers: The contacts' numbers, as people write them (else `InvalidCall`).
            by: Who withdraws them.
            why: The reason, in words.

        Returns:
            How many contacts were in which state, so that one knows who may still ring.
        """
        ...

    async def claim(self, name: str, worker: str, *, most: int, lease: float) -> list[Claim]:
        """Claim contacts that are due, longest due first, for ``lease`` seconds.

        No other worker gets them during the lease. None are given unless the campaign runs.
        """
        ...

    async def renew(self, worker: str, *, lease: float) -> int:
        """Lengthen the leases of all claims of a worker; return how many it holds."""
        ...

    async def release(self, claim: Claim, worker: str, *, not_before: float = 0.0) -> bool:
        """Release a contact that was not sent; return False if the claim was lost."""
        ...

    async def next_due(self, name: str) -> float | None:
        """Return when the next pending contact is due; ``None`` if none is pending."""
        ...

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
        """Put the intent to send on record unless a limit denies it, in one transaction.

        Args:
            claim: The contact.
            worker: The worker that sends.
            token: The send's own id.
            limits: The limits to check.
            fence: Within how many seconds the request must leave.
            lease: For how many seconds the send is this worker's; after that it is unknown.

        Returns:
            The intent; the decision of a rule, and the contact is pending again (``until``) or
            blocked; or ``None``: the claim was lost, and nothing may be sent. The rules
            ``campaign``, ``settings`` (their revision is not that of the limits), ``per_day``
            and ``cost`` postpone, and never block.

        Raises:
            StoreError: The intent may not be on record: nothing may be sent.
        """
        ...

    async def block(
        self, claim: Claim, worker: str, refusal: RuleDecision, *, revision: int | None = None
    ) -> bool:
        """Postpone or block a claimed contact by a campaign's rule; False if it was lost.

        If the settings have another ``revision`` by now, it returns False and changes nothing:
        their rules must judge the contact.
        """
        ...

    async def settle(self, token: str, outcome: SendResult) -> bool:
        """Put the result of a send on record; False if evidence or `reap` came first.

        A send that was reaped as unknown is still settled by a result of ``PLACED``.
        """
        ...

    async def reap(self, name: str) -> Reaped:
        """Take back contacts whose lease expired: claims are released, sends are unknown."""
        ...

    # -- evidence

    async def record_event(self, event: CallEvidence) -> str | None:
        """Record an event of a call: it was placed, and it may be over.

        It counts from any state but ``finished``. The send is found by its token, else by its
        ``request_id``.

        Returns:
            The campaign of the call; ``None`` if neither id is known here.
        """
        ...

    async def resolve_unknown(self, name: str, *, older_than: float, policy: str) -> int:
        """Move unknown contacts whose calls are proven absent; return how many.

        A call is proven absent if all of these hold:

        - ``older_than`` seconds have passed since its ``send_by``, and it had no event.
        - An event of another send of the campaign arrived in the half hour after that
          ``send_by``. TeleCMI sends a call's record again for half an hour, so a record of
          this call would have arrived, too.
        - No contact of the campaign that was sent to within half an hour of it still waits
          for its record.

        Args:
            name: The campaign.
            older_than: Seconds after which its events must have arrived.
            policy: ``"hold"`` does nothing; ``"retry_after_proof"`` makes contacts pending;
                ``"give_up"`` makes them failed. Anything else is a `ConfigurationError`.
        """
        ...

    async def redial_unknown(
        self,
        name: str,
        numbers: Iterable[SupportsIndex | str] | None = None,
        *,
        by: str = "",
    ) -> int:
        """Make unknown contacts pending because a person decided so; return how many.

        Args:
            name: The campaign.
            numbers: The contacts' numbers, as people write them (else `InvalidCall`); all
                unknown contacts that were not withdrawn if not given.
            by: Who decided it.
        """
        ...

    async def reopen(
        self,
        name: str,
        state: ContactState,
        numbers: Iterable[SupportsIndex | str] | None = None,
        *,
        reason: str = "",
        by: str = "",
    ) -> int:
        """Make rejected, failed or blocked contacts pending by a person's decision; return how many.

        Their attempts start again. A contact one of whose calls was answered, or may still ring,
        stays as it is. A contact that a rule blocked is blocked again if the rule still holds.

        Args:
            name: The campaign.
            state: ``REJECTED``, ``FAILED`` or ``BLOCKED`` (else `ConfigurationError`).
            numbers: The contacts' numbers, as people write them (else `InvalidCall`); all in
                that state that were not withdrawn if not given.
            reason: Only contacts whose reason contains this text, exactly as written. With
                ``BLOCKED`` and ``"withdrawn"``, those that were withdrawn.
            by: Who decided it.
        """
        ...

    async def redial_missed(
        self,
        name: str,
        waits: Sequence[float] | None,
        numbers: Iterable[SupportsIndex | str] | None = None,
        *,
        revision: int = 0,
        by: str = "",
    ) -> int:
        """Make finished contacts pending whose calls were not answered; return how many.

        Only a call's record proves that. A contact without one, or one of whose sends may still
        ring, stays as it is. Its attempts start again. A contact whose ``not_after`` would be
        over stays finished. Many workers may call it repeatedly: with waits and without numbers,
        it moves some thousand contacts at a time at most.

        Args:
            name: The campaign.
            waits: For the first, second, … redial of a contact, how many seconds after its record
                it is due. A contact with as many redials is left alone. ``None``: a person
                decided so, and all are due at once, however often they were dialled.
            numbers: The contacts' numbers, as people write them (else `InvalidCall`); all that
                were not withdrawn if not given.
            revision: The revision of the settings that have the waits. If it is another one by
                now, no contact is moved.
            by: Who decided it.
        """
        ...

    # -- shared limits

    async def advance_starts(self, keys: Sequence[tuple[str, float]], *, beyond: float) -> None:
        """Have starts that are due far in the future come due soon, because a person decided so.

        They are so far away because the clock was ahead, and was set back since.

        Args:
            keys: Pairs of a limit's name and in how many seconds its next start is due then.
            beyond: Only limits whose next start is due later than in so many seconds: a worker
                may have reserved a nearer one.
        """
        ...

    # -- do not call

    async def add_do_not_call(
        self, numbers: Iterable[SupportsIndex | str], source: str, *, by: str = ""
    ) -> int:
        """Add numbers to the do-not-call list of this ledger; return how many are new.

        Args:
            numbers: Numbers with their country codes, as people write them.
            source: Where they come from, in words: the reason why contacts are blocked.
            by: Who adds them.

        Raises:
            InvalidCall: Something is not a number. Those before it may be on the list.
        """
        ...

    async def remove_do_not_call(
        self, numbers: Iterable[SupportsIndex | str], *, by: str = ""
    ) -> int:
        """Remove numbers from the list; return how many were on it. They stay on record.

        Contacts that were blocked by it stay so: see `reopen`.

        Args:
            numbers: As for `add_do_not_call`.
            by: Who removes them.

        Raises:
            InvalidCall: Something is not a number. Those before it may be removed.
        """
        ...

    def do_not_call(self) -> AsyncGenerator[DoNotCallEntry]:
        """Iterate over the list, in the order of numbers; leave it early as `contacts`."""
        ...

    # -- reading

    def contacts(
        self, name: str, *, states: Sequence[ContactState] = ()
    ) -> AsyncGenerator[Contact]:
        """Iterate over contacts in the order of loading, without their histories.

        Leave the loop early only inside ``async with contextlib.aclosing(…)``.
        """
        ...

    def changes(self, name: str) -> AsyncGenerator[CampaignChange]:
        """Iterate over what was changed, and by whom, oldest first; leave it early as `contacts`.

        Changes of the ledger's do-not-call list are among them.
        """
        ...

    async def find(self, name: str, number: SupportsIndex | str) -> Contact | None:
        """Return one contact with its whole history; ``None`` if the campaign has no such one.

        Args:
            name: The campaign.
            number: The number with its country code, as people write it (else `InvalidCall`).
        """
        ...

"""What a campaign needs of whatever keeps its contacts.

A ledger is a database. It decides who dials whom: every transition is one guarded update, and an
update that changes no row means "you lost it, do not send". What it says is on disk when it says
it. Times are seconds since 1970 (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, Self

from attrs import field, frozen

from telecmi_async._internal.messages import mask
from telecmi_async.ledger.states import ContactState
from telecmi_async.pacing.shared import SharedLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from telecmi_async.ledger.contact import Loaded, NewContact

__all__ = [
    "CallEvidence",
    "CampaignState",
    "Claim",
    "Contact",
    "Intent",
    "Ledger",
    "Passage",
    "Reaped",
    "RuleDecision",
    "SendLimits",
    "SendResult",
]


@frozen(kw_only=True)
class Claim:
    """A contact that a worker holds.

    Args:
        contact: Its row.
        number: Whom to dial.
        columns: What else is known of it.
        epoch: Which claim of this contact it is; a later one makes it void.
        sends: How often it was sent before.
        not_after: When it is not fresh any more.
    """

    contact: int
    number: int = field(repr=mask)
    columns: Mapping[str, str] = field(repr=False)
    epoch: int
    sends: int
    not_after: float | None = None


@frozen(kw_only=True)
class CallEvidence:
    """What an event says of a call.

    Args:
        token: The token of its send, as it came back; ``None`` if it did not.
        request_id: TeleCMI's id of its request.
        at: When it came.
        over: Whether the call is over.
        answered: Whether somebody answered; ``None`` if the event does not say.
        talk_seconds: How long they talked, likewise.
        cost: What the call cost, likewise.
        detail: The event in a word or two, for people.
    """

    token: str | None
    request_id: str | None
    at: float
    over: bool = False
    answered: bool | None = None
    talk_seconds: int | None = None
    cost: float | None = None
    detail: str = ""


@frozen(kw_only=True)
class SendLimits:
    """What must hold at the moment of sending; it is looked at in the intent's transaction.

    Args:
        per_number: How many sends to one number, in all campaigns, within so many seconds:
            pairs of (count, seconds).
        per_day: How many sends of this campaign since ``day_began``; ``None`` for any number.
        cost: What its calls may have cost in all; ``None`` for any sum.
        day_began: When the campaign's day began.
        check_do_not_call: Whether the do-not-call list counts. It does, unless somebody says
            otherwise.
    """

    per_number: Sequence[tuple[int, float]] = ()
    per_day: int | None = None
    cost: float | None = None
    day_began: float = 0.0
    check_do_not_call: bool = True


@frozen(kw_only=True)
class RuleDecision:
    """Why a contact may not be dialled now.

    Args:
        rule: The rule's name: ``do_not_call``, ``per_number``, ``per_day``, ``cost``,
            ``not_fresh``, ``campaign`` (it was paused or stopped), or a rule of the engine's.
        reason: It in words, for people.
        until: When it may be tried again; ``None`` for never.
    """

    rule: str
    reason: str
    until: float | None = None


@frozen(kw_only=True)
class Intent:
    """That a request may leave, on record.

    Args:
        token: The send's own id, in the request and in its events.
        send_by: When it must have left; later, nothing may leave.
    """

    token: str
    send_by: float


@frozen(kw_only=True)
class SendResult:
    """What a send came to.

    Args:
        state: ``PLACED``, ``PENDING`` (not placed, to be tried again), ``REJECTED``, ``FAILED``
            or ``UNKNOWN``.
        detail: Why, in a few words without a number.
        request_id: TeleCMI's id, if it accepted the call.
        not_before: When to try again.
    """

    state: ContactState
    detail: str = ""
    request_id: str | None = None
    not_before: float = 0.0


@frozen(kw_only=True)
class Reaped:
    """What was found left behind.

    Args:
        released: Claims whose lease is over: pending again, for nothing was sent.
        unknown: Sends whose worker is gone: unknown.
    """

    released: int
    unknown: int


def _counted(counts: Mapping[ContactState, int]) -> str:
    return repr({str(state): count for state, count in counts.items() if count})


def _rounded(cost: float) -> str:
    return repr(round(cost, 4))


def _how_many(history: Sequence[Passage]) -> str:
    return f"<{len(history)} passages>"


_LEFT: Final = (ContactState.PENDING, ContactState.CLAIMED, ContactState.SENDING)


@frozen(kw_only=True)
class CampaignState:
    """A campaign as everybody sees it.

    Args:
        name: Its name.
        status: ``"running"``, ``"paused"`` or ``"stopped"``: what its workers are asked to do.
        why: Why, in words.
        counts: How many contacts are in each state; all states are there.
        sends: How many requests left, or may have left.
        cost: What its calls cost so far.
    """

    name: str
    status: str
    why: str
    counts: Mapping[ContactState, int] = field(repr=_counted)
    sends: int
    cost: float = field(repr=_rounded)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        status = f"{self.status} ({self.why})" if self.why else self.status
        return (
            f"{self.name}, {status}: {counts or 'no contacts'}; {self.sends} sends, "
            f"cost {_rounded(self.cost)}"
        )

    @property
    def total(self) -> int:
        """How many contacts it has."""
        return sum(self.counts.values())

    @property
    def left(self) -> int:
        """How many contacts are to be dialled, or are being dialled."""
        return sum(self.counts[state] for state in _LEFT)


@frozen(kw_only=True)
class Passage:
    """One thing that happened to a contact.

    Args:
        at: When.
        what: The move, or ``event``.
        detail: More about it: the rule, the outcome, the reason.
        token: The send it is about, if it is about one.
    """

    at: float
    what: str
    detail: str = ""
    token: str | None = None


@frozen(kw_only=True)
class Contact:
    """A contact as it stands, for people and exports.

    Times are seconds since 1970 (UTC). ``waits_until`` is when it may be dialled at the
    earliest, if something makes it wait.
    """

    number: int = field(repr=mask)
    state: ContactState = field(repr=str)
    reason: str
    sends: int
    columns: Mapping[str, str] = field(repr=False)
    request_id: str | None = None
    answered: bool | None = None
    talk_seconds: int | None = None
    cost: float | None = None
    sent_at: float | None = None
    finished_at: float | None = None
    waits_until: float | None = None
    history: Sequence[Passage] = field(factory=tuple[Passage, ...], repr=_how_many)


class Ledger(SharedLimits, Protocol):
    """Keeps the contacts of campaigns, for one process or many, and the limits that they share.

    An implementer must make every transition one guarded update in one transaction, durable
    before the method returns (a power loss after it must not lose it); must survive any number
    of workers and their sudden ends; and must turn what fails into a `StoreError`: no foreign
    exception may escape, and no message may hold a number, a column or a password.

    A ledger is an async context manager: entering it opens the database and brings its schema
    up to date.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def now(self) -> float:
        """Return the time by the ledger's own clock, which all workers share."""
        ...

    # -- campaigns

    async def create(self, name: str, settings: Mapping[str, object]) -> bool:
        """Begin a campaign; False if there is one of that name. It starts ``"running"``."""
        ...

    async def settings(self, name: str) -> Mapping[str, object] | None:
        """Return what a campaign was begun with; ``None`` if there is none of that name."""
        ...

    async def campaigns(self) -> list[str]:
        """Return the names of all campaigns, oldest first."""
        ...

    async def set_status(self, name: str, status: str, why: str = "") -> None:
        """Ask all workers of a campaign to run, pause or stop."""
        ...

    async def state(self, name: str) -> CampaignState:
        """Return how a campaign stands, in well under a second at a million contacts.

        Raises:
            ConfigurationError: There is none of that name.
        """
        ...

    # -- contacts

    async def load(self, name: str, contacts: Iterable[NewContact]) -> Loaded:
        """Add contacts, each number once in a campaign. The iterable may be huge, and lazy."""
        ...

    async def claim(self, name: str, worker: str, *, most: int, lease: float) -> list[Claim]:
        """Take contacts that are due, oldest first, for ``lease`` seconds.

        Nobody else gets them while the lease lasts. None are given unless the campaign runs.
        """
        ...

    async def renew(self, worker: str, *, lease: float) -> int:
        """Lengthen the leases of all claims a worker holds; return how many it holds."""
        ...

    async def release(self, claim: Claim, worker: str, *, not_before: float = 0.0) -> bool:
        """Give a contact back that was not sent; False if it was lost meanwhile."""
        ...

    async def next_due(self, name: str) -> float | None:
        """Return when the next pending contact is due; ``None`` if there is none pending."""
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
        """Put the intent to send on record, unless a limit forbids it: in one transaction.

        Args:
            claim: The contact.
            worker: Who sends.
            token: The send's own id.
            limits: What must hold.
            fence: Within how many seconds the request must leave.
            lease: For how many seconds the send is this worker's; then it is unknown.

        Returns:
            The intent; a refusal, and the contact is pending again (``until``) or blocked; or
            ``None``: the claim was lost, and nothing may be sent. What ``campaign``, ``per_day``
            and ``cost`` forbid may be allowed later, and is not blocked.
        """
        ...

    async def block(self, claim: Claim, worker: str, refusal: RuleDecision) -> bool:
        """Postpone or block a claimed contact by a rule of the engine's; False if it was lost."""
        ...

    async def settle(self, token: str, outcome: SendResult) -> bool:
        """Put on record what a send came to; False if an event was faster, or it was reaped.

        A send that was reaped as unknown is settled all the same by an outcome of ``PLACED``.
        """
        ...

    async def reap(self, name: str) -> Reaped:
        """Release and lose what workers left behind whose leases are over."""
        ...

    # -- evidence

    async def record_event(self, event: CallEvidence) -> str | None:
        """Note an event of a call: it was placed, and perhaps it is over.

        It counts from any state but ``finished``. It is found by its token, else by its
        ``request_id``.

        Returns:
            The campaign whose call it is; ``None`` if neither is known here.
        """
        ...

    async def resolve_unknown(self, name: str, *, older_than: float, policy: str) -> int:
        """Make unknown contacts pending whose calls are proven absent; return how many.

        Proof needs all of: ``older_than`` seconds have passed since its ``send_by``, and no
        event of it came; an event arrived of another send of the campaign, in the half hour
        after that ``send_by``, so that TeleCMI would have reached somebody with this one's
        record at last, which it sends again for half an hour; and no contact of the campaign
        that was sent to within half an hour of it waits for its record still.

        Args:
            name: The campaign.
            older_than: Seconds after which its events must have come.
            policy: ``"hold"`` does nothing; ``"retry_after_proof"`` makes them pending;
                ``"give_up"`` makes them failed.
        """
        ...

    async def redial_unknown(
        self, name: str, numbers: Iterable[int | str] | None = None
    ) -> int:
        """Make unknown contacts pending by somebody's decision; return how many.

        Args:
            name: The campaign.
            numbers: Whom, as people write them (else `InvalidCall`); all if not given.
        """
        ...

    # -- do not call

    async def add_do_not_call(self, numbers: Iterable[int | str], source: str) -> int:
        """Add numbers to the do-not-call list of this ledger; return how many are new.

        Args:
            numbers: With their country codes, as people write them.
            source: Where they come from, in words: it is the reason that contacts are blocked.

        Raises:
            InvalidCall: Something is no number. Those before it may be on the list.
        """
        ...

    # -- looking

    def contacts(
        self, name: str, *, states: Sequence[ContactState] = ()
    ) -> AsyncIterator[Contact]:
        """Iterate over contacts in the order of loading, without their histories."""
        ...

    async def find(self, name: str, number: int | str) -> Contact | None:
        """Return one contact with its whole history; ``None`` if the campaign has it not.

        Args:
            name: The campaign.
            number: Whose, with the country code, as people write it.

        Raises:
            InvalidCall: It is no number.
        """
        ...

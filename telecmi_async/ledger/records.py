"""Ledger records: what a ledger takes and returns. Times are seconds since 1970 (UTC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, SupportsIndex, cast

from attrs import field, frozen
from attrs.converters import optional

from telecmi_async._internal.characters import has_text
from telecmi_async._internal.messages import mask, shown, step
from telecmi_async._internal.time_zones import zone_named
from telecmi_async._internal.validators import is_number
from telecmi_async.errors import InvalidCall
from telecmi_async.ledger.states import STATE_MEANINGS, STATE_TONES, ContactState
from telecmi_async.ledger.status import CampaignStatus
from telecmi_async.phone import parse_number

#: The column of a contact's time zone, which overrides its country's.
ZONE_COLUMN: Final = "timezone"


def zone_of(columns: Mapping[str, str]) -> str:
    """Return the name in a contact's column of its time zone; empty if it has none."""
    zone = columns.get(ZONE_COLUMN, "").strip()
    return zone if has_text(zone) else ""


def _number(value: SupportsIndex | str) -> int:
    return parse_number(value)


def _moment(value: float | datetime) -> float:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.timestamp()
    if is_number(value):
        return float(value)
    raise InvalidCall(
        "must be a datetime with a time zone, or seconds since 1970 (UTC)",
        path="not_before, not_after",
    )


def _check_columns(_: object, __: object, columns: object) -> None:
    if not isinstance(columns, Mapping):
        raise InvalidCall(f"must be a mapping, not {shown(columns)}", path="columns")
    for name, text in cast("Mapping[object, object]", columns).items():
        if not isinstance(name, str):
            raise InvalidCall("must have names that are text", path="columns")
        if not isinstance(text, str):
            kind = type(text).__name__
            raise InvalidCall(f"must hold text, not {kind}", path=step("columns", name))
    zone = zone_of(cast("Mapping[str, str]", columns))
    if zone and zone_named(zone) is None:
        raise InvalidCall(
            "must be a time zone that this machine knows, such as Asia/Kolkata, not "
            f"{shown(zone)}",
            path=step("columns", ZONE_COLUMN),
        )


@frozen(kw_only=True)
class NewContact:
    """A contact to be loaded.

    Example:
        A person in New York, to be called by the end of the year::

            from datetime import UTC, datetime

            from telecmi_async.ledger import NewContact

            NewContact(
                number="+1 917 000 0001",
                columns={"name": "Asha", "timezone": "America/New_York"},
                not_after=datetime(2026, 12, 31, tzinfo=UTC),
            )

    Args:
        number: The number to dial, with the country code: an int, or a text as people write
            it. However it is written, the same number is the same person.
        columns: Other data by name, all of it text; it fills the flow's template. A column
            ``timezone`` holds a name of the tz database, and overrides the number's country.
        not_before: The earliest time to dial it: a `datetime` with a time zone, or seconds
            since 1970 (UTC).
        not_after: The latest time to dial it, likewise; ``None`` for no limit.

    Raises:
        InvalidCall: A value is invalid; its path names it.
    """

    number: int = field(converter=_number, repr=mask)
    columns: Mapping[str, str] = field(
        factory=dict[str, str], validator=_check_columns, repr=False
    )
    not_before: float = field(default=0.0, converter=_moment)
    not_after: float | None = field(default=None, converter=optional(_moment))


@frozen(kw_only=True)
class Loaded:
    """How many contacts were loaded.

    Args:
        added: The count of new contacts.
        known: The count of those already in the campaign; they are left as they are.
    """

    added: int
    known: int


@frozen(kw_only=True)
class Claim:
    """A contact that a worker holds for the time of a lease.

    Args:
        contact: The contact's row.
        number: The number to dial.
        columns: The contact's other data.
        epoch: The count of claims of this contact; a later claim makes this one void.
        sends: How often it was sent before.
        not_after: When it is too late to dial it.
        excused: How many of these sends do not count as attempts.
        redials: How often it was redialled because its call was not answered.
    """

    contact: int
    number: int = field(repr=mask)
    columns: Mapping[str, str] = field(repr=False)
    epoch: int
    sends: int
    not_after: float | None = None
    excused: int = 0
    redials: int = 0

    @property
    def attempts(self) -> int:
        """How many attempts were made before."""
        return self.sends - self.excused


@frozen(kw_only=True)
class Reaped:
    """How many contacts were taken back because a lease expired.

    Args:
        released: Claims without a send: the contacts are pending again.
        unknown: Sends without a result: they are unknown.
    """

    released: int
    unknown: int


def _rounded(cost: float | None) -> str:
    return repr(cost if cost is None else round(cost, 4))


@frozen(kw_only=True)
class CampaignState:
    """The state of a campaign.

    Args:
        name: Its name.
        status: What it is doing:

            - ``"dialling"``: contacts are left that may be dialled, by any worker that runs.
            - ``"waiting for a window"``: contacts are left, and its rules allow none of them
              to be dialled now.
            - ``"waiting for records"``: none is left, and the ends of calls may still arrive.
            - ``"done"``: none is left, and nothing more is awaited.
            - ``"paused"`` and ``"stopped"``: contacts are left, and that was asked.
        asked: What its workers are asked to do: ``"running"``, ``"paused"`` or ``"stopped"``.
        why: Why that was asked, in words.
        counts: How many contacts are in each state; all states are there.
        sends: How many requests left, or may have left.
        cost: What its calls cost, as far as that is known; ``None`` if it is known of none.
        unpriced: How many calls were placed, or may have been, whose cost is not known.
        revision: How often its settings were changed.
        ended: How many calls have a record that says whether they were answered.
        answered: How many of these were answered.
        talk_seconds: How long these calls talked, in all.
        waits_for: Why the contact that is due first has to wait: a rule and its reason, or why
            a request is repeated. Empty if it may be dialled now.
        at: When this was measured, by the ledger's clock.
        rate: Requests per second over the last minute, since the first request in it.
        last_start: When the last request left; ``None`` if none did.
        last_due: When the pending contact that waits longest may be dialled; ``None`` if no
            contact is pending.
        workers: How many workers hold a contact by a lease that is not over. The lease of a
            worker that was killed lasts up to a minute, that of its requests two. A worker that
            only waits holds none.
    """

    name: str
    status: CampaignStatus
    asked: str
    why: str
    counts: Mapping[ContactState, int] = field(
        repr=lambda counts: repr(
            {str(state): count for state, count in counts.items() if count}
        )
    )
    sends: int
    cost: float | None = field(repr=_rounded)
    unpriced: int = 0
    revision: int = field(default=0, repr=False)
    ended: int = 0
    answered: int = 0
    talk_seconds: int = 0
    waits_for: str = ""
    # What changes while nothing happens does not make two states different.
    at: float = field(default=0.0, eq=False)
    rate: float = field(default=0.0, eq=False, repr=lambda rate: f"{rate:.2f}")
    last_start: float | None = field(default=None, eq=False)
    last_due: float | None = field(default=None, eq=False)
    workers: int = field(default=0, eq=False)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {state}" for state, count in self.counts.items() if count)
        return (
            f"{self.name}, {self.doing}: {counts or 'no contacts'}; {self.sends} sends, "
            f"cost {self.cost_in_words()}"
        )

    def _repr_html_(self) -> str:
        from telecmi_async._internal import html  # noqa: PLC0415  # for notebooks only

        # What is done stands first, so that the bar grows from the left.
        counts = [
            (each, self.counts[each]) for each in reversed(ContactState) if self.counts[each]
        ]
        rows = [
            (html.tone_key(STATE_TONES[each], each), f"{count:,}", STATE_MEANINGS[each])
            for each, count in counts
        ]
        return html.card(
            f"Campaign {self.name}: {self.doing}",
            html.bar((each, STATE_TONES[each], count) for each, count in counts),
            html.grid(("state", "contacts", "meaning"), rows),
            html.fact_table(self._facts()),
        )

    def _facts(self) -> list[tuple[str, str]]:
        """Return what the card says below the counts of contacts."""
        facts = [("requests sent", f"{self.sends:,}"), ("cost", self.cost_in_words(2))]
        if self.rate and self.left:
            facts.append(("requests per second", f"{self.rate:.1f}"))
        if self.time_left is not None:
            facts.append(("time left", f"about {self.time_left / 60:,.0f} min"))
        if self.answer_rate is not None:
            facts += [
                ("answered", f"{self.answered:,} of {self.ended:,} ({self.answer_rate:.0%})"),
                ("talk time", f"{self.talk_seconds / 60:,.0f} min"),
            ]
        if self.status == "dialling":
            facts.append(("workers", f"{self.workers or 'none holds a contact'}"))
        return facts

    @property
    def doing(self) -> str:
        """The status in words, with the reason for it if there is one."""
        is_so = self.why and self.status == self.asked
        return f"{self.status} ({self.why})" if is_so else self.status

    def cost_in_words(self, places: int | None = None) -> str:
        """Return what its calls cost, and for how many that is not known.

        Args:
            places: How many decimal places are written.
        """
        if self.cost is None:
            return "unknown"
        known = _rounded(self.cost) if places is None else f"{self.cost:.{places}f}"
        calls = "1 call" if self.unpriced == 1 else f"{self.unpriced} calls"
        return f"{known}{f', unknown for {calls}' if self.unpriced else ''}"

    @property
    def answer_rate(self) -> float | None:
        """The share of ended calls that were answered; ``None`` if the end of none is known."""
        return self.answered / self.ended if self.ended else None

    @property
    def time_left(self) -> float | None:
        """About how many seconds dialling will take at the rate of the last minute.

        At least until the contact that waits longest may be dialled. ``None`` if that cannot be
        told: it is not dialled now, or no second request left in the last minute. Redials and
        retries that are not yet planned are not in it.
        """
        if self.status != "dialling" or not self.rate:
            return None
        return max(self.left / self.rate, (self.last_due or 0.0) - self.at)

    @property
    def live(self) -> int:
        """How many calls were placed whose record has not arrived; some of them may be over."""
        return self.counts[ContactState.PLACED]

    @property
    def unknown(self) -> int:
        """How many contacts have an unknown outcome: a phone may have rung."""
        return self.counts[ContactState.UNKNOWN]

    @property
    def total(self) -> int:
        """How many contacts it has."""
        return sum(self.counts.values())

    @property
    def left(self) -> int:
        """How many contacts are to be dialled, or are being dialled."""
        left = (ContactState.PENDING, ContactState.CLAIMED, ContactState.SENDING)
        return sum(self.counts[state] for state in left)


@frozen(kw_only=True)
class Passage:
    """One entry of a contact's history.

    Args:
        at: When it happened.
        what: The move, or ``event``.
        detail: The rule, the result or the reason.
        token: The send it belongs to, if there is one.
    """

    at: float
    what: str
    detail: str = ""
    token: str | None = None


@frozen(kw_only=True)
class Contact:
    """A contact as it stands, for people and exports.

    Times are seconds since 1970 (UTC). ``waits_until`` is the earliest time at which it may be
    dialled, if it has to wait. ``talk_seconds`` and ``cost`` are sums of what is known of its
    calls; ``None`` if nothing is. ``redials`` is how often it was redialled because its call was
    not answered.
    """

    number: int = field(repr=mask)
    state: ContactState = field(converter=ContactState, repr=str)
    reason: str
    sends: int
    columns: Mapping[str, str] = field(repr=False)
    request_id: str | None = None
    answered: bool | None = field(default=None, converter=optional(bool))
    talk_seconds: int | None = None
    cost: float | None = None
    sent_at: float | None = None
    finished_at: float | None = None
    waits_until: float | None = None
    redials: int = 0
    history: Sequence[Passage] = field(
        factory=tuple[Passage, ...], repr=lambda history: f"<{len(history)} passages>"
    )

    def _repr_html_(self) -> str:
        from telecmi_async._internal import html  # noqa: PLC0415  # for notebooks only

        known = {
            "state": html.tone_key(STATE_TONES[self.state], self.state),
            "meaning": STATE_MEANINGS[self.state],
            "requests sent": self.sends,
            "reason": self.reason or None,
            "answered": html.yes_or_no(self.answered),
            "redials": self.redials or None,
            "talk time in seconds": self.talk_seconds,
            "cost": None if self.cost is None else repr(round(self.cost, 4)),
            "waits until": None if self.waits_until is None else html.moment(self.waits_until),
            # Their names only: the values are the user's own.
            "columns": ", ".join(self.columns) or None,
            "request id": html.code_text(self.request_id) if self.request_id else None,
        }
        rows = [(name, value) for name, value in known.items() if value is not None]
        passages = [
            (html.moment(each.at), each.what.replace("_", " "), each.detail)
            for each in self.history
        ]
        heads = ("time (UTC)", "what", "detail")
        title = f"Contact {mask(self.number)}"
        return html.card(title, html.fact_table(rows), html.grid(heads, passages))

"""Changes: what people change of a campaign and of the do-not-call list, and who did it.

Times are seconds since 1970 (UTC).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from telecmi_async._internal.messages import mask
from telecmi_async.ledger.states import ContactState

# How a change is said in a sentence.
_SAID: Final = {
    "settings": "changed",
    "running": "resumed it",
    "paused": "paused it",
    "stopped": "stopped it",
    "load": "loaded {} contacts",
    "withdraw": "withdrew {} contacts",
    "add_do_not_call": "added {} numbers to the do-not-call list",
    "remove_do_not_call": "removed {} numbers from the do-not-call list",
    "redial_unknown": "had {} unknown contacts redialled",
    "redial_missed": "had {} missed contacts redialled",
    "reopen": "reopened {} contacts",
}
#: The field of `Withdrawn` that counts contacts in each state.
_WITHDRAWN: Final = {
    ContactState.PENDING: "blocked",
    ContactState.SENDING: "sending",
    ContactState.PLACED: "placed",
    ContactState.UNKNOWN: "unknown",
}


@frozen(kw_only=True)
class SettingsRevision:
    """The settings of a campaign as they are now.

    Args:
        number: How often they were changed.
        settings: The settings.
        original: Those that the campaign was created with.
    """

    number: int
    settings: Mapping[str, object]
    original: Mapping[str, object]


@frozen(kw_only=True)
class CampaignChange:
    """What a person, or a worker by a rule, changed.

    Args:
        at: When.
        by: Who, as it was given; empty if a program gave no name.
        what: ``"settings"``, ``"running"``, ``"paused"``, ``"stopped"``, ``"load"``,
            ``"withdraw"``, ``"add_do_not_call"``, ``"remove_do_not_call"``,
            ``"redial_unknown"``, ``"redial_missed"`` or ``"reopen"``.
        detail: What was changed from and to, or why, in words without a whole number.
        count: How many contacts, or numbers of the list; ``None`` if it is of neither.
    """

    at: float
    by: str
    what: str
    detail: str
    count: int | None

    def __str__(self) -> str:
        said = _SAID[self.what].format(f"{self.count or 0:,}")
        if self.count == 1:
            said = said.replace("contacts", "contact").replace("numbers", "number")
        return f"{self.by or 'a program'} {said}{f': {self.detail}' if self.detail else ''}"


@frozen(kw_only=True)
class Withdrawn:
    """What withdrawn contacts were doing; none of them is dialled again.

    Args:
        blocked: They were to be dialled, and are blocked.
        sending: Their request is on its way: their phone may ring.
        placed: TeleCMI has their call: their phone may ring.
        unknown: It is not known whether their phone rang.
        over: They were finished, rejected, failed or blocked before.
        missing: The campaign has no such contact.
    """

    blocked: int = 0
    sending: int = 0
    placed: int = 0
    unknown: int = 0
    over: int = 0
    missing: int = 0

    @property
    def may_ring(self) -> int:
        """How many of their phones may ring, or may have rung."""
        return self.sending + self.placed + self.unknown

    @property
    def total(self) -> int:
        """How many contacts were withdrawn."""
        return self.blocked + self.may_ring + self.over


@frozen(kw_only=True)
class DoNotCallEntry:
    """A number of the do-not-call list.

    Args:
        number: The number.
        source: Where it comes from, in words.
        at: When it was added.
        by: Who added it; empty if that was not given.
    """

    number: int = field(repr=mask)
    source: str
    at: float
    by: str


def withdrawn_from(counts: Mapping[str, int], numbers: int) -> Withdrawn:
    """Return the counts by state of so many numbers; those to be dialled count as pending."""
    named: Counter[str] = Counter()
    for state, count in counts.items():
        named[_WITHDRAWN.get(ContactState(state), "over")] += count
    return Withdrawn(**named, missing=numbers - named.total())


def words_of_withdrawal(by: str, why: str) -> str:
    """Return the reason of withdrawn contacts."""
    return f"withdrawn{f' by {by}' if by else ''}{f': {why}' if why else ''}"

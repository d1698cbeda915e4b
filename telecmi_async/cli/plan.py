"""Plan: what `dial` is about to do, shown before the first call, and the rows it leaves out."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from telecmi_async._internal.messages import mask_in, shown
from telecmi_async.campaigns import CampaignSettings
from telecmi_async.campaigns.contacts.export import mark
from telecmi_async.campaigns.contacts.files import Rejection, Survey, survey_rows
from telecmi_async.campaigns.contacts.flaw import Kind
from telecmi_async.campaigns.rules import contact_zones, time_span
from telecmi_async.cli.exits import Exit, Stop
from telecmi_async.cli.messages import plain_words
from telecmi_async.cli.output.progress import duration
from telecmi_async.cli.rows import (
    is_private,
    moment_words,
    number_for,
    say_row,
    say_wrapped,
    step_lines,
)
from telecmi_async.errors import ConfigurationError, InvalidCall
from telecmi_async.ledger import NewContact
from telecmi_async.pcmo.codec import dump_pcmo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telecmi_async.campaigns.contacts.files import ContactsFile
    from telecmi_async.cli.output.terminal import Terminal

_EXAMPLES: Final = 10
_FEW_WORDS: Final = (
    "{} have less than 8 hours a day, since the window is open only while it is in all time zones "
    "of their country: a column timezone, such as America/New_York, gives them the hours of "
    "their own"
)
_COUNTRIES: Final = 8
# With fewer hours of calling window a day, a list is not got through.
_FEW_HOURS: Final = 8.0
_UNKNOWN: Final = {
    "hold": "is not called again unless you say so",
    "retry_after_proof": "is called again once it is proven that none rang",
    "give_up": "is given up once it is proven that none rang",
}
_NO_WEBHOOKS: Final = (
    "none: you will not learn who answered, unless `hook listen` records events in this ledger "
    "elsewhere"
)
_REJECTED: Final = ("row", "kind", "reason", "text")


@frozen
class ToDial:
    """How many contacts are to be dialled, the campaign's in all, calls at most, new contacts."""

    count: int
    total: int
    calls: int
    new: int = 0


@define(kw_only=True)
class Plan:
    """A campaign, what its file holds, and what rules that need no ledger say of it now.

    ``country`` is that of numbers without its code, if one was given; ``target`` says where
    calls go, ``receives`` whether webhooks arrive here (``None``: that is for others to say), and ``forbidden`` who is not called.
    """

    name: str
    settings: CampaignSettings
    target: str
    country: str | None
    receives: bool | None
    forbidden: Sequence[int]
    survey: Survey = field(init=False)
    #: How many contacts may be dialled at once, and when the first of the others may be.
    open_now: int = field(default=0, init=False)
    opens: float | None = field(default=None, init=False)
    # How many contacts have no text in a column for which the flow has a default, and by column.
    _defaulted: int = field(default=0, init=False)
    _defaults: Counter[str] = field(factory=Counter[str], init=False)
    # How many contacts may be called for how many hours a day, and how many have few since their
    # country has several time zones.
    _hours: Counter[float] = field(factory=Counter[float], init=False)
    _short: int = field(default=0, init=False)
    _file_notes: tuple[str, ...] = field(default=(), init=False)
    # The first contact that can be dialled, and its row.
    _sample: tuple[int, NewContact] | None = field(default=None, init=False, repr=False)

    @property
    def calls_each(self) -> int:
        """The most calls that one contact may get."""
        redial = self.settings.redial
        return 1 if redial is None else 1 + redial.missed

    def read(self, file: ContactsFile, now: float) -> None:
        """Read a file once, and check each contact as the campaign would. It blocks.

        Raises:
            ConfigurationError: The file can no longer be read.
        """
        zones: Counter[tuple[str, ...]] = Counter()

        def judged() -> Iterator[tuple[int, NewContact | Rejection | None]]:
            for row, item in file.rows():
                if isinstance(item, NewContact):
                    self._sample = self._sample or (row, item)
                    self._judge(item, now)
                    zones[contact_zones(item.number, item.columns)] += 1
                yield row, item

        self.survey, self._file_notes = survey_rows(judged(), _EXAMPLES), file.notes
        if (window := self.settings.rules.window) is None:
            return
        few = min(_FEW_HOURS, round(window.hours_a_day(("UTC",), now), 1))
        for names, count in zones.items():
            hours = round(window.hours_a_day(names, now), 1)
            self._hours[hours] += count
            if len(names) > 1 and hours < few:
                self._short += count

    def _judge(self, contact: NewContact, now: float) -> None:
        refusal = self.settings.rules.judge(contact.number, contact.columns, now)
        if refusal is None:
            self.open_now += 1
        elif refusal.until is not None:
            self.opens = refusal.until if self.opens is None else min(self.opens, refusal.until)
        empty = self.settings.flow.empty(contact.columns)
        self._defaulted += bool(empty)
        self._defaults.update(empty)

    def as_json(self, to_dial: ToDial) -> dict[str, object]:
        """Return it for other programs."""
        rows, redial = self.survey, self.settings.redial
        return {
            "rows": rows.rows,
            "contacts": rows.contacts,
            "to_dial": to_dial.count,
            "calls_at_most": to_dial.calls,
            "redial_after": [] if redial is None else redial.waits,
            "open_now": self.open_now,
            "defaulted": self._defaulted,
            "defaults": {mask_in(name): n for name, n in self._defaults.most_common()},
            "rejected": {str(kind): n for kind, n in rows.rejected.items()},
            "rejected_rows": [
                {"row": each.row, "kind": str(each.kind), "reason": plain_words(each.reason)}
                for each in rows.examples
            ],
            "hours_a_day": {f"{hours:g}": n for hours, n in self._hours_a_day()},
        }

    def show(self, terminal: Terminal, to_dial: ToDial) -> None:
        """Show what is about to happen."""
        settings, pace, rows = self.settings, self.settings.pace, self.survey
        terminal.say(f"Campaign {self.name}:")
        most = list(rows.countries.items())[:_COUNTRIES]
        countries = ", ".join(f"{n} {each or '?'}" for each, n in most)
        others = len(rows.countries) - len(most)
        live = "" if pace.max_live_calls is None else f", at most {pace.max_live_calls} live"
        shortest = duration(to_dial.count / pace.calls_per_second)
        lines = {
            "target": self.target,
            "rows": f"{rows.rows}, of which {rows.contacts} can be dialled",
            "rejected": ", ".join(
                f"{n} {kind.replace('_', ' ')}" for kind, n in rows.rejected.items()
            ),
            "defaults": self._default_words(),
            "countries": f"{countries} and {others} more" if others else countries,
            "to dial": str(to_dial.count),
            "from": "" if settings.from_ is None else number_for(terminal, settings.from_),
            "flow": ", ".join(step_lines(terminal, settings.flow.dump())),
            "example": self._example(terminal),
            "pace": f"{pace.calls_per_second:g} a second{live}: at least {shortest}",
            "redials": self._redials(terminal),
            "at most": self._most(to_dial.calls),
            "unknown": f"whose phone may have rung {_UNKNOWN[settings.unknown]}",
            "window": "" if settings.rules.window else "any: phones may ring at any hour",
            "now": self._now(),
            "hours": ", ".join(
                f"{hours:g} a day for {n} contacts" for hours, n in self._hours_a_day()
            ),
        }
        for label, text in [*lines.items(), *self._more()]:
            if text:
                say_row(terminal, label, text)
            if label == "rejected":
                self._say_rejected(terminal)

    def _redials(self, terminal: Terminal) -> str:
        """Return when missed calls are redialled."""
        redial = self.settings.redial
        if redial is None:
            return ""
        waits = redial.waits if len(redial.after) > 1 else redial.waits[:1]
        more = "1 more call" if redial.missed == 1 else f"{redial.missed} more calls"
        callers = ", ".join(number_for(terminal, each) for each in redial.from_)
        return (
            f"up to {more} to those who do not answer, {', '.join(map(time_span, waits))} after the "
            f"last call ended{f', from {callers}' if callers else ''}"
        )

    def _most(self, calls: int) -> str:
        """Return what all calls come to at most, if some people are called more than once."""
        rules = self.settings.rules
        if self.settings.redial is None:
            return ""
        cost, until = "any cost (--max-cost limits it)", "at any time (--not-after limits it)"
        if rules.cost is not None:
            cost = f"a cost of {rules.cost.most:g}"
        if rules.not_after is not None:
            until = f"until {moment_words(rules.not_after)}"
        return f"{calls} calls, redials included; {cost}; {until}"

    def _say_rejected(self, terminal: Terminal) -> None:
        for each in self.survey.examples:
            said = f"row {each.row}: {plain_words(each.reason)}"
            say_wrapped(terminal, f"{'':13}{said}", 15)
        if hidden := sum(self.survey.rejected.values()) - len(self.survey.examples):
            terminal.say(f"{'':13}… and {hidden} more rows")

    def _hours_a_day(self) -> list[tuple[float, int]]:
        return sorted(self._hours.items(), reverse=True)

    def _default_words(self) -> str:
        """Return how many contacts the flow's defaults are used for."""
        if not self._defaulted:
            return ""
        columns = (f"{n} without {shown(name)}" for name, n in self._defaults.most_common())
        return f"used for {self._defaulted} contacts: {', '.join(columns)}"

    def _example(self, terminal: Terminal) -> str:
        """Return what one contact of the file hears; only the operator's own terminal shows it."""
        flow = self.settings.flow
        if self._sample is None or not flow.columns:
            return ""
        row, contact = self._sample
        if not is_private(terminal):
            return f"row {row}: on a terminal its text is shown, filled in from its columns"
        filled = step_lines(terminal, dump_pcmo(flow.fill(contact.columns)))
        return f"row {row}, {contact.number}: {', '.join(filled)}"

    def _now(self) -> str:
        """Return how many contacts may be called now, and when the others may."""
        others = self.survey.contacts - self.open_now
        if not others:
            return f"all {self.open_now} may be called at this time" if self._hours else ""
        if self.opens is None:
            return f"{self.open_now} may be called now, {others} never, by the rules below"
        return (
            f"{self.open_now} may be called now, {others} are outside their hours: the first of "
            f"them may be called at {moment_words(self.opens)}"
        )

    def _more(self) -> Iterator[tuple[str, str]]:
        """Yield rules, what users should know, and whether webhooks say how calls went."""
        rules = self.settings.rules
        yield from (("rule", rule) for rule in rules.describe())
        yield from (("note", note) for note in self._file_notes)
        if self._short:
            yield "note", _FEW_WORDS.format(self._short)
        if self.survey.rejected.get(Kind.NO_COUNTRY_CODE) and not self.country:
            yield "note", "--country 91, or another, reads numbers without a country code"
        if self.forbidden:
            yield "do not", f"call {len(self.forbidden)} more numbers"
        if self.receives:
            yield "webhooks", "received here: who answered, for how long, at what cost"
        if self.receives is not False:
            return
        yield "webhooks", _NO_WEBHOOKS
        if rules.cost is not None:
            yield "note", "without webhooks the cost of calls is unknown"
        if self.settings.pace.max_live_calls is not None:
            yield "note", "without webhooks a call counts as live for 91 minutes"


def check_columns(file: ContactsFile, settings: CampaignSettings) -> None:
    """Require that the file has the columns which the flow needs."""
    if file.number_column in settings.flow.columns:
        raise InvalidCall(
            f"needs the column {shown(file.number_column)}, which holds the numbers that are "
            "dialled, and no other data: give the file a second column with what is to be said",
            path="flow",
        )
    if file.columns:
        known = [name for name in file.columns if name != file.number_column]
        try:
            settings.flow.check(known)
        except InvalidCall as error:
            raise InvalidCall(
                f"{error.message} (in the contacts file)", path=error.path
            ) from None


def write_rejected(path: str, file: ContactsFile, contacts: str) -> None:
    """Write the rejected rows of a contacts file; only the user may read what was written.

    An earlier list at ``path`` is replaced, and no other file. If ``contacts``, the file's path,
    can be read again, the text of each row is written, too.
    """
    try:
        if Path(path).is_file() and not _is_list(path):
            raise Stop(Exit.USAGE, f"--rejected {path}: it exists, and is no list of rows")
        with open(
            path, "w", encoding="utf-8", newline="", opener=partial(os.open, mode=0o600)
        ) as target:
            Path(path).chmod(0o600)  # it may have existed
            writer = csv.writer(target)
            writer.writerow(_REJECTED)
            with Path(contacts if Path(contacts).is_file() else os.devnull).open(
                encoding=file.encoding, errors="replace"
            ) as lines:
                read = 0
                for row, item in file.rows():
                    if isinstance(item, Rejection):
                        text = next(islice(lines, row - read - 1, None), "").strip()
                        read = row
                        writer.writerow((row, item.kind, plain_words(item.reason), mark(text)))
    except OSError as error:
        raise ConfigurationError(f"--rejected: cannot write {path}: {error.strerror}") from None


def _is_list(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.readline().strip() in {b"", ",".join(_REJECTED).encode()}

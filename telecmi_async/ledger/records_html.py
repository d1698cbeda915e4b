"""Records in a notebook: a campaign's state and a contact as HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from telecmi_async._internal import html
from telecmi_async._internal.messages import mask
from telecmi_async.ledger.states import STATE_MEANINGS, STATE_TONES, ContactState

if TYPE_CHECKING:
    from telecmi_async.ledger.records import CampaignState, Contact


def state_html(state: CampaignState) -> str:
    """Return a campaign's state: a bar, and how many contacts are in each state."""
    # What is done stands first, so that the bar grows from the left.
    counts = [
        (each, state.counts[each]) for each in reversed(ContactState) if state.counts[each]
    ]
    rows = [
        (html.tone_key(STATE_TONES[each], each), f"{count:,}", STATE_MEANINGS[each])
        for each, count in counts
    ]
    return html.card(
        f"Campaign {state.name}: {state.doing}",
        html.bar((each, STATE_TONES[each], count) for each, count in counts),
        html.grid(("state", "contacts", "meaning"), rows),
        html.fact_table(
            [("requests sent", f"{state.sends:,}"), ("cost", state.cost_in_words(2))]
        ),
    )


def contact_html(contact: Contact) -> str:
    """Return a contact: its facts and its history, its number masked."""
    rows: list[tuple[str, object]] = [
        ("state", html.tone_key(STATE_TONES[contact.state], contact.state)),
        ("meaning", STATE_MEANINGS[contact.state]),
        ("requests sent", contact.sends),
    ]
    known = {
        "reason": contact.reason or None,
        "answered": None if contact.answered is None else "yes" if contact.answered else "no",
        "talked": None if contact.talk_seconds is None else f"{contact.talk_seconds} s",
        "cost": None if contact.cost is None else repr(round(contact.cost, 4)),
        "waits until": html.figure(_moment(contact.waits_until))
        if contact.waits_until
        else None,
        # Their names only: the values are the user's own.
        "columns": ", ".join(contact.columns) or None,
        "request id": html.code_text(contact.request_id) if contact.request_id else None,
    }
    rows += [(name, value) for name, value in known.items() if value is not None]
    passages = [
        (html.figure(_moment(each.at)), each.what.replace("_", " "), each.detail)
        for each in contact.history
    ]
    return html.card(
        f"Contact {mask(contact.number)}",
        html.fact_table(rows),
        html.grid(("time (UTC)", "what", "detail"), passages),
    )


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}"

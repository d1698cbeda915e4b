"""Where campaigns keep their contacts, so that nobody is dialled twice and nobody is lost."""

from __future__ import annotations

from telecmi_async.ledger.base import (
    CampaignState,
    Claim,
    Contact,
    Heard,
    Intent,
    Ledger,
    Limits,
    Outcome,
    Passage,
    Reaped,
    Refusal,
)
from telecmi_async.ledger.contact import Loaded, NewContact
from telecmi_async.ledger.postgres.ledger import PostgresLedger
from telecmi_async.ledger.sqlite.ledger import SqliteLedger
from telecmi_async.ledger.states import FINAL, MOVES, ContactState, Move, targets

__all__ = [
    "FINAL",
    "MOVES",
    "CampaignState",
    "Claim",
    "Contact",
    "ContactState",
    "Heard",
    "Intent",
    "Ledger",
    "Limits",
    "Loaded",
    "Move",
    "NewContact",
    "Outcome",
    "Passage",
    "PostgresLedger",
    "Reaped",
    "Refusal",
    "SqliteLedger",
    "targets",
]

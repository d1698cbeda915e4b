"""Where campaigns keep their contacts, so that nobody is dialled twice and nobody is lost."""

from __future__ import annotations

from telecmi_async.ledger.base import (
    CallEvidence,
    CampaignState,
    Claim,
    Contact,
    Intent,
    Ledger,
    Passage,
    Reaped,
    RuleDecision,
    SendLimits,
    SendResult,
)
from telecmi_async.ledger.contact import Loaded, NewContact
from telecmi_async.ledger.postgres.ledger import PostgresLedger
from telecmi_async.ledger.sqlite.ledger import SqliteLedger
from telecmi_async.ledger.states import FINAL, MOVES, ContactState, Move, targets

__all__ = [
    "FINAL",
    "MOVES",
    "CallEvidence",
    "CampaignState",
    "Claim",
    "Contact",
    "ContactState",
    "Intent",
    "Ledger",
    "Loaded",
    "Move",
    "NewContact",
    "Passage",
    "PostgresLedger",
    "Reaped",
    "RuleDecision",
    "SendLimits",
    "SendResult",
    "SqliteLedger",
    "targets",
]

"""Ledger: the durable record of campaigns, from which a run resumes without redialling anyone."""

from __future__ import annotations

from telecmi_async._internal.public_names import public_dir
from telecmi_async.ledger.changes import (
    CampaignChange,
    DoNotCallEntry,
    SettingsRevision,
    Withdrawn,
)
from telecmi_async.ledger.idempotency import IdempotencyKeys, KeyedCall, KeyState
from telecmi_async.ledger.postgres.ledger import PostgresLedger
from telecmi_async.ledger.postgres.load_request import load_request
from telecmi_async.ledger.protocol import Ledger
from telecmi_async.ledger.records import (
    CampaignState,
    Claim,
    Contact,
    Loaded,
    NewContact,
    Passage,
    Reaped,
)
from telecmi_async.ledger.send_records import (
    CallEvidence,
    Intent,
    RuleDecision,
    SendLimits,
    SendResult,
)
from telecmi_async.ledger.sqlite.ledger import SqliteLedger
from telecmi_async.ledger.states import MOVES, ContactState, Move
from telecmi_async.ledger.status import CampaignStatus

__all__ = [
    "MOVES",
    "CallEvidence",
    "CampaignChange",
    "CampaignState",
    "CampaignStatus",
    "Claim",
    "Contact",
    "ContactState",
    "DoNotCallEntry",
    "IdempotencyKeys",
    "Intent",
    "KeyState",
    "KeyedCall",
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
    "SettingsRevision",
    "SqliteLedger",
    "Withdrawn",
    "load_request",
]

__dir__ = public_dir(__name__, __all__)

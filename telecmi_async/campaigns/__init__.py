"""Bulk dialling that survives: campaigns with a ledger, rules, brakes and several workers."""

from __future__ import annotations

from telecmi_async.campaigns.campaign import Campaign
from telecmi_async.campaigns.outcome import Retries
from telecmi_async.campaigns.rules import CostCap, DailyCap, FrequencyCap, Rules
from telecmi_async.campaigns.settings import Pace, Settings, UnknownPolicy
from telecmi_async.campaigns.timeouts import Patience
from telecmi_async.campaigns.window import CallingWindow

__all__ = [
    "CallingWindow",
    "Campaign",
    "CostCap",
    "DailyCap",
    "FrequencyCap",
    "Pace",
    "Patience",
    "Retries",
    "Rules",
    "Settings",
    "UnknownPolicy",
]

"""Bulk dialling that survives: campaigns with a ledger, rules, brakes and several workers."""

from __future__ import annotations

from telecmi_async.campaign.campaign import Campaign
from telecmi_async.campaign.outcome import Retries
from telecmi_async.campaign.patience import Patience
from telecmi_async.campaign.rules import CostCap, DailyCap, FrequencyCap, Rules
from telecmi_async.campaign.settings import Pace, Settings, UnknownPolicy
from telecmi_async.campaign.template import Template
from telecmi_async.campaign.window import CallingWindow

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
    "Template",
    "UnknownPolicy",
]

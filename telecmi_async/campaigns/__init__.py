"""Bulk dialling that survives: campaigns with a ledger, rules, brakes and several workers."""

from __future__ import annotations

from telecmi_async.campaigns.campaign import Campaign
from telecmi_async.campaigns.outcome import Retries
from telecmi_async.campaigns.rules import CampaignRules, CostCap, DailyCap, FrequencyCap
from telecmi_async.campaigns.settings import CampaignSettings, Pace, UnknownPolicy
from telecmi_async.campaigns.timeouts import CampaignTimeouts
from telecmi_async.campaigns.window import CallingWindow

__all__ = [
    "CallingWindow",
    "Campaign",
    "CampaignRules",
    "CampaignSettings",
    "CampaignTimeouts",
    "CostCap",
    "DailyCap",
    "FrequencyCap",
    "Pace",
    "Retries",
    "UnknownPolicy",
]

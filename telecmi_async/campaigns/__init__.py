"""Campaigns: durable bulk dialling from a ledger, with rules, pacing and several workers."""

from __future__ import annotations

from telecmi_async._internal.public_names import public_dir
from telecmi_async.campaigns.campaign import Campaign
from telecmi_async.campaigns.change import change_settings
from telecmi_async.campaigns.redial import Redial
from telecmi_async.campaigns.rules import CampaignRules, CostCap, DailyCap, FrequencyCap
from telecmi_async.campaigns.settings import (
    CampaignSettings,
    CampaignTimeouts,
    Pace,
    Retries,
    UnknownPolicy,
)
from telecmi_async.campaigns.window import CallingWindow
from telecmi_async.campaigns.zones import country_of, zones_of

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
    "Redial",
    "Retries",
    "UnknownPolicy",
    "change_settings",
    "country_of",
    "zones_of",
]

__dir__ = public_dir(__name__, __all__)

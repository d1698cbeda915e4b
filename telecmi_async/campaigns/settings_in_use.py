"""Settings in use: what a worker and all its parts go by at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async.campaigns.settings import CampaignSettings

if TYPE_CHECKING:
    from telecmi_async.ledger.changes import SettingsRevision


class SettingsInUse:
    """The settings of a campaign, and the revision that they have in its ledger.

    Only the worker replaces them; its parts keep no copy.
    """

    __slots__ = ("revision", "value")

    def __init__(self, settings: CampaignSettings) -> None:
        self.value = settings
        self.revision = 0

    def take(self, kept: SettingsRevision) -> None:
        """Go by those of the ledger from now on.

        Raises:
            ConfigurationError: This version of the package cannot read them.
        """
        self.value = CampaignSettings.parse(kept.settings)
        self.revision = kept.number

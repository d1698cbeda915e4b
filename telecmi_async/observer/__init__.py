"""Observer: methods of yours that are called as calls, webhooks and campaigns go on.

Subclass `Observer`, override what you need, and hand it over: ``CallService(…, observer=…)`` and
``Receiver(…, observer=…)``. A campaign uses the observer of its service.

`telecmi_async.telemetry` has one that makes OpenTelemetry's spans and metrics.
"""

from __future__ import annotations

from telecmi_async.observer.hooks import (
    CallEnd,
    ObservedCall,
    ObservedCampaign,
    ObservedDelivery,
    Observer,
    ServiceReading,
)

__all__ = [
    "CallEnd",
    "ObservedCall",
    "ObservedCampaign",
    "ObservedDelivery",
    "Observer",
    "ServiceReading",
]

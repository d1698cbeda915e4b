"""Observer: methods of yours that are called as calls, webhooks and campaigns go on.

Subclass `Observer`, override what you need, and hand it over: ``CallService(…, observer=…)`` and
``Receiver(…, observer=…)``. A campaign uses the observer of its service.

Example:
    Count how calls end::

        from collections import Counter

        from telecmi_async.observer import ObservedCall, Observer


        class Outcomes(Observer):
            def __init__(self):
                self.counts = Counter()

            def call_settled(self, call: ObservedCall) -> None:
                self.counts[call.status] += 1

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

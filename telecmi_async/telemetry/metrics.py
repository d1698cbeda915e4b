"""Metrics: the names, units and labels of all that is measured.

Names follow OpenTelemetry's conventions; it has none for telephony, so ours begin with
``telecmi.``. Prometheus shows them with underscores, the unit and ``_total``.
"""

from __future__ import annotations

from typing import Final, Literal

import attrs


@attrs.frozen
class Metric:
    """One metric.

    Args:
        name: Its name.
        kind: ``"counter"``, ``"histogram"`` or ``"gauge"``.
        unit: Its unit, as UCUM writes it. Never ``"1"``: some exporters for Prometheus would
            add ``_ratio`` to the name, and others not.
        description: What it measures.
        labels: The names of its labels. Each has few values, and none holds a number dialled.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    labels: tuple[str, ...] = ()


REGION: Final = "telecmi.region"
OUTCOME: Final = "telecmi.outcome"
VERDICT: Final = "telecmi.verdict"
STATUS: Final = "http.response.status_code"
ANSWERED: Final = "telecmi.answered"
CAMPAIGN: Final = "telecmi.campaign"
CONTACT_STATE: Final = "telecmi.contact.state"
CAMPAIGN_STATUS: Final = "telecmi.campaign.status"
DELIVERY: Final = "telecmi.delivery"

CALLS: Final = Metric(
    "telecmi.calls",
    "counter",
    "{call}",
    "Calls whose placing ended, by outcome; of unknown ones a phone may have rung.",
    (OUTCOME, REGION),
)
WAITING_TIME: Final = Metric(
    "telecmi.call.waiting",
    "histogram",
    "s",
    "From make_call to the call's first request: rate limits and free slots.",
    (REGION,),
)
ATTEMPT_TIME: Final = Metric(
    "telecmi.attempt.duration",
    "histogram",
    "s",
    "From a request's turn to the verdict on it.",
    (VERDICT, STATUS, REGION),
)
TALK_TIME: Final = Metric(
    "telecmi.call.talk_time",
    "histogram",
    "s",
    "How long callees talked, by the records of first legs.",
    (ANSWERED,),
)
COST: Final = Metric(
    "telecmi.call.cost",
    "counter",
    "{credit}",
    "What legs cost by their records, in a currency TeleCMI does not name.",
)
PAUSES: Final = Metric(
    "telecmi.pauses", "counter", "{pause}", "Pauses of all calls that TeleCMI asked for."
)
DELIVERIES: Final = Metric(
    "telecmi.webhook.deliveries",
    "counter",
    "{delivery}",
    "Requests to the receiver, or events in them, by what became of them.",
    (DELIVERY,),
)
LAG: Final = Metric(
    "telecmi.webhook.lag",
    "histogram",
    "s",
    "From an event's own time to its first delivery.",
)
CALLS_WAITING: Final = Metric(
    "telecmi.calls.waiting", "gauge", "{call}", "Calls that wait for their turn or a retry."
)
IN_FLIGHT: Final = Metric(
    "telecmi.requests.in_flight", "gauge", "{request}", "Requests that wait for a reply."
)
LIVE: Final = Metric(
    "telecmi.channels.live", "gauge", "{call}", "Channels in use, by calls that may be live."
)
LIVE_LIMIT: Final = Metric(
    "telecmi.channels.limit", "gauge", "{call}", "How many calls may be live (max_live_calls)."
)
RETRIES_LEFT: Final = Metric(
    "telecmi.retry_budget.remaining",
    "gauge",
    "{retry}",
    "How many failures in a row may still be repeated.",
)
CONTACTS: Final = Metric(
    "telecmi.campaign.contacts",
    "gauge",
    "{contact}",
    "Contacts of a campaign by state, in the whole ledger.",
    (CAMPAIGN, CONTACT_STATE),
)
ANSWER_RATE: Final = Metric(
    "telecmi.campaign.answer_rate",
    "gauge",
    "{fraction}",
    "Which part of a campaign's ended calls was answered.",
    (CAMPAIGN,),
)
CAMPAIGN_COST: Final = Metric(
    "telecmi.campaign.cost",
    "gauge",
    "{credit}",
    "What a campaign's calls cost so far.",
    (CAMPAIGN,),
)
CAMPAIGN_UNKNOWN: Final = Metric(
    "telecmi.campaign.unknown",
    "gauge",
    "{contact}",
    "Contacts of a campaign of whom it is not known whether a phone rang.",
    (CAMPAIGN,),
)
CAMPAIGN_RATE: Final = Metric(
    "telecmi.campaign.rate",
    "gauge",
    "{call}/s",
    "Requests per second of a campaign over the last minute, of all workers.",
    (CAMPAIGN,),
)
CAMPAIGN_LIMIT: Final = Metric(
    "telecmi.campaign.live_limit",
    "gauge",
    "{call}",
    "How many calls of a campaign may be live; its contacts in state placed are those that are.",
    (CAMPAIGN,),
)
DOING: Final = Metric(
    CAMPAIGN_STATUS,
    "gauge",
    "{flag}",
    "1 for what a campaign is doing now.",
    (CAMPAIGN, CAMPAIGN_STATUS),
)
BREAKER_OPEN: Final = Metric(
    "telecmi.campaign.breaker_open",
    "gauge",
    "{flag}",
    "1 while a worker's circuit breaker is open.",
    (CAMPAIGN,),
)
SLOWDOWN: Final = Metric(
    "telecmi.campaign.slowdown",
    "gauge",
    "{fraction}",
    "Which part of a campaign's rate a worker allows after refusals; 1 without any.",
    (CAMPAIGN,),
)

#: All metrics.
METRICS: Final = (
    CALLS,
    WAITING_TIME,
    ATTEMPT_TIME,
    TALK_TIME,
    COST,
    PAUSES,
    DELIVERIES,
    LAG,
    CALLS_WAITING,
    IN_FLIGHT,
    LIVE,
    LIVE_LIMIT,
    RETRIES_LEFT,
    CONTACTS,
    ANSWER_RATE,
    CAMPAIGN_COST,
    CAMPAIGN_UNKNOWN,
    CAMPAIGN_RATE,
    CAMPAIGN_LIMIT,
    DOING,
    BREAKER_OPEN,
    SLOWDOWN,
)

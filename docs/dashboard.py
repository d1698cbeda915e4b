"""Writes the Grafana dashboard, docs/monitoring/telecmi-dashboard.json: ``python docs/dashboard.py``.

It is built from the tables below with Grafana's own library. A test compares the file with them.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models

FILE: Final = Path(__file__).with_name("monitoring") / "telecmi-dashboard.json"

_SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: Selects what the variables at the top of the dashboard select.
_JOB: Final = 'job=~"$job"'
_CAMPAIGN: Final = f'{_JOB}, telecmi_campaign=~"$campaign"'
_RATE: Final = "$__rate_interval"
_RED_ABOVE_ZERO: Final = ((None, "green"), (0.000001, "red"))


class Panel(NamedTuple):
    """A panel.

    Args:
        title: What stands above it.
        queries: Each a legend and its PromQL.
        description: What it shows, and what to look for.
        unit: Of its values, as Grafana names it.
        kind: ``lines``, ``areas`` (stacked), ``stat`` or ``states``.
        width: Of 24 columns.
        steps: From which value on it has which colour.
        most: The end of its scale.
        decimals: So many digits are shown behind the point.
    """

    title: str
    queries: tuple[tuple[str, str], ...]
    description: str
    unit: str = "short"
    kind: str = "lines"
    width: int = 8
    steps: tuple[tuple[float | None, str], ...] = ()
    most: float | None = None
    decimals: int | None = None


def _percentiles(name: str, more: str = "") -> tuple[tuple[str, str], ...]:
    """Return queries for three percentiles of a histogram."""
    buckets = f"sum by (le) (rate({name}_seconds_bucket{{{_JOB}{more}}}[{_RATE}]))"
    return tuple(
        (f"p{share * 100:g}", f"histogram_quantile({share}, {buckets})")
        for share in (0.5, 0.95, 0.99)
    )


def _per_minute(counter: str, by: str) -> tuple[tuple[str, str], ...]:
    """Return a query for how much a counter rises in a minute, by some labels."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return ((legend, f"sum by ({by}) (rate({counter}{{{_JOB}}}[{_RATE}])) * 60"),)


def _each_worker_says_the_same(name: str, more: str = "", by: str = "telecmi_campaign") -> str:
    """Return the value of a campaign, which each of its workers reports for all of them."""
    return f"max by ({by}) ({name}{{{_CAMPAIGN}{more}}})"


_CONTACTS: Final = "telecmi_campaign_contacts"
_DELIVERIES: Final = "telecmi_webhook_deliveries_total"
_A_MINUTE: Final = "suffix:/min"

ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "At a glance": (
        Panel(
            "Calls placed",
            (("", f'sum(increase(telecmi_calls_total{{{_JOB}, telecmi_outcome="progress"}}[$__range])) or vector(0)'),),
            "Calls that TeleCMI accepted in the time shown.",
            kind="stat", width=4, decimals=0,
        ),
        Panel(
            "Unknown contacts",
            (("", f"sum({_each_worker_says_the_same('telecmi_campaign_unknown')})"),),
            "Contacts whose phone may have rung, and it is not known whether it did. They are not "
            "called again unless a person or the campaign's settings decide that.",
            kind="stat", width=4, steps=_RED_ABOVE_ZERO,
        ),
        Panel(
            "Answer rate",
            (("", f"avg({_each_worker_says_the_same('telecmi_campaign_answer_rate')})"),),
            "Of the calls that ended, the part that was answered; the average of the campaigns.",
            unit="percentunit", kind="stat", width=4, decimals=0,
        ),
        Panel(
            "Cost of campaigns",
            (("", f"sum({_each_worker_says_the_same('telecmi_campaign_cost')})"),),
            "What the calls of the campaigns cost so far, in the currency of the account.",
            kind="stat", width=4, decimals=2,
        ),
        Panel(
            "Circuit breakers open",
            (("", f"sum({_each_worker_says_the_same('telecmi_campaign_breaker_open')})"),),
            "Campaigns with a worker that sends only probes: TeleCMI cannot be reached, or too many "
            "sends ended unknown.",
            kind="stat", width=4, steps=_RED_ABOVE_ZERO,
        ),
        Panel(
            "Forged webhooks",
            (("", f'sum(increase({_DELIVERIES}{{{_JOB}, telecmi_delivery="forged"}}[$__range])) or vector(0)'),),
            "Events with the right token and a reference that this account did not make.",
            kind="stat", width=4, decimals=0, steps=_RED_ABOVE_ZERO,
        ),
    ),
    "Calls": (
        Panel(
            "Calls by outcome",
            _per_minute("telecmi_calls_total", "telecmi_outcome"),
            "Placed calls, per minute. progress: TeleCMI accepted the call. unknown: a phone may "
            "have rung. All others: no phone rang.",
            unit=_A_MINUTE, kind="areas",
        ),
        Panel(
            "Calls by region",
            _per_minute("telecmi_calls_total", "telecmi_region"),
            "Placed calls by TeleCMI's endpoint, per minute.",
            unit=_A_MINUTE, kind="areas",
        ),
        Panel(
            "Requests by verdict and status",
            _per_minute("telecmi_attempt_duration_seconds_count", "telecmi_verdict, http_response_status_code"),
            "Requests to TeleCMI, per minute. A call has several if it is retried. Without a status "
            "no reply came.",
            unit=_A_MINUTE, kind="areas",
        ),
        Panel(
            "Time until the first request",
            _percentiles("telecmi_call_waiting"),
            "How long calls wait for the rate limit, a free slot or a free channel.",
            unit="s", width=6,
        ),
        Panel(
            "Time of a request",
            _percentiles("telecmi_attempt_duration"),
            "From a request's turn to the verdict on it.",
            unit="s", width=6,
        ),
        Panel(
            "Talk time of answered calls",
            _percentiles("telecmi_call_talk_time", ', telecmi_answered="true"'),
            "By the records of the first legs.",
            unit="s", width=6,
        ),
        Panel(
            "Cost per hour",
            (("cost", f"sum(rate(telecmi_call_cost_total{{{_JOB}}}[{_RATE}])) * 3600"),),
            "What all calls cost, by their records, in the currency of the account.",
            width=6, decimals=2,
        ),
    ),
    "Limits": (
        Panel(
            "Waiting and in flight",
            (
                ("waiting", f"sum(telecmi_calls_waiting{{{_JOB}}})"),
                ("in flight", f"sum(telecmi_requests_in_flight{{{_JOB}}})"),
            ),
            "Calls that wait for their turn or a retry, and requests that wait for a reply.",
            width=6,
        ),
        Panel(
            "Live channels against the limit",
            (
                ("live", f"sum(telecmi_channels_live{{{_JOB}}})"),
                ("limit", f"sum(telecmi_channels_limit{{{_JOB}}})"),
                ("{{telecmi_campaign}}: live", _each_worker_says_the_same(_CONTACTS, ', telecmi_contact_state="placed"')),
                ("{{telecmi_campaign}}: limit", _each_worker_says_the_same("telecmi_campaign_live_limit")),
            ),
            "Calls that may be live, and how many there may be: of services, and of campaigns. At "
            "the limit, the next call waits until one ends.",
            width=6,
        ),
        Panel(
            "Pauses",
            (("pauses", f"sum(rate(telecmi_pauses_total{{{_JOB}}}[{_RATE}])) * 60"),),
            "How often TeleCMI asked for a pause (429, or Retry-After), per minute. Lower the rate "
            "if it is often.",
            unit=_A_MINUTE, width=6,
        ),
        Panel(
            "Retry budget",
            (("{{instance}}", f"min by (instance) (telecmi_retry_budget_remaining{{{_JOB}}})"),),
            "How many failures in a row may still be repeated. At 0, calls fail at their first "
            "failure, so that an outage is not made worse.",
            width=6,
        ),
    ),
    "Campaigns": (
        Panel(
            "Contacts by state",
            (("{{telecmi_contact_state}}", f"sum by (telecmi_contact_state) ({_each_worker_says_the_same(_CONTACTS, by='telecmi_campaign, telecmi_contact_state')})"),),
            "Of the campaigns that are chosen above.",
            kind="areas", width=12,
        ),
        Panel(
            "What campaigns are doing",
            (("{{telecmi_campaign}}: {{telecmi_campaign_status}}", _each_worker_says_the_same("telecmi_campaign_status", by="telecmi_campaign, telecmi_campaign_status")),),
            "A line where a campaign is in a state. One that is paused although it was not asked to "
            "be has paused itself: the log says why.",
            kind="states", width=12,
        ),
        Panel(
            "Requests per second",
            (("{{telecmi_campaign}}", _each_worker_says_the_same("telecmi_campaign_rate_per_second")),),
            "Over the last minute, of all workers.",
            unit="reqps",
        ),
        Panel(
            "Answer rate by campaign",
            (("{{telecmi_campaign}}", _each_worker_says_the_same("telecmi_campaign_answer_rate")),),
            "Of the calls that ended, the part that was answered.",
            unit="percentunit", most=1,
        ),
        Panel(
            "Cost by campaign",
            (("{{telecmi_campaign}}", _each_worker_says_the_same("telecmi_campaign_cost")),),
            "What the calls of a campaign cost so far, in the currency of the account.",
        ),
        Panel(
            "Unknown contacts by campaign",
            (("{{telecmi_campaign}}", _each_worker_says_the_same("telecmi_campaign_unknown")),),
            "A step means that workers were killed, or that TeleCMI's replies were lost.",
        ),
        Panel(
            "Circuit breaker",
            (("{{telecmi_campaign}}", _each_worker_says_the_same("telecmi_campaign_breaker_open")),),
            "1 while a worker sends only probes.",
            most=1,
        ),
        Panel(
            "Allowed part of the rate",
            (("{{telecmi_campaign}}", f"min by (telecmi_campaign) (telecmi_campaign_slowdown{{{_CAMPAIGN}}})"),),
            "Below 1 a worker slows down because TeleCMI refused requests; of several workers the "
            "slowest is shown.",
            unit="percentunit", most=1,
        ),
    ),
    "Webhooks": (
        Panel(
            "Deliveries",
            _per_minute(_DELIVERIES, "telecmi_delivery"),
            "What the receiver made of what it was sent, per minute. duplicates: TeleCMI sends "
            "events more than once.",
            unit=_A_MINUTE, kind="areas",
        ),
        Panel(
            "Deliveries that went wrong",
            (("{{telecmi_delivery}}", f'sum by (telecmi_delivery) (increase({_DELIVERIES}{{{_JOB}, telecmi_delivery=~"forged|refused|unreadable|deferred"}}[{_RATE}]))'),),
            "forged: a wrong reference. refused: a wrong token or method. unreadable: no event. "
            "deferred: the store or the handlers were too slow, and TeleCMI must send it again.",
        ),
        Panel(
            "Lag",
            _percentiles("telecmi_webhook_lag"),
            "From an event's own time to its first delivery. It depends on the clock of this "
            "machine, too.",
            unit="s",
        ),
    ),
}  # fmt: skip


def dashboard_as_json() -> str:
    """Return the dashboard, as Grafana imports it."""
    built = (
        dashboard.Dashboard("telecmi_async: calls, campaigns, webhooks")
        .uid("telecmi-async")
        .description("Calls through TeleCMI, by telecmi_async.")
        .tags(["telecmi", "telephony"])
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .editable()
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(_values("job", "Job", "telecmi_calls_waiting", "telecmi_webhook_deliveries_total"))
        .with_variable(_values("telecmi_campaign", "Campaign", _CONTACTS).name("campaign"))
    )  # fmt: skip
    ids = count(1)
    for title, panels in ROWS.items():
        built.with_row(dashboard.Row(title).id(next(ids)))
        for panel in panels:
            built.with_panel(_built(panel).id(next(ids)))
    return f"{JSONEncoder(sort_keys=True, indent=2).encode(built.build())}\n"


def _values(label: str, title: str, *metrics: str) -> dashboard.QueryVariable:
    """Return a variable with the values that a label has."""
    names = "|".join(metrics)
    chosen = metrics[0] if len(metrics) == 1 else f'{{__name__=~"{names}"}}'
    return (
        dashboard.QueryVariable(label)
        .label(title)
        .datasource(_SOURCE)
        .query(f"label_values({chosen}, {label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def _built(panel: Panel) -> stat.Panel | statetimeline.Panel | timeseries.Panel:
    made: stat.Panel | statetimeline.Panel | timeseries.Panel
    match panel.kind:
        case "stat":
            reduced = common.ReduceDataOptions().calcs(["lastNotNull"])
            made = stat.Panel().reduce_options(reduced).height(4).no_value("-")
        case "states":
            made = statetimeline.Panel().height(8).show_value(shapes.VisibilityMode.NEVER)
        case kind:
            made = _lines(stacked=kind == "areas")
    made.title(panel.title).description(panel.description).unit(panel.unit)
    made.span(panel.width).datasource(_SOURCE).min(0)
    if panel.most is not None:
        made.max(panel.most)
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    steps = [models.Threshold(value, colour) for value, colour in panel.steps]
    if steps:
        made.thresholds(
            dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
        )
    for place, (legend, query) in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query).legend_format(legend)
        target.ref_id(chr(ord("A") + place)).datasource(_SOURCE)
        made.with_target(target.instant() if panel.kind == "stat" else target.range())
    return made


def _lines(*, stacked: bool) -> timeseries.Panel:
    legend = (
        common.VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(shapes.LegendDisplayMode.LIST)
        .placement(shapes.LegendPlacement.BOTTOM)
    )
    made = timeseries.Panel().height(8).legend(legend).line_width(1)
    made.fill_opacity(30 if stacked else 0).show_points(shapes.VisibilityMode.NEVER)
    made.tooltip(
        common.VizTooltipOptions()
        .mode(shapes.TooltipDisplayMode.MULTI)
        .sort(shapes.SortOrder.DESCENDING)
    )
    if stacked:
        made.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A"))
    return made


if __name__ == "__main__":
    FILE.write_text(dashboard_as_json(), encoding="utf-8")

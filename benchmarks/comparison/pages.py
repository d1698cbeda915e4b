"""Draws what was measured: Markdown tables with the ratios first, and plots as SVG.

It reads the file that ``compare.py`` writes. The same file gives the same bytes.
"""

from __future__ import annotations

import math
import statistics
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

LABELS = {
    "own": "telecmi_async",
    "own-httpx": "telecmi_async, httpx handed in",
    "own-httpx2": "telecmi_async, httpx2 handed in",
    "own-httpx-aiohttp": "telecmi_async, httpx-aiohttp handed in",
    "aiohttp": "bare aiohttp",
    "pyreqwest": "pyreqwest (Rust)",
    "twilio": "Twilio's async client",
    "httpx": "httpx, a semaphore before it",
    "httpx-gathered": "httpx, gathered",
    "httpx-aiohttp": "httpx over httpx-aiohttp",
    "httpx2": "httpx2",
    "openai": "openai",
    "telnyx": "telnyx",
    "piopiy-1.0": "piopiy 1.0, threads",
    "piopiy-1.2": "piopiy 1.2, threads",
}
BEGIN, END = "<!-- written by `nox -s bench` -->", "<!-- up to here -->"


class Setting(NamedTuple):
    """Under which conditions clients are compared."""

    latency_ms: int
    tls: bool
    in_flight: int

    @property
    def group(self) -> str:
        return f"{'TLS' if self.tls else 'Plain HTTP'}, {self.latency_ms} ms"


class Figures:
    """The medians of all rounds, and ratios of the same round."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.about: dict[str, Any] = found["about"]
        self.gathered: dict[str, Any] | None = found.get("gathered")
        self._rounds: dict[tuple[Setting, str], list[dict[str, Any] | None]] = {}
        self.failures: dict[tuple[str, str], list[str]] = {}
        self.versions: dict[str, set[str]] = {}
        for row in found["rows"]:
            setting = Setting(row["latency_ms"], row["tls"], row["in_flight"])
            rounds = self._rounds.setdefault((setting, row["client"]), [])
            if failure := row.get("failure"):
                rounds.append(None)
                places = self.failures.setdefault((row["client"], failure), [])
                place = f"{setting.group} at {setting.in_flight}"
                if place not in places:
                    places.append(place)
            else:
                rounds.append(row)
                for package, version in row["versions"].items():
                    self.versions.setdefault(package, set()).add(version)

    @property
    def settings(self) -> list[Setting]:
        return sorted({setting for setting, _ in self._rounds})

    def clients(self, setting: Setting) -> list[str]:
        return [name for name in LABELS if (setting, name) in self._rounds]

    def median(self, setting: Setting, client: str, what: str) -> float | None:
        rounds = [row for row in self._rounds.get((setting, client), []) if row]
        values = [row[what] for row in rounds if row[what] is not None]
        return statistics.median(values) if values else None

    def ratio(self, setting: Setting, client: str, to: str, what: str) -> float | None:
        """Return the median of the ratios that were taken in one round each."""
        ours, theirs = (self._rounds.get((setting, name), []) for name in (client, to))
        pairs = zip(ours, theirs, strict=False)
        ratios = [one[what] / other[what] for one, other in pairs if one and other]
        return statistics.median(ratios) if ratios else None


def number(value: float | None, digits: int = 3) -> str:
    """Show a figure with as many digits as mean something."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{round(value, places):,.{places}f}" if places < 4 else f"{value:.4f}"


def whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def label(client: str) -> str:
    return f"**{LABELS[client]}**" if client.startswith("own") else LABELS[client]


def summary(figures: Figures) -> str:
    """Return the ratios of CPU time: a table for each latency, plain and TLS.

    Its columns are the base (bare aiohttp, default httpx) and how many were in flight.
    """
    parts: list[str] = []
    for group in dict.fromkeys(setting.group for setting in figures.settings):
        settings = [each for each in figures.settings if each.group == group]
        names = [name for name in LABELS if any(name in figures.clients(s) for s in settings)]
        columns = [(to, each) for to in ("aiohttp", "httpx") for each in settings]
        rows = [
            [
                label(name),
                *(number(figures.ratio(each, name, to, "cpu_us")) for to, each in columns),
            ]
            for name in names
        ]
        head = ["CPU time a call", *(f"× {to}, {each.in_flight}" for to, each in columns)]
        parts.append(f"**{group}**\n\n{table(head, rows)}")
    if figures.gathered:
        parts.append(gathered_text(figures.gathered))
    return "\n\n".join([conditions(figures), *parts])


def conditions(figures: Figures) -> str:
    about = figures.about
    servers = "; ".join(f"{where}: {kind}" for where, kind in about["servers"].items())
    versions = ", ".join(
        f"{name} {' and '.join(sorted(each))}"
        for name, each in sorted(figures.versions.items())
    )
    rounds = about["rounds"]
    medians = "one round" if rounds == 1 else f"medians of {rounds} interleaved rounds"
    lines = [
        (
            f"Measured on {about['date']} on {about['machine']}, Python {about['python']}; "
            f"{about['cores']}; {medians}. Server: {servers}. "
            f"Clients: {versions}."
        ),
        *(f"**Not a quiet machine:** {warning}." for warning in about["warnings"]),
        *(
            f"Not measured: {LABELS[name]} ({why}; {', '.join(places)} in flight)."
            for (name, why), places in figures.failures.items()
        ),
    ]
    return "\n\n".join(lines)


def gathered_text(gathered: dict[str, Any]) -> str:
    rows = [
        [
            label(name) if name == "own" else LABELS["httpx-gathered"],
            number(row["seconds"]),
            number(row["cpu_us"]),
            number(row["calls_per_second"]),
            "–" if row["most_in_flight"] is None else str(row["most_in_flight"]),
        ]
        for name, row in gathered["rows"].items()
    ]
    head = ["", "seconds", "CPU µs a call", "calls a second", "most in the server"]
    return (
        f"**{gathered['calls']:,} calls asked for at once**, default limits, a server that "
        f"answers after {gathered['latency_ms']} ms: telecmi_async is "
        f"**{number(gathered['times_faster'])} times** faster than `asyncio.gather` over "
        f"`httpx.AsyncClient().post`.\n\n{table(head, rows)}"
    )


def details(figures: Figures) -> str:
    """Return the page with every figure."""
    parts = [
        "# Performance: all figures",
        (
            "Written by `nox -s bench`; [Performance](performance.md) explains how it measures. "
            "The ratios come first: CPU time a call and calls a second, with bare aiohttp and default "
            "httpx as 1. Ratios hold on other machines; absolute figures do not."
        ),
        conditions(figures),
    ]
    head = [
        "client",
        "CPU × aiohttp",
        "CPU × httpx",
        "rate × aiohttp",
        "rate × httpx",
        "CPU µs",
        "calls/s",
        "p50 ms",
        "p99 ms",
        "peak MB",
        "connections",
    ]
    group = ""
    for setting in figures.settings:
        if setting.group != group:
            group = setting.group
            parts.append(f"## {group}")
        rows = [
            [
                label(name),
                number(figures.ratio(setting, name, "aiohttp", "cpu_us")),
                number(figures.ratio(setting, name, "httpx", "cpu_us")),
                number(figures.ratio(setting, name, "aiohttp", "calls_per_second")),
                number(figures.ratio(setting, name, "httpx", "calls_per_second")),
                number(figures.median(setting, name, "cpu_us")),
                number(figures.median(setting, name, "calls_per_second")),
                number(figures.median(setting, name, "p50_ms")),
                number(figures.median(setting, name, "p99_ms")),
                number(figures.median(setting, name, "peak_mb")),
                whole(figures.median(setting, name, "connections")),
            ]
            for name in figures.clients(setting)
        ]
        parts.append(f"### {group}, {setting.in_flight} in flight\n\n{table(head, rows)}")
    return "\n\n".join(parts) + "\n"


def put_between_marks(page: str, text: str) -> str:
    """Replace what stands between the marks of a page."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not (rest and after):
        raise ValueError("the page has lost the marks between which figures are written")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


# -- plots

# In units of the drawing: a phone shows it in 358 pixels, so nothing is set smaller than 11.
WIDTH, LEFT, RIGHT, ROW, TOP = 380, 190, 16, 22, 62
SHAPES = {
    1: '<rect class="one" x="{left:.1f}" y="{top:.1f}" width="8" height="8"/>',
    20: '<circle class="few" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>',
    100: '<path class="many" d="M{x:.1f} {above:.1f} l5 5 l-5 5 l-5 -5 z"/>',
    500: '<path class="most" d="M{x:.1f} {above:.1f} l5 9 l-10 0 z"/>',
}
STYLE = """
  .panel { fill: #f6f8fa; } .text { fill: #1f2328; } .own { font-weight: 600; }
  .more { fill: #59636e; } .line { stroke: #d1d9e0; } .base { stroke: #59636e; }
  .band { fill: #ddeeff; }
  .one { fill: #59636e; } .few { fill: #0969da; } .many { fill: #bc4c00; } .most { fill: #1a7f37; }
  @media (prefers-color-scheme: dark) {
    .panel { fill: #151b23; } .text { fill: #f0f6fc; }
    .more { fill: #9198a1; } .line { stroke: #3d444d; } .base { stroke: #9198a1; }
    .band { fill: #1b2a41; }
    .one { fill: #9198a1; } .few { fill: #4493f8; } .many { fill: #f0883e; } .most { fill: #3fb950; }
  }
"""


class Plot(NamedTuple):
    """One drawing: a figure of all clients, on a logarithmic scale."""

    title: str
    what: str
    latency_ms: int
    tls: bool
    to: str | None


PLOTS = {
    "performance-cpu.svg": Plot(
        "CPU time a call, bare aiohttp = 1, plain HTTP", "cpu_us", 0, False, "aiohttp"
    ),
    "performance-cpu-tls.svg": Plot(
        "CPU time a call, bare aiohttp = 1, TLS", "cpu_us", 0, True, "aiohttp"
    ),
    "performance-rate.svg": Plot(
        "Calls a second, plain HTTP", "calls_per_second", 0, False, None
    ),
    "performance-p99.svg": Plot(
        "99 of 100 calls took at most (ms), 50 ms server", "p99_ms", 50, False, None
    ),
}


def draw(figures: Figures, plot: Plot) -> str | None:
    """Return the drawing, or None if nothing of it was measured."""
    settings = [
        each
        for each in figures.settings
        if (each.latency_ms, each.tls) == (plot.latency_ms, plot.tls)
    ]
    points = {
        (name, each.in_flight): figures.ratio(each, name, plot.to, plot.what)
        if plot.to
        else figures.median(each, name, plot.what)
        for each in settings
        for name in figures.clients(each)
    }
    shown = {key: value for key, value in points.items() if value}
    if not shown:
        return None
    names = [name for name in LABELS if any(name == shown_name for shown_name, _ in shown)]
    low, high = scale(min(shown.values()), max(shown.values()))
    height = TOP + ROW * len(names) + 12

    def at(value: float) -> float:
        share = (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="11">'
        ),
        f"<title>{escape(plot.title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="panel" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="text own" x="10" y="18" font-size="12">{escape(plot.title)}</text>',
        *legend([each.in_flight for each in settings]),
    ]
    for mark in marks(low, high):
        kind = "base" if plot.to and mark == 1 else "line"
        x = at(mark)
        parts += [
            f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{height - 8}"/>',
            (
                f'<text class="more" x="{x:.1f}" y="{TOP - 10}" text-anchor="middle">'
                f"{spell(mark)}</text>"
            ),
        ]
    for row, name in enumerate(names):
        y = TOP + ROW * row + ROW / 2
        own = " own" if name.startswith("own") else ""
        if own:
            parts.append(
                f'<rect class="band" x="4" y="{y - ROW / 2:.1f}" width="{LEFT - 12}" height="{ROW}"/>'
            )
        text = LABELS[name].replace("telecmi_async, ", "… ").replace(" before it", "")
        parts.append(f'<text class="text{own}" x="10" y="{y + 4:.1f}">{escape(text)}</text>')
        for (shown_name, in_flight), value in shown.items():
            if shown_name == name:
                parts.append(shape(in_flight, at(value), y))
    return "\n".join([*parts, "</svg>"]) + "\n"


def shape(in_flight: int, x: float, y: float) -> str:
    return SHAPES[in_flight].format(x=x, y=y, left=x - 4, top=y - 4, above=y - 5)


def legend(in_flights: list[int]) -> list[str]:
    parts, x = [], 14
    for in_flight in in_flights:
        parts += [
            shape(in_flight, x, 33),
            f'<text class="more" x="{x + 8}" y="37">{in_flight} in flight</text>',
        ]
        x += 90
    return parts


def scale(low: float, high: float) -> tuple[float, float]:
    """Return the ends of a logarithmic scale that holds both, with some room."""
    return low / 1.25, max(high, low * 2) * 1.25


def marks(low: float, high: float) -> list[float]:
    """Return round numbers between the ends: few enough to be read."""
    every = [
        digit * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for digit in (1, 2, 5)
        if low <= digit * 10.0**power <= high
    ]
    whole = [mark for mark in every if math.log10(mark).is_integer()]
    return every if len(every) <= 7 or len(whole) < 2 else whole


def spell(mark: float) -> str:
    if mark >= 1000:
        return f"{mark / 1000:g}k"
    return f"{mark:g}"

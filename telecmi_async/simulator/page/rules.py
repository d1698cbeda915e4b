"""The faults that hold, and how one is added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telecmi_async._internal.messages import mask
from telecmi_async.simulator.page.frame import PageView, html_table, section
from telecmi_async.simulator.page.markup import joined, tag
from telecmi_async.simulator.page.words import KINDS

if TYPE_CHECKING:
    from telecmi_async.simulator.fault import Fault
    from telecmi_async.simulator.page.frame import Forms
    from telecmi_async.simulator.page.markup import Html
    from telecmi_async.simulator.protocols import PageModel

__all__ = ["faults"]


def faults(simulator: PageModel, forms: Forms) -> PageView:
    """Return the rules that hold now, and the form for another."""
    rows = [_row(forms, number, fault) for number, fault in simulator.faults]
    columns = ["Rule", "What happens", "To", "Share of tries", "Tries for a number", ""]
    clear = tag("div", forms.button("clear_faults", "Remove all"), classes="beside")
    return PageView(
        title="Faults",
        place="faults",
        typing=True,
        body=joined(
            [
                section(
                    "Rules that hold",
                    tag("p", "The first one that fits decides. Magic numbers are left alone."),
                    html_table(
                        "Rules", columns, rows, empty="No rule holds: nothing goes wrong."
                    ),
                    beside=clear if rows else None,
                ),
                section("Add a rule", _form(forms)),
            ]
        ),
    )


def _row(forms: Forms, number: int, fault: Fault) -> Html:
    tries = {None: "all", 1: "the first one"}.get(fault.attempts, f"the first {fault.attempts}")
    return tag(
        "tr",
        tag("td", number, classes="number"),
        tag("td", KINDS[fault.kind]),
        tag("td", "every number" if fault.to is None else mask(fault.to), classes="digits"),
        tag("td", f"{100 * fault.share:g} %", classes="number"),
        tag("td", tries),
        tag("td", forms.button("remove_fault", "Remove", label=f"Remove rule {number}",
                               rule=number)),
        id=f"f-{number}",
    )  # fmt: skip


def _form(forms: Forms) -> Html:
    kinds = [tag("option", says, value=kind.value) for kind, says in KINDS.items()]
    return tag(
        "div",
        forms.form(
            "add_fault",
            _field("kind", "What happens", tag("select", *kinds, id="kind", name="kind")),
            _field(
                "to",
                "Number, or empty for every number",
                tag("input", id="to", name="to", inputmode="tel", maxlength=30),
            ),
            _field(
                "share",
                "Share of tries, in %",
                tag("input", id="share", name="share", type="number", min=0, max=100,
                    step="any", value=100, required=True),
            ),
            _field(
                "attempts",
                "First tries for a number, or empty for all",
                tag("input", id="attempts", name="attempts", type="number", min=1, step=1),
            ),
            tag("button", "Add"),
        ),
        classes="add",
    )  # fmt: skip


def _field(name: str, says: str, control: Html) -> Html:
    return tag("div", tag("label", says, for_=name), control, classes="field")

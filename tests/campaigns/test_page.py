"""The documentation page about campaigns agrees with the code."""

from __future__ import annotations

import re

from project_paths import docs_page

from telecmi_async.ledger.states import MOVES

PAGE = docs_page("how-a-campaign-works.md")
ROW = re.compile(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) → `(\w+)` \| [^|]+ \|$", re.MULTILINE)


def test_the_page_shows_all_moves_of_a_contact() -> None:
    """The page's table of state transitions equals the code's."""
    shown = {
        move: (set(re.findall(r"\w+", sources)), target)
        for move, sources, target in ROW.findall(PAGE.read_text(encoding="utf-8"))
    }

    assert shown == {
        str(move): ({str(source) for source in sources}, str(target))
        for move, (sources, target) in MOVES.items()
    }

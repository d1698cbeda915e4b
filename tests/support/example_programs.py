"""The complete programs in docs/examples, and what the pages that show them say they print."""

from __future__ import annotations

import re
from typing import Final

from project_paths import DOCS

EXAMPLES: Final = DOCS / "examples"
PROGRAMS: Final = sorted(path.name for path in EXAMPLES.glob("*.py"))
VOICE_PROGRAMS: Final = sorted(path.name for path in EXAMPLES.glob("voice/*.py"))
# A program as a page shows it, with the next block of output on that page.
_SHOWN: Final = re.compile(
    r"```\{literalinclude\} \S*/(?P<program>\w+\.py)\n.*?```\n"
    r".*?^```text\n(?P<printed>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def shown_on_pages() -> set[str]:
    """Return the names of the programs that pages show in full."""
    pages = (path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md"))
    return {
        name
        for page in pages
        for name in re.findall(
            r"^```\{literalinclude\} \S*/examples/(?:voice/)?(\w+\.py)$", page, re.MULTILINE
        )
    }


def output_on_page(page: str, program: str) -> str:
    """Return the output that a page shows after a program."""
    (path,) = DOCS.rglob(page)
    found = {
        match["program"]: match["printed"]
        for match in _SHOWN.finditer(path.read_text(encoding="utf-8"))
    }
    return found[program]

"""The code of a documentation page, section by section, for tests that run it with servers."""

from __future__ import annotations

import re
from typing import Any

from project_paths import docs_page

__all__ = ["code_under", "programs_of", "sections_of"]

BLOCK = re.compile(r"^(?:```|<!-- )python\n(.*?)^(?:```|-->)$", re.MULTILINE | re.DOTALL)


def sections_of(page: str) -> set[str | None]:
    """Return the headings of sections with code; ``None`` for what stands before all headings."""
    text = docs_page(page).read_text(encoding="utf-8")
    first, *others = re.split(r"^##+ ", text, flags=re.MULTILINE)
    found: set[str | None] = {
        section.partition("\n")[0] for section in others if BLOCK.search(section)
    }
    return {*found, None} if BLOCK.search(first) else found


def code_under(page: str, heading: str | None = None) -> str:
    """Return the code of one section of a page, or what stands before all headings."""
    text = docs_page(page).read_text(encoding="utf-8")
    if heading is None:
        section = text.partition("\n##")[0]
    else:
        (_, section) = re.split(rf"^##+ {re.escape(heading)}\n", text, flags=re.MULTILINE)
        section = section.partition("\n##")[0]
    blocks: list[str] = BLOCK.findall(section)
    assert blocks, f"{page} shows no code under {heading}"
    return "".join(blocks)


def programs_of(page: str, code: str) -> dict[str, Any]:
    """Run code of a page, and return its names."""
    names: dict[str, Any] = {"__name__": page.removesuffix(".md")}
    exec(compile(code, page, "exec"), names)
    return names

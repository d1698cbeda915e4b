"""Sphinx extension: puts drawings into the pages, so that they follow the page's colours.

A drawing in an ``<img>`` knows the reader's system, not the theme that was chosen on the page. Its
rules are those of the SVG file, kept to this drawing, and the dark ones hold where the page is dark.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

STYLE = re.compile(
    r"<style>(?P<light>.*?)@media[^{]*\{(?P<dark>.*?\})\s*\}\s*</style>", re.DOTALL
)
RULE = re.compile(r"([^{}]+)(\{[^{}]*\})")


def scoped(rules: str, scope: str) -> str:
    """Return CSS rules that hold within a scope only."""
    return " ".join(f"{scope} {name.strip()} {body}" for name, body in RULE.findall(rules))


def inline(svg: str, number: int, words: str) -> str:
    """Return a drawing as a part of a page, with what it shows in words."""
    name = f"drawing-{number}"
    found = STYLE.search(svg)
    if found is None:
        raise ValueError("a drawing has no <style> with light and dark rules")
    light, dark = found["light"], found["dark"]
    style = " ".join(
        [
            scoped(light, f"#{name}"),
            "@media (prefers-color-scheme: dark) {",
            scoped(dark, f'body:not([data-theme="light"]) #{name}'),
            "}",
            scoped(dark, f'body[data-theme="dark"] #{name}'),
        ]
    )
    drawing = STYLE.sub("", svg)
    # As wide as it is drawn, or as its page.
    size = "display:block;height:auto;margin:1rem auto;max-width:100%"
    words = escape(words, quote=True)
    label = f'<svg id="{name}" class="drawing" style="{size}" aria-label="{words}" '
    return f"<style>{style}</style>{drawing.replace('<svg ', label, 1)}"


def put_into_page(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Replace pictures that are drawings by the drawings themselves."""
    if app.builder.format != "html":
        return
    for number, image in enumerate(list(doctree.findall(nodes.image))):
        uri = str(image["uri"])
        if uri.endswith(".svg"):
            svg = Path(app.srcdir, uri).read_text(encoding="utf-8")
            drawing = nodes.raw("", inline(svg, number, image.get("alt", "")), format="html")
            image.replace_self(drawing)
    del docname


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx know."""
    app.connect("doctree-resolved", put_into_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

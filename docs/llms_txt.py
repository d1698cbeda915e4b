"""Sphinx extension: a Markdown copy beside each HTML page, and ``llms.txt``, which lists them.

Language models read Markdown better than HTML. A page's copy is its source without what readers
do not see; a page of the API, whose text comes from docstrings, is written out as text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.addnodes import toctree
from sphinx.writers.text import TextTranslator

if TYPE_CHECKING:
    from pathlib import Path

    from sphinx.application import Sphinx

SUMMARY = """\
> An async Python SDK for TeleCMI's (PIOPIY) v2 voice API, on asyncio and trio. It places phone
> calls, one or many thousands, and always knows whether a phone may have rung.

- A call whose outcome is unknown (`CallOutcomeUnknown`) may have rung a phone: do not repeat it.
- For lists use `RetryPolicy(at_most_once=True)` or a campaign.
- Try code against the simulator, which rings no phone: `telecmi_async.simulator.Simulator`.
"""
# Hidden code, remarks for tests, names of places, and lists of pages for the sidebar.
UNSEEN = re.compile(
    r"^<!--.*?-->\n+|^\([\w-]+\)=\n|^```\{toctree\}\n.*?^```\n+", re.MULTILINE | re.DOTALL
)
INCLUDED = re.compile(r"^```\{include\} (\S+)\n```$", re.MULTILINE)


def markdown_of(app: Sphinx, docname: str) -> str:
    """Return a page as Markdown."""
    page = app.env.doc2path(docname)
    source = INCLUDED.sub(
        lambda match: (page.parent / match[1]).read_text(encoding="utf-8"),
        page.read_text(encoding="utf-8"),
    )
    if "```{eval-rst}" not in source:
        return UNSEEN.sub("", source)
    doctree = app.env.get_and_resolve_doctree(docname, app.builder)
    translator = TextTranslator(doctree, app.builder)
    doctree.walkabout(translator)
    return str(translator.body)


def first_sentence(doctree: nodes.document) -> str:
    """Return the first sentence of a page's text, in one line."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        return re.split(r"(?<=[.:?!])\s", text, maxsplit=1)[0].rstrip(".:")
    return ""


def listed(app: Sphinx, docname: str, indent: str = "") -> list[str]:
    """Return the lines of ``llms.txt`` for a page and the pages below it."""
    doctree = app.env.get_doctree(docname)
    title = app.env.titles[docname].astext()
    lines = [f"{indent}- [{title}]({docname}.md): {first_sentence(doctree)}"]
    for tree in doctree.findall(toctree):
        for _, below in tree["entries"]:
            lines += listed(app, below, indent + "  ")
    return lines


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the copies and ``llms.txt`` into the folder of the HTML pages."""
    if error is not None or app.builder.format != "html":
        return
    out: Path = app.outdir
    for docname in sorted(app.env.found_docs):
        copy = out / f"{docname}.md"
        copy.write_text(markdown_of(app, docname), encoding="utf-8")
    parts = [f"# {app.config.project}\n\n{SUMMARY}"]
    for tree in app.env.get_doctree(app.config.root_doc).findall(toctree):
        pages = [line for _, docname in tree["entries"] for line in listed(app, docname)]
        parts.append(f"## {tree['caption'] or 'Pages'}\n\n" + "\n".join(pages) + "\n")
    (out / "llms.txt").write_text("\n".join(parts), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Let Sphinx know."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Notebooks as pages: Sphinx reads an ``.ipynb`` by this, with the outputs that are stored in it.

``python docs/notebook_page.py`` runs the notebooks of the docs and stores what their cells show.
"""

from __future__ import annotations

import base64
import json
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from myst_parser.parsers.sphinx_ import MystParser

if TYPE_CHECKING:
    from docutils import nodes

DOCS = Path(__file__).parent
NOTEBOOKS = [DOCS / "tutorial" / "notebook.ipynb"]
# Where the pictures of outputs are put for the build.
PICTURES = Path("_build", "notebook-pictures")


class NotebookParser(MystParser):
    """Reads a notebook as the Markdown that its cells are."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Turn cells and outputs into Markdown, and read that."""
        super().parse(as_markdown(json.loads(inputstring)), document)


def as_markdown(book: dict[str, Any]) -> str:
    """Return a notebook as a page: prose, blocks of Python, and below each what it shows."""
    parts: list[str] = []
    for cell in book["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        else:
            parts += [f"```python\n{source}\n```", *map(_output, cell["outputs"])]
    return "\n\n".join(parts) + "\n"


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        picture = base64.b64decode("".join(data["image/png"]))
        # Named by what is in it, so that a page that is read twice has it once.
        path = PICTURES / f"{blake2b(picture, digest_size=8).hexdigest()}.png"
        (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
        (DOCS / path).write_bytes(picture)
        words = "".join(data.get("text/plain", "")).strip("<>")
        return f"```{{image}} /{path.as_posix()}\n:alt: {words}\n:class: notebook-plot\n```"
    if "text/html" in data:
        # A frame looks like other tables of the page, and a wide one scrolls.
        shown = "".join(data["text/html"]).replace(
            'border="1" class="dataframe"', 'class="docutils"'
        )
        return (
            f"````{{raw}} html\n<div style='overflow-x:auto;margin:1em 0'>{shown}</div>\n````"
        )
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```"


def store_outputs(path: Path) -> None:
    """Run a notebook, and store what its cells show, without what differs from run to run."""
    import nbclient  # noqa: PLC0415  # the build of the docs runs nothing
    import nbformat  # noqa: PLC0415  # likewise

    book = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        nbclient.NotebookClient(book, record_timing=False, resources=where).execute()
    del book.metadata["language_info"]
    nbformat.write(book, path)


if __name__ == "__main__":
    for notebook in NOTEBOOKS:
        store_outputs(notebook)

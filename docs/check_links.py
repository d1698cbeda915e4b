"""Check the links of the built pages: ``python docs/check_links.py FOLDER``.

Sphinx checks what it makes a link of. This looks at the HTML that came out: each link within the
documentation leads to a page and to a place on it, each picture is there, and each other address
has the form of one. ``llms.txt`` must list a Markdown copy of each page. It opens no connection.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What Sphinx writes besides pages of ours.
NOT_OURS = {"search.html"}
ADDRESS = re.compile(r"https://([a-z0-9-]+\.)+[a-z]{2,}(/[^\s]*)?|mailto:\S+@\S+")


class Page(HTMLParser):
    """The places of a page, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect the ids, links and pictures."""
        for name, value in attrs:
            if name == "id" and value:
                self.places.add(value)
            elif (tag, name) in {("a", "href"), ("img", "src")} and value:
                self.links.append(value)


def faults(html: Path) -> list[str]:
    """Return what is wrong with the links of the pages in a folder."""
    pages = {path.resolve(): Page(path) for path in sorted(html.rglob("*.html"))}
    found: list[str] = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                wrong = "" if ADDRESS.fullmatch(link) else "is no address"
            else:
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                place = unquote(parts.fragment)
                if not target.is_file():
                    wrong = "leads nowhere"
                elif place and target in pages and place not in pages[target].places:
                    wrong = "leads to no place on that page"
                else:
                    wrong = ""
            if wrong and path.name not in NOT_OURS:
                found.append(f"{path.relative_to(html.resolve())}: {link} {wrong}")
    return found


def unlisted(html: Path) -> list[str]:
    """Return the pages that ``llms.txt`` does not list, and the copies that are not there."""
    listed = set(re.findall(r"\]\(([^)]+)\)", (html / "llms.txt").read_text(encoding="utf-8")))
    pages = {
        path.relative_to(html).with_suffix(".md").as_posix() for path in html.rglob("*.html")
    }
    missing = sorted(pages - listed - {"index.md", "search.md"})
    return [f"llms.txt: {page} is not listed" for page in missing] + [
        f"llms.txt: {page} is not there"
        for page in sorted(listed)
        if not (html / page).is_file()
    ]


if __name__ == "__main__":
    wrongs = faults(Path(sys.argv[1])) + unlisted(Path(sys.argv[1]))
    sys.exit("\n".join(wrongs) or None)

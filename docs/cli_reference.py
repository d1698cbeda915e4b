"""Writes the lists of commands and options in docs/reference/cli.md: ``python docs/cli_reference.py``.

They are read from the program, as its ``--help`` is; a test compares the page with them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cyclopts import Parameter

from telecmi_async.cli.app import COMMANDS, default_words, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App

PAGE: Final = Path(__file__).with_name("reference") / "cli.md"
_BEGIN: Final = "<!-- commands: written by docs/cli_reference.py -->\n"
_END: Final = "<!-- end of commands -->\n"
_SECTIONS: Final = re.compile(r"Examples:\n(?P<examples>(?:  .*\n)+)")


def commands_as_markdown() -> str:
    """Return a section for each command, in the order of ``--help``."""
    app = make_app(listing=False)
    return "".join(line for name in COMMANDS for line in _command(app[name], name))


def _command(app: App, name: str) -> Iterator[str]:
    if app.default_command is not None:
        yield from _section(app, name)
    for part in app:
        if not part.startswith("-"):
            yield from _command(app[part], f"{name} {part}")


def _section(app: App, name: str) -> Iterator[str]:
    yield f"### {name}\n\n"
    text = app.help.partition("\n\nArgs:")[0]
    yield f"{text}\n\n"
    if shown := _SECTIONS.search(app.help_epilogue or ""):
        lines = "".join(f"$ {line[2:]}\n" for line in shown["examples"].splitlines())
        yield f"<!-- not run: an example of many -->\n```console\n{lines}```\n\n"
    found = app.assemble_argument_collection(
        default_parameter=Parameter(negative=()), parse_docstring=True
    )
    rows = [each for each in found if each.parse and each.name != "*"]
    yield "| option | what it does |\n|---|---|\n"
    for each in rows:
        names = ", ".join(f"`{one}`" for one in each.names) or f"`{each.name}`"
        metavar = each.parameter.metavar or ("" if each.hint is bool else "CHOICE")
        value = f" `{metavar}`" if metavar and each.field_info.is_keyword else ""
        choices = ", ".join(each.get_choices() or ())
        default = default_words(each.field_info.default) if not each.required else None
        more = "".join(
            f" ({label}{words})"
            for label, words in (("one of ", choices), ("default: ", default))
            if words
        )
        required = "**Required.** " if each.required else ""
        yield f"| {names}{value} | {required}{_cell(each.parameter.help or '')}{_cell(more)} |\n"
    yield "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def page_with_commands(page: str) -> str:
    """Return the page with its lists as the program has them."""
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]
    return f"{before}{_BEGIN}\n{commands_as_markdown()}{_END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with_commands(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

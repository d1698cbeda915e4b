"""All commands of the command line, and what they take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cyclopts import Parameter

from telecmi_async.cli.app import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cyclopts import App


def every_command(app: App | None = None, name: str = "") -> Iterator[tuple[str, App]]:
    """Yield each command with what users type for it; a group is none."""
    app = app or make_app(listing=False)
    if app.default_command is not None:
        yield name.strip(), app
    for each in app:
        if not each.startswith("-"):
            yield from every_command(app[each], f"{name} {each}")


def options_of(command: App) -> dict[str, str]:
    """Return the names of a command's options and arguments, and what the help says of each."""
    found = command.assemble_argument_collection(
        default_parameter=Parameter(negative=()), parse_docstring=True
    )
    return {
        name: each.parameter.help or ""
        for each in found
        if each.parse and each.name != "*"
        for name in each.names or [each.name]
    }

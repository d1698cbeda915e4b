"""Schemas as numbered SQL files, and how a SQLite file gets from one to the next."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Script", "migrate_sqlite", "scripts", "statements"]

#: In the file's header, so that nobody takes another program's database for a ledger: "tcmL".
_OURS: Final = 0x74636D4C


@frozen
class Script:
    """One step of a schema.

    Args:
        version: The schema's version after it.
        name: The file's name.
        text: Its SQL.
    """

    version: int
    name: str
    text: str


def scripts(kind: str) -> list[Script]:
    """Return the steps of a kind of database's schema, in their order.

    Args:
        kind: The folder of the files, such as ``"sqlite"``.
    """
    folder = files("telecmi_async.ledger").joinpath("schema", kind)
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return [
        Script(int(name[:4]), name, folder.joinpath(name).read_text(encoding="utf-8"))
        for name in names
    ]


def statements(text: str) -> Iterator[str]:
    """Split SQL into its statements; a trigger is one."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def migrate_sqlite(db: sqlite3.Connection, steps: Sequence[Script]) -> None:
    """Bring a file's schema up to date, all steps or none of them.

    Several processes may try at the same moment: the first does it, and the others find it
    done.

    Raises:
        ConfigurationError: The file is of another program, or of a newer version of this one.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        version = _version_of(db, steps[-1].version)
        for step in steps[version:]:
            for statement in statements(step.text):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {_OURS}")
        db.execute(f"PRAGMA user_version = {steps[-1].version}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _version_of(db: sqlite3.Connection, newest: int) -> int:
    """Return the version of a file's schema, 0 for an empty file."""
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != _OURS and (owner or version or tables):
        raise ConfigurationError(
            "the file is another program's database; give the ledger a file of its own"
        )
    if version > newest:
        raise ConfigurationError(
            f"the ledger was written by a newer version of telecmi-async (its schema is "
            f"{version}, this one knows {newest}); update telecmi-async"
        )
    return int(version)

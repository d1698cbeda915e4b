"""Schema migrations: numbered SQL files, and how a SQLite file gets from one to the next."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from attrs import frozen

from telecmi_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Script", "migrate_sqlite", "scripts", "scripts_after", "statements"]

#: In the header of a SQLite file that is a ledger: "tcmL".
_APPLICATION_ID: Final = 0x74636D4C


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
    """Return all steps of the schema of ``"sqlite"`` or ``"postgres"``, in order."""
    folder = files("telecmi_async.ledger").joinpath("schema", kind)
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return [
        Script(int(name[:4]), name, folder.joinpath(name).read_text(encoding="utf-8"))
        for name in names
    ]


def scripts_after(version: int, steps: Sequence[Script]) -> Sequence[Script]:
    """Return the steps that a database of a version still needs.

    Raises:
        ConfigurationError: Its schema is newer than this package.
    """
    newest = steps[-1].version
    if version > newest:
        raise ConfigurationError(
            f"the ledger was written by a newer version of telecmi-async (its schema is "
            f"{version}, this one knows {newest}); update telecmi-async"
        )
    return steps[version:]


def statements(text: str) -> Iterator[str]:
    """Split SQL into its statements; a trigger is one."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def migrate_sqlite(db: sqlite3.Connection, steps: Sequence[Script]) -> None:
    """Bring a file's schema up to date: all steps in one transaction.

    If several processes try at the same moment, the first one does it.

    Raises:
        ConfigurationError: The file is another program's, or of a newer version of this one.
    """
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in scripts_after(_version_of(db), steps):
            for statement in statements(step.text):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {steps[-1].version}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _version_of(db: sqlite3.Connection) -> int:
    """Return the version of a file's schema, 0 for an empty file."""
    (owner,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != _APPLICATION_ID and (owner or version or tables):
        raise ConfigurationError(
            "the file is another program's database; give the ledger a file of its own"
        )
    return int(version)

"""Schema migrations: numbered SQL files; a schema's version is the number of files it has run."""

from __future__ import annotations

import sqlite3
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from telecmi_async.errors import ConfigurationError, LedgerLost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: In the header of a SQLite file that is a ledger: "tcmL".
_APPLICATION_ID: Final = 0x74636D4C
#: One statement sees the file before or after another process made its tables, not in between.
_OWNER: Final = (
    "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_master) "
    "FROM pragma_application_id, pragma_user_version"
)


def scripts(kind: str) -> list[str]:
    """Return the texts of all files of the schema of ``"sqlite"`` or ``"postgres"``, in order."""
    folder = files("telecmi_async.ledger").joinpath("schema", kind)
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return [folder.joinpath(name).read_text(encoding="utf-8") for name in names]


def scripts_after(version: int, texts: Sequence[str]) -> Sequence[str]:
    """Return the texts that a database of a version has not run yet; refuse a newer one."""
    if version > len(texts):
        raise ConfigurationError(
            f"the ledger was written by a newer version of telecmi-async (its schema is "
            f"{version}, this one knows {len(texts)}); update telecmi-async"
        )
    return texts[version:]


def not_migrated(version: int, known: int) -> ConfigurationError:
    """Return the refusal of a ledger that is to be read, and would have to be migrated first."""
    if not version:
        return ConfigurationError(
            "there is no ledger yet: `telecmi-async migrate` or `dial` makes its tables"
        )
    return ConfigurationError(
        f"the ledger was written by an older version of telecmi-async (its schema is {version}, "
        f"this one reads {known}), and reading changes nothing: read it with the version that "
        "its workers have, or update those and run `telecmi-async migrate`"
    )


def changed_meanwhile(version: int, known: int) -> LedgerLost:
    """Return the error of a ledger whose schema another version of this package changed."""
    return LedgerLost(
        f"the ledger failed: another version of telecmi-async changed its schema (it is {version} "
        f"by now, and this worker knows {known}): update telecmi-async here, and start it again"
    )


def statements(text: str) -> Iterator[str]:
    """Split SQL into its statements; a trigger is one."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def migrate_sqlite(db: sqlite3.Connection, texts: Sequence[str]) -> None:
    """Bring a file's schema up to date in one transaction, which several processes may try."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for text in scripts_after(version_of(db), texts):
            for statement in statements(text):
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(texts)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def require_version(db: sqlite3.Connection, known: int) -> None:
    """Require that a file's schema is of this package's version."""
    version = version_of(db)
    if version < known:
        raise not_migrated(version, known)
    scripts_after(version, [""] * known)


def version_of(db: sqlite3.Connection) -> int:
    """Return the version of a file's schema, 0 for an empty file."""
    owner, version, tables = db.execute(_OWNER).fetchone()
    if owner != _APPLICATION_ID and (owner or version or tables):
        raise ConfigurationError(
            "the file is another program's database; give the ledger a separate file"
        )
    return int(version)

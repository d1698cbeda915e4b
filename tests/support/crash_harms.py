"""What else becomes of a ledger in a crash test: each harm is done at a random moment.

After most of them the campaign goes on. Two of them, to a ledger's files, end its workers with
`LedgerLost`; another worker is started at the same moment, as a supervisor of processes would.
With ``versions`` that worker is of a newer version, which has one more step of the schema: the
older ones go on beside it, or end.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

import telecmi_async

if TYPE_CHECKING:
    from collections.abc import Callable

#: The harms that end running workers.
LOSING: Final = ("shm", "log", "copy")
#: The harms that are done once to a campaign.
ONCE: Final = ("copy", "versions")
#: Meanwhile this process cannot open the ledger: it is full, or of a newer version.
UNREAD: Final = ("full", "versions")
#: The harms that need PostgreSQL.
SERVED: Final = ("postmaster", "pooler")


@define(eq=False)
class Harms:
    """Does one kind of harm.

    Args:
        kind: A key of `HARMS`.
        chance: The random choices.
        folder: Where it may put files.
        path: The file of a SQLite ledger.
        server: The server of another one.
        pooler: The pooler in front of it.
        package: The folder of the newer version, once there is one.
    """

    kind: str
    chance: random.Random
    folder: Path
    path: Path
    server: Any = None
    pooler: Any = None
    package: Path | None = field(init=False, default=None)

    def strike(self) -> bool:
        """Do it; return False if that was only its preparation."""
        return HARMS[self.kind](self)

    @property
    def older(self) -> Path:
        """An older copy of the file."""
        return self.folder / "older.db"


def remove_index(harm: Harms) -> bool:
    """Remove ``-shm``, the index of the log, under running workers."""
    harm.path.with_name(f"{harm.path.name}-shm").unlink()
    return True


def remove_log(harm: Harms) -> bool:
    """Remove both files beside the ledger, which look like leftovers."""
    harm.path.with_name(f"{harm.path.name}-wal").unlink()
    return remove_index(harm)


def lock(harm: Harms) -> bool:
    """Read in a transaction that does not end, as SQLite's shell may, and write in another."""
    with contextlib.closing(sqlite3.connect(harm.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM contact").fetchone()
        time.sleep(harm.chance.uniform(0.0, 2.0))
        with contextlib.closing(sqlite3.connect(harm.path, timeout=60.0)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            time.sleep(harm.chance.uniform(0.0, 2.0))
    return True


def fill_disk(harm: Harms) -> bool:
    """Fill the file system for a while, in which workers may be killed."""
    filler = harm.path.with_name("filler")
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    threading.Timer(harm.chance.uniform(0.5, 3.0), filler.unlink, [True]).start()
    return True


def copy_over(harm: Harms) -> bool:
    """Make a backup, as operators do; the next time, write it over the open file."""
    if harm.older.exists():
        harm.path.write_bytes(harm.older.read_bytes())
        return True
    way = harm.chance.choice(("cp", "backup", "vacuum"))
    if way == "cp":
        harm.older.write_bytes(harm.path.read_bytes())
        return False
    with contextlib.closing(sqlite3.connect(harm.path)) as db:
        if way == "vacuum":
            db.execute("VACUUM INTO ?", (str(harm.older),))
        else:
            with contextlib.closing(sqlite3.connect(harm.older)) as older:
                db.backup(older)
    return False


def kill_postmaster(harm: Harms) -> bool:
    """Kill the first process of the server, or one that serves a worker; start it again."""
    if harm.chance.random() < 0.5:
        harm.server.kill_backend()
        return True
    harm.server.crash()
    time.sleep(harm.chance.uniform(0.0, 2.0))
    harm.server.start()
    return True


def kill_pooler(harm: Harms) -> bool:
    """Kill the pooler between the workers and the server, and start it again."""
    harm.pooler.kill()
    time.sleep(harm.chance.uniform(0.0, 2.0))
    harm.pooler.start()
    return True


#: A step of the schema that older workers can live with, and one that they cannot: for the
#: latter the file of the code that is changed with it, a pattern there, and its replacement.
STEPS: Final = {
    ("sqlite", "added"): "ALTER TABLE contact ADD COLUMN note TEXT NOT NULL DEFAULT '';",
    ("sqlite", "renamed"): "ALTER TABLE pace RENAME TO pace_next;",
    ("postgres", "added"): "ALTER TABLE contact ADD COLUMN note text NOT NULL DEFAULT '';",
    ("postgres", "renamed"): "ALTER FUNCTION intend RENAME TO intend_next;",
}
RENAMED: Final = {
    "sqlite": (r"\b(FROM|INTO) pace\b", r"\1 pace_next"),
    "postgres": (r"\bintend\(%s", r"intend_next(%s"),
}


def make_newer(harm: Harms) -> bool:
    """Make a copy of the package with one more step of the schema."""
    kind = "sqlite" if harm.server is None else "postgres"
    step = harm.chance.choice(("added", "renamed"))
    harm.package = harm.folder / "newer"
    ledger = harm.package / "telecmi_async" / "ledger"
    found = Path(telecmi_async.__file__).parent
    shutil.copytree(found, ledger.parent, ignore=shutil.ignore_patterns("__pycache__"))
    (ledger / "schema" / kind / "9999_next.sql").write_text(STEPS[kind, step] + "\n")
    if step == "renamed":
        changed = 0
        for file in (ledger / kind).glob("*.py"):
            text, count = re.subn(*RENAMED[kind], file.read_text())
            file.write_text(text)
            changed += count
        assert changed
    return True


HARMS: Final[dict[str, Callable[[Harms], bool]]] = {
    "shm": remove_index,
    "log": remove_log,
    "lock": lock,
    "full": fill_disk,
    "copy": copy_over,
    "postmaster": kill_postmaster,
    "pooler": kill_pooler,
    "versions": make_newer,
}

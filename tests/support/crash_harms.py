"""What else becomes of a ledger in a crash test: each harm is done at a random moment.

After most of them the campaign goes on. The two to a ledger's files end its workers with
`LedgerLost`; another worker is started at the same moment, as a supervisor of processes would.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable

#: The harms that end running workers.
LOSING: Final = ("shm", "copy")
#: The harms that need PostgreSQL.
SERVED: Final = ("postmaster", "pooler")


@define(eq=False)
class Harms:
    """Does one kind of harm.

    Args:
        kind: A key of `HARMS`.
        chance: The random choices.
        path: The file of a SQLite ledger.
        server: The server of another one.
        pooler: The pooler in front of it.
    """

    kind: str
    chance: random.Random
    path: Path = field(default=Path())
    server: Any = None
    pooler: Any = None

    def strike(self) -> bool:
        """Do it; return False if that was only its preparation."""
        return HARMS[self.kind](self)

    @property
    def older(self) -> Path:
        """An older copy of the file."""
        return self.path.with_name("older.db")


def remove_index(harm: Harms) -> bool:
    """Remove ``-shm``, the index of the log, under running workers."""
    harm.path.with_name(f"{harm.path.name}-shm").unlink()
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


HARMS: Final[dict[str, Callable[[Harms], bool]]] = {
    "shm": remove_index,
    "copy": copy_over,
    "postmaster": kill_postmaster,
    "pooler": kill_pooler,
}

"""Migrations of a SQLite ledger: what older versions wrote, and what reading leaves alone."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from accepting_simulator import *  # noqa: F403  # pytest finds fixtures by name
from campaign_observers import ran
from faulty_campaign import NAME, WritingSimulator, contacts, settings
from old_ledger import OLD_POSTGRES, OLD_SQLITE, check_old_ledger, continue_old_campaign

from telecmi_async.campaigns import Campaign
from telecmi_async.cli import Exit
from telecmi_async.errors import ConfigurationError, LedgerLost, StoreError
from telecmi_async.ledger import ContactState, SqliteLedger
from telecmi_async.ledger.migrate import scripts

if TYPE_CHECKING:
    from pathlib import Path

    from telecmi_async import CallService

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.usefixtures("campaigns_poll_often"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file for a ledger."""
    return tmp_path / "ledger.db"


def execute(path: Path, sql: str) -> None:
    """Run SQL on a file, as another program would."""
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(sql)
    db.close()


def content(path: Path) -> bytes:
    """Return what is in a file."""
    return path.read_bytes()


async def test_a_ledger_of_the_first_version_goes_on(
    path: Path, simulator: WritingSimulator, service: CallService
) -> None:
    """A ledger of 0.1.0 keeps all its rows when it is migrated, and its campaign goes on."""
    execute(path, OLD_SQLITE.read_text("utf-8"))

    async with SqliteLedger(path) as ledger:
        await check_old_ledger(ledger)
        await continue_old_campaign(ledger, service, simulator)


def normal(sql: str) -> str:
    """Return SQL without comments, quotes and the differences of a dump's layout."""
    sql = re.sub(r"--[^\n]*", "", sql).replace('"', "").replace("telecmi.", "")
    return re.sub(r"\s+", "", sql)


def test_files_that_were_released_do_not_change() -> None:
    """Each statement of the schema's first files is in a ledger that 0.1.0 wrote."""
    old = normal(OLD_SQLITE.read_text("utf-8"))
    made = re.split(r";\n\n", scripts("sqlite")[0])

    assert [each for each in made if normal(each).rstrip(";") not in old] == []
    dumped = normal(OLD_POSTGRES.read_text("utf-8"))
    for text in scripts("postgres")[:3]:
        bodies = re.findall(r"\$\$.*?\$\$", text, re.DOTALL)
        assert [each for each in bodies if normal(each) not in dumped] == []


def test_a_function_keeps_its_name_and_what_it_does() -> None:
    """No step replaces, renames or drops what workers of an older version use."""
    text = "\n".join(scripts("postgres"))
    text = re.sub(r"--[^\n]*", "", text)
    names = re.findall(r"CREATE FUNCTION (\w+)", text)

    assert len(names) == len(set(names))
    assert re.findall(r"OR REPLACE|\bDROP\b|\bRENAME\b|ALTER COLUMN", text) == []
    assert re.findall(r"ADD COLUMN (?![^,;]*DEFAULT)[^,;]*NOT NULL", text) == []
    assert not re.search(r"\bDROP TABLE|\bRENAME\b|DROP COLUMN", "\n".join(scripts("sqlite")))


# -- reading


async def test_reading_migrates_nothing(path: Path) -> None:
    """A ledger of another version is refused by a reader, and stays as it is."""
    execute(path, OLD_SQLITE.read_text("utf-8"))
    before = content(path)

    with pytest.raises(ConfigurationError, match=r"older version .*reading changes nothing"):
        await SqliteLedger(path, migrate=False).__aenter__()
    assert content(path) == before
    execute(path, "PRAGMA user_version = 999")
    with pytest.raises(ConfigurationError, match="newer version"):
        await SqliteLedger(path, migrate=False).__aenter__()
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        await SqliteLedger(path.with_name("none.db"), migrate=False).__aenter__()
    assert not path.with_name("none.db").exists()


@pytest.mark.parametrize("state", ["new", "other"])
async def test_what_is_no_ledger_is_not_made_one_by_reading(path: Path, state: str) -> None:
    """An empty file, and another program's, are refused as they are."""
    execute(path, "VACUUM" if state == "new" else "CREATE TABLE a (x);")
    before = content(path)

    said = "there is no ledger yet" if state == "new" else "another program"
    with pytest.raises(ConfigurationError, match=said):
        await SqliteLedger(path, migrate=False).__aenter__()
    assert content(path) == before


async def test_a_reader_may_also_write(path: Path) -> None:
    """A ledger that is not migrated takes changes if the file permits them."""
    async with SqliteLedger(path) as ledger:
        await ledger.create("spring", {})
        async with SqliteLedger(path, migrate=False) as other:
            await other.set_status("spring", "paused")
            assert (await ledger.state("spring")).asked == "paused"


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_folder_that_may_only_be_read_is_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, is_open: bool
) -> None:
    """A ledger is read where nothing may be written, while it is open elsewhere as well.

    A process that begins to write meanwhile is noticed.
    """
    writer = SqliteLedger(path)
    await writer.__aenter__()
    await writer.create(NAME, {})
    await writer.load(NAME, contacts(3))
    if not is_open:
        await writer.aclose()
    before = sorted(each.name for each in path.parent.iterdir())
    monkeypatch.setattr("os.access", lambda *_: False)

    async with SqliteLedger(path, migrate=False) as reader:
        assert (await reader.state(NAME)).counts[ContactState.PENDING] == 3
        assert sorted(each.name for each in path.parent.iterdir()) == before
        async with SqliteLedger(path) as again:
            await again.load(NAME, contacts(2, first=19175550000))
            assert (await reader.state(NAME)).counts[ContactState.PENDING] == 5
    await writer.aclose()


def test_migrate_is_a_command(path: Path) -> None:
    """`migrate` makes a ledger, or brings an old one up to date, and names its campaigns."""
    new, _ = ran("migrate", "--ledger", str(path.with_name("new.db")))
    execute(path, OLD_SQLITE.read_text("utf-8"))
    code, terminal = ran("migrate", "--ledger", str(path), "--json")

    assert new == code == Exit.OK
    assert json.loads(terminal.out) == {"campaigns": ["spring", "autumn"]}
    assert ran("status", "--ledger", str(path))[0] == Exit.OK


READ = """
mount --bind {0} {0} && mount -o remount,ro,bind {0} || exit 77
export TELECMI_LEDGER={0}/ledger.db
telecmi-async status --json && telecmi-async why +19170100000 && telecmi-async export --name spring
"""


def test_commands_read_on_a_read_only_file_system(path: Path) -> None:
    """`status`, `why` and `export` work where the file system permits no writing."""
    execute(path, OLD_SQLITE.read_text("utf-8"))
    code, _ = ran("migrate", "--ledger", str(path))
    assert code == Exit.OK
    script = READ.format(path.parent).replace(
        "telecmi-async ", f"{sys.executable} -m telecmi_async "
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )

    if done.returncode in {1, 77} and "unshare" in done.stderr:
        pytest.skip("this machine permits no mounts")
    assert done.returncode == Exit.OK, done.stderr
    assert '"contacts": 18' in done.stdout


# -- a schema that changes under a worker


@pytest.mark.parametrize(
    ("change", "lost"),
    [
        ("ALTER TABLE contact RENAME COLUMN worker TO dialler; PRAGMA user_version = 99", True),
        ("ALTER TABLE contact RENAME COLUMN worker TO dialler", False),
        ("PRAGMA user_version = 99", False),
    ],
)
async def test_a_schema_that_another_version_changed_ends_the_worker(
    path: Path,
    simulator: WritingSimulator,
    service: CallService,
    *,
    change: str,
    lost: bool,
) -> None:
    """A worker whose statement fails checks the version; one whose statements work goes on."""
    async with SqliteLedger(path) as ledger:
        campaign = Campaign(ledger, service, NAME, settings(1_000.0))
        await campaign.load(contacts(20))
        execute(path, change)
        if lost:
            with pytest.raises(LedgerLost, match=r"changed its schema \(it is 99 by now"):
                await campaign.run()
        elif "RENAME" in change:
            with pytest.raises(StoreError) as caught:
                await ledger.claim(NAME, "w", most=1, lease=60)
            assert not isinstance(caught.value, LedgerLost)
        else:
            await campaign.run()
            assert len(simulator.log) == 20

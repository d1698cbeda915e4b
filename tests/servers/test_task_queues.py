"""Tasks of Celery, Temporal and procrastinate that load a contact, with the code of the page.

A task's process is killed by SIGKILL, the queue runs the task again, and the phone rings once.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import anyio
import psycopg
import pytest
from page_code import code_under, programs_of, sections_of
from pg_server import shared
from valkey_server import ValkeyServer

from telecmi_async import Hangup
from telecmi_async.campaigns import Campaign, CampaignSettings
from telecmi_async.ledger import PostgresLedger
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

# What is tested runs in processes of its own; the ledger is tested on both event loops elsewhere.
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.real_clock,
    pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True),
]

PAGE = "task-queues.md"
NUMBER = 19170000001

# Kills the process once, right before or right after the commit of the first task.
KILLED = """
import signal

def die_once():
    if not os.path.exists("died"):
        open("died", "x").close()
        os.kill(os.getpid(), signal.SIGKILL)

class Dying(psycopg.Connection):
    def commit(self):
        if "before" in os.environ["DIES"]:
            die_once()
        super().commit()
        if "after" in os.environ["DIES"]:
            die_once()

def connect(url, connect=psycopg.connect):
    return Dying.connect(url)

psycopg.connect = connect
"""


@pytest.fixture
async def environment(tmp_path: Path) -> Mapping[str, str]:
    """A database with an order, a ledger and its campaign; as variables of a program."""
    url = shared().database(f"db-{secrets.token_hex(4)}")
    with psycopg.connect(url) as connection:
        connection.execute(
            "CREATE TABLE orders (id integer PRIMARY KEY, phone text, name text)"
        )
        connection.execute("INSERT INTO orders VALUES (42, '+1 917 000 0001', 'Asha')")
        connection.execute("INSERT INTO orders VALUES (43, '0917', 'Bela')")
    async with PostgresLedger(url) as ledger:
        await ledger.create("orders", CampaignSettings(flow=[Hangup()]).dump())
    places = os.pathsep.join([str(tmp_path), *sys.path])
    return os.environ | {"DATABASE_URL": url, "PYTHONPATH": places}


@pytest.fixture
def broker() -> Iterator[ValkeyServer]:
    """A broker of tasks."""
    with ValkeyServer() as server:
        yield server


async def dialled(url: str) -> list[int]:
    """Run the campaign, and return the numbers that were dialled."""
    simulator = Simulator()
    async with (
        PostgresLedger(url) as ledger,
        simulator.service(from_=19170000000) as service,
    ):
        await (await Campaign.attach(ledger, service, "orders")).run()
        assert (await ledger.state("orders")).total == 1
    return [call.to for call in simulator.calls]


def python(code: str, folder: Path, environment: Mapping[str, str]) -> int:
    """Run code in a process, and return how it ended."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, check=False, timeout=60
    ).returncode


@pytest.mark.parametrize("dies", ["before the commit", "after the commit"])
async def test_a_celery_task_whose_process_is_killed(
    environment: Mapping[str, str], broker: ValkeyServer, tmp_path: Path, dies: str
) -> None:
    """A real worker runs the task again after its process was killed, and the phone rings once."""
    environment = {**environment, "BROKER_URL": broker.url, "DIES": dies}
    said = code_under(PAGE) + code_under(PAGE, "Celery") + KILLED
    (tmp_path / "tasks.py").write_text(said, "utf-8")

    def work() -> str:
        queue = "import tasks; tasks.call_customer_task.delay(42)"
        assert python(queue, tmp_path, environment) == 0
        command = [
            "-m",
            "celery",
            "-A",
            "tasks",
            "worker",
            "--concurrency=1",
            "--loglevel=INFO",
        ]
        log = tmp_path / "log"
        with (
            log.open("wb") as file,
            subprocess.Popen(
                [sys.executable, *command],
                cwd=tmp_path,
                env=environment,
                stdout=file,
                stderr=file,
            ) as worker,
        ):
            until = time.monotonic() + 60
            while " succeeded in " not in log.read_text("utf-8"):
                assert time.monotonic() < until, log.read_text("utf-8")
                time.sleep(0.05)
            worker.terminate()
        return log.read_text("utf-8")

    logged = await anyio.to_thread.run_sync(work)

    assert (tmp_path / "died").exists()
    assert "SIGKILL" in logged
    assert logged.count("s: False" if "after" in dies else "s: True") == 1
    assert "917 000" not in logged
    assert str(NUMBER) not in logged
    assert await dialled(environment["DATABASE_URL"]) == [NUMBER]


@pytest.mark.parametrize("dies", ["before the commit", "after the commit"])
async def test_a_procrastinate_job_whose_worker_is_killed(
    environment: Mapping[str, str], tmp_path: Path, dies: str
) -> None:
    """The job of a killed worker is found by the page's periodic task, and the phone rings once."""
    environment = {**environment, "DIES": dies}
    code = code_under(PAGE) + code_under(PAGE, "procrastinate") + KILLED
    (tmp_path / "jobs.py").write_text(code, "utf-8")
    command = [sys.executable, "-m", "procrastinate", "--app=jobs.queue"]

    def run(*words: str) -> int:
        return subprocess.run(
            [*command, *words], cwd=tmp_path, env=environment, check=False, timeout=60
        ).returncode

    def work() -> list[int]:
        assert run("schema", "--apply") == 0
        defer = "import jobs\nwith jobs.queue.open(): jobs.call_customer_job.defer(order=42)"
        assert python(defer, tmp_path, environment) == 0
        ended = [run("worker", "--one-shot")]
        with psycopg.connect(environment["DATABASE_URL"]) as connection:
            connection.execute(
                "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 hour'"
            )
        retry = (
            "import asyncio, jobs\n"
            "async def main():\n"
            "    async with jobs.queue.open_async(): await jobs.retry_stalled_jobs(0)\n"
            "asyncio.run(main())"
        )
        assert python(retry, tmp_path, environment) == 0
        return [*ended, run("worker", "--one-shot")]

    assert await anyio.to_thread.run_sync(work) == [-9, 0]

    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        jobs = connection.execute(
            "SELECT status::text, attempts FROM procrastinate_jobs"
            " WHERE task_name = 'jobs.call_customer_job'"
        )
        assert jobs.fetchall() == [("succeeded", 2)]
    assert await dialled(environment["DATABASE_URL"]) == [NUMBER]


async def test_a_temporal_activity_that_is_repeated(
    environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repeated activity loads nothing more; a wrong number is not retried; the phone rings once."""
    from temporalio.exceptions import ApplicationError  # noqa: PLC0415  # it is slow
    from temporalio.testing import ActivityEnvironment  # noqa: PLC0415  # the same

    monkeypatch.setenv("DATABASE_URL", environment["DATABASE_URL"])
    names = programs_of(PAGE, code_under(PAGE) + code_under(PAGE, "Temporal"))
    run = ActivityEnvironment().run
    call = names["call_customer_activity"]

    found = [await anyio.to_thread.run_sync(run, call, 42) for _ in range(3)]

    assert found == [True, False, False]
    with pytest.raises(ApplicationError) as caught:
        run(call, 43)
    assert caught.value.non_retryable
    assert "0917" not in str(caught.value)
    assert await dialled(environment["DATABASE_URL"]) == [NUMBER]


def test_each_section_is_run(anyio_backend: object) -> None:
    """The sections with code are those that tests here run."""
    assert sections_of(PAGE) == {None, "Celery", "Temporal", "procrastinate"}

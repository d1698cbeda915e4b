"""A receiver warns when several workers use a store for one process."""

from __future__ import annotations

import multiprocessing
import sys
import warnings

import pytest
from webhook_posts import TOKEN

from telecmi_async import Receiver
from telecmi_async.events.receiver.worker_detection import several_workers
from telecmi_async.events.store import MemoryStore

BIN = "/srv/app/.venv/bin"


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        ([f"{BIN}/uvicorn", "app:app", "--workers", "4"], {}),
        ([f"{BIN}/uvicorn", "--workers=2", "app:app"], {}),
        (["/lib/uvicorn/__main__.py", "app:app", "--workers", "4"], {}),
        ([r"uvicorn.exe", "app:app", "--workers", "4"], {}),
        ([f"{BIN}/uvicorn", "app:app"], {"WEB_CONCURRENCY": "4"}),
        ([f"{BIN}/uvicorn", "app:app"], {"UVICORN_WORKERS": "3"}),
        ([f"{BIN}/gunicorn", "-w", "4", "app:app"], {}),
        ([f"{BIN}/gunicorn", "-w4", "app:app"], {"WEB_CONCURRENCY": "1"}),
        ([f"{BIN}/gunicorn", "app:app"], {"GUNICORN_CMD_ARGS": "--bind :80 --workers=4"}),
        ([f"{BIN}/gunicorn", "app:app"], {"WEB_CONCURRENCY": "2"}),
        ([f"{BIN}/hypercorn", "-w", "2", "app:app"], {}),
        ([f"{BIN}/hypercorn", "app:app", "--workers", "2"], {}),
        ([f"{BIN}/granian", "--workers", "2", "app:app"], {}),
        ([f"{BIN}/granian", "app:app"], {"GRANIAN_WORKERS": "2"}),
        ([f"{BIN}/fastapi", "run", "--workers", "4"], {}),
    ],
)
def test_several_workers_are_noticed(argv: list[str], environ: dict[str, str]) -> None:
    """Several workers are detected from each server's command line and environment."""
    assert several_workers(argv, environ) is True


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        ([], {}),
        ([f"{BIN}/uvicorn", "app:app"], {}),
        ([f"{BIN}/uvicorn", "app:app", "--workers", "1"], {"WEB_CONCURRENCY": "4"}),
        ([f"{BIN}/uvicorn", "app:app", "--workers"], {}),
        ([f"{BIN}/uvicorn", "app:app", "--workers", "many"], {}),
        ([f"{BIN}/uvicorn", "app:app"], {"WEB_CONCURRENCY": ""}),
        ([f"{BIN}/uvicorn", "app:app"], {"WEB_CONCURRENCY": "9" * 5000}),
        ([f"{BIN}/uvicorn", "app:app"], {"GUNICORN_CMD_ARGS": "-w 4"}),
        ([f"{BIN}/gunicorn", "app:app"], {"GUNICORN_CMD_ARGS": "-w 1", "WEB_CONCURRENCY": "4"}),
        (["/srv/uvicorn-app/job.py", "-w", "4"], {}),
        (["dial.py"], {"WEB_CONCURRENCY": "4"}),
        ([f"{BIN}/pytest", "-w", "4"], {}),
        ([f"{BIN}/daphne", "app:app"], {}),
    ],
)
def test_there_is_no_false_alarm(argv: list[str], environ: dict[str, str]) -> None:
    """Without proof of several workers the result is False; the command line comes first."""
    assert several_workers(argv, environ) is False


def test_the_workers_of_a_program_that_starts_its_server_are_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`uvicorn.run` starts child processes and reads WEB_CONCURRENCY."""
    monkeypatch.setattr(multiprocessing, "parent_process", object)

    assert several_workers(["main.py"], {"WEB_CONCURRENCY": "4"}) is True
    assert several_workers(["main.py"], {}) is False


class SharedStore(MemoryStore):
    """A store that several processes share."""

    shared = True


def test_a_receiver_warns_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning points at the caller's line; a shared store causes none."""
    monkeypatch.setattr(sys, "argv", [f"{BIN}/uvicorn", "app:app", "--workers", "4"])
    with pytest.warns(RuntimeWarning, match="RedisStore") as caught:
        Receiver(TOKEN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Receiver(TOKEN, store=SharedStore())

    assert caught[0].filename == __file__

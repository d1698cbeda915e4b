"""Nothing is imported late: a process that cannot open files places calls as before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SUPPORT = Path(__file__).parents[1] / "support"


def run(backend: str, made: str) -> dict[str, Any]:
    """Run the program, and return what it found."""
    done = subprocess.run(  # this Python
        [sys.executable, SUPPORT / "import_blocker.py", backend, made],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("made", ["inside", "outside"])
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_open_service_imports_nothing(backend: str, made: str) -> None:
    """With imports that fail, every outcome, retry, event and refusal is what it should be."""
    found = run(backend, made)

    assert found.pop("imported") == []
    assert 'did you mean "hangup"?' in found.pop("spelling")
    assert found == {
        "0": ["progress", 1],
        "1": ["progress", 1],
        "2": ["MissingProperty", 3],
        "3": ["CallOutcomeUnknown", 3],
        "4": ["AuthenticationError", 1],
        "5": ["RateLimited", 3],
        "6": ["CallOutcomeUnknown", 1],
        "7": ["NotSent", 3],
        "8": ["CallOutcomeUnknown", 1],
        "9": ["CallOutcomeUnknown", 1],
        "answered": True,
        "stream": ["progress", "rejected", "unknown"],
        "channels": "RequestFailed",
        "cancelled": "cancelled",
    }


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_service_without_events_imports_nothing(backend: str) -> None:
    """Host names, connections and TLS of its own client need no import either, nor do results."""
    assert run(backend, "own") == {
        "imported": [],
        "placed": "progress",
        "stage": "new",
        "stream": ["progress"],
        "hangup": True,
        "answered": "ConfigurationError",
        "channels": "RequestFailed",
    }

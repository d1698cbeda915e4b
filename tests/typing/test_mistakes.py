"""Mistakes in an editor: mypy and pyright report each line of mistakes.py that is marked wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).with_name("mistakes.py")
ROOT = Path(__file__).parents[2]
WRONG = {
    number
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), 1)
    if "  # wrong: " in line
}


def checked(*command: str) -> str:
    """Return what a type checker prints of the file; it must find errors."""
    done = subprocess.run(
        [sys.executable, "-m", *command, str(FILE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_mypy_reports_each_mistake_and_nothing_else() -> None:
    """The lines with an error of mypy are those that are marked."""
    said = checked("mypy", "--no-error-summary")

    assert {int(found[1]) for found in re.finditer(r"\.py:(\d+): error:", said)} == WRONG


def test_pyright_reports_each_mistake_and_nothing_else() -> None:
    """The lines with an error of pyright are those that are marked."""
    said = json.loads(checked("pyright", "--outputjson", "--pythonpath", sys.executable))

    found = {each["range"]["start"]["line"] + 1 for each in said["generalDiagnostics"]}
    assert found == WRONG

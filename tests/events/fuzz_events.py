"""Throws bytes at the parser of events and at the receiver, guided by coverage.

``nox -s fuzz`` runs it for a minute, ``nox -s fuzz -- -max_total_time=3600`` for an hour. It
begins with the tests' payloads. An error other than `WebhookError`, or an answer that a receiver
does not give, ends it, and the input is written to a file.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # it has no types

with atheris.instrument_imports(include=["telecmi_async"]):
    from telecmi_async import Receiver
    from telecmi_async.errors import WebhookError
    from telecmi_async.events import CallState, dedupe_key, parse_event

DATA = Path(__file__).parents[1] / "data" / "events"
TOKEN = "t" * 43
JSON = {"Content-Type": "application/json"}
LOOP = asyncio.new_event_loop()


def one_input(data: bytes) -> None:
    """Parse bytes, use the event, and send them to a receiver."""
    try:
        event = parse_event(data)
    except WebhookError:
        expected = {400, 413}
    else:
        expected = {200, 204}
        repr(event)
        dedupe_key(event)
        state = CallState().after(event)
        assert state.after(event) == state
    receiver = Receiver(TOKEN, secret="a-secret")
    reply = LOOP.run_until_complete(receiver.handle("POST", f"/{TOKEN}", JSON, data))
    assert reply.status in expected


def seed(folder: Path) -> None:
    """Write the documented payloads, and payloads that once caused errors, into a folder."""
    for path in (DATA / "corpus").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for number, sample in enumerate(json.loads((DATA / "documented.json").read_bytes())):
        (folder / f"documented_{number}").write_text(json.dumps(sample["payload"]))


if __name__ == "__main__":
    logging.disable()
    with tempfile.TemporaryDirectory() as corpus:
        seed(Path(corpus))
        atheris.Setup([*sys.argv, corpus], one_input)
        atheris.Fuzz()

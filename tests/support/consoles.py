"""Terminals whose output can be read, and a simulator for commands in this process."""

from __future__ import annotations

import io
import signal
import threading
import time
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING

from anyio.from_thread import start_blocking_portal

from telecmi_async.cli import Terminal
from telecmi_async.http_server import ConnectionLimits
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pytest
    from cyclopts import App

FROM = "19170000000"
TO = "+1 917 000 0001"
FLOW = '[{"action": "play", "file_name": "welcome.wav"}, {"action": "hangup"}]'


# Nobody waits for the replies that a command left behind.
HASTY = ConnectionLimits(grace=0.3)


class Stream(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, text: str = "", *, tty: bool = False) -> None:
        super().__init__(text)
        self.tty = tty

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return self.tty


class Console(Terminal):
    """A terminal whose output can be read."""

    @property
    def out(self) -> str:
        """The text on stdout."""
        assert isinstance(self.stdout, Stream)
        return self.stdout.getvalue()

    @property
    def err(self) -> str:
        """The text on stderr."""
        assert isinstance(self.stderr, Stream)
        return self.stderr.getvalue()


def console(
    environ: Mapping[str, str] | None = None, *, typed: str = "", tty: bool = False
) -> Console:
    """Return a terminal with an environment and typed input."""
    return Console(
        stdin=Stream(typed, tty=tty),
        stdout=Stream(),
        stderr=Stream(tty=tty),
        environ=environ or {},
    )


def fail_in(monkeypatch: pytest.MonkeyPatch, command: App, error: BaseException) -> None:
    """Have a command raise an error; its arguments do not matter."""
    assert command.default_command is not None

    @wraps(command.default_command)
    def fail(*_: object, **__: object) -> int:
        raise error

    monkeypatch.setattr(command, "default_command", fail)


@contextmanager
def serving(simulator: Simulator) -> Iterator[dict[str, str]]:
    """Serve a simulator from another thread; yield the environment for commands."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(simulator.serve(limits=HASTY)) as base_url,
    ):
        yield {
            "TELECMI_APP_ID": str(simulator.app_id),
            "TELECMI_SECRET": simulator.secret,
            "TELECMI_FROM": FROM,
            "TELECMI_BASE_URL": base_url,
        }


@contextmanager
def interrupted(condition: threading.Event) -> Iterator[None]:
    """Press Ctrl-C when a condition holds or after 20 s, unless the block has ended.

    After a failed command Ctrl-C would stop pytest; a command without Ctrl-C would run on.
    """
    left = threading.Event()

    def press() -> None:
        until = time.monotonic() + 20
        while not condition.wait(0.05) and not left.is_set() and time.monotonic() < until:
            pass
        if not left.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


class Watched(Simulator):
    """A simulator that sets an event when a request arrives."""

    def __init__(self, arrived: threading.Event, *, latency: float = 0.0) -> None:
        super().__init__(latency=latency)
        self.arrived = arrived

    def receive(self, *args: object, **options: object) -> object:  # type: ignore[override]  # passed on
        """Process a request."""
        decision = super().receive(*args, **options)  # type: ignore[arg-type]  # passed on
        self.arrived.set()
        return decision


def zone_at_ten() -> str:
    """Return a time zone where it is about ten in the morning."""
    ahead = (10 - time.gmtime().tm_hour + 12) % 24 - 12
    # The signs in the names of these zones are inverted.
    return f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"

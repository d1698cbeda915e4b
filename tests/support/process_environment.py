"""Resets inherited signals, umask, time zone and environment before tests run.

A job in the background of a shell ignores SIGINT; a service manager blocks
signals; users have proxies, colours and credentials in their environment.
"""

from __future__ import annotations

import os
import re
import signal
import time

#: Variables of this package, its libraries, terminals and servers.
_VARIABLES = re.compile(
    r"TELECMI_\w+|(HTTPS?|ALL|NO)_PROXY|SSL_(CERT|KEYLOG)\w+|PG[A-Z]+|NO_COLOR|FORCE_COLOR"
    r"|CLICOLOR\w*|TTY_\w+|COLUMNS|LINES|TERM|WEB_CONCURRENCY|(UVICORN|GUNICORN|GRANIAN)_\w+"
    r"|DJANGO_\w+|PYTHON(WARNINGS|ASYNCIODEBUG|DEVMODE|STARTUP|INSPECT)",
    re.IGNORECASE,
)


def pytest_configure() -> None:
    """Give each test process the state of one that was started in a plain shell."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    for name in list(os.environ):
        if _VARIABLES.fullmatch(name):
            del os.environ[name]
    os.environ["TZ"] = "UTC"
    time.tzset()

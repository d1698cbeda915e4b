"""Free ports, for servers that tests start as processes."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """Return a port that no process listens on.

    It is below those that the kernel chooses itself (Linux: from 32,768 on): one of these may be
    given to another test before the server listens.
    """
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

"""``telecmi-async simulate``: a TeleCMI on this machine, for programs in any language."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from telecmi_async._internal.validators import environment_variable
from telecmi_async.cli.exits import Exit
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from telecmi_async.cli.terminal import Terminal

_CALLER_ID: Final = 19170000000  # any number will do here


def run(
    terminal: Terminal,
    *,
    host: str,
    port: int,
    seed: int,
    latency: float,
    error_share: float,
    calls_per_second: int | None,
    webhooks: str | None,
    speed: float,
    answered_share: float,
    as_json: bool,
) -> int:
    """Serve until Ctrl-C, then say what was asked.

    Returns:
        `Exit.INTERRUPTED`, since there is no other end.

    Raises:
        ConfigurationError: An option cannot be right, or it cannot listen there.
    """
    simulator = Simulator(
        seed=seed,
        latency=latency,
        error_502_share=error_share,
        calls_per_second=calls_per_second,
        webhooks=webhooks or environment_variable(os.environ, "TELECMI_WEBHOOK_URL") or None,
        speed=speed,
        answered_share=answered_share,
        starts_at=datetime.now(UTC),
    )
    try:
        anyio.run(partial(_serve, terminal, simulator, host=host, port=port, as_json=as_json))
    except KeyboardInterrupt:
        if as_json:
            counts = {
                "requests": simulator.requests,
                "numbers": simulator.numbers(),
                "more_than_once": simulator.duplicates(),
            }
            terminal.put(json.dumps(counts))
        terminal.say()
        terminal.say(
            f"requests: {simulator.requests}, numbers dialled: {simulator.numbers()}, "
            f"more than once: {simulator.duplicates()}"
        )
    return Exit.INTERRUPTED


async def _serve(
    terminal: Terminal, simulator: Simulator, *, host: str, port: int, as_json: bool
) -> None:
    async with simulator.serve(host, port) as base_url:
        terminal.say("A TeleCMI simulated on this machine: no phone rings. Ctrl-C ends it.")
        # A server on all addresses shows its page on this machine, too.
        shown = base_url.removesuffix("v2").replace("//0.0.0.0:", "//127.0.0.1:")
        terminal.say(f"What it does is shown on this machine at {shown}")
        terminal.say("In the environment of your program:")
        environ = {
            "TELECMI_BASE_URL": base_url,
            "TELECMI_APP_ID": str(simulator.app_id),
            "TELECMI_FROM": str(_CALLER_ID),
            "TELECMI_SECRET": simulator.secret,
        }
        if as_json:
            terminal.put(json.dumps(environ))
        else:
            for name, value in environ.items():
                terminal.put(f"{name}={value}")
        await anyio.sleep_forever()

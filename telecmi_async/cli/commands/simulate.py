"""``telecmi-async simulate``: a TeleCMI on this machine, for programs in any language."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import anyio

from telecmi_async._internal.validators import environment_variable
from telecmi_async.cli.exits import Exit
from telecmi_async.cli.options import (
    LOCALHOST,
    PORT,
    ErrorShare,
    Here,
    Host,
    JsonFlag,
    Seed,
    command,
    number,
    value,
)
from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from telecmi_async.cli.output.terminal import Terminal

_CALLER_ID: Final = 19170000000  # any number will do here


@command(
    "simulate",
    "simulate",
    "simulate --errors-502 0.05 --cps 5",
)
def simulate(
    *,
    port: Annotated[int, value("PORT", converter=PORT)] = 8787,
    host: Host = LOCALHOST,
    latency: Annotated[float, value("SECONDS", converter=number(float, 0))] = 0.0,
    cps: Annotated[int | None, value("N", converter=number(int, 1))] = None,
    webhooks: Annotated[str | None, value("URL")] = None,
    speed: Annotated[float, value("N", converter=number(float, 0, above=True))] = 1.0,
    answered: Annotated[float, value("SHARE", converter=number(float, 0, 1))] = 1.0,
    error_share: ErrorShare = 0.0,
    seed: Seed = 1,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Run a TeleCMI on this machine until Ctrl-C.

    It answers as TeleCMI's make-call API does, without dialling. The environment that leads
    programs here is printed on stdout. Ctrl-C ends it, with exit code 130; with --json it prints
    then what was asked.

    Args:
        port: 0 for any free port.
        latency: Seconds before each answer.
        cps: Calls per second above which it answers 429.
        webhooks: Where events and records go; $TELECMI_WEBHOOK_URL unless given.
        speed: How many seconds pass in calls in one of yours.
        answered: The share of the people called who answer, from 0 to 1.
    """
    simulator = Simulator(
        seed=seed,
        latency=latency,
        error_502_share=error_share,
        calls_per_second=cps,
        webhooks=webhooks or environment_variable(os.environ, "TELECMI_WEBHOOK_URL") or None,
        speed=speed,
        answered_share=answered,
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

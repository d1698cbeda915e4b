"""``telecmi-async simulate``: a TeleCMI on this machine, for programs in any language."""

from __future__ import annotations

import json
import os
from collections import Counter
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from importlib import import_module
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Final

from telecmi_async._internal.messages import mask, mask_in
from telecmi_async._internal.telecmi import MAKE_CALL_PATHS
from telecmi_async._internal.validators import environment_variable
from telecmi_async.cli.exits import Exit, Stop, missing_extra
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

if TYPE_CHECKING:
    from telecmi_async.cli.output.terminal import Terminal
    from telecmi_async.simulator import SimulatedRequest, Simulator

_LONGEST: Final = 40
_REQUESTS: Final = {
    **{f"/v2{path}": "call" for path in MAKE_CALL_PATHS.values()},
    "/v2/piopiy/get_channels": "channels",
    "/v1/piopiy/requestid_cdr": "records",
    "/v1/piopiy/cmiuuid_cdr": "record",
    "/v1/call/action": "command",
    "/v1/call/global_action": "command",
}
_CALLER_ID: Final = 19170000000  # any number will do here


@command(
    "simulate",
    "simulate",
    "simulate --errors-502 0.05 --cps 5",
    "simulate --dial-streams --says question.wav --says thanks.wav",
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
    dial_streams: bool = False,
    says: Annotated[tuple[str, ...], value("FILE")] = (),
    talks_over_after: Annotated[
        float | None, value("SECONDS", converter=number(float, 0, above=True))
    ] = None,
    reveal: bool = False,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Run a TeleCMI on this machine until Ctrl-C.

    It answers as TeleCMI's make-call API does, without dialling. The environment that leads
    programs here is printed on stdout, as a shell reads it, and a line for each request on
    stderr. Ctrl-C ends it, with exit code 130, and prints what was asked.

    Args:
        port: The port to listen on; 0 for any free one.
        latency: How many seconds pass before each reply.
        cps: The calls per second above which it answers 429.
        webhooks: The address that events and records are sent to; $TELECMI_WEBHOOK_URL unless
            given.
        speed: How fast time passes in calls: with 60, a minute takes a second.
        answered: The share of the people called who answer, from 0 to 1.
        dial_streams: Connect calls that a flow streams to its ws_url, such as your voice bot on
            this machine; needs the extra voice.
        says: A WAV file that those who answer say to a voice bot; several are said in turn.
        talks_over_after: How many seconds after the bot's first sound they say the first of them,
            also while it speaks.
        reveal: Show numbers in full, here and on its page: no phone is called, but they may be
            real.
    """
    from telecmi_async.simulator import Callee, Simulator

    _check_streams(says, talks_over_after, dials=dial_streams)
    simulator = Simulator(
        seed=seed,
        latency=latency,
        error_502_share=error_share,
        calls_per_second=cps,
        webhooks=webhooks or environment_variable(os.environ, "TELECMI_WEBHOOK_URL") or None,
        speed=speed,
        answered_share=answered,
        starts_at=datetime.now(UTC),
        reveal=reveal,
        streams="dial" if dial_streams else None,
        callee=Callee(says=says, talks_over_after=talks_over_after),
    )
    return _run(terminal, simulator, host=host, port=port, as_json=as_json)


def _check_streams(says: tuple[str, ...], talks_over: float | None, *, dials: bool) -> None:
    """Refuse options that would do nothing, and dialling without its extra."""
    if says and not dials:
        raise Stop(Exit.USAGE, "--says needs --dial-streams")
    if talks_over is not None and not says:
        raise Stop(Exit.USAGE, "--talks-over-after needs --says")
    if dials:
        try:
            import_module("websockets")
        except ModuleNotFoundError as error:
            raise missing_extra("--dial-streams", "voice", error.name) from None


def _run(
    terminal: Terminal, simulator: Simulator, *, host: str, port: int, as_json: bool
) -> Exit:
    """Serve until Ctrl-C, and print what was asked."""
    import anyio

    from telecmi_async.cli.log_lines import log_shown

    answers: Counter[str] = Counter()

    def show(request: SimulatedRequest) -> None:
        answers[_answer(request)] += 1
        terminal.say(_line(request, reveal=simulator.reveal))

    simulator.on_request = show
    try:
        with log_shown(terminal.environ, lambda text: terminal.say(f"{_clock()}  {text}")):
            anyio.run(
                partial(_serve, terminal, simulator, host=host, port=port, as_json=as_json)
            )
    except KeyboardInterrupt:
        _say_counts(terminal, simulator, answers, as_json=as_json)
    return Exit.INTERRUPTED


def _say_counts(
    terminal: Terminal, simulator: Simulator, answers: Counter[str], *, as_json: bool
) -> None:
    """Print how many requests came, and how they were answered."""
    counts = {
        "requests": simulator.requests,
        "answers": dict(answers),
        "numbers": simulator.numbers(),
        "more_than_once": simulator.duplicates(),
    }
    if as_json:
        terminal.put(json.dumps(counts))
    terminal.say()
    if answers:
        said = ", ".join(f"{many} with {answer}" for answer, many in answers.most_common())
        terminal.say(f"answers: {said}")
    terminal.say(
        f"requests: {simulator.requests}, numbers dialled: {simulator.numbers()}, "
        f"more than once: {simulator.duplicates()}"
    )


async def _serve(
    terminal: Terminal, simulator: Simulator, *, host: str, port: int, as_json: bool
) -> None:
    from anyio import sleep_forever

    async with simulator.serve(host, port) as base_url:
        terminal.say("A TeleCMI simulated on this machine: no phone rings. Ctrl-C ends it.")
        # A server on all addresses shows its page on this machine, too.
        shown = base_url.removesuffix("v2").replace("//0.0.0.0:", "//127.0.0.1:")
        terminal.say(f"What it does is shown on this machine at {shown}")
        terminal.say("Your program finds it if its environment has:")
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
                terminal.put(f"export {name}={quote(value)}")
        await sleep_forever()


def _line(request: SimulatedRequest, *, reveal: bool) -> str:
    """Return a request and its answer in one line."""
    what = _REQUESTS.get(request.path, mask_in(request.path[:_LONGEST]) or "not HTTP")
    to = "" if request.to is None else str(request.to) if reveal else mask(request.to)
    said = [request.message]
    if request.request_id is not None:
        said.append("placed" if request.status == HTTPStatus.OK else "placed all the same")
    if request.attempt not in {None, 1}:
        said.append(f"try {request.attempt}")
    details = ", ".join(filter(None, said))
    line = f"{_clock()}  {what:<9} {_answer(request):<9} {to:<14}  {details}"
    return line.rstrip()


def _clock() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"


def _answer(request: SimulatedRequest) -> str:
    """Return the HTTP status of an answer, and the code in it if that is another one."""
    if request.status is None:
        return "no reply"
    code = str(request.code or request.status)
    return str(request.status) if code == str(request.status) else f"{request.status}/{code}"

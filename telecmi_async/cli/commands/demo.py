"""``telecmi-async demo``: a campaign, or a voice bot's calls, on this machine."""

from __future__ import annotations

from typing import Annotated

from telecmi_async.cli.options import (
    CallsPerSecond,
    ErrorShare,
    Here,
    JsonFlag,
    Seed,
    command,
    number,
    value,
)


@command("demo", "demo", "demo --calls 1000 --cps 200 --errors-502 0.2")
def demo(
    *,
    calls: Annotated[
        int, value("N", "How many people are called.", converter=number(int, 1, 1_000))
    ] = 200,
    calls_per_second: CallsPerSecond = 50.0,
    error_share: ErrorShare = 0.05,
    seed: Seed = 1,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Run a campaign on this machine, kill it in the middle, and resume it.

    It calls generated numbers on a TeleCMI that is simulated on this machine, in a process that
    is killed in the middle; another one goes on. No phone rings. The exit code is 1 if anything
    happened that should not.
    """
    from telecmi_async.cli.stage import play_demo

    return play_demo(
        terminal, calls, rate=calls_per_second, errors=error_share, seed=seed, as_json=as_json
    )


@command("voice", "demo voice", "demo voice --out talk.wav", into=demo)
def demo_voice(
    *,
    out: Annotated[str | None, value("FILE")] = None,
    as_json: JsonFlag = False,
    terminal: Here,
) -> int:
    """Let a voice bot talk to simulated people on this machine.

    It calls someone, is interrupted, answers, says goodbye and hangs up. Then someone calls it and
    asks for a person, and it transfers the call to a colleague. What it estimates is compared
    with what was heard. It makes sounds instead of words, so that it needs no AI. No phone rings.
    The exit code is 1 if anything happened that should not.

    Args:
        out: Write the audio of both calls, one after the other, as a stereo WAV file. No file is
            overwritten.
    """
    from telecmi_async.cli.voice_demo import play_voice_demo

    return play_voice_demo(terminal, out=out, as_json=as_json)

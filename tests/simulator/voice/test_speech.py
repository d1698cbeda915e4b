"""What a callee can say, and the faults of its line."""

from __future__ import annotations

import io
import wave
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from voice_bots import sound

from telecmi_async.errors import ConfigurationError
from telecmi_async.simulator import Callee, LineFault, LineFaultKind, Silence, Simulator, Tone
from telecmi_async.simulator.voice.speech import convert_rate, is_audible, mix

if TYPE_CHECKING:
    from pathlib import Path


def wav(pcm: bytes, rate: int = 8_000) -> bytes:
    """Return a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", ""))
        writer.writeframes(pcm)
    return file.getvalue()


def test_a_callee_says_files_tones_and_silence(tmp_path: Path) -> None:
    """Files are read when the callee is made, and have the stream's rate when they are said."""
    path = tmp_path / "hello.wav"
    path.write_bytes(wav(sound(0.1)))

    callee = Callee(
        says=[str(path), path, wav(sound(0.1, 16_000), 16_000), Tone(0.1), Silence(0.1)]
    )
    path.unlink()

    assert [len(each.pcm(8_000)) for each in callee.says] == [1_600] * 5
    assert [len(each.pcm(16_000)) for each in callee.says] == [3_200] * 5
    assert callee.says[0].pcm(8_000) == sound(0.1)
    assert [is_audible(each.pcm(8_000)) for each in callee.says] == [True] * 4 + [False]
    assert "RIFF" not in repr(callee)


@pytest.mark.parametrize("says", ["hello.wav", Tone(1)], ids=["file", "tone"])
def test_one_thing_needs_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: Any
) -> None:
    """A single file or tone may be given as it is."""
    (tmp_path / "hello.wav").write_bytes(wav(sound(1)))
    monkeypatch.chdir(tmp_path)

    assert [len(each.pcm(8_000)) for each in Callee(says=says).says] == [16_000]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Callee(says=["none.wav"]), "WAV file cannot be used.*none.wav"),
        (lambda: Callee(says=[b"RIFF"]), "no WAV file"),
        (
            lambda: Callee(says=cast("Any", [7])),
            "a WAV file's path or bytes, a Tone or a Silence, not 7",
        ),
        (lambda: Tone(0), "Tone.seconds"),
        (lambda: Tone(1, hz=0), "Tone.hz"),
        (lambda: Silence(-1), "Silence.seconds"),
        (lambda: Callee(talks_over_after=0), "Callee.talks_over_after"),
        (lambda: Callee(line_faults=["nothing"]), 'LineFault.kind must be .*"drop"'),
        (lambda: LineFault("drop", after=0), "LineFault.after"),
        (lambda: LineFault("stall", seconds=-1), "LineFault.seconds"),
        (
            lambda: Simulator(streams=cast("Any", "dail")),
            "Simulator.streams must be an ASGI app",
        ),
        (lambda: Simulator(streams=cast("Any", 7)), "Simulator.streams must be an ASGI app"),
        (lambda: Simulator(keep_audio=cast("Any", 1)), "Simulator.keep_audio"),
    ],
)
def test_bad_values_are_refused(make: Any, why: str) -> None:
    """A value that cannot be used raises `ConfigurationError`, which names it."""
    with pytest.raises(ConfigurationError, match=why):
        make()


def test_faults_have_usual_times() -> None:
    """A fault's text stands for the fault after a second; times may be timedeltas."""
    drop = Callee(line_faults="drop").line_faults
    both = Callee(line_faults=["stall", LineFault("drop", after=timedelta(seconds=9))])

    assert drop == (LineFault(LineFaultKind.DROP, after=1.0, seconds=1.0),)
    assert [fault.after for fault in both.line_faults] == [1.0, 9.0]
    assert Callee(line_faults=LineFault("drop")).line_faults == drop


def test_the_repr_says_where_streams_go() -> None:
    """A simulator's repr has "dial", or that there is an app."""

    async def app(*_: Any) -> None:
        pass

    assert repr(Simulator(streams="dial")) == "Simulator(streams='dial')"
    assert repr(Simulator(streams=app)) == "Simulator(streams=<an ASGI app>)"


def test_sums_do_not_overflow() -> None:
    """Loud sounds are cut at the limit, and the shorter one is continued by silence."""
    assert mix(b"\xff\x7f\x00\x80\x01\x00", b"\x01\x00\xff\xff") == b"\xff\x7f\x00\x80\x01\x00"


def test_rates_are_converted_along_straight_lines() -> None:
    """Between two samples lies their mean; no sound has no samples."""
    assert (
        convert_rate(b"\x00\x00\x64\x00", 8_000, 16_000) == b"\x00\x00\x32\x00\x64\x00\x64\x00"
    )
    assert convert_rate(b"", 8_000, 16_000) == b""

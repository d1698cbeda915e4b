"""The page's conversation: its lanes, what stands beside them, and its audio."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

import pytest
from page_visitor import Seen, ask, see
from simulated import place

from telecmi_async.simulator import Conversation, Note, Simulator

if TYPE_CHECKING:
    from telecmi_async.http_server import HttpResponse

LOUD = b"\x00\x20" * 160


def add(talk: Conversation, seconds: float, *, bot: bool = False, callee: bool = False) -> None:
    """Let time pass in which one, both or neither speak."""
    for _ in range(round(seconds * 50)):
        talk.add(LOUD if bot else b"", LOUD if callee else b"")


def held(*, keep_audio: bool = True, over: bool = True) -> Conversation:
    """Return a conversation of 10 s: an interruption, a gap, and one of each mark."""
    talk = Conversation(keep_audio=keep_audio)
    add(talk, 1, bot=True)
    add(talk, 0.5, bot=True, callee=True)
    talk.cut()
    talk.note("break", "0.40 s unheard")
    add(talk, 0.5, callee=True)
    add(talk, 2)
    talk.note("fault", "stall")
    talk.note("pause")
    add(talk, 1, bot=True)
    add(talk, 0.2)
    add(talk, 0.8, bot=True)
    add(talk, 3)
    add(talk, 0.9, callee=True)
    talk.note("array", "hangup")
    add(talk, 0.1)
    if over:
        talk.note("closed", "by the call; 0.00 s unheard")
    return talk


def called(talk: Conversation, simulator: Simulator | None = None) -> tuple[Simulator, str]:
    """Return a simulator and the id of its call, in which a conversation was held."""
    simulator = simulator or Simulator()
    call = place(simulator)
    call.voice.heard = talk
    return simulator, call.request_id


def shown(talk: Conversation) -> Seen:
    """Return the page of a call."""
    simulator, request_id = called(talk)
    return see(simulator, f"/call?id={request_id}")


def bars(seen: Seen, kind: str) -> list[tuple[str | None, str | None]]:
    """Return where bars of a kind begin, and how wide they are; the key has some, too."""
    return [
        (each["x"], each["width"])
        for tag, each in seen.elements
        if tag == "rect" and each.get("class") == kind and "x" in each
    ]


def marks(seen: Seen) -> list[tuple[str | None, str | None]]:
    """Return the kinds and places of marks in the drawing."""
    found: list[tuple[str | None, str | None]] = []
    for n, (tag, each) in enumerate(seen.elements):
        if tag == "g":
            line = next(attrs for name, attrs in seen.elements[n:] if name == "line")
            found.append((each["class"], line["x1"]))
    return found


# --- the drawing ------------------------------------------------------------------------


def test_a_call_that_is_not_streamed_has_no_conversation() -> None:
    """There is neither a drawing nor audio."""
    seen = shown(Conversation())

    assert "Conversation" not in seen.words
    assert not {"audio", "svg"} & {tag for tag, _ in seen.elements}


def test_each_side_has_a_lane_on_one_time_line() -> None:
    """Utterances are bars at their times, as parts of the conversation's length."""
    seen = shown(held())

    assert bars(seen, "bot") == [("0%", "15%"), ("40%", "20%")]
    assert bars(seen, "callee") == [("10%", "10%"), ("90%", "9%")]
    assert bars(seen, "track") == [("0", "100%")] * 2
    assert {"0 s", "2 s", "8 s", "10 s"} <= set(seen.words)


def test_overlap_interruption_and_gap_are_marked() -> None:
    """So are the moments in which both spoke, until the bot was silent, and a dry queue."""
    seen = shown(held())

    assert bars(seen, "both") == [("10%", "5%")]
    assert bars(seen, "barge") == [("10%", "5%")]
    assert bars(seen, "gap") == [("50%", "2%")]


def test_messages_and_faults_have_marks_of_their_kind() -> None:
    """Breaks, actions and faults have their own shape; the close has none."""
    assert marks(shown(held())) == [
        ("mark break", "15%"),
        ("mark fault", "40%"),
        ("mark other", "40%"),
        ("mark array", "99%"),
    ]


def test_the_key_explains_what_is_there_and_nothing_else() -> None:
    """A conversation without events has an empty key."""
    plain = Conversation()
    add(plain, 1, bot=True)
    everything, nothing = shown(held()), shown(plain)
    words = [
        "both speak",
        "until the bot is silent after an interruption",
        "gap: nothing to play",
        "break: the bot's queue is emptied",
        "actions of the bot",
        "fault",
        "another message",
    ]

    assert set(words) <= {word.strip() for word in everything.words}
    assert not set(words) & {word.strip() for word in nothing.words}
    assert bars(nothing, "bot") == [("0%", "100%")]


def test_the_drawing_is_said_in_words() -> None:
    """Screen readers get a summary of the drawing, and a table with every event."""
    talk = held()
    seen = shown(talk)
    summary = (
        "In 10.0 s the callee spoke 2 times and the bot 2 times; the callee interrupted once."
    )

    assert summary in seen.values("svg", "aria-label")
    for event in talk.timeline:
        assert f"{event.at:.2f} s" in seen.words
        assert event.detail in seen.text
    assert seen.words.count("bot heard") == 2
    assert seen.words.count("callee said") == 2


def test_measures_stand_beside_it() -> None:
    """Time to first audio, interruption, overlap and gaps are said in seconds."""
    seen = shown(held())
    facts = dict(zip(seen.words, seen.words[1:], strict=False))

    assert facts["Length"] == "10.00 s"
    assert facts["Time to first audio"] == "0.00 s"
    assert facts["Bot's audio heard"] == "3.30 s"
    assert facts["Bot silent after an interruption"] == "0.50 s"
    assert facts["Both spoke"] == "0.50 s"
    assert facts["Gaps"] == "1, 0.20 s in all"


def test_measures_of_a_silent_conversation() -> None:
    """What did not happen is said in words."""
    talk = Conversation()
    add(talk, 1)
    seen = shown(talk)
    facts = dict(zip(seen.words, seen.words[1:], strict=False))

    assert facts["Length"] == "1.00 s so far"
    assert facts["Time to first audio"] == "none yet"
    assert facts["Bot silent after an interruption"] == "not interrupted"
    assert facts["Gaps"] == "none"
    assert "Neither has spoken yet." in seen.words


def test_of_many_interruptions_the_last_are_said() -> None:
    """Three delays are shown, and that there were more."""
    talk = Conversation()
    for _ in range(4):
        add(talk, 0.1, bot=True)
        add(talk, 0.1, bot=True, callee=True)
        talk.cut()
        add(talk, 0.5)

    assert "… 0.10 s, 0.10 s, 0.10 s" in shown(talk).words


@pytest.mark.parametrize(
    ("seconds", "wide"), [(40, None), (42, "long"), (160, "minutes"), (602, "hours")]
)
def test_a_long_conversation_is_drawn_wider(seconds: float, wide: str | None) -> None:
    """It scrolls then, instead of being squeezed."""
    talk = Conversation(keep_audio=False)
    for _ in range(round(seconds * 50)):
        talk.add(b"", b"")
    seen = shown(talk)

    (drawing,) = (each for tag, each in seen.elements if each.get("role") == "img")
    assert drawing.get("class") == wide
    assert 5 <= seen.skeleton.count(("line", ["class", "x1", "x2", "y1", "y2"])) <= 9


def test_of_very_many_events_the_newest_are_shown() -> None:
    """What is left out is counted."""
    talk = Conversation()
    for n in range(320):
        talk.note("ignored", f"message {n}")
        talk.add(b"", b"")
    seen = shown(talk)

    assert "20 before these" in seen.words
    assert "message 19" not in seen.words
    assert "message 20" in seen.words
    assert len(marks(seen)) == 300


def test_names_of_a_bot_are_text_without_numbers() -> None:
    """A bot's own names are masked, cut, and no markup."""
    talk = Conversation()
    talk.note("array", "<script>alert(1)</script> 19170000001")
    add(talk, 1)
    seen = shown(talk)

    assert "<script>alert(1)</script> •••••••0001" in seen.words
    assert "917000" not in seen.text
    assert not [1 for _, each in seen.elements if "style" in each]


# --- its audio --------------------------------------------------------------------------


def player(seen: Seen) -> str:
    """Return what the player loads."""
    (address,) = seen.values("audio", "src")
    assert address
    return f"/{address}"


def headers_of(answer: HttpResponse) -> dict[str, str]:
    """Return an answer's headers."""
    return dict(answer.headers)


def test_the_audio_is_played_and_downloaded() -> None:
    """The player has a name; it and the link lead to a stereo WAV file of the whole."""
    talk = held()
    simulator, request_id = called(talk)
    seen = see(simulator, f"/call?id={request_id}")
    answer = ask(simulator, "GET", player(seen))

    assert player(seen)[1:] in seen.values("a", "href")
    assert seen.values("audio", "aria-label") != [None]
    assert answer.status == 200
    assert headers_of(answer)["Content-Type"] == "audio/wav"
    assert headers_of(answer)["Accept-Ranges"] == "bytes"
    assert headers_of(answer)["Cache-Control"] == "no-store"
    with wave.open(io.BytesIO(answer.body)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8_000)
        assert file.getnframes() == 80_000
        samples = file.readframes(80_000)
    assert samples[:4] == bytes(2) + LOUD[:2]


@pytest.mark.parametrize(
    ("wanted", "status", "part", "where"),
    [
        ("", 200, slice(None), None),
        ("bytes=0-", 206, slice(None), "bytes 0-320043/320044"),
        ("bytes=44-47", 206, slice(44, 48), "bytes 44-47/320044"),
        ("bytes=320040-999999999999", 206, slice(320_040, None), "bytes 320040-320043/320044"),
        ("bytes=320044-", 416, slice(0), "bytes */320044"),
        ("bytes=9-8", 200, slice(None), None),
        ("bytes=-5", 200, slice(None), None),
        ("bytes=0-1,5-6", 200, slice(None), None),
        ("bytes=\u0661-", 200, slice(None), None),
        ("lines=0-1", 200, slice(None), None),
    ],
)
def test_a_player_gets_the_part_it_asks_for(
    wanted: str, status: int, part: slice, where: str | None
) -> None:
    """A single range of bytes is served, so that a player can begin in the middle."""
    talk = held()
    simulator, request_id = called(talk)
    answer = ask(simulator, "GET", f"/talk.wav?id={request_id}", {"range": wanted})

    assert answer.status == status
    assert answer.body == talk.wav()[part]
    assert headers_of(answer).get("Content-Range") == where


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (held(over=False), "It can be played once the stream is over."),
        (held(keep_audio=False), "The audio was not kept: keep_audio=False."),
    ],
    ids=["not over", "not kept"],
)
def test_without_audio_there_is_no_player(talk: Conversation, words: str) -> None:
    """While the call is streamed, or if no audio is kept, the page says so."""
    simulator, request_id = called(talk)
    seen = see(simulator, f"/call?id={request_id}")

    assert words in seen.words
    assert seen.values("audio", "src") == []
    assert ask(simulator, "GET", f"/talk.wav?id={request_id}").status == 404


@pytest.mark.parametrize("target", ["/talk.wav", "/talk.wav?id=x"])
def test_audio_of_no_call_is_not_found(target: str) -> None:
    """An unknown call has no audio."""
    assert ask(Simulator(), "GET", target).status == 404


def test_audio_is_only_read_and_only_by_this_machine() -> None:
    """Other methods and other host names are refused, as for the page."""
    simulator, request_id = called(held())
    target = f"/talk.wav?id={request_id}"

    assert ask(simulator, "POST", target).status == 405
    assert ask(simulator, "HEAD", target).status == 200
    assert ask(simulator, "GET", target, {"host": "attacker.example"}).status == 404
    policy = headers_of(ask(simulator, "GET", target))["Content-Security-Policy"]
    assert "media-src 'self'" in policy


@pytest.mark.parametrize(("over", "again"), [(True, []), (False, ["refresh"])])
def test_audio_is_not_stopped_where_there_is_no_javascript(
    *, over: bool, again: list[str]
) -> None:
    """A page with a player does not reload itself."""
    assert shown(held(over=over)).values("meta", "http-equiv") == again


def test_a_second_stream_has_another_player() -> None:
    """The address says which stream of the call it is, so that no old audio is played."""
    simulator, request_id = called(held())
    call = simulator.call(request_id)
    first = player(see(simulator, f"/call?id={request_id}"))
    for what in ("stream_connected", "stream_disconnected"):
        call.timeline.append(Note(0.0, what, "b", ""))

    assert player(see(simulator, f"/call?id={request_id}")) != first

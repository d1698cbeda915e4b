"""A conversation on the simulator's page in a real browser: its drawing, and its audio."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from chromium import CONTRAST, Browser, Served, serving
from simulated import HANGUP, TO, place
from voice_bots import BREAK, BotSocket, bot, clip, sound

from telecmi_async.simulator import Callee, Simulator, Tone

if TYPE_CHECKING:
    from collections.abc import Iterator

# For the documentation: CONVERSATION_PICTURE=docs/images/conversation.png nox -s browser
PICTURE = os.environ.get("CONVERSATION_PICTURE")
STREAM = {"action": "stream", "ws_url": "ws://bot.example/"}
PAUSED = "return document.querySelector('audio').paused"
POSITION = "return document.querySelector('audio').currentTime"


async def talk(socket: BotSocket) -> None:
    """Speak, stop when the callee speaks, go on with a gap, and end the stream, not the call."""
    await socket.say(clip(sound(4)))
    await socket.hear_voice()
    await socket.say(BREAK)
    await anyio.sleep(0.8)
    await socket.say(clip(sound(0.4)))
    await anyio.sleep(0.6)
    await socket.say(clip(sound(0.8)), "nonsense")
    await anyio.sleep(1.0)
    await socket.close()


@contextmanager
def streamed(*pcmo: dict[str, Any], over: bool = True) -> Iterator[tuple[Served, str]]:
    """Serve a simulator with a call that was streamed; yield the address of its page."""
    callee = Callee(says=[Tone(0.6)], talks_over_after=0.4)
    simulator = Simulator(streams=bot(talk), ring=0.1, callees={TO: callee})
    with serving(simulator) as served:
        placed = served.run(
            lambda: place(simulator, STREAM, *(pcmo or (HANGUP,)), at=anyio.current_time())
        )
        until = time.monotonic() + 15
        while over and not any(each.what == "closed" for each in placed.heard.timeline):
            assert time.monotonic() < until
            time.sleep(0.05)
        yield served, f"{served.address}/call?id={placed.request_id}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1_440])
def test_a_conversation_fits_the_screen_and_can_be_read(
    browser: Browser, width: int, scheme: str
) -> None:
    """It is as wide as its room on a phone and on a wide screen, and its colours can be told apart."""
    browser.look(width, 900, scheme=scheme)
    with streamed() as (_, address):
        browser.visit(address)
        browser.until(lambda: browser.all("audio"))
        room = browser.run(
            "const place = (e) => document.querySelector(e).getBoundingClientRect().width;"
            "return [document.documentElement.scrollWidth,"
            " place('.talk svg') / place('.talk'), place('.track') / place('.talk svg')]"
        )
        fills = browser.run(
            "return ['.track', '.callee', '.bot', '.both', '.barge'].map("
            "(e) => getComputedStyle(document.querySelector(e)).fill)"
        )

        assert room[0] == width
        assert 0.85 < room[1] < 1
        assert room[2] == pytest.approx(1)
        assert len(set(fills)) == 5
        assert browser.run(CONTRAST) == []
        assert browser.complaints() == []


def test_screen_readers_find_the_drawing_and_its_table(browser: Browser) -> None:
    """The drawing has its summary as its name, and its parts are not read one by one."""
    with streamed() as (_, address):
        browser.visit(address)
        browser.until(lambda: browser.all("audio"))
        nodes = browser.accessible()

    names = {role: name for role, name, _ in nodes}
    assert "the callee spoke once and the bot 2 times" in names["image"]
    assert names["Audio"].startswith("The conversation")
    assert ("table", "Conversation", 0) in nodes


def test_a_conversation_grows_while_it_is_held(browser: Browser) -> None:
    """The lanes follow the call without a reload, and the player appears at the end."""
    with streamed(over=False) as (_, address):
        browser.visit(address)
        browser.run("window.mark = 'the same page'")
        browser.until(lambda: browser.all("#talk"))
        early = browser.all("audio")
        browser.until(lambda: "so far" in browser.text("#talk"))
        browser.until(lambda: browser.all("audio"))

        assert early == []
        assert "so far" not in browser.text("#talk")
        assert browser.run("return window.mark") == "the same page"


def test_audio_goes_on_while_the_page_is_refreshed(browser: Browser) -> None:
    """The player survives the refreshes by which the rest of the call is shown."""
    speak = {"action": "speak", "text": "x" * 20}
    with streamed(speak, speak, HANGUP) as (served, address):
        browser.visit(address)
        browser.until(lambda: browser.all("audio"))
        browser.one("h1").click()  # browsers play nothing before a visitor does something
        browser.run(
            "window.player = document.querySelector('audio');"
            "player.muted = true; player.playbackRate = 0.25; return player.play()"
        )
        browser.until(lambda: browser.run(POSITION) > 0)
        before = browser.text()
        served.run(lambda: served.simulator.advance(600))
        browser.until(lambda: "completed" in browser.text())

        assert "completed" not in before
        assert browser.run("return window.player === document.querySelector('audio')")
        assert browser.run(PAUSED) is False
        assert browser.run(POSITION) > 0.1


def test_audio_begins_in_the_middle(browser: Browser) -> None:
    """The player knows the length, and jumps to any time."""
    with streamed() as (_, address):
        browser.visit(address)
        browser.until(lambda: browser.all("audio"))
        browser.until(
            lambda: browser.run("return document.querySelector('audio').duration > 2")
        )
        browser.run("document.querySelector('audio').currentTime = 1.5")
        browser.until(lambda: browser.run("return !document.querySelector('audio').seeking"))

        assert browser.run(POSITION) == pytest.approx(1.5, abs=0.05)
        assert browser.run("return document.querySelector('audio').error") is None


def test_without_javascript_it_is_shown_and_not_reloaded(plain: Browser) -> None:
    """The drawing and the player need no script, and the page with a player stays."""
    with streamed() as (_, address):
        plain.visit(address)
        plain.until(lambda: plain.all("audio"))

        assert plain.all(".talk svg rect.bot")
        assert plain.all("noscript meta, meta[http-equiv=refresh]") == []


def test_the_picture_in_the_docs_can_be_taken(browser: Browser, tmp_path: Path) -> None:
    """The drawing, its key and its measures are in one picture; `PICTURE` says where to write it."""
    picture = Path(PICTURE or tmp_path / "talk.png")
    browser.look(1_000, 1_400)
    with streamed() as (_, address):
        browser.visit(address)
        browser.until(
            lambda: browser.run("return document.querySelector('audio').duration > 2")
        )
        browser.one("#talk").screenshot(str(picture))

    assert 5_000 < picture.stat().st_size < 200_000

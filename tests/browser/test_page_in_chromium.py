"""The simulator's page in a real browser, with JavaScript and without."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from chromium import CONTRAST, Browser, serving
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from simulated import place

from telecmi_async.simulator import Callee, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chromium import Served

    from telecmi_async.simulator import SimulatedCall

# For the documentation: SIMULATOR_PICTURE=docs/images/simulator.png nox -s browser
PICTURE = os.environ.get("SIMULATOR_PICTURE")
TO = 19170000001
FLOW: tuple[dict[str, Any], ...] = (
    {"action": "play", "file_name": "welcome.wav"},
    {"action": "play_get_input", "file_name": "menu.wav", "max_digit": 1},
    {"action": "bridge", "connect": [{"type": "pstn", "number": 19170000002}], "timeout": 20},
    {"action": "hangup"},
)
ADDRESSES = [
    "/", "/calls", "/requests", "/request?n=1", "/deliveries", "/faults", "/numbers",
    "/call?id=nobody",
]  # fmt: skip


def call(
    served: Served, *pcmo: Mapping[str, object], to: int = TO, **more: object
) -> SimulatedCall:
    """Place a call while the simulator serves."""
    simulator = served.simulator
    return served.run(
        lambda: place(simulator, *(pcmo or FLOW), to=to, at=anyio.current_time(), **more)
    )


@contextmanager
def hook() -> Iterator[tuple[str, list[bytes]]]:
    """Listen for webhooks; yield the URL and the list of received bodies."""
    came: list[bytes] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name that http.server looks for
            came.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook", came
        finally:
            server.shutdown()
            thread.join()


# --- with JavaScript --------------------------------------------------------------------


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_view_is_shown_without_complaint(browser: Browser, address: str) -> None:
    """Style and script are loaded, and the policy blocks nothing."""
    with serving(Simulator()) as served:
        call(served)
        browser.visit(served.address + address)
        browser.until(lambda: browser.text("#state") == "Live")
        margin = browser.run("return getComputedStyle(document.body).marginTop")
        complaints = browser.complaints()

    assert "no phone rings" in browser.text(".banner")
    assert margin == "0px"
    # The page of the unknown call has status 404 on purpose.
    assert [words for words in complaints if "call?id=nobody" not in words] == []


def test_what_is_put_into_the_page_does_not_run(browser: Browser) -> None:
    """The policy blocks scripts and styles that are injected into the page."""
    with serving(Simulator()) as served:
        browser.visit(served.address)
        browser.run(
            "const script = document.createElement('script');"
            "script.textContent = 'window.harm = 1'; document.body.append(script);"
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.harm=1>');"
            "document.body.insertAdjacentHTML('beforeend', '<p style=color:red>harm</p>');"
        )
        complaints = browser.complaints()

    assert browser.run("return window.harm") is None
    assert sum("Content Security Policy" in words for words in complaints) >= 3


def test_a_hostile_call_is_shown_as_text(browser: Browser) -> None:
    """Names that look like markup are shown as text."""
    hostile = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
    action = {"action": hostile}
    play = {"action": "play", "file_name": hostile}
    with serving(Simulator(life="manual")) as served:
        placed = call(served, action, play, extra_params={hostile: 1})
        browser.visit(f"{served.address}/call?id={placed.request_id}")
        browser.until(lambda: browser.text("#state") == "Live")

        assert browser.text().count(hostile) == 3
        assert browser.all("main img, main script") == []
        assert browser.complaints() == []


def test_a_call_appears_by_itself(browser: Browser) -> None:
    """A call that is placed later appears without a reload."""
    with serving(Simulator(life="manual")) as served:
        browser.visit(served.address)
        browser.run("window.mark = 'the same page'")
        placed = call(served)
        browser.until(lambda: browser.all(f"#c-{placed.request_id}"))
        served.run(placed.answer)
        browser.until(lambda: "answered" in browser.text(f"#c-{placed.request_id}"))
        served.run(placed.hangup)
        browser.until(lambda: "completed" in browser.text())

    assert browser.run("return window.mark") == "the same page"


def test_who_reads_is_not_disturbed(browser: Browser) -> None:
    """Updates keep the focus and the scroll position."""
    with serving(Simulator(life="manual")) as served:
        first = call(served)
        for n in range(40):
            call(served, to=TO + 1 + n)
        browser.visit(served.address)
        link = browser.one(f"#c-{first.request_id} a")
        browser.run("window.scrollTo(0, 300)")
        browser.run(
            f"document.querySelector('#c-{first.request_id} a').focus({{preventScroll: true}})"
        )
        newest = call(served, to=TO + 99)
        browser.until(lambda: browser.all(f"#c-{newest.request_id}"))

        assert browser.driver.switch_to.active_element == link
        assert first.request_id in (link.get_attribute("href") or "")
        assert browser.run("return window.scrollY") in range(300, 400)


def test_who_writes_is_not_disturbed(browser: Browser) -> None:
    """Updates keep what was typed into a form."""
    with serving(Simulator()) as served:
        browser.visit(f"{served.address}/faults")
        field = browser.one("#to")
        field.send_keys("1917")
        served.run(lambda: served.simulator.faults.add("drip"))
        browser.until(lambda: browser.all("#f-1"))
        field.send_keys("0000001")

        assert field.get_attribute("value") == "19170000001"
        assert browser.driver.switch_to.active_element == field


def test_the_page_can_be_paused(browser: Browser) -> None:
    """A paused page does not update, and catches up when it is resumed."""
    with serving(Simulator(life="manual")) as served:
        browser.visit(served.address)
        browser.press("Pause")
        placed = call(served)
        browser.run("return new Promise((done) => setTimeout(done, 1500))")
        paused = browser.all(f"#c-{placed.request_id}")
        browser.press("Go on")
        browser.until(lambda: browser.all(f"#c-{placed.request_id}"))

    assert paused == []


def test_the_page_says_when_nobody_answers(browser: Browser) -> None:
    """The page shows when the simulator was stopped."""
    with serving(Simulator()) as served:
        browser.visit(served.address)
        browser.until(lambda: browser.text("#state") == "Live")

    browser.until(lambda: browser.text("#state") == "Not connected")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1_400])
def test_nothing_stands_out_of_the_screen(browser: Browser, width: int, scheme: str) -> None:
    """The page fits the width of a phone and of a wide screen."""
    browser.look(width, 900, scheme=scheme)
    with serving(Simulator(webhooks="http://127.0.0.1:9/hook")) as served:
        placed = call(served, extra_params={"a name that is rather long" * 5: 1})
        served.run(lambda: served.simulator.faults.add("drip"))
        served.run(lambda: served.simulator.advance(100))
        for address in [*ADDRESSES, f"/call?id={placed.request_id}"]:
            browser.visit(served.address + address)
            assert browser.run("return document.documentElement.scrollWidth") == width, address


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(browser: Browser, scheme: str) -> None:
    """Each text has a contrast of 4.5 with what is behind it, in light and in dark."""
    browser.look(1_200, 900, scheme=scheme)
    with serving(
        Simulator(webhooks="http://127.0.0.1:9/hook", error_502_share=0.001)
    ) as served:
        placed = call(served)
        served.run(lambda: served.simulator.faults.add("drip"))
        served.run(lambda: served.simulator.advance(100))
        httpx.post(f"{served.address}/v2/global_pcmo_make_call", content=b"x")
        for address in [*ADDRESSES, f"/call?id={placed.request_id}"]:
            browser.visit(served.address + address)
            assert browser.run(CONTRAST) == [], address


@pytest.mark.parametrize("width", [390, 1_400])
def test_whatever_can_be_used_has_a_name(browser: Browser, width: int) -> None:
    """Screen readers find a name for each control, table and region, and headings in order."""
    browser.look(width, 900)
    named = {"button", "combobox", "link", "navigation", "region", "searchbox", "spinbutton",
             "table", "textbox"}  # fmt: skip
    with serving(Simulator(webhooks="http://127.0.0.1:9/hook")) as served:
        placed = call(served)
        served.run(lambda: served.simulator.faults.add("drip"))
        for n in range(60):
            call(served, to=TO + n)
        for address in [*ADDRESSES, f"/call?id={placed.request_id}"]:
            browser.visit(served.address + address)
            nodes = browser.accessible()
            heads = [level for role, _, level in nodes if role == "heading"]

            assert named & {role for role, _, _ in nodes}
            assert [role for role, name, _ in nodes if role in named and not name] == []
            assert heads[0] == 1, address
            assert set(heads[1:]) <= {2}, address


def test_the_page_is_used_with_the_keyboard(browser: Browser) -> None:
    """The first Tab leads past the navigation; the next ones reach the list and its pages."""
    with serving(Simulator(life="manual")) as served:
        for n in range(60):
            call(served, to=TO + n)
        browser.visit(f"{served.address}/calls")
        browser.until(lambda: browser.text("#state") == "Live")
        reached = []
        for _ in range(4):
            browser.type(Keys.TAB)
            reached.append(browser.driver.switch_to.active_element.text)
        browser.visit(f"{served.address}/calls")
        browser.type(Keys.TAB, Keys.ENTER)
        main = browser.driver.switch_to.active_element.get_attribute("id")
        browser.type(Keys.TAB, "0007", Keys.ENTER)
        browser.until(lambda: len(browser.all("tbody tr")) == 1)
        browser.until(lambda: "q=0007" in browser.driver.current_url)

    assert reached == ["Skip to the content", "Overview", "Calls", "Requests"]
    assert main == "main"


def test_a_name_that_leads_here_is_not_answered(browser: Browser) -> None:
    """Another host name that resolves to 127.0.0.1 gets no page (DNS rebinding)."""
    with serving(Simulator()) as served:
        browser.visit(served.address.replace("127.0.0.1", "attacker.example"))

    assert browser.all("main") == []
    assert "not found" in browser.text("body")


# --- with JavaScript, and without -------------------------------------------------------


@pytest.fixture(params=["browser", "plain"])
def visitor(request: pytest.FixtureRequest) -> Browser:
    """A browser with JavaScript, and one without."""
    found: Browser = request.getfixturevalue(request.param)
    return found


def test_a_fault_that_is_added_takes_effect(visitor: Browser) -> None:
    """A fault from the form applies to the next request, until it is removed."""
    with serving(Simulator()) as served:
        simulator = served.simulator
        fields = {"appid": simulator.app_id, "secret": simulator.secret}
        fields |= {"from": 19170000000, "to": TO, "pcmo": [{"action": "hangup"}]}
        url = f"{served.address}/v2/global_pcmo_make_call"
        visitor.visit(f"{served.address}/faults")
        Select(visitor.one("#kind")).select_by_value("gateway_502")
        visitor.write("#to", f"+{TO}", Keys.ENTER)
        visitor.until(lambda: visitor.all("#f-1"))
        during = httpx.post(url, json=fields)
        visitor.press("Remove")
        visitor.until(lambda: not visitor.all("#f-1"))
        after = httpx.post(url, json=fields)

    assert (during.status_code, after.status_code) == (502, 200)
    assert str(TO) not in visitor.driver.page_source


def test_what_cannot_be_is_refused_in_words(visitor: Browser) -> None:
    """The page shows the reason, and adds no fault."""
    with serving(Simulator()) as served:
        visitor.visit(f"{served.address}/faults")
        visitor.write("#to", "12", Keys.ENTER)
        visitor.until(lambda: visitor.all(".problem"))

        assert "Fault.to: has 2 digits with its country code" in visitor.text(".problem")
        assert len(served.simulator.faults) == 0


def test_a_message_is_sent_again(visitor: Browser) -> None:
    """The message is delivered to the URL once more."""
    with (
        hook() as (url, came),
        serving(Simulator(webhooks=url, callees={TO: Callee(ending="missed")})) as served,
    ):
        call(served)
        served.run(lambda: served.simulator.advance(120))
        visitor.until(lambda: len(came) >= 2)
        visitor.visit(f"{served.address}/deliveries")
        visitor.until(lambda: "204 taken" in visitor.text())
        before = len(came)
        visitor.press("Send again")
        visitor.until(lambda: len(came) == before + 1)

        assert came[-1] in came[:-1]
        assert "#d-" in visitor.driver.current_url


def test_a_call_is_driven_by_hand(visitor: Browser) -> None:
    """A call is answered, gets keys and is hung up from the page."""
    with serving(Simulator(life="manual")) as served:
        placed = call(served)
        visitor.visit(f"{served.address}/call?id={placed.request_id}")
        visitor.press("Answer")
        visitor.until(lambda: visitor.all("#keys"))
        visitor.write("#keys", "7", Keys.ENTER)
        visitor.until(lambda: "1 pressed" in visitor.text())
        visitor.press("Hang up")
        visitor.until(lambda: not visitor.all(".hand"))

        assert placed.over
        assert "completed" in visitor.text()


def test_a_request_is_found_and_read(visitor: Browser) -> None:
    """A refused request is found by its code, and its page shows the body without the secret."""
    with serving(Simulator()) as served:
        for n in range(60):
            call(served, to=TO + n)
        httpx.post(
            f"{served.address}/v2/global_pcmo_make_call",
            json={
                "appid": 1,
                "secret": "s3cr3t",
                "from": TO,
                "to": TO,
                "pcmo": [{"action": "x"}],
            },
        )
        visitor.visit(f"{served.address}/requests")
        visitor.write("#q", "420", Keys.ENTER)
        visitor.until(lambda: len(visitor.all("tbody tr")) == 1)
        visitor.one("tbody a").click()
        visitor.until(lambda: "Request #61" in visitor.text("h1"))
        body = visitor.text("pre")
        visitor.visit(f"{served.address}/requests")
        visitor.one(".pager a").click()
        visitor.until(lambda: "51 to 61 of 61" in visitor.text())

    assert '"to": "•••••••0001"' in body
    assert "s3cr3t" not in visitor.driver.page_source


def test_time_is_let_pass(visitor: Browser) -> None:
    """A button advances the time of all calls."""
    with serving(Simulator(speed=1e-6)) as served:
        placed = call(served)
        visitor.visit(served.address)
        visitor.press("+5 min")
        visitor.until(lambda: "completed" in visitor.text())

    assert placed.over


# --- without it -------------------------------------------------------------------------


def test_without_javascript_the_page_is_loaded_again_now_and_then(plain: Browser) -> None:
    """Without JavaScript a call that is placed later appears after a reload."""
    with serving(Simulator(life="manual")) as served:
        plain.visit(served.address)
        assert plain.text("#state") == "", "no script runs"
        assert not plain.one("#pause").is_displayed()
        placed = call(served)
        plain.until(lambda: plain.all(f"#c-{placed.request_id}"))


# --- for the documentation --------------------------------------------------------------


def test_the_picture_in_the_docs_can_be_taken(browser: Browser, tmp_path: Path) -> None:
    """The picture is the same each time; `PICTURE` says where to write it."""
    with hook() as (url, came), serving(Simulator(seed=7, speed=1e-6, webhooks=url)) as served:
        for n in range(1, 5):
            call(served, to=TO + n)
        call(served, to=19170009901)
        call(served, to=19170009902)
        served.run(lambda: served.simulator.advance(41))
        for n in range(5, 8):
            call(served, to=TO + n)
        served.run(lambda: served.simulator.advance(12))
        call(served, to=TO + 8)
        call(served, to=TO + 9)
        served.run(lambda: served.simulator.advance(1))
        browser.until(lambda: came)
        browser.look(1_100, 1_000)
        browser.visit(served.address)
        browser.until(lambda: browser.text("#state") == "Live")
        picture = Path(PICTURE or tmp_path / "page.png")
        browser.driver.save_screenshot(str(picture))

    assert picture.stat().st_size < 200_000

"""A simulator on a port, and Chromium to view it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from attrs import define
from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from telecmi_async.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP attacker.example 127.0.0.1",
)
_SECONDS = 15
# Returns each text on the page whose contrast with what is behind it is below 4.5, as WCAG 2 counts
# it. The page has no pictures and no half-transparent colours.
CONTRAST = """
const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
const light = (colour) => {
  const [r, g, b] = parts(colour).map((each) => {
    const c = each / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = getComputedStyle(at).backgroundColor;
    if (parts(colour)[3] !== 0) return colour;
  }
  return "rgb(255, 255, 255)";
};
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode.data.trim();
  const element = walker.currentNode.parentElement;
  if (!text || !element.getClientRects().length) continue;
  const [a, b] = [light(getComputedStyle(element).color), light(behind(element))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) found.push(`${text}: ${contrast.toFixed(2)}`);
}
return found;
"""


@define
class Served:
    """A simulator on a port, in its own thread."""

    simulator: Simulator
    address: str
    portal: BlockingPortal

    def run(self, function: Callable[[], T]) -> T:
        """Call a function in the simulator's event loop."""

        async def there() -> T:
            return function()

        return self.portal.call(there)


@contextmanager
def serving(simulator: Simulator) -> Iterator[Served]:
    """Serve a simulator while the context is open."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(simulator.serve()) as base_url,
    ):
        yield Served(simulator, base_url.removesuffix("/v2"), portal)


class Browser:
    """The actions of a visitor."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def visit(self, address: str) -> None:
        self.driver.get(address)

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "main") -> str:
        return self.one(selector).text

    def press(self, words: str) -> None:
        """Press the first button with this label, as soon as there is one."""

        def pressed() -> bool:
            button = next((one for one in self.all("button") if one.text == words), None)
            if button is not None:
                button.click()
            return button is not None

        self.until(pressed)

    def write(self, selector: str, *keys: str) -> None:
        """Type into a field, as soon as there is one."""

        def written() -> bool:
            self.one(selector).send_keys(*keys)
            return True

        self.until(written)

    def type(self, *keys: str) -> None:
        """Press keys where the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def accessible(self) -> list[tuple[str, str, int]]:
        """Return the roles, names and heading levels that screen readers find."""
        tree = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})
        return [
            (
                node["role"]["value"],
                node.get("name", {}).get("value", ""),
                next(
                    (p["value"]["value"] for p in node["properties"] if p["name"] == "level"), 0
                ),
            )
            for node in tree["nodes"]
            if not node["ignored"] and "properties" in node
        ]

    def until(self, holds: Callable[[], object]) -> None:
        """Wait until something holds, while elements may be replaced."""
        passing = (NoSuchElementException, StaleElementReferenceException)
        wait = WebDriverWait(self.driver, _SECONDS, 0.05, ignored_exceptions=passing)

        def look(_: object) -> object:
            try:
                return holds()
            except WebDriverException as error:
                # Chromium says it in this way, too, if the page is replaced while it is read.
                if "does not belong to the document" in str(error):
                    return False
                raise

        wait.until(look)

    def complaints(self) -> list[str]:
        """Return the console's messages since the last call."""
        log: list[dict[str, str]] = self.driver.execute("getLog", {"type": "browser"})["value"]
        return [entry["message"] for entry in log]

    def look(self, width: int, height: int, *, scheme: str = "light") -> None:
        """Set the size of the screen and the colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@contextmanager
def opened(profile: Path, *, javascript: bool) -> Iterator[Browser]:
    """Open Chromium with a new profile."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.fail("Chromium is missing: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not javascript:
        forbidden = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", forbidden)
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        yield Browser(driver)
    finally:
        driver.quit()

"""A headless Chromium, where Debian's packages chromium and chromium-driver are installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WAIT_SECONDS = 120.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # Chromium refuses to run as root with it
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)
Found = TypeVar("Found")


def missing_program() -> str | None:
    """Returns the name of a program that the browser needs and this machine lacks."""
    return next((name for name in ("chromium", "chromedriver") if not shutil.which(name)), None)


class Browser:
    """What the tests do in a browser. Every search waits until the condition is true."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str, *, width: int = 1280, height: int = 900) -> None:
        """Opens a page in a window of this size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(url)

    def wait(self, condition: Callable[[], Found]) -> Found:
        """Returns what a condition returns, once that is true."""
        ignored = (WebDriverException,)  # an element may be drawn anew meanwhile
        wait = WebDriverWait(self.driver, WAIT_SECONDS, 0.05, ignored_exceptions=ignored)
        return wait.until(lambda _: condition())

    def all(self, selector: str) -> list[WebElement]:
        """Returns the elements that a CSS selector finds now."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """Returns the first element that a CSS selector finds, once there is one in view."""
        return self.wait(lambda: next((e for e in self.all(selector) if e.is_displayed()), None))  # type: ignore[return-value]  # wait() returns no None

    def texts(self, selector: str) -> list[str]:
        """Returns the texts of elements now."""
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)"
        found: list[str] = self.run(script, selector)
        return found

    def wait_for_text(self, selector: str, text: str) -> None:
        """Waits until an element holds a text."""
        self.wait(lambda: any(text in each for each in self.texts(selector)))

    def run(self, script: str, *arguments: object) -> Any:
        """Returns the result of a script."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Returns the errors in the browser's console since the last call."""
        log: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [str(entry["message"]) for entry in log]


@contextmanager
def started_browser(profile: Path) -> Iterator[Browser]:
    """Starts a browser with a profile of its own, on ports that are free."""
    options = Options()
    options.binary_location = shutil.which("chromium") or ""
    for option in (*_OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # With a path, Selenium looks for no driver in the network.
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        driver.set_page_load_timeout(WAIT_SECONDS)
        driver.set_script_timeout(WAIT_SECONDS)
        yield Browser(driver)
    finally:
        driver.quit()

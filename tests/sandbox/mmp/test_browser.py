"""The page of the measurement partner in a real browser."""

from __future__ import annotations

import pytest
import requests
from support.browser import Browser, missing_program
from support.mmp import APP_TOKEN, GAID, form

from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.sandbox.mmp.settings import DAY

pytestmark = pytest.mark.skipif(
    missing_program() is not None, reason=f"{missing_program()} is not installed"
)

STEPS = "#steps .step"


def buy(sandbox: Sandbox, **more: str) -> None:
    """Sends a purchase as the app's server does."""
    parameters = {**form(created_at_unix=None), **more}
    requests.post(f"{sandbox.mmp_url}/event", parameters, timeout=10)


def story(sandbox: Sandbox) -> None:
    """A device sees Moloco's ad, clicks on another network's, installs and buys."""
    sandbox.mmp.view("moloco1", gps_adid=GAID, campaign="summer")
    sandbox.mmp.click("another1", gps_adid=GAID)
    sandbox.mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
    buy(sandbox, revenue="25.00", currency="USD")


def open_page(browser: Browser, sandbox: Sandbox, *, width: int = 1280) -> None:
    browser.open(f"{sandbox.mmp_url}/", width=width)


def kinds(browser: Browser) -> list[str]:
    """Returns the kinds of the steps, from the top."""
    found: list[str] = browser.run(
        "return [...document.querySelectorAll(arguments[0])].map((e) => e.dataset.kind)", STEPS
    )
    return found


def test_the_road_of_a_device(browser: Browser, sandbox: Sandbox) -> None:
    """Each step says what it was attributed to and why, and the postback to Moloco."""
    open_page(browser, sandbox)
    browser.wait_for_text("#nothing", "No device yet")
    browser.wait_for_text("#try", f"{sandbox.mmp_url}/impression/moloco1")
    story(sandbox)
    browser.wait(lambda: kinds(browser) == ["view", "click", "install", "event"])
    browser.wait_for_text(".kind-install .source", "Another network (device-matched click)")
    assert browser.texts(".kind-install .reasons li") == [
        "\N{EN DASH}lost: view 1: Moloco a device-matched click beats a device-matched view",
        "✓won: click 2: Another network the latest device-matched click",
    ]
    browser.wait_for_text(
        ".kind-event .postback", "Postback to Moloco: another partner's, without campaign"
    )
    browser.one(".kind-event .postback summary").click()
    browser.wait_for_text(".kind-event .postback dd", "25.00")
    buy(sandbox, created_at_unix="1")
    browser.wait(lambda: kinds(browser)[-1] == "refused")
    assert browser.one(".kind-event .postback .pairs").is_displayed()  # it stayed open
    sandbox.mmp.clear()
    browser.wait_for_text("#nothing", "No device yet")
    browser.wait(lambda: kinds(browser) == [])


def test_devices_and_strangers(browser: Browser, sandbox: Sandbox) -> None:
    """Devices are listed, and what belongs to none; each shows its own road."""
    story(sandbox)
    buy(sandbox, gps_adid="stranger")
    open_page(browser, sandbox)
    browser.wait_for_text("#device-list", GAID)
    browser.wait(lambda: kinds(browser)[-1:] == ["event"])
    browser.one("#device-list button[data-key='']").click()
    browser.wait(lambda: kinds(browser) == ["refused"])
    browser.wait_for_text("#steps", "404 Device not found")
    assert browser.run("return document.activeElement.id") == "road"
    assert browser.texts("#device-list [aria-current] b") == ["No device"]


def test_the_clock_is_moved(browser: Browser, sandbox: Sandbox) -> None:
    """Buttons move the partner's clock, which says how far it is from the present."""
    open_page(browser, sandbox)
    browser.wait_for_text("#ahead", "the present")
    buttons = {button.text: button for button in browser.all("#moves button")}
    buttons["8 days on"].click()
    browser.wait_for_text("#ahead", "8 d ahead of the present")
    assert sandbox.mmp.clock.ahead_seconds == 8 * DAY
    buttons["To the present"].click()
    browser.wait(lambda: browser.texts("#ahead") == ["the present"])
    buttons["8 days back"].click()
    browser.wait_for_text("#ahead", "8 d behind the present")


def test_texts_stay_texts(browser: Browser, sandbox: Sandbox) -> None:
    """Markup in a parameter or an identifier is shown as it is, and does nothing."""
    markup = "<img src=x onerror=\"document.title='taken over'\">"
    sandbox.mmp.click("moloco1", idfv=markup, campaign=markup)
    sandbox.mmp.session(idfv=markup, app_token=APP_TOKEN)
    buy(sandbox, idfv=markup, event_token=markup)
    open_page(browser, sandbox)
    browser.wait_for_text("#steps h3", markup)
    browser.wait_for_text(".kind-click .pairs dd", markup)
    assert browser.all("#main img") == []
    assert browser.driver.title == "Measurement partner (MMP)"


def test_no_text_turns_another_around(browser: Browser, sandbox: Sandbox) -> None:
    """A sign that changes the direction of writing has no effect on the page's own words."""
    turned = "\N{RIGHT-TO-LEFT OVERRIDE}turned"
    sandbox.mmp.click("moloco1", idfv=turned, **{turned: turned}, install_callback=turned)
    sandbox.mmp.session(idfv=turned, gps_adid=GAID, app_token=APP_TOKEN)
    buy(sandbox, idfv=turned, event_token=turned, gps_adid=GAID)
    open_page(browser, sandbox)
    browser.wait(lambda: kinds(browser) == ["click", "install", "event"])
    holders = browser.run(
        "return [...document.querySelectorAll('#main *')]"
        ".filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && /\\u202e/.test(n.data)))"
        ".map((e) => e.localName)"
    )
    assert {*holders} == {"bdi"}


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_cut_off(browser: Browser, sandbox: Sandbox, width: int) -> None:
    """On a narrow and on a wide screen the page has the screen's width, with everything open."""
    long = "z" * 500
    sandbox.mmp.click("moloco1", gps_adid=GAID, campaign="x" * 500, install_callback=long)
    sandbox.mmp.click("moloco1", gps_adid=GAID, **{long: long})
    sandbox.mmp.session(gps_adid=GAID, app_token=APP_TOKEN)
    buy(sandbox, callback_params='{"a": "' + "y" * 500 + '"}', event_token=long)
    open_page(browser, sandbox, width=width)
    browser.wait(lambda: kinds(browser) == ["click", "click", "install", "event"])
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert browser.run("return document.documentElement.scrollWidth") == width
    assert browser.run("const road = document.getElementById('road'); return road.scrollWidth") == (
        browser.run("return document.getElementById('road').clientWidth")
    )


def test_every_control_has_a_name(browser: Browser, sandbox: Sandbox) -> None:
    """A screen reader can name every control, and the main page leads here and back."""
    story(sandbox)
    browser.open(sandbox.url)
    browser.one("#open-mmp").click()
    browser.wait_for_text("#device-list", GAID)
    for each in browser.all("button, a, summary, [tabindex='0'], [role]"):
        if each.is_displayed() and each.get_attribute("role") != "status":
            assert each.accessible_name, each.get_attribute("outerHTML")
    browser.one(".actions a").click()
    browser.one("#open-acceptance")


def test_comes_back(browser: Browser) -> None:
    """After a restart of the sandbox the page finds it again."""
    sandbox = Sandbox()
    with sandbox:
        story(sandbox)
        open_page(browser, sandbox)
        browser.wait(lambda: len(kinds(browser)) == 4)
    browser.wait_for_text("#connection", "trying again")
    with sandbox:
        browser.wait_for_text("#connection", "Live")
        browser.open("about:blank")
    browser.complaints()

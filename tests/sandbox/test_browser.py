"""The live page in a real browser."""

from __future__ import annotations

import json
import time
from typing import Any, get_args

import pytest
import requests
from selenium.webdriver.common.keys import Keys
from support.browser import Browser, missing_program

from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.sandbox.record import Target

pytestmark = pytest.mark.skipif(
    missing_program() is not None, reason=f"{missing_program()} is not installed"
)

ROWS = "#events [role=option]"


def track(sandbox: Sandbox, id: str, name: str = "Order Completed", **moloco: Any) -> None:
    """Sends an event to Amplitude, and a HOME with other fields to MCM."""
    amplitude = {"event_type": name, "insert_id": id, "user_id": "shopper-1"}
    batch = {"api_key": "key", "events": [amplitude]}
    requests.post(sandbox.amplitude_url, json=batch, timeout=10).raise_for_status()
    send(sandbox, id, **moloco)


def send(sandbox: Sandbox, id: str, **fields: Any) -> None:
    """Sends a HOME with other fields to MCM."""
    event = {
        "event_type": "HOME",
        "channel_type": "SITE",
        "timestamp": str(int(time.time() * 1000)),
        "id": id,
        "user_id": "shopper-1",
        **fields,
    }
    requests.post(
        f"{sandbox.url}/rmp/event/v1/platforms/SHOP/userevents",
        data=json.dumps(event),
        headers={"x-api-key": "key", "content-type": "application/json"},
        timeout=10,
    )


def track_refused(sandbox: Sandbox) -> None:
    """Sends a purchase with three problems."""
    items = [{"id": "sku-1", "price": 12.5}]
    track(sandbox, "refused", event_type="PURCHASE", items=items, domain="")


def names_of_rows(browser: Browser) -> list[str]:
    """Returns what a screen reader reads of each row, from the top."""
    script = """
        const rows = [...document.querySelectorAll(arguments[0])];
        rows.sort((a, b) => a.getAttribute("aria-posinset") - b.getAttribute("aria-posinset"));
        return rows.map((row) => row.getAttribute("aria-label").replace(/\\. [0-9:]+$/, ""));
    """
    names: list[str] = browser.run(script, ROWS)
    return names


def wait_for_rows(browser: Browser, *names: str) -> None:
    """Waits until these rows are shown, and no others."""
    browser.wait(lambda: names_of_rows(browser) == list(names))


DELIVERED = "Delivered. Amplitude: Order Completed, Delivered. MCM: HOME, Delivered"
REFUSED = (
    "Refused. Amplitude: Order Completed, Delivered. "
    "MCM: PURCHASE, Refused, 400 · domain must not be empty"
)


def test_both_sides_of_an_event(browser: Browser, sandbox: Sandbox) -> None:
    """An event's requests to both APIs are one row, whichever comes first; a retry joins them."""
    browser.open(sandbox.url)
    browser.wait_for_text("#empty", f'base_url="{sandbox.url}"')
    send(sandbox, "first-at-mcm")
    track(sandbox, "first-at-mcm")
    sandbox.fail_next(503)
    track(sandbox, "3f2c8a10-0000-4000-8000-000000000001")
    wait_for_rows(
        browser,
        "Failing. Amplitude: Order Completed, Delivered. "
        "MCM: HOME, Failing, 503 · a fault was requested",
        DELIVERED.replace("HOME, Delivered", "HOME, Delivered, attempt 2"),
    )
    send(sandbox, "3f2c8a10-0000-4000-8000-000000000001")
    send(sandbox, "3f2c8a10-0000-4000-8000-000000000001-2", event_type="LAND")
    wait_for_rows(
        browser,
        DELIVERED.replace("HOME, Delivered", "HOME, Delivered, attempt 2; LAND, Delivered"),
        DELIVERED.replace("HOME, Delivered", "HOME, Delivered, attempt 2"),
    )
    browser.wait_for_text("#counters", "accepted by MCM4")
    sandbox.clear()
    wait_for_rows(browser)


def test_problems_beside_their_fields(browser: Browser, sandbox: Sandbox) -> None:
    """Each problem follows the line of its field; a missing field is shown where it belongs."""
    track_refused(sandbox)
    browser.open(sandbox.url)
    browser.one(ROWS).click()
    browser.one("[data-problem]")

    lines: list[list[str]] = browser.run(
        "return [...document.querySelectorAll('.payload')[0].querySelectorAll('.line')]"
        ".map((e) => [e.dataset.place ?? '', e.dataset.problem ?? '', e.textContent])"
    )

    problems = {
        problem: (lines[i - 1][0], text) for i, (_, problem, text) in enumerate(lines) if problem
    }
    assert problems == {
        "revenue": ("", "✕Problem: revenue: missing revenue"),
        "items[0].price": (
            "items[0].price",
            "✕Problem: items[0].price must be an object with currency and amount",
        ),
        "domain": ("domain", "✕Problem: domain must not be empty"),
    }


def test_texts_of_events_stay_texts(browser: Browser, sandbox: Sandbox) -> None:
    """Markup in a name, an id, a message or a payload is shown as it is, and does nothing."""
    markup = "<img src=x onerror=\"document.title='taken over'\"><script>alert(1)</script>"
    track(sandbox, markup, name=markup, event_type="SEARCH", search_query=markup, domain=[markup])
    browser.open(sandbox.url)
    browser.one(ROWS).click()
    browser.wait_for_text(".payload", "onerror=")

    assert browser.wait(lambda: browser.driver.title) == "amplitude-moloco sandbox"
    assert browser.all("#panes img, #panes script, #filters img") == []
    assert any(markup in text for text in browser.texts("#detail .key code"))
    assert any(markup in text for text in browser.texts("#filter-type option"))


def test_filters(browser: Browser, sandbox: Sandbox) -> None:
    """Events are filtered by type, by outcome and by text, which may be in the payload."""
    track(sandbox, "delivered", page_id="summer-sale")
    track_refused(sandbox)
    browser.open(sandbox.url)
    wait_for_rows(browser, REFUSED, DELIVERED)

    text = browser.one("#filter-text")
    text.send_keys("SUMMER")
    wait_for_rows(browser, DELIVERED)
    text.send_keys("-nothing")
    wait_for_rows(browser)
    browser.wait_for_text("#empty", "No event matches")
    text.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE)
    wait_for_rows(browser, REFUSED, DELIVERED)

    browser.one("#filter-outcomes .refused input").click()
    wait_for_rows(browser, REFUSED)
    browser.one("#filter-outcomes .refused input").click()
    browser.one("#filter-type").send_keys("HOME")
    wait_for_rows(browser, DELIVERED)
    track(sandbox, "later")
    wait_for_rows(browser, DELIVERED, DELIVERED)
    browser.wait_for_text("#filter-count", "2 of 3")
    assert browser.texts("#news") == ["1 event shown"]


def test_fault_buttons(browser: Browser, sandbox: Sandbox) -> None:
    """A button makes the next requests fail, which the page shows until they are over."""
    browser.open(sandbox.url)
    browser.one("#faults summary").click()
    browser.one("#fault-statuses button[value='429']").click()
    browser.wait_for_text("#fault-banner", "429 for the next 3 requests to MCM")
    track(sandbox, "throttled")
    browser.wait_for_text("#fault-banner", "429 for the next 2 requests to MCM")
    assert sandbox.requests[-1].status == 429

    browser.one("#fault-clear").click()
    browser.wait(lambda: not browser.all("#fault-banner")[0].is_displayed())
    track(sandbox, "throttled")
    assert sandbox.requests[-1].status == 200


def test_each_fault_names_its_server(browser: Browser, sandbox: Sandbox) -> None:
    """A fault can be asked for of each API, and the page names the one that it is for."""
    browser.open(sandbox.url)
    browser.one("#faults summary").click()
    names = browser.texts("#fault-target option")
    assert len(names) == len(get_args(Target))
    for target in get_args(Target):
        sandbox.fail_next(503, target=target)
    for name in names:
        browser.wait_for_text("#fault-banner", f"503 for the next request to {name}")


def test_conditions(browser: Browser, sandbox: Sandbox) -> None:
    """A share of failures and a delay hold until they are removed, and the page shows them."""
    browser.open(sandbox.url)
    browser.one("#faults summary").click()
    for field, text in (("rate", "100"), ("status", "500"), ("latency", "1")):
        entry = browser.one(f"#condition-{field}")
        entry.clear()
        entry.send_keys(text)
    browser.one("#condition-set").click()
    banner = "Fault active: 500 for 100 % of requests to MCM; each answer delayed by 1 ms."
    browser.wait_for_text("#fault-banner", banner)
    track(sandbox, "failing")
    track(sandbox, "failing")
    assert [each.status for each in sandbox.requests if each.target == "moloco"] == [500, 500]

    browser.one("#fault-clear").click()
    browser.wait(lambda: not browser.all("#fault-banner")[0].is_displayed())
    browser.wait(
        lambda: browser.run("return document.getElementById('condition-rate').value") == "0"
    )
    track(sandbox, "failing")
    assert sandbox.requests[-1].status == 200


def test_conditions_from_the_start(shared_browser: Browser) -> None:
    """What the sandbox was started with is shown, and is the value of the fields."""
    with Sandbox(fail_rate=0.125, fail_status=429, delay_seconds=1.5) as sandbox:
        shared_browser.open(sandbox.url)
        banner = "429 for 12.5 % of requests to MCM; each answer delayed by 1,500 ms"
        shared_browser.wait_for_text("#fault-banner", banner)
        values = shared_browser.run(
            "return [...document.querySelectorAll('#conditions input')].map((e) => e.value)"
        )
        assert values == ["12.5", "429", "1500"]
        shared_browser.open("about:blank")


def test_conditions_that_can_not_be(browser: Browser, sandbox: Sandbox) -> None:
    """The page sends no value that the sandbox would refuse."""
    browser.open(sandbox.url)
    browser.one("#faults summary").click()
    rate = browser.one("#condition-rate")
    rate.clear()
    rate.send_keys("101")
    browser.one("#condition-set").click()
    assert browser.run("return arguments[0].matches(':invalid')", rate)
    track(sandbox, "well")
    assert sandbox.requests[-1].status == 200


def test_acceptance_matrix(browser: Browser, sandbox: Sandbox) -> None:
    """The matrix ticks itself off while it is open, and Escape closes it."""
    browser.open(sandbox.url)
    browser.one("#open-acceptance").click()
    browser.wait(lambda: len(browser.all("#cases .open")) == 9)
    track(sandbox, "home")
    browser.wait(lambda: len(browser.all("#cases .met")) == 1)
    assert browser.texts("#cases tr:has(.met) td")[1] == "Open the home page"

    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.wait(lambda: not browser.all("#acceptance")[0].is_displayed())
    assert browser.one("#open-acceptance").text == "Acceptance 1/9"


def test_keyboard_and_names(browser: Browser, sandbox: Sandbox) -> None:
    """With the keyboard alone one chooses an event, reads its details and returns to the list."""
    track(sandbox, "first")
    track_refused(sandbox)
    browser.open(sandbox.url)
    wait_for_rows(browser, REFUSED, DELIVERED)

    events = browser.one("#events")
    events.send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP)
    chosen = events.get_attribute("aria-activedescendant")
    assert browser.one(f"#{chosen}").accessible_name.startswith(REFUSED)
    assert browser.one(f"#{chosen}").get_attribute("aria-selected") == "true"
    events.send_keys(Keys.ENTER)
    browser.wait(lambda: browser.run("return document.activeElement.id") == "detail")
    browser.one("[data-problem]")
    browser.one("#detail").send_keys(Keys.ESCAPE)
    assert browser.run("return document.activeElement.id") == "events"

    browser.one("#faults summary").click()
    for each in browser.all("button, input, select, [tabindex='0'], [role]"):
        if each.is_displayed() and each.get_attribute("role") not in ("presentation", "status"):
            assert each.accessible_name, each.get_attribute("outerHTML")


def test_fifty_thousand_events(browser: Browser, sandbox: Sandbox) -> None:
    """Of 55,000 events the last 50,000 are shown, in few elements, and stay where one looks."""
    events = [{"event_type": "E", "insert_id": f"id-{number}"} for number in range(55_000)]
    batch = {"api_key": "key", "events": events}
    requests.post(sandbox.amplitude_url, json=batch, timeout=120).raise_for_status()
    browser.open(sandbox.url)
    size = "return document.querySelector('[role=option]')?.getAttribute('aria-setsize')"
    browser.wait_for_text("#filter-count", "older events are not shown")
    browser.wait(lambda: browser.run(size) == "50000")

    browser.one("#events").send_keys(Keys.END)
    last = browser.one(f"{ROWS}[aria-selected=true]")
    assert last.get_attribute("aria-posinset") == "50000"
    browser.wait_for_text("#detail .key code", "id-5000")
    assert len(browser.all("*")) < 1_000

    browser.one("#events").send_keys(Keys.PAGE_UP)
    place = "return document.querySelector('[aria-selected=true]').getBoundingClientRect().top"
    before = browser.run(place)
    track(sandbox, "new")
    browser.wait(lambda: browser.run(size) == "50001")
    assert browser.run(place) == before
    browser.one("#filter-text").send_keys("id-5499")
    browser.wait(lambda: browser.run(size) == "11")
    browser.wait_for_text("#filter-count", "11 of 50,001; older events are not shown")


def test_on_a_phone(browser: Browser, sandbox: Sandbox) -> None:
    """On a narrow screen nothing is cut off, and details cover the page until they are closed."""
    track(sandbox, "x" * 120, page_id="y" * 400)
    track_refused(sandbox)
    browser.open(sandbox.url, width=390, height=844)
    wait_for_rows(browser, REFUSED, DELIVERED)
    wide = "return document.documentElement.scrollWidth"
    assert browser.run(wide) == 390

    browser.one("#events").send_keys(Keys.ARROW_DOWN, Keys.ENTER)
    browser.one("[data-problem]")
    assert browser.one("#detail").rect["width"] == 390
    assert browser.run("return document.querySelector('#list-pane').inert")
    assert browser.run(wide) == 390
    browser.one("#detail .close").click()
    browser.wait(lambda: not browser.all("#detail")[0].is_displayed())
    assert browser.run("return document.activeElement.id") == "events"


def test_pause(browser: Browser, sandbox: Sandbox) -> None:
    """While the page is paused nothing moves, and what came meanwhile is shown afterwards."""
    browser.open(sandbox.url)
    browser.wait_for_text("#connection", "Live")
    browser.one("#pause").click()
    track(sandbox, "meanwhile")
    browser.wait_for_text("#pause", "Resume (2 waiting)")
    assert names_of_rows(browser) == []
    browser.one("#pause").click()
    wait_for_rows(browser, DELIVERED)


def test_comes_back(shared_browser: Browser) -> None:
    """After a restart of the sandbox the page finds it again, and shows what it has."""
    browser, sandbox = shared_browser, Sandbox()
    with sandbox:
        browser.open(sandbox.url)
        track(sandbox, "before")
        wait_for_rows(browser, DELIVERED)
    browser.wait_for_text("#connection", "trying again")
    with sandbox:
        browser.wait_for_text("#connection", "Live")
        send(sandbox, "after")
        wait_for_rows(
            browser, "Delivered. Amplitude: not at Amplitude. MCM: HOME, Delivered", DELIVERED
        )
        browser.open("about:blank")
    browser.complaints()

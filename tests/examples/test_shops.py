"""The shops: each is started as the README says, visited over HTTP, and ended as a server is."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from support.documents import blocks
from support.example import (
    EXAMPLES,
    commands,
    copied,
    done,
    environment,
    judge,
    running,
)
from support.waiting import await_that

from amplitude_moloco import hash_identifier
from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.sandbox.acceptance import Acceptance

pytestmark = pytest.mark.timeout(900)

TIMEOUT_SECONDS = 60
USER = hash_identifier("shopper@example.com")
SHOES = {"id": "shoes-1", "price": {"currency": "USD", "amount": 59.9}, "quantity": 1}
SOCKS = {"id": "socks-7", "price": {"currency": "USD", "amount": 4.5}, "quantity": 1}
TWO_SOCKS = {**SOCKS, "quantity": 2}
REVENUE = {"currency": "USD", "amount": 68.9}

Seen = tuple[str, str | None, dict[str, Any]]
"""The type of an event, its user, and what is particular to its type."""
ON_SITE: list[Seen] = [
    ("LAND", None, {"referrer_page_id": "newsletter"}),
    ("HOME", None, {}),
    ("PAGE_VIEW", None, {"page_id": "/about", "referrer_page_id": "/"}),
    ("PAGE_VIEW", None, {"page_id": "/category/shoes", "referrer_page_id": "/about"}),
    ("SEARCH", None, {"search_query": "shoes", "referrer_page_id": "/category/shoes"}),
    ("ITEM_PAGE_VIEW", None, {"items": [SHOES], "referrer_page_id": "/search"}),
    ("HOME", USER, {}),
    ("ADD_TO_WISHLIST", USER, {"items": [SOCKS], "referrer_page_id": "/"}),
    ("ITEM_PAGE_VIEW", USER, {"items": [SOCKS], "referrer_page_id": "/"}),
    ("ADD_TO_CART", USER, {"items": [TWO_SOCKS], "referrer_page_id": "/product/socks-7"}),
    ("PAGE_VIEW", USER, {"page_id": "/cart", "referrer_page_id": "/product/socks-7"}),
    ("ADD_TO_CART", USER, {"items": [SHOES], "referrer_page_id": "/cart"}),
    ("PAGE_VIEW", USER, {"page_id": "/cart", "referrer_page_id": "/cart"}),
    ("PURCHASE", USER, {"items": [SHOES, TWO_SOCKS], "revenue": REVENUE}),
    ("PAGE_VIEW", USER, {"page_id": "/about", "referrer_page_id": "/cart"}),
]
IN_APP: list[Seen] = [
    ("LAND", None, {"referrer_page_id": "newsletter"}),
    ("HOME", None, {}),
    ("PAGE_VIEW", None, {"page_id": "help", "referrer_page_id": "home"}),
    ("SEARCH", None, {"search_query": "shoes", "referrer_page_id": "help"}),
    ("ITEM_PAGE_VIEW", None, {"items": [SHOES], "referrer_page_id": "search"}),
    ("ADD_TO_WISHLIST", USER, {"items": [SOCKS], "referrer_page_id": "product"}),
    ("ADD_TO_CART", USER, {"items": [TWO_SOCKS], "referrer_page_id": "product"}),
    ("PURCHASE", USER, {"items": [SHOES, TWO_SOCKS], "revenue": REVENUE}),
]


class Browser:
    """Follows links and sends forms as a browser does, with cookies and the page it comes from."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._page = ""
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["user-agent"] = "Mozilla/5.0"
        self._session.headers["accept-language"] = "ko-KR,ko;q=0.9"

    def open(self, path: str, **query: str) -> None:
        self._arrive(self._session.get(self._url + path, params=query, **self._more()))

    def send(self, path: str, **form: str) -> None:
        token = self._session.cookies.get("csrftoken") or ""
        form["csrfmiddlewaretoken"] = token
        self._arrive(self._session.post(self._url + path, form, **self._more()))

    def status(self, path: str) -> int:
        return self._session.get(self._url + path, **self._more()).status_code

    def _more(self) -> dict[str, Any]:
        return {"headers": {"referer": self._page}, "timeout": TIMEOUT_SECONDS}

    def _arrive(self, answer: requests.Response) -> None:
        assert answer.status_code == 200, answer.text
        self._page = answer.url

    def close(self) -> None:
        self._session.close()


def visit(url: str) -> None:
    """Does once all that a shopper does."""
    browser = Browser(url)
    browser.open("/", utm_source="newsletter")
    browser.open("/about")
    browser.open("/category/shoes")
    browser.open("/search", q="shoes")
    browser.open("/product/shoes-1")
    browser.send("/login", email="Shopper@example.com ")
    browser.send("/wishlist/socks-7")
    browser.send("/cart/socks-7", quantity="2")
    browser.send("/cart/shoes-1")
    browser.send("/checkout")
    assert browser.status("/product/unknown") == 404
    browser.close()


@contextmanager
def served(folder: str, port: str, to: Path, sandbox: Sandbox, code: int = 0) -> Iterator[str]:
    """A shop, served by its command on a free port, and then ended with this code."""
    copy = copied(folder, to)
    command = f"{commands(folder)[0]} {port}"
    with running(command, copy, environment(sandbox)) as server:
        yield server.url()
        assert server.end() == code, server.said
        assert [line for line in server.said.splitlines() if "INFO" not in line] == []
    judge(sandbox, copy / "moloco.db")


def seen(event: dict[str, Any]) -> Seen:
    parts = ("page_id", "referrer_page_id", "search_query", "items", "revenue")
    found = {part: event[part] for part in parts if part in event}
    if "items" in found:
        found["items"].sort(key=lambda item: str(item["id"]))
    return event["event_type"], event.get("user_id"), found


def in_order(events: Iterable[Seen]) -> list[str]:
    return sorted(json.dumps(event, sort_keys=True) for event in events)


def assert_received(sandbox: Sandbox, expected: list[Seen]) -> None:
    """Asserts that these events arrived, in any order, and that Moloco's acceptance passes."""
    events = sandbox.moloco_events
    assert in_order(map(seen, events)) == in_order(expected)
    acceptance = Acceptance()
    for request in sandbox.requests:
        acceptance.add(request)
    shown = acceptance.as_json()
    assert [each for each in (*shown["cases"], *shown["rules"]) if each["state"] != "met"] == []
    assert len({event["device"]["persistent_id"] for event in events}) == 1
    assert len({event["custom_id"] for event in events}) == 1


@pytest.mark.parametrize(
    ("folder", "options"),
    [("flask_shop", ""), ("django_shop", ""), ("django_shop", "--preload --workers 3")],
    ids=["flask, preloaded", "django", "django, preloaded"],
)
def test_a_shop_under_gunicorn(folder: str, options: str, tmp_path: Path, sandbox: Sandbox) -> None:
    """Each request of a visit becomes its event, with several workers, and the end loses none."""
    pytest.importorskip("gunicorn")
    pytest.importorskip(folder.partition("_")[0])
    port = "--bind 127.0.0.1:0 --graceful-timeout 100"
    with served(folder, f"{port} {options}", tmp_path, sandbox) as url:
        visit(url)
    assert_received(sandbox, ON_SITE)
    for event in sandbox.moloco_events:
        device = event["device"]
        assert (event["channel_type"], device["ip"], device["ua"], device["language"]) == (
            *("SITE", "127.0.0.1", "Mozilla/5.0", "ko"),
        )
    (order,) = (each for each in sandbox.moloco_events if each["event_type"] == "PURCHASE")
    assert order["id"].startswith("order-")


def test_an_api_under_uvicorn(tmp_path: Path, sandbox: Sandbox) -> None:
    """Each request of an app becomes its event, with the ids of the phone."""
    pytest.importorskip("fastapi")
    with requests.Session() as phone:
        phone.trust_env = False
        ids = {"x-device-id": "phone-1", "x-session-id": "1700000000000", "x-os": "iOS"}
        phone.headers.update(ids)

        def call(method: str, path: str, screen: str = "", **more: Any) -> None:
            headers = {"x-screen": screen}
            answer = phone.request(
                method, url + path, headers=headers, timeout=TIMEOUT_SECONDS, **more
            )
            assert answer.ok, answer.text

        end = -signal.SIGTERM  # uvicorn passes the signal on, once it has shut down
        with served("fastapi_shop", "--port 0", tmp_path, sandbox, end) as url:
            call("POST", "/opened", params={"link": "newsletter"})
            call("GET", "/home")
            call("POST", "/screens/help", "home")
            call("GET", "/search", "help", params={"q": "shoes"})
            call("GET", "/products/shoes-1", "search")
            phone.headers["x-user-id"] = "shopper@example.com"
            call("PUT", "/wishlist/socks-7", "product")
            call("POST", "/cart", "product", json={"product_id": "socks-7", "quantity": 2})
            lines = [{"product_id": "socks-7", "quantity": 2}, {"product_id": "shoes-1"}]
            call("PUT", "/orders/1001", "cart", json=lines)
            assert phone.get(f"{url}/products/unknown", timeout=TIMEOUT_SECONDS).status_code == 404
    assert_received(sandbox, IN_APP)
    for event in sandbox.moloco_events:
        assert (event["channel_type"], event["device"]["os"]) == ("APP", "iOS")
        assert event["device"]["persistent_id"] == hash_identifier("phone-1")
        assert event["custom_id"] == hash_identifier("1700000000000")


def test_the_tests_of_the_shop_pass(tmp_path: Path, sandbox: Sandbox) -> None:
    """A shop's own tests run without any setting of this environment."""
    pytest.importorskip("flask")
    copy = copied("flask_shop", tmp_path)
    printed = done(commands("flask_shop")[-1], copy, environment(sandbox))
    assert "2 passed" in printed
    assert sandbox.requests == []


@pytest.mark.torture
def test_the_flask_shop_under_uwsgi(tmp_path: Path, sandbox: Sandbox) -> None:
    """The command on the page about deployment serves the Flask shop, and its end loses nothing."""
    if shutil.which("uwsgi", path=environment(sandbox)["PATH"]) is None:
        pytest.skip("needs uwsgi, which needs a compiler")
    page = (EXAMPLES.parent / "docs" / "deployment.md").read_text(encoding="utf-8")
    (command,) = (block for block in blocks(page, "sh") if block.startswith("uwsgi "))
    copy = copied("flask_shop", tmp_path)
    here = f"{command.replace(':8000', ':0')} --home {sys.prefix}"
    with running(here, copy, environment(sandbox)) as server:
        await_that(lambda: server.said.count("WSGI app 0") == 2)
        port = re.findall(r"127\.0\.0\.1:(\d+)", server.said)[-1]
        visit(f"http://127.0.0.1:{port}")
        assert server.end() == 0, server.said
    judge(sandbox, copy / "moloco.db")
    assert_received(sandbox, ON_SITE)

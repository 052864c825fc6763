"""The live page of a running app, with the real SDK and a real server."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from amplitude import Amplitude, BaseEvent, Config
from support.app_process import run
from support.browser import missing_program, started_browser
from support.feed import feed_of, rows_of, state_of

from amplitude_moloco import Delivered, MolocoDestination, Sync
from amplitude_moloco.adjust import AdjustDestination, AdjustEvent
from amplitude_moloco.partner.destination import ConfiguredDestination
from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.watch.feed import FactFeed

SYNCS = [Sync("HOME", "Home"), Sync("SEARCH", "Search")]
WAIT_SECONDS = 60
Make = Callable[..., tuple[Amplitude, MolocoDestination]]


@pytest.fixture
def make(sandbox: Sandbox) -> Iterator[Make]:
    """Makes a client with a destination that has a live page. All are shut down after the test."""
    with ExitStack() as stack:

        def make_one(**settings: Any) -> tuple[Amplitude, MolocoDestination]:
            settings = {"inspector": "127.0.0.1:0", "channel_type": "SITE", **settings}
            destination = MolocoDestination(
                "key", "SHOP", SYNCS, base_url=sandbox.url, shutdown_timeout_seconds=60, **settings
            )
            client = Amplitude("key", Config(server_url=sandbox.amplitude_url))
            client.add(destination)
            stack.callback(client.shutdown)
            return client, destination

        yield make_one


def page_of(destination: ConfiguredDestination) -> str:
    """Returns the address of a destination's page, without the slash at its end."""
    assert destination.inspector_url is not None
    return destination.inspector_url.rstrip("/")


def track(client: Amplitude, destination: ConfiguredDestination, name: str = "Home") -> None:
    """Tracks an event, and waits until it has ended."""
    client.track(BaseEvent(name, user_id="shopper-1", insert_id="insert-1"))
    destination.flush(WAIT_SECONDS).result(WAIT_SECONDS)


def test_what_happens_to_events(make: Make) -> None:
    """The page shows what happens to each event, and the counters; ids are shortened."""
    client, destination = make()
    with feed_of(page_of(destination)) as events:
        assert state_of(events)["mode"] == "app"
        track(client, destination)
        track(client, destination, "Search")
        rows, _ = rows_of(events, 2)
    delivered, invalid = sorted(rows, key=lambda row: row["outcome"])

    assert delivered.items() >= {"outcome": "delivered", "type": "HOME", "status": 200}.items()
    assert delivered["id"].startswith("inse…")
    assert invalid["outcome"] == "invalid"
    assert invalid["problems"][0]["place"] == "search_query"
    assert "insert-1" not in str(rows)
    assert "shopper-1" not in str(rows)
    with feed_of(page_of(destination)) as events:
        counters = {name: number for name, number, _ in state_of(events)["counters"]}
    assert counters.items() >= {"delivered": 1, "invalid": 1, "waiting": 0}.items()


def test_a_pause(make: Make, sandbox: Sandbox) -> None:
    """While sending pauses, the page says so, and why."""
    client, destination = make()
    sandbox.fail_next(401, times=100)
    track(client, destination)
    with feed_of(page_of(destination)) as events:
        note = state_of(events)["note"]
    assert note.startswith("Sending pauses; events are kept. ")
    destination.close(0)


def test_read_only_and_only_with_the_token(make: Make) -> None:
    """Without the token in the path there is nothing; with it, nothing can be changed."""
    _, destination = make()
    url = urlsplit(page_of(destination))
    token = url.path.strip("/")
    root = f"http://{url.netloc}"

    assert len(token) >= 20
    assert requests.get(f"{root}/{token}/", timeout=10).status_code == 200
    assert requests.get(f"{root}/{token}/live/main.js", timeout=10).status_code == 200
    assert requests.get(f"{root}/{token}/live/events/1/0", timeout=10).status_code == 404
    for path in ("", "live/feed", "live/main.js", f"{token}", f"{token[:-1]}/", "é/", f"x{token}/"):
        assert requests.get(f"{root}/{path}", timeout=10).status_code == 404
    for method, path in (("POST", "faults"), ("DELETE", "events"), ("POST", ""), ("PUT", "live/x")):
        answer = requests.request(method, f"{root}/{token}/{path}", timeout=10)
        assert answer.status_code in (404, 405)


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
)
def test_other_sites(make: Make, headers: dict[str, str]) -> None:
    """A page of another site gets a 403, even with the token."""
    _, destination = make()
    for path in ("/", "/live/feed"):
        answer = requests.get(page_of(destination) + path, headers=headers, timeout=10)
        assert answer.status_code == 403


def test_off_by_default(make: Make) -> None:
    """Without the setting there is no page, and no thread more."""
    _, destination = make(inspector=None)
    assert destination.inspector_url is None
    assert "inspector" not in [thread.name for thread in threading.enumerate()]


def test_from_the_client_to_the_close(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """The page is there once the destination is added to a client, and until it is closed."""
    client, destination = make()
    url = page_of(destination)
    assert f"at {url}/" in caplog.text
    alone = MolocoDestination("key", "SHOP", SYNCS, platform_name="s", inspector="127.0.0.1:0")
    assert alone.inspector_url is None
    alone.close()

    with feed_of(url) as events:
        next(events)
        client.shutdown()
    destination.close()

    assert destination.inspector_url is None
    assert "inspector" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=10)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_ipv6(make: Make) -> None:
    """An IPv6 address is bracketed in the URL."""
    _, destination = make(inspector="[::1]:0")
    assert requests.get(f"{page_of(destination)}/", timeout=10).status_code == 200


def test_a_port_in_use(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """If the port is taken, as by another worker, a warning says so and events are sent."""
    _, first = make()
    port = urlsplit(page_of(first)).port
    client, second = make(inspector=f"127.0.0.1:{port}")
    track(client, second)

    assert second.inspector_url is None
    assert second.stats().delivered == 1
    [record] = [record for record in caplog.records if "not shown" in record.message]
    assert record.levelno == logging.WARNING
    assert f"can't listen on 127.0.0.1, port {port}" in record.message


def test_bounded() -> None:
    """The page shows the last five thousand facts; a page that is behind skips older ones."""
    feed = FactFeed("MCM", lambda: None, lambda: None)  # type: ignore[arg-type, return-value]  # not called
    for number in range(7_000):
        feed.add(Delivered("HOME", str(number), 1, 200))

    rows = feed.rows("", 0, 10_000)
    later = feed.rows(rows.epoch, 6_990, 5)

    assert (len(rows.rows), rows.rows[0]["n"], rows.last) == (5_000, 2_001, 7_000)
    assert ([row["n"] for row in later.rows], later.last) == (list(range(6_991, 6_996)), 6_995)
    assert feed.rows(rows.epoch, 7_000, 5).last == 7_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
def test_forked_children(tmp_path: Path, sandbox: Sandbox) -> None:
    """A child has no page, shows nothing on its parent's, and does not keep its port."""
    script = """
import logging, socket
logging.getLogger("amplitude_moloco").addHandler(logging.NullHandler())
destination = make(inspector="127.0.0.1:0")
early = make(inspector="127.0.0.1:0")
client = make_client(destination)
url = destination.inspector_url
port = int(url.split(":")[2].split("/")[0])
closed_read, closed_write = os.pipe()

child = os.fork()
if child == 0:
    signal.alarm(120)  # one that hangs is killed
    assert destination.inspector_url is None
    client.track(home("child"))
    destination.flush(60).result(60)
    make_client(early)
    assert early.inspector_url is None
    os.close(closed_write)
    os.read(closed_read, 1)
    destination.shutdown(60)
    early.shutdown(60)
    os._exit(0)

client.track(home("parent"))
destination.flush(60).result(60)
assert urllib.request.urlopen(url).status == 200
destination.close()
early.close()
socket.create_server(("127.0.0.1", port)).close()
os.close(closed_write)
assert os.waitpid(child, 0)[1] == 0
"""
    code, _, errors = run(tmp_path, script, sandbox.url, sandbox.amplitude_url)
    assert (code, errors) == (0, "")
    assert sorted(event["id"] for event in sandbox.moloco_events) == ["child", "parent"]


@pytest.mark.skipif(missing_program() is not None, reason=f"{missing_program()} is not installed")
def test_in_a_browser(make: Make, tmp_path: Path) -> None:
    """The page of an app works below its token, and shows a problem without a payload."""
    client, destination = make()
    track(client, destination)
    track(client, destination, "Search")
    with started_browser(tmp_path) as browser:
        browser.open(f"{page_of(destination)}/")
        browser.wait_for_text("#title", "in this app")
        browser.one("[role=option].invalid").click()
        browser.wait_for_text("#detail .problems", "search_query")
        assert browser.complaints() == []
        assert not browser.all("#faults")[0].is_displayed()
        browser.open("about:blank")


@pytest.mark.skipif(missing_program() is not None, reason=f"{missing_program()} is not installed")
def test_another_partner_in_a_browser(sandbox: Sandbox, tmp_path: Path) -> None:
    """The page of a destination for Adjust names Adjust, and not MCM."""
    destination = AdjustDestination(
        "abc123def456",
        AdjustEvent("Home", "home01"),
        environment="sandbox",
        base_url=sandbox.url,
        inspector="127.0.0.1:0",
    )
    client = Amplitude("key", Config(server_url=sandbox.amplitude_url))
    client.add(destination)
    with started_browser(tmp_path) as browser:
        browser.open(f"{page_of(destination)}/")
        browser.wait_for_text("#column-right", "Adjust")
        track(client, destination)  # invalid, without an identifier of a device
        browser.wait_for_text("[role=option].invalid", "device no_identifier")
        assert "MCM" not in browser.run("return document.querySelector('main').innerText")
        browser.one("[role=option].invalid").click()
        browser.wait_for_text("#detail h3", "Adjust: Home (home01)")
        assert browser.complaints() == []
        browser.open("about:blank")
    client.shutdown()

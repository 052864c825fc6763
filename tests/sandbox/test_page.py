"""The live page as other programs see it: its files, its feed, and who may use it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from support.feed import feed_of, rows_of, state_of

from amplitude_moloco.sandbox import Sandbox

PURCHASE = {
    "event_type": "PURCHASE",
    "channel_type": "SITE",
    "id": "event-1",
    "user_id": "user-1",
    "items": [{"id": "sku-1", "price": {"currency": "USD", "amount": 12.5}}],
    "revenue": {"currency": "USD", "amount": 12.5},
}


COLOUR = re.compile(r"--([\w-]+): #(\w{6});")


def luminance(colour: str) -> float:
    """Returns the relative luminance of a colour, as WCAG defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Returns the contrast ratio of two colours, as WCAG defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    """One sandbox for all tests."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    """A sandbox that has received nothing, and has no fault pending."""
    running.clear()
    requests.delete(f"{running.url}/faults", timeout=10).raise_for_status()
    return running


def send(sandbox: Sandbox, api_key: str = "key", **fields: Any) -> int:
    """Posts a purchase to MCM, with other fields. Returns the status."""
    event = {**PURCHASE, "timestamp": str(int(time.time() * 1000) - 500), **fields}
    return send_body(sandbox, json.dumps(event).encode(), api_key)


def send_body(sandbox: Sandbox, body: bytes, api_key: str = "key") -> int:
    """Posts a body to MCM. Returns the status."""
    return requests.post(
        f"{sandbox.url}/rmp/event/v1/platforms/SHOP/userevents",
        data=body,
        headers={"x-api-key": api_key, "content-type": "application/json"},
        timeout=10,
    ).status_code


def send_batch(sandbox: Sandbox, *events: object, **more: Any) -> None:
    """Posts events to Amplitude."""
    batch = {"api_key": "key", "events": events, **more}
    requests.post(sandbox.amplitude_url, json=batch, timeout=10)


def detail(sandbox: Sandbox, number: int = 1, part: int = 0) -> Any:
    """Returns the details of one row; None if there are none."""
    answer = requests.get(f"{sandbox.url}/live/events/{number}/{part}", timeout=10)
    return answer.json() if answer.status_code == 200 else None


def newest(sandbox: Sandbox, number: int) -> list[dict[str, Any]]:
    """Returns the rows of a new feed, once there are so many."""
    with feed_of(sandbox.url) as events:
        return rows_of(events, number)[0]


class TestFiles:
    """The page and its files."""

    def test_all_that_the_page_names(self, sandbox: Sandbox) -> None:
        """The page and every file that it or a script names are there, with the right type."""
        page = requests.get(f"{sandbox.url}/", timeout=10)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        names = set(re.findall(r'(?:href|src)="live/([\w.]+)"', page.text)) - {"acceptance.md"}
        todo = set(names)
        types = set()
        while todo:
            answer = requests.get(f"{sandbox.url}/live/{todo.pop()}", timeout=10)
            assert answer.status_code == 200
            types.add(answer.headers["content-type"].partition(";")[0])
            found = set(re.findall(r'from "\./([\w.]+)"', answer.text)) - names
            names |= found
            todo |= found
        assert {"main.js", "groups.js", "list.js", "style.css", "icon.svg"} <= names
        assert types == {"text/javascript", "text/css", "image/svg+xml"}

    def test_nothing_inline(self, sandbox: Sandbox) -> None:
        """A strict policy allows files of this server alone, and the page has nothing inline."""
        page = requests.get(f"{sandbox.url}/", timeout=10)

        policy = page.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
        assert "unsafe" not in page.headers["content-security-policy"]
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert not re.search(r"<style|style=|\bon\w+=|<script(?![^>]*src=)", page.text)

    def test_scripts_parse_no_html(self, sandbox: Sandbox) -> None:
        """No script makes HTML or code of a text."""
        for name in "acceptance detail dom faults filters groups list main outcomes plot".split():
            script = requests.get(f"{sandbox.url}/live/{name}.js", timeout=10).text
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script
            )

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_contrast(self, sandbox: Sandbox, scheme: str) -> None:
        """In both colour schemes, every colour of text can be read on every background it is on."""
        css = requests.get(f"{sandbox.url}/live/style.css", timeout=10).text
        light, dark = (
            dict(COLOUR.findall(block))
            for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
        )
        colours = light if scheme == "light" else {**light, **dark}
        on_any = [
            (text, back)
            for text in ("text", "quiet", "good", "bad", "warn", "accent")
            for back in ("pane", "back", "sunken", "chosen")
        ]
        for text, back in [
            *on_any,
            ("bad", "bad-back"),
            ("text", "bad-back"),
            ("quiet", "bad-back"),
            ("warn", "warn-back"),
            ("on-accent", "accent"),
        ]:
            assert contrast(colours[text], colours[back]) >= 4.5, (text, back)
        for back in ("pane", "back"):
            assert contrast(colours["edge"], colours[back]) >= 3, back

    @pytest.mark.parametrize("name", ["other.js", "..%2fguard.py", "%2e%2e%2fguard.py"])
    def test_nothing_else(self, sandbox: Sandbox, name: str) -> None:
        """Other names get a 404."""
        assert requests.get(f"{sandbox.url}/live/{name}", timeout=10).status_code == 404


class TestOtherSites:
    """What web pages of other sites can do."""

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        ],
    )
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("POST", "/faults"),
            ("PUT", "/conditions"),
            ("DELETE", "/faults"),
            ("DELETE", "/events"),
            ("GET", "/live/feed"),
            ("GET", "/live/events/1/0"),
        ],
    )
    def test_refused(
        self, sandbox: Sandbox, method: str, path: str, headers: dict[str, str]
    ) -> None:
        """A request that a browser sends for another site gets a 403 and changes nothing."""
        send(sandbox)

        answer = requests.request(
            method, sandbox.url + path, json={"status": 503}, headers=headers, timeout=10
        )

        assert answer.status_code == 403
        assert "names another site" in answer.json()["message"]
        assert len(sandbox.requests) == 1
        assert send(sandbox) == 200

    def test_own_page(self, sandbox: Sandbox) -> None:
        """The page itself may add faults, and a link may lead to it."""
        own = {"Origin": sandbox.url, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

        added = requests.post(
            f"{sandbox.url}/faults", json={"status": 503}, headers=own, timeout=10
        )
        followed = requests.get(f"{sandbox.url}/", headers=link, timeout=10)

        assert (added.status_code, followed.status_code) == (200, 200)
        assert send(sandbox) == 503

    def test_form_of_another_site(self, sandbox: Sandbox) -> None:
        """A form of another site that is sent here, which is a navigation too, changes nothing."""
        form = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        answer = requests.post(
            f"{sandbox.url}/faults", data='{"status": 503}', headers=form, timeout=10
        )
        assert answer.status_code == 403
        assert send(sandbox) == 200

    @pytest.mark.parametrize("path", ["/", "/live/feed", "/live/main.js", "/live/acceptance.md"])
    def test_other_hosts(self, sandbox: Sandbox, path: str) -> None:
        """Under a name that a web page may have pointed to this machine, there is no page."""
        headers = {"Host": "evil.example"}
        answer = requests.get(sandbox.url + path, headers=headers, timeout=10)
        assert answer.status_code == 403


class TestFeed:
    """What the page is fed with."""

    def test_both_sides(self, sandbox: Sandbox) -> None:
        """An event is one row at Amplitude and one at MCM, which share its insert_id."""
        now = int(time.time() * 1000)
        event = {
            "event_type": "Order Completed",
            "insert_id": "event-1",
            "time": now,
            "event_id": 7,
        }
        send_batch(sandbox, event, {"event_type": "Song Played"})
        send(sandbox)

        first, other, second = newest(sandbox, 3)

        assert (
            first.items()
            >= {
                "side": "amplitude",
                "type": "Order Completed",
                "id": "event-1",
                "alias": "7",
                "status": 200,
                "outcome": "delivered",
            }.items()
        )
        assert other["type"] == "Song Played"
        assert second.items() >= {"side": "partner", "type": "PURCHASE", "id": "event-1"}.items()
        assert second["delay"] >= 500
        assert "sku-1" in second["words"]
        assert [(row["n"] > first["n"], row["i"]) for row in (first, other, second)] == [
            (False, 0),
            (False, 1),
            (True, 0),
        ]

    @pytest.mark.parametrize(
        ("status", "outcome"),
        [(400, "refused"), (401, "failing"), (429, "failing"), (503, "failing")],
    )
    def test_outcomes(self, sandbox: Sandbox, status: int, outcome: str) -> None:
        """A 400 is final; after a 401, 429 or 5xx the event is kept and sent again."""
        sandbox.fail_next(status)
        send(sandbox)

        [row] = newest(sandbox, 1)

        assert (row["outcome"], row["status"]) == (outcome, status)
        assert row["message"]

    def test_hostile_bodies(self, sandbox: Sandbox) -> None:
        """Whatever a body holds, it becomes a row of texts, or of none."""
        bodies: list[Any] = [
            [],
            {"event_type": {"a": 1}, "id": ["x"], "timestamp": True},
            {"event_type": "x" * 5_000, "id": True, "timestamp": "12"},
            {"timestamp": "9" * 13},
            7,
        ]
        for body in bodies:
            send_body(sandbox, json.dumps(body).encode())
        send_body(sandbox, b"\xff{")
        send_batch(sandbox, "text", 7)
        send_batch(sandbox)
        requests.post(sandbox.amplitude_url, data=b"[", timeout=10)

        rows = newest(sandbox, 10)

        assert [(row["type"], row["id"], row["delay"]) for row in rows] == [
            *[("", "", None)] * 2,
            ("x" * 200, "", None),
            ("", "", 0),
            *[("", "", None)] * 6,
        ]

    def test_exports(self, sandbox: Sandbox) -> None:
        """A request to the Export API is a row too."""
        requests.get(f"{sandbox.url}/api/2/export?start=x", timeout=10)
        [row] = newest(sandbox, 1)
        assert row["side"] == "export"

    def test_new_events_come_by_themselves(self, sandbox: Sandbox) -> None:
        """What arrives later comes over the open feed, in several messages if it is much."""
        with feed_of(sandbox.url) as events:
            send(sandbox)
            assert len(rows_of(events, 1)[0]) == 1
            send_batch(sandbox, *({"insert_id": str(number)} for number in range(2_500)))
            rows, _ = rows_of(events, 2_500)
        assert [row["id"] for row in rows] == [str(number) for number in range(2_500)]

    def test_resumes(self, sandbox: Sandbox) -> None:
        """After a broken connection a browser gets what it does not have yet, and nothing twice."""
        send(sandbox, id="before")
        with feed_of(sandbox.url) as events:
            _, last_id = rows_of(events, 1)
        send(sandbox, id="after")

        with feed_of(sandbox.url, last_id) as events:
            [row], _ = rows_of(events, 1)

        assert row["id"] == "after"

    @pytest.mark.parametrize("last_id", ["other:1", "nonsense", "a:b:-1", ":²"])
    def test_resumes_from_nowhere(self, sandbox: Sandbox, last_id: str) -> None:
        """With the id of another sandbox, or none at all, the feed begins at the beginning."""
        send(sandbox)
        with feed_of(sandbox.url, last_id.encode().decode("latin-1")) as events:
            assert len(rows_of(events, 1)[0]) == 1

    def test_clearing(self, sandbox: Sandbox) -> None:
        """When the sandbox is cleared, the state has another epoch, and later rows too."""
        send(sandbox)
        with feed_of(sandbox.url) as events:
            rows_of(events, 1)
            before = state_of(events)
            sandbox.clear()
            after = state_of(events)
            send(sandbox, id="later")
            [row], last_id = rows_of(events, 1)

        assert before["epoch"] != after["epoch"]
        assert {case["state"] for case in after["acceptance"]["cases"]} == {"open"}
        assert row["id"] == "later"
        assert last_id.startswith(after["epoch"])

    def test_state(self, sandbox: Sandbox) -> None:
        """The state shows pending faults, and the acceptance matrix after each event."""
        sandbox.fail_next(503, times=2)
        with feed_of(sandbox.url) as events:
            state = state_of(events)
            assert state["mode"] == "sandbox"
            assert state["faults"] == [
                {"status": 503, "times": 2, "retry_after": None}
                | {"target": "moloco", "after_storing": False}
            ]
            requests.delete(f"{sandbox.url}/faults", timeout=10).raise_for_status()
            assert state_of(events)["faults"] == []
            assert send(sandbox) == 200
            cases = state_of(events)["acceptance"]["cases"]
        assert [case["action"] for case in cases if case["state"] == "met"] == ["Buy"]

    def test_conditions(self, sandbox: Sandbox) -> None:
        """The state shows the conditions, and each change of them."""
        usual = {"rate": 0.0, "status": 503, "latency_millis": 0}
        changed = {"rate": 0.5, "status": 429, "latency_millis": 7}
        with feed_of(sandbox.url) as events:
            assert state_of(events)["conditions"] == usual
            for conditions, shown in ((changed, changed), ({}, usual)):
                requests.put(
                    f"{sandbox.url}/conditions", json=conditions, timeout=10
                ).raise_for_status()
                assert state_of(events)["conditions"] == shown

    def test_the_feed_ends_with_the_sandbox(self) -> None:
        """An open feed does not delay the sandbox's stop."""
        with Sandbox() as sandbox, feed_of(sandbox.url) as events:
            next(events)

    def test_bounded(self) -> None:
        """What the sandbox has discarded is neither fed nor detailed, but counted."""
        with Sandbox(max_requests=2) as sandbox:
            for number in range(5):
                send(sandbox, id=str(number))
            with feed_of(sandbox.url) as events:
                rows, _ = rows_of(events, 2)
                assert state_of(events)["forgotten"] == 3
            assert [row["id"] for row in rows] == ["3", "4"]
            assert detail(sandbox, rows[0]["n"]) is not None
            assert detail(sandbox, rows[0]["n"] - 1) is None


class TestDetail:
    """The payload of one event, and what is wrong with it."""

    def number(self, sandbox: Sandbox) -> int:
        """Returns the number of the last request."""
        number: int = newest(sandbox, 1)[-1]["n"]
        return number

    def test_problems_beside_fields(self, sandbox: Sandbox) -> None:
        """Every problem has the place of its field, which is the place of a line, or missing."""
        items = [{"id": "a", "price": 12.5, "quantity": "2"}, {"quantity": 1}]
        event: dict[str, Any] = {
            "items": items,
            "channel_type": "APP",
            "device": {"os": 7},
            "domain": "",
        }
        send(sandbox, **event)

        found = detail(sandbox, self.number(sandbox))

        assert {each["place"]: each["message"] for each in found["problems"]} == {
            "domain": "domain must not be empty",
            "device.os": "device os must contain ios or android for the app channel type",
            "items[0].price": "items[0].price must be an object with currency and amount",
            "items[0].quantity": "items[0].quantity must be an int32",
            "items[1]": "invalid item: either id or item_group_id must be set",
        }
        assert {each["place"] for each in found["problems"]} <= {
            line["place"] for line in found["lines"]
        }

    @pytest.mark.parametrize(
        ("body", "places"),
        [
            ([1], [""]),
            ({"device": "ios"}, ["event_type", "channel_type", "timestamp", "device", "user_id"]),
            ({"event_type": ["HOME"], "user_id": 7}, None),
            ({"items": [{}] * 1_000}, None),
        ],
    )
    def test_all_problems(self, sandbox: Sandbox, body: object, places: list[str] | None) -> None:
        """Whatever is wrong, all problems are found at once: the message's, and those after it."""
        send_body(sandbox, json.dumps(body).encode())

        problems = detail(sandbox, self.number(sandbox))["problems"]

        assert problems[0]["message"] == sandbox.requests[-1].message
        assert len(problems) <= 100
        assert places is None or [each["place"] for each in problems] == places

    @pytest.mark.parametrize("fault", [400, 503])
    def test_faults_are_no_problems(self, sandbox: Sandbox, fault: int) -> None:
        """A fault on demand is no problem of the event's."""
        sandbox.fail_next(fault)
        send(sandbox)
        assert detail(sandbox, self.number(sandbox))["problems"] == []

    def test_not_json(self, sandbox: Sandbox) -> None:
        """A body that is not JSON is shown as text."""
        send_body(sandbox, b"<b>not json")
        found = detail(sandbox, self.number(sandbox))
        assert [line["value"] for line in found["lines"]] == ["<b>not json"]
        assert found["problems"] == []

    def test_amplitude(self, sandbox: Sandbox) -> None:
        """Each event of a batch has its own details."""
        send_batch(sandbox, {"event_type": "A"}, {"event_type": "B"})
        number = newest(sandbox, 2)[-1]["n"]
        assert [line["value"] for line in detail(sandbox, number, 1)["lines"]] == ["{", '"B"', "}"]
        assert detail(sandbox, number, 2) is None
        assert detail(sandbox, number + 1) is None


def test_report(sandbox: Sandbox) -> None:
    """The acceptance matrix can be saved as a file."""
    send(sandbox)
    answer = requests.get(f"{sandbox.url}/live/acceptance.md", timeout=10)
    assert answer.headers["content-disposition"] == "attachment"
    assert "| ☑ | Buy | PURCHASE | 1 | `event-1 at" in answer.content.decode()

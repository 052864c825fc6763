from __future__ import annotations

import dataclasses
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from amplitude import Amplitude, BaseEvent, Config

from amplitude_moloco.sandbox import Sandbox
from amplitude_moloco.sandbox.app import MAX_BATCH_BYTES, MAX_USER_EVENT_BYTES

ITEMS = [{"id": "sku-1", "price": {"currency": "USD", "amount": 12.5}, "quantity": 2}]
REVENUE = {"currency": "USD", "amount": 25}
REQUIRED: dict[str, dict[str, Any]] = {
    "HOME": {},
    "LAND": {"referrer_page_id": "newsletter"},
    "PAGE_VIEW": {"page_id": "sale"},
    "ITEM_PAGE_VIEW": {"items": ITEMS},
    "SEARCH": {"search_query": "shoes"},
    "ADD_TO_CART": {"items": ITEMS},
    "ADD_TO_WISHLIST": {"items": ITEMS},
    "PURCHASE": {"items": ITEMS, "revenue": REVENUE},
}
ABSENT = object()


def now_millis() -> int:
    """Returns Unix time in milliseconds."""
    return int(time.time() * 1000)


def user_event(event_type: Any = "HOME", **fields: Any) -> dict[str, Any]:
    """Returns an event that MCM accepts, unless ``fields`` spoil it. ABSENT leaves a field out."""
    event: dict[str, Any] = {
        "event_type": event_type,
        "channel_type": "SITE",
        "timestamp": str(now_millis()),
        "id": "event-1",
        "user_id": "user-1",
        **REQUIRED.get(event_type, {}),
        **fields,
    }
    return {name: value for name, value in event.items() if value is not ABSENT}


class Client:
    """Talks to a sandbox over one kept-alive connection."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()

    def user_event(self, event: object = None, **options: Any) -> requests.Response:
        """Posts a user event, by default a valid one. Options as for ``body``."""
        body = json.dumps(user_event() if event is None else event).encode()
        return self.body(body, **options)

    def body(
        self, body: bytes, *, platform_id: str = "SHOP", **headers: str | None
    ) -> requests.Response:
        """Posts bytes as a user event. A header of None is left out."""
        sent = {"x_api_key": "secret", "content_type": "application/json", **headers}
        return self.session.post(
            f"{self.sandbox.url}/rmp/event/v1/platforms/{platform_id}/userevents",
            data=body,
            headers={name.replace("_", "-"): value for name, value in sent.items()},
            timeout=10,
        )

    def batch(self, batch: object, path: str = "/2/httpapi") -> requests.Response:
        """Posts JSON, by default to Amplitude's API."""
        return self.session.post(self.sandbox.url + path, json=batch, timeout=10)

    def get(self, path: str) -> requests.Response:
        """Gets a path."""
        return self.session.get(self.sandbox.url + path, timeout=10)


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Sandbox]:
    """One sandbox for all tests, since each takes a moment to stop."""
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def client(shared_sandbox: Sandbox) -> Iterator[Client]:
    """A client of a sandbox that accepts any key and platform and has received nothing."""
    shared_sandbox.clear()
    client = Client(shared_sandbox)
    with client.session:
        yield client


def port_of(sandbox: Sandbox) -> int:
    """Returns the port of a sandbox."""
    port = urlsplit(sandbox.url).port
    assert port is not None
    return port


def connect(sandbox: Sandbox) -> socket.socket:
    """Opens a bare connection."""
    return socket.create_connection(("127.0.0.1", port_of(sandbox)), timeout=10)


class TestUserEvents:
    """MCM's answers to user events."""

    @pytest.mark.parametrize("event_type", REQUIRED)
    def test_accepts_each_type(self, client: Client, event_type: str) -> None:
        """An event with the fields that its type requires gets a 2xx and an empty object."""
        event = user_event(event_type)

        answer = client.user_event(event)

        assert (answer.status_code, answer.json()) == (200, {})
        assert client.sandbox.moloco_events == [event]

    @pytest.mark.parametrize(
        ("event", "message"),
        [
            (
                user_event(user_id=ABSENT),
                "no available valid identifier to construct Moloco advertising ID",
            ),
            (user_event("SEARCH", search_query=ABSENT), "missing search_query"),
            (user_event("PAGE_VIEW", page_id=ABSENT), "missing page_id"),
            (
                user_event("ADD_TO_CART", items=[{"quantity": 1}]),
                "invalid item: either id or item_group_id must be set",
            ),
            (user_event(timestamp=str(now_millis() // 1000)), "invalid timestamp"),
            (
                user_event(channel_type="APP"),
                "device os must contain ios or android for the app channel type",
            ),
        ],
    )
    def test_documented_refusals(self, client: Client, event: object, message: str) -> None:
        """Each documented cause of a 400 gets its documented message, word for word."""
        answer = client.user_event(event)

        assert answer.status_code == 400
        assert answer.json() == {"code": 400, "message": message, "details": []}
        assert client.sandbox.moloco_events == []

    @pytest.mark.parametrize(
        ("event", "message"),
        [
            ([], "the body must be a JSON object"),
            (user_event(event_type=ABSENT), "missing event_type"),
            (user_event("UNKNOWN_EVENT_TYPE"), "invalid event_type: must be one of HOME, LAND,"),
            (user_event("PURHCASE"), "invalid event_type"),
            (user_event(channel_type=ABSENT), "missing channel_type"),
            (user_event(channel_type="UNKNOWN_CHANNEL"), "invalid channel_type: must be one of"),
            (user_event(channel_type=["SITE"]), "invalid channel_type"),
            (user_event(personalization_mode="NONE"), "invalid personalization_mode"),
            (user_event(timestamp=ABSENT), "invalid timestamp"),
            (user_event(timestamp=now_millis()), "invalid timestamp"),
            (user_event(timestamp="2026-01-01T00:00:00Z"), "invalid timestamp"),
            (user_event(timestamp="-1"), "invalid timestamp"),
            (user_event(timestamp=str(now_millis() + 86_400_000)), "invalid timestamp"),
            (user_event(timestamp=str(now_millis() * 1000)), "invalid timestamp"),
            (user_event(timestamp="9" * 5000), "invalid timestamp"),
            *(
                (user_event(user_id=word), "no available valid identifier")
                for word in ("null", "undefined", "invalid", "nil", "NULL", " ")
            ),
            (
                user_event(user_id="nil", custom_id="null", device={"persistent_id": "invalid"}),
                "no available valid identifier",
            ),
            *(
                (
                    user_event(user_id=ABSENT, personalization_mode="ID_LESS") | sent,
                    "personalization_mode ID_LESS forbids",
                )
                for sent in (
                    {"user_id": "u"},
                    {"custom_id": "c"},
                    {"device": {"persistent_id": "d"}},
                )
            ),
            *(
                (user_event(**{field: "x" * 129}), f"{field} must be 128 characters or fewer")
                for field in ("id", "user_id", "custom_id", "session_id")
            ),
            (user_event(device={"persistent_id": "x" * 129}), "device.persistent_id must be 128"),
            (user_event(device={"unique_device_id": "x" * 129}), "device.unique_device_id must be"),
            (user_event(id=7), "id must be a string"),
            (user_event(user_id=7), "user_id must be a string"),
            (user_event("SEARCH", search_query=["shoes"]), "search_query must be a string"),
            (user_event(domain=True), "domain must be a string"),
            (user_event(device="ios"), "device must be an object"),
            (user_event(device={"os": 17}), "device.os must be a string"),
            (user_event(device={"language": "English"}), "device.language must be an ISO 639-1"),
            (
                user_event(device={"advertising_id": "00000000-0000-0000-0000-000000000000"}),
                "device.advertising_id must not be all zeros",
            ),
            (user_event(channel_type="APP", device={"os": "windows"}), "device os must contain"),
            *(
                (user_event(event_type, items=items), "missing items")
                for event_type in ("ITEM_PAGE_VIEW", "ADD_TO_CART", "ADD_TO_WISHLIST", "PURCHASE")
                for items in (ABSENT, [])
            ),
            (user_event("PURCHASE", revenue=ABSENT), "missing revenue"),
            (user_event("ADD_TO_CART", items={"id": "sku-1"}), "items must be a list"),
            (user_event("ADD_TO_CART", items=["sku-1"]), "items[0] must be an object"),
            (user_event("ADD_TO_CART", items=[*ITEMS, {"id": 7}]), "items[1].id must be a string"),
            *(
                (
                    user_event("ADD_TO_CART", items=[{"id": "sku-1", "quantity": quantity}]),
                    "items[0].quantity must be an int32",
                )
                for quantity in (1.5, "1", True, 2**31, -(2**31) - 1)
            ),
            (
                user_event("ADD_TO_CART", items=[{"id": "sku-1", "price": 12.5}]),
                "items[0].price must be an object with currency and amount",
            ),
            (
                user_event("ADD_TO_CART", items=[{"id": "sku-1", "price_seller": {"amount": 1}}]),
                "items[0].price_seller must be an object with currency and amount",
            ),
            (user_event(revenue={"currency": "USD"}), "revenue must be an object with"),
            (user_event(revenue={"amount": 1, "currency": "XXX"}), "revenue.currency must be one"),
            (user_event(revenue={"amount": 1, "currency": ["USD"]}), "revenue.currency must be"),
            (user_event(revenue={"amount": "1", "currency": "USD"}), "revenue.amount must be a"),
            (user_event(revenue={"amount": True, "currency": "USD"}), "revenue.amount must be a"),
            (user_event(shipping_charge={"amount": 1}), "shipping_charge must be an object with"),
            (user_event(domain=None), "domain must not be null"),
            (user_event(domain=""), "domain must not be empty"),
            (user_event(device={"os": None}), "device.os must not be null"),
            (user_event(user_properties={"tags": ["a", ""]}), "user_properties.tags[1] must not"),
        ],
    )
    def test_other_refusals(self, client: Client, event: object, message: str) -> None:
        """Anything else that the contract forbids gets a 400 that names it."""
        answer = client.user_event(event)

        assert answer.status_code == 400
        assert answer.json()["message"].startswith(message)

    @pytest.mark.parametrize(
        "event",
        [
            user_event(id=ABSENT),
            user_event(user_id=ABSENT, custom_id="c"),
            user_event(user_id=ABSENT, device={"persistent_id": "d"}),
            user_event(user_id="null", custom_id="c"),
            user_event(user_id=ABSENT, personalization_mode="ID_LESS"),
            user_event(personalization_mode="METRIC_ONLY"),
            user_event(id="x" * 128),
            user_event("LAND", referrer_page_id=ABSENT),
            user_event("LAND", referrer_page_id="x" * 1000),
            user_event("PAGE_VIEW", page_id="x" * 1000),
            user_event(channel_type="APP", device={"os": "Android 14"}),
            user_event(channel_type="APP", device={"os": "iOS", "language": "en"}),
            user_event("ADD_TO_CART", items=[{"item_group_id": "shoes"}]),
            user_event("PURCHASE", revenue={"currency": "KRW", "amount": 0}),
            user_event(revenue={"currency": "KRW", "amount": 10**300}),
            user_event(items=[], device={}),
            user_event(user_properties={"plan": "gold", "ages": [1, 2.5, False]}),
        ],
    )
    def test_tolerates(self, client: Client, event: object) -> None:
        """Anything that the contract allows is accepted, and so are fields it does not name."""
        assert client.user_event(event).status_code == 200

    def test_clocks_differ(self, client: Client) -> None:
        """A time a few seconds ahead is accepted, and one half a minute ahead is not."""
        near, far = (str(now_millis() + ahead) for ahead in (2_000, 30_000))

        assert client.user_event(user_event(timestamp=near)).status_code == 200
        assert client.user_event(user_event(timestamp=far)).status_code == 400

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"not json",
            b'"text"',
            b'{"amount": NaN}',
            b'{"amount": -Infinity}',
            b'{"event_type": "\xff"}',
            pytest.param(b'{"a":' * 200 + b"1" + b"}" * 200, id="deep"),
            pytest.param(b"[" * 100_000, id="deeper"),
        ],
    )
    def test_body_is_a_json_object(self, client: Client, body: bytes) -> None:
        """A body that is not a JSON object gets a 400, and is shown as text."""
        answer = client.body(body)

        assert answer.status_code == 400
        assert answer.json()["message"] == "the body must be a JSON object"
        [shown] = client.get("/events").json()["moloco"]
        assert shown["body"] in (body.decode(errors="replace"), "text")

    @pytest.mark.parametrize("amount", [b"1e999", b"-1e999", b"1" + b"0" * 400])
    def test_a_number_too_large(self, client: Client, amount: bytes) -> None:
        """A number too large for a double gets a 400."""
        body = json.dumps(user_event("PURCHASE")).encode().replace(b"25}", amount + b"}")

        answer = client.body(body)

        assert answer.status_code == 400
        assert answer.json()["message"] == "the body must be a JSON object"

    @pytest.mark.parametrize("content_type", ["text/plain", "", None])
    def test_content_type_is_json(self, client: Client, content_type: str | None) -> None:
        """Any other content type gets a 400, and so does a missing one."""
        answer = client.user_event(content_type=content_type)

        assert answer.status_code == 400
        assert answer.json()["message"] == "the content type must be application/json"

    def test_content_type_may_name_a_charset(self, client: Client) -> None:
        """Parameters of the content type don't matter."""
        assert client.user_event(content_type="application/json; charset=utf-8").status_code == 200

    @pytest.mark.parametrize("api_key", [None, ""])
    def test_some_key_is_needed(self, client: Client, api_key: str | None) -> None:
        """A sandbox that accepts any key still answers 401 to a missing one."""
        assert client.user_event(x_api_key=api_key).status_code == 401

    def test_too_large(self, client: Client) -> None:
        """A body above the limit gets a 413 and is not kept; the connection can still be used."""
        answer = client.body(b" " * (MAX_USER_EVENT_BYTES + 1))

        assert answer.status_code == 413
        assert client.user_event().status_code == 200
        refused, _ = client.sandbox.requests
        assert (refused.status, refused.raw) == (413, b"")

    @pytest.mark.parametrize("path", ["/", "/rmp/event/v1/platforms/SHOP/userevents/"])
    def test_other_paths(self, client: Client, path: str) -> None:
        """A path that MCM doesn't know gets a 404, even if it only has an extra slash."""
        assert client.batch({}, path).status_code == 404

    def test_known_key_and_platform(self) -> None:
        """With a known key and platform, others get a 401 and a 404."""
        with Sandbox(api_key="secret", platform_id="SHOP") as sandbox:
            client = Client(sandbox)
            with client.session:
                assert client.user_event().status_code == 200
                assert client.user_event(x_api_key="wrong").status_code == 401
                assert client.user_event(platform_id="OTHER").status_code == 404


class TestBatches:
    """Amplitude's answers to batches of events."""

    @pytest.mark.parametrize("path", ["/2/httpapi", "/batch"])
    def test_accepts(self, client: Client, path: str) -> None:
        """Events with a key are accepted and counted; the key is not kept."""
        events = [{"event_type": "Home Viewed"}, {"event_type": "Song Played"}]

        answer = client.batch({"api_key": "secret", "events": events}, path)

        assert answer.status_code == 200
        assert answer.json()["code"] == 200
        assert answer.json()["events_ingested"] == 2
        assert answer.json()["payload_size_bytes"] == int(answer.request.headers["content-length"])
        assert abs(answer.json()["server_upload_time"] - now_millis()) < 60_000
        assert client.sandbox.amplitude_events == events
        assert "secret" not in repr(client.sandbox.requests)

    @pytest.mark.parametrize(
        ("batch", "answer"),
        [
            ([], {"error": "Invalid JSON request body"}),
            (
                {"events": [{}]},
                {"error": "Request missing required field", "missing_field": "api_key"},
            ),
            (
                {"api_key": "secret", "events": []},
                {"error": "Request missing required field", "missing_field": "events"},
            ),
            ({"api_key": "secret", "events": {"a": 1}}, {"error": "events must be a list of obj"}),
            ({"api_key": "secret", "events": ["a"]}, {"error": "events must be a list of obj"}),
        ],
    )
    def test_refuses(self, client: Client, batch: object, answer: dict[str, str]) -> None:
        """A batch that Amplitude would refuse gets a 400 in Amplitude's form."""
        found = client.batch(batch)

        assert found.status_code == 400
        body = found.json()
        assert body.pop("code") == 400
        assert body.pop("error").startswith(answer.pop("error"))
        assert body == answer
        assert client.sandbox.amplitude_events == []

    def test_not_json(self, client: Client) -> None:
        """A body that is not JSON gets a 400 and is not kept, since it may hold the key."""
        answer = client.session.post(client.sandbox.amplitude_url, data="{secret", timeout=10)

        assert answer.json() == {"code": 400, "error": "Invalid JSON request body"}
        assert client.sandbox.requests[0].raw == b""

    def test_too_large(self, client: Client) -> None:
        """A batch above the limit gets a 413, which makes the SDK send smaller ones."""
        body = b" " * (MAX_BATCH_BYTES + 1)

        answer = client.session.post(client.sandbox.amplitude_url, data=body, timeout=10)

        assert answer.json() == {"code": 413, "error": "Payload too large"}

    def test_known_key(self) -> None:
        """A wrong key gets the answer that the SDK recognizes, without the key."""
        with Sandbox(amplitude_api_key="right") as sandbox:
            client = Client(sandbox)
            with client.session:
                batch = {"events": [{"event_type": "Home Viewed"}]}

                assert client.batch({"api_key": "right", **batch}).status_code == 200
                refused = client.batch({"api_key": "secret", **batch})

                assert refused.status_code == 400
                assert refused.json()["error"].startswith("Invalid API key:")
                assert "secret" not in refused.text

    def test_the_sdk_succeeds(self, client: Client) -> None:
        """Amplitude's own SDK delivers to the sandbox and counts its answer as a success."""
        answers = []
        config = Config(
            server_url=client.sandbox.amplitude_url,
            flush_interval_millis=10,
            callback=lambda event, code, message: answers.append(code),
        )
        amplitude = Amplitude("secret", config)
        amplitude.track(BaseEvent("Home Viewed", user_id="user-1"))
        amplitude.shutdown()

        assert answers == [200]
        [event] = client.sandbox.amplitude_events
        assert event["event_type"] == "Home Viewed"


class TestFaults:
    """Faults on demand."""

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 503, 599])
    def test_as_often_as_requested(self, client: Client, status: int) -> None:
        """The next requests get the status in MCM's form, and later ones the right answer."""
        client.sandbox.fail_next(status, times=2)

        answers = [client.user_event() for _ in range(3)]

        assert [answer.status_code for answer in answers] == [status, status, 200]
        assert set(answers[0].json()) == {"code", "message", "details"}
        assert len(client.sandbox.moloco_events) == 1
        assert [request.status for request in client.sandbox.requests] == [status, status, 200]

    def test_throttling(self, client: Client) -> None:
        """A 429 has MCM's message, and a Retry-After only if requested."""
        client.sandbox.fail_next(429, retry_after=7)
        client.sandbox.fail_next(429)

        answers = [client.user_event() for _ in range(2)]

        assert answers[0].json()["message"] == "request denied by throttler, try again later"
        assert [answer.headers.get("Retry-After") for answer in answers] == ["7", None]

    def test_in_order(self, client: Client) -> None:
        """Faults are answered in the order in which they were requested."""
        client.sandbox.fail_next(500)
        client.sandbox.fail_next(502)

        assert [client.user_event().status_code for _ in range(3)] == [500, 502, 200]

    def test_amplitude(self, client: Client) -> None:
        """A fault at Amplitude does not affect MCM."""
        batch = {"api_key": "secret", "events": [{"event_type": "Home Viewed"}]}
        client.sandbox.fail_next(503, target="amplitude")

        assert client.user_event().status_code == 200
        answers = [client.batch(batch) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [503, 200]
        assert answers[0].json()["code"] == 503
        assert len(client.sandbox.amplitude_events) == 1

    def test_over_http(self, client: Client) -> None:
        """Any fault that Python can request can be requested over HTTP."""
        fault = {"status": 503, "times": 2, "retry_after": 1, "target": "moloco"}

        assert client.batch(fault, "/faults").status_code == 200

        assert [client.user_event().status_code for _ in range(3)] == [503, 503, 200]

    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 200},
            {"status": 600},
            {"status": "503"},
            {"status": 503.0},
            {"status": 503, "times": 0},
            {"status": 503, "times": "3"},
            {"status": 503, "retry_after": -1},
            {"status": 503, "retry_after": "soon"},
            {"status": 503, "target": "segment"},
            {"stat": 503},
            {},
            [],
        ],
    )
    def test_impossible_over_http(self, client: Client, fault: object) -> None:
        """A fault that can't be answered gets a 400 and changes nothing."""
        answer = client.batch(fault, "/faults")

        assert answer.status_code == 400
        assert answer.json()["message"]
        assert client.user_event().status_code == 200

    def test_impossible_in_python(self) -> None:
        """A fault that can't be answered raises a ValueError."""
        with pytest.raises(ValueError, match="status must be from 400 to 599, not 200"):
            Sandbox().fail_next(200)

    def test_no_json_over_http(self, client: Client) -> None:
        """A fault that is not a JSON object, or is far too large, gets a 400."""
        for body in (b"503", b"{", b" " * (MAX_USER_EVENT_BYTES + 1)):
            answer = client.session.post(client.sandbox.url + "/faults", data=body, timeout=10)
            assert answer.status_code == 400


class TestConditions:
    """What holds for all requests, until it is changed."""

    def test_over_http(self, client: Client) -> None:
        """A rate, its status and a delay hold until they are changed; what is left out is off."""
        url = f"{client.sandbox.url}/conditions"
        always = {"rate": 1, "status": 500, "latency_millis": 50}

        assert client.session.put(url, json=always, timeout=10).status_code == 200
        answers = [client.user_event() for _ in range(2)]
        assert client.session.put(url, json={}, timeout=10).status_code == 200
        after = client.user_event()

        assert [answer.status_code for answer in (*answers, after)] == [500, 500, 200]
        assert all(answer.elapsed.total_seconds() >= 0.05 for answer in answers)

    @pytest.mark.parametrize(
        "conditions",
        [
            {"rate": -0.1},
            {"rate": 1.1},
            {"rate": True},
            {"rate": "1"},
            {"rate": None},
            {"status": 200},
            {"status": 503.0},
            {"status": "503"},
            {"latency_millis": -1},
            {"latency_millis": 3_600_001},
            {"latency_millis": "1"},
            {"latency_millis": True},
            {"latency": 1},
            [],
        ],
        ids=str,
    )
    def test_impossible_over_http(self, client: Client, conditions: object) -> None:
        """Conditions that can't be get a 400 and change nothing."""
        answer = client.session.put(f"{client.sandbox.url}/conditions", json=conditions, timeout=10)

        assert answer.status_code == 400
        assert answer.json()["message"]
        assert client.user_event().status_code == 200

    def test_impossible_in_python(self) -> None:
        """A delay that can't be raises a ValueError."""
        with pytest.raises(ValueError, match="latency_millis must be from 0 to 3600000"):
            Sandbox(delay_seconds=-1)


class TestRecord:
    """Which requests are kept and shown."""

    def test_requests(self, client: Client) -> None:
        """Each request is kept byte for byte, with its answer and its time."""
        body = b' {"event_type": "HOME"} '
        started = time.time()

        client.body(body)

        [request] = client.sandbox.requests
        assert (request.target, request.platform_id) == ("moloco", "SHOP")
        assert (request.status, request.accepted) == (400, False)
        assert request.message == "missing channel_type"
        assert request.raw == body
        assert request.body == {"event_type": "HOME"}
        assert started <= request.arrived_at_seconds <= time.time()
        with pytest.raises(dataclasses.FrozenInstanceError):
            request.status = 200  # type: ignore[misc]  # what the test is about

    def test_keys_are_not_kept(self, client: Client) -> None:
        """The API key of a request is neither kept nor shown."""
        client.user_event()
        client.batch({"api_key": "secret", "events": [{"event_type": "Home Viewed"}]})

        assert "secret" not in client.get("/events").text
        assert "secret" not in repr(client.sandbox.requests)

    def test_get_events(self, client: Client) -> None:
        """``GET /events`` shows MCM's requests with their answers, and Amplitude's events."""
        event = user_event(domain="Zürich")
        client.user_event(event)
        client.user_event({"event_type": "HOME"})
        client.batch({"api_key": "secret", "events": [{"event_type": "Home Viewed"}]})

        shown = client.get("/events")

        assert shown.headers["content-type"] == "application/json"
        assert shown.json() == {
            "moloco": [
                {"status": 200, "message": None, "platform_id": "SHOP", "body": event},
                {
                    "status": 400,
                    "message": "missing channel_type",
                    "platform_id": "SHOP",
                    "body": {"event_type": "HOME"},
                },
            ],
            "amplitude": [{"event_type": "Home Viewed"}],
            "forgotten": 0,
        }

    def test_delete_events(self, client: Client) -> None:
        """``DELETE /events`` discards all requests."""
        client.user_event()

        client.session.delete(client.sandbox.url + "/events", timeout=10).raise_for_status()

        assert client.get("/events").json() == {"moloco": [], "amplitude": [], "forgotten": 0}

    def test_bounded(self) -> None:
        """Above the limit the oldest requests are discarded and counted, until ``clear()``."""
        with Sandbox(max_requests=2) as sandbox:
            client = Client(sandbox)
            with client.session:
                for number in range(5):
                    client.user_event(user_event(id=f"event-{number}"))

                assert [event["id"] for event in sandbox.moloco_events] == ["event-3", "event-4"]
                assert sandbox.forgotten == client.get("/events").json()["forgotten"] == 3
                sandbox.clear()
                assert sandbox.forgotten == 0

    def test_bounded_in_bytes(self) -> None:
        """What it keeps is bounded in bytes too, whether it was accepted or refused."""
        with Sandbox(max_bytes=50_000) as sandbox:
            client = Client(sandbox)
            with client.session:
                for number in range(5):
                    client.body(b"x" * 20_000, platform_id=f"SHOP-{number}")
                assert [each.platform_id for each in sandbox.requests] == ["SHOP-3", "SHOP-4"]
                assert sandbox.forgotten == 3
                client.body(b"x" * 60_000)
                assert (sandbox.requests, sandbox.forgotten) == ([], 6)
                client.user_event(user_event(id="small"))
                assert [event["id"] for event in sandbox.moloco_events] == ["small"]

    def test_faults_are_bounded(self) -> None:
        """No more than 10,000 faults can be pending."""
        sandbox = Sandbox()
        for _ in range(10_000):
            sandbox.fail_next(503)
        with pytest.raises(ValueError, match="10000 faults are pending"):
            sandbox.fail_next(503)


class TestHost:
    """Which names the sandbox answers to."""

    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "localhost:8765",
            "LOCALHOST",
            "localhost.",
            "shop.localhost:1",
            "127.0.0.1:1",
            "[::1]:8765",
            "192.168.0.7",
            "sandbox:8765",
        ],
    )
    def test_own_names(self, client: Client, host: str) -> None:
        """Addresses, localhost and names without a dot are its own, with any port."""
        assert client.user_event(Host=host).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil.example:8765",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example@localhost@evil.example",
            "[::1",
        ],
    )
    @pytest.mark.parametrize(("method", "path"), [("GET", "/events"), ("POST", "/faults")])
    def test_other_names(self, client: Client, host: str, method: str, path: str) -> None:
        """A name that a web page may have pointed to this machine gets nothing."""
        url = client.sandbox.url + path
        answer = client.session.request(method, url, headers={"Host": host}, timeout=10)
        assert answer.status_code == 403
        assert "the header Host names another server" in answer.json()["message"]

    @pytest.mark.parametrize("names", [["a.b", "Sandbox.Internal"], "sandbox.internal"])
    def test_names_can_be_added(self, names: Any) -> None:
        """A name with a dot can be allowed."""
        with Sandbox(host_names=names) as sandbox:
            client = Client(sandbox)
            with client.session:
                assert client.user_event(Host="sandbox.internal:80").status_code == 200
                assert client.user_event(Host="other.internal").status_code == 403


class TestServer:
    """Start, addresses and stop."""

    def test_loopback_only(self, client: Client) -> None:
        """By default it can be reached at 127.0.0.1 only."""
        elsewhere = ("127.0.0.2", port_of(client.sandbox))

        assert urlsplit(client.sandbox.url).hostname == "127.0.0.1"
        with pytest.raises(OSError, match=r"refused|assign|timed out"):
            socket.create_connection(elsewhere, timeout=1)

    def test_all_addresses(self) -> None:
        """A sandbox that listens on all addresses has a URL that works on this machine."""
        with Sandbox(host="0.0.0.0") as sandbox:
            assert sandbox.url.startswith("http://127.0.0.1:")
            client = Client(sandbox)
            with client.session:
                assert client.user_event().status_code == 200

    @pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
    def test_ipv6(self) -> None:
        """An IPv6 address is bracketed in the URL."""
        with Sandbox(host="::1") as sandbox:
            assert sandbox.url.startswith("http://[::1]:")
            client = Client(sandbox)
            with client.session:
                assert client.user_event().status_code == 200

    def test_port_in_use(self, client: Client) -> None:
        """A port in use is one clear error, and no thread is left behind."""
        port = port_of(client.sandbox)
        before = threading.active_count()

        with pytest.raises(OSError, match=f"can't listen on 127.0.0.1, port {port}: Address alr"):
            Sandbox(port=port).__enter__()

        assert threading.active_count() == before

    def test_no_port_yet(self) -> None:
        """Before the start there is no URL, and the error says how to start the sandbox."""
        with pytest.raises(RuntimeError, match="with Sandbox"):
            _ = Sandbox().url

    def test_entered_twice(self, client: Client) -> None:
        """A running sandbox can't be started again."""
        with pytest.raises(RuntimeError, match="already running"):
            client.sandbox.__enter__()

    def test_left_before_entered(self) -> None:
        """Stopping a sandbox that is not running does nothing."""
        Sandbox().__exit__(None, None, None)

    def test_started_again(self) -> None:
        """Stopped and started again, it has the same port and the earlier requests."""
        sandbox = Sandbox()
        with sandbox:
            url = sandbox.url
            client = Client(sandbox)
            with client.session:
                client.user_event()
        with pytest.raises(ConnectionRefusedError):
            connect(sandbox)
        with sandbox:
            assert sandbox.url == url
            with client.session:
                client.user_event()
        assert len(sandbox.moloco_events) == 2

    def test_stops_despite_connections(self) -> None:
        """Kept-alive connections, half a request and a delayed answer don't delay the stop."""
        threads = set(threading.enumerate())
        sandbox = Sandbox(delay_seconds=3600)
        with (
            sandbox,
            requests.Session() as session,
            connect(sandbox) as half,
            connect(sandbox) as delayed,
        ):
            session.get(sandbox.url + "/events", timeout=10)
            body = json.dumps(user_event()).encode()
            head = (
                "POST /rmp/event/v1/platforms/SHOP/userevents HTTP/1.1\r\nHost: sandbox\r\n"
                "x-api-key: secret\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode()
            half.sendall(head + body[:10])
            delayed.sendall(head + body)
            while not sandbox.requests:
                session.get(sandbox.url + "/events", timeout=10)
            ending = time.monotonic()
        assert time.monotonic() - ending < 30  # and not the hour of the delayed answer
        assert set(threading.enumerate()) <= threads  # threads of other tests may have ended
        assert len(sandbox.requests) == 1

    def test_delay(self) -> None:
        """Answers of both APIs are delayed as long as requested."""
        with Sandbox(delay_seconds=0.2) as sandbox:
            client = Client(sandbox)
            with client.session:
                assert client.user_event().elapsed.total_seconds() >= 0.2
                assert client.batch({}).elapsed.total_seconds() >= 0.2

    def test_no_delay_of_its_own_answers(self) -> None:
        """Requests to the sandbox itself are answered at once, whatever the delay."""
        with Sandbox(delay_seconds=3600) as sandbox:
            client = Client(sandbox)
            with client.session:
                assert client.get("/events").status_code == 200

    def test_silence(
        self, client: Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """It prints and logs nothing, even if a client disconnects in the middle of a body."""
        with connect(client.sandbox) as leaving:
            leaving.sendall(
                b"POST /2/httpapi HTTP/1.1\r\nHost: sandbox\r\nContent-Length: 100\r\n\r\n{"
            )
            leaving.shutdown(socket.SHUT_WR)
            assert leaving.recv(1) == b""
        client.user_event()

        assert [request.target for request in client.sandbox.requests] == ["moloco"]
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_missing_extra(package: str) -> None:
    """Without its packages, importing the sandbox raises an error that names the extra."""
    code = f"import sys; sys.modules[{package!r}] = None; import amplitude_moloco.sandbox"

    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stderr.splitlines()[-1] == (
        "ImportError: the sandbox needs Starlette and uvicorn: "
        'pip install "amplitude-moloco[sandbox]"'
    )


def test_an_immediate_stop_frees_the_port() -> None:
    """A sandbox that is stopped as soon as it has started frees its port."""
    sandbox = Sandbox()
    for _ in range(20):
        with sandbox:
            pass

"""A destination for Adjust over a real socket."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from amplitude import Amplitude, BaseEvent
from support.faulty_server import FaultyServer, Received

from amplitude_moloco import BreakerPolicy, DeadLettered, Delivered, Fact, Paused, RetrySchedule
from amplitude_moloco.adjust import AdjustDestination, AdjustEvent
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer

APP = "abc123def456"
IDFA = "8C6CBCB5-39B3-4D3C-A9F5-1D2F0C1F7D3E"
LONG = 30.0
Make = Callable[..., AdjustDestination]


@pytest.fixture
def make(bare_environment: pytest.MonkeyPatch, server: FaultyServer) -> Iterator[Make]:
    made: list[AdjustDestination] = []

    def make_one(**settings: Any) -> AdjustDestination:
        settings = {
            "environment": "sandbox",
            "base_url": server.url,
            "retry": RetrySchedule(delays_seconds=(0.01,), then_seconds=0.01),
            "breaker": BreakerPolicy(failures=1000),
            **settings,
        }
        made.append(AdjustDestination(APP, AdjustEvent("Order Completed", "tok1"), **settings))
        return made[-1]

    yield make_one
    for each in made:
        each.close(LONG)


def order(number: int = 1, device: str = "d1", **more: Any) -> BaseEvent:
    fields = {"time": int(time.time() * 1000), "device_id": device, "idfa": IDFA, **more}
    return BaseEvent("Order Completed", insert_id=f"{device}-{number}", **fields)


def form_of(request: Received) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), strict_parsing=True))


def test_an_event_is_one_post_with_a_form(make: Make, server: FaultyServer) -> None:
    """Each event is one POST with a form in its body; no identifier is in the URL."""
    destination = make(token="s3cret")
    tracked = order()
    (conversion,) = destination.preview(tracked)
    destination.execute(tracked)
    assert destination.flush(LONG).result().delivered == 1
    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/event")
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.headers["Authorization"] == "Bearer s3cret"
    assert request.body == conversion.body
    assert form_of(request)["idfa"] == IDFA
    assert destination.explain(tracked).is_sent


def test_an_unknown_device_stops_no_other(make: Make, server: FaultyServer) -> None:
    """A 404 for one device makes its event a dead letter; the others are delivered."""
    refusal = server.reply(404, b'{"error": "Event request failed (Device not found)"}')
    server.decide = lambda request: refusal if b"unknown" in request.body else server.reply(200)
    destination = make(identifiers={"web_uuid": "device_id"})
    destination.execute(order(device="unknown"))
    for number in range(20):
        destination.execute(order(number))
    stats = destination.flush(LONG).result()
    assert (stats.delivered, stats.dead_lettered) == (20, {"rejected": 1})
    assert "Device not found" in destination.dead_letters()[0].message


def test_a_wrong_app_token_pauses_and_loses_nothing(make: Make, server: FaultyServer) -> None:
    """What is wrong for all events pauses sending: the events stay."""
    facts: list[Fact] = []
    server.decide = lambda request: server.reply(400, b'{"error": "Invalid app token"}')
    destination = make(hooks=facts.append)
    destination.execute(order())
    stats = destination.flush(LONG).result()
    assert (stats.buffered, stats.dead_lettered) == (1, {})
    assert any(isinstance(fact, Paused) and fact.reason == "misconfigured" for fact in facts)
    destination.close(0.1)


def test_an_opted_out_device_is_not_tried_again(make: Make, server: FaultyServer) -> None:
    """A 451 ends the event, and what is tracked of the device later is not sent at all."""
    refusal = server.reply(451, b"Device is opted out")
    server.decide = lambda request: refusal if IDFA.encode() in request.body else server.reply(200)
    destination = make()
    for number in range(3):
        destination.execute(order(number))
        destination.flush(LONG).result()
    destination.execute(order(idfa=None, idfv=IDFA.replace("8", "9")))
    stats = destination.flush(LONG).result()
    assert (stats.dead_lettered, stats.delivered) == ({"rejected": 3}, 1)
    assert len(server.requests) == 2
    assert [each.status for each in destination.dead_letters()] == [451, None, None]


def test_a_202_is_delivered(
    make: Make, server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A 202 counts as delivered, and a warning names the token."""
    server.decide = lambda request: server.reply(202, b"{}")
    destination = make()
    with caplog.at_level(logging.WARNING):
        destination.execute(order())
        assert destination.flush(LONG).result().delivered == 1
    assert "S2S token is missing or wrong" in caplog.text


def test_events_of_a_device_keep_their_order(make: Make, server: FaultyServer) -> None:
    """Each device's events arrive in order, whatever fails on the way."""
    tries: dict[str, int] = {}
    accepted: dict[str, list[int]] = {}

    def decide(request: Received) -> bytes:
        device, _, number = form_of(request)["web_uuid"].partition("|")
        tries[device] = tries.get(device, 0) + 1
        if tries[device] % 3 == 1:
            return server.reply(500)
        accepted.setdefault(device, []).append(int(number))
        return server.reply(200)

    server.decide = decide
    delivered = make(identifiers={"web_uuid": lambda event: f"{event.device_id}|{event.user_id}"})
    for number in range(5):
        for device in range(40):
            delivered.execute(order(number, f"d{device}", user_id=str(number)))
    delivered.close(LONG)
    assert accepted == {f"d{device}": [0, 1, 2, 3, 4] for device in range(40)}


@pytest.mark.parametrize("transport", ["requests", "curl"])
@pytest.mark.parametrize(("on_ambiguous", "requests"), [("retry", 2), ("drop", 1)])
def test_an_ambiguous_end_is_repeated_on_request(
    make: Make, server: FaultyServer, transport: str, on_ambiguous: str, requests: int
) -> None:
    """A request without an answer is repeated, and may count twice; or is given up."""
    server.will(lambda exchange: exchange.close())
    destination = make(on_ambiguous=on_ambiguous, transport=transport)
    destination.execute(order())
    destination.close(LONG)
    assert len(server.requests) == requests
    stats = destination.stats()
    assert stats.delivered + sum(stats.dead_lettered.values()) == 1
    assert stats.dead_lettered == ({} if requests == 2 else {"exhausted": 1})


@pytest.mark.parametrize("transport", ["requests", "curl"])
def test_no_connection_is_not_ambiguous(make: Make, server: FaultyServer, transport: str) -> None:
    """Where nobody listens nothing was sent: the event waits, even with on_ambiguous="drop"."""
    address = "http://127.0.0.1:9"
    destination = make(on_ambiguous="drop", transport=transport, base_url=address)
    destination.execute(order())
    stats = destination.flush(LONG).result()
    assert (stats.dead_lettered, stats.buffered) == ({}, 1)
    destination.close(0.01)


def test_age_is_checked_before_every_attempt(
    make: Make, server: FaultyServer, tmp_path: Path
) -> None:
    """An event that has grown older than 58 days while it waited is not sent any more."""
    path = tmp_path / "buffer.db"
    earlier = SqliteBuffer(path, target=f"{server.url}/event")
    assert earlier.put("old", "Order Completed (tok1)", b"created_at_unix=1", "tok1 d1") is None
    earlier.close()
    facts: list[Fact] = []
    destination = make(hooks=facts.append, buffer=f"sqlite:///{path}")
    destination.execute(order())
    destination.flush(LONG).result()
    destination.close(LONG)
    (letter,) = [fact for fact in facts if isinstance(fact, DeadLettered)]
    assert (letter.id, letter.reason, letter.status, letter.attempts) == ("old", "expired", None, 0)
    assert "58 days" in letter.message
    assert [fact.id for fact in facts if isinstance(fact, Delivered)] == ["d1-1"]
    assert len(server.requests) == 1


def test_two_destinations_with_one_token_are_noticed(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Two destinations of one client that send the same event token are warned about."""
    client = Amplitude("key")
    first, second = make(), make()
    client.configuration.opt_out = True
    with caplog.at_level(logging.WARNING):
        client.add(first)
        client.add(second)
    assert "may both send events of the token tok1" in caplog.text
    client.shutdown()


def test_other_tokens_are_no_overlap(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """Destinations with tokens of their own go side by side."""
    client = Amplitude("key")
    other = AdjustDestination(
        APP, AdjustEvent("*", "tok2"), environment="sandbox", base_url="http://127.0.0.1:9"
    )
    same = AdjustDestination(
        APP, AdjustEvent("*", "tok3"), environment="sandbox", base_url="http://127.0.0.1:9"
    )
    with caplog.at_level(logging.WARNING):
        for each in (make(), other, same):
            client.add(each)
    assert "may both send" not in caplog.text
    client.shutdown()

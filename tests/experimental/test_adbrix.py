"""A destination for Adbrix, by the documented S2S Event API."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from amplitude import Amplitude, BaseEvent
from hypothesis import given
from hypothesis import strategies as st
from support.faulty_server import FaultyServer

from amplitude_moloco import BreakerPolicy, ConfigurationError, DeadLettered, Fact, RetrySchedule
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.convert.conversion import Conversion
from amplitude_moloco.engine.verdict import Verdict
from amplitude_moloco.experimental.adbrix import (
    ABX_EVENTS,
    AdbrixDestination,
    AdbrixEvent,
    AdbrixSettings,
    adbrix_commerce_events,
)
from amplitude_moloco.experimental.adbrix.answers import classify, error_message
from amplitude_moloco.experimental.adbrix.file import SHAPE
from amplitude_moloco.files.loading import keys_in
from amplitude_moloco.transports.base import SendResult

NOW = 1_700_000_000_000
LONG = 60.0
ID = "0166a71c-caf4-462d-8201-9c30c40f2354"
BOUGHT: dict[str, Any] = {
    "order_id": 123456789,
    "total": "4000.5",
    "payment_method": "MobilePayment",
    "discount": 11,
    "coupon": "not an item's",
    "products": [
        {"product_id": "76524", "name": "Shoe", "category": "Shoes", "quantity": 2, "price": 12.5},
        {"sku": "62599", "price": "7"},
    ],
}


def order(**more: Any) -> BaseEvent:
    fields = {"user_id": "shopper", "insert_id": ID, "time": NOW, **more}
    return BaseEvent("Order Completed", **{"event_properties": BOUGHT, **fields})


def convert(event: BaseEvent, *events: AdbrixEvent) -> list[Conversion]:
    settings = AdbrixSettings("token", events or adbrix_commerce_events())
    return settings.converter().convert(event, NOW)


def problems_of(event: BaseEvent, *events: AdbrixEvent) -> list[str]:
    (conversion,) = convert(event, *events)
    return [each.code for each in conversion.problems or conversion.omissions]


# -- what is sent --------------------------------------------------------------------------------


def test_an_order_as_documented() -> None:
    """A purchase has its required attributes, the order's and the items', and nothing else."""
    (conversion,) = convert(order())
    assert json.loads(conversion.body) == {
        "event_attributes": {
            "event_id": ID,
            "event_name": "abx:purchase",
            "event_datetime": NOW,
            "order_id": "123456789",
            "order_sales": 4000.5,
            "payment_method": "MobilePayment",
            "discount": 11.0,
            "items": [
                {
                    "product_id": "76524",
                    "product_name": "Shoe",
                    "category1": "Shoes",
                    "quantity": 2,
                    "price": 12.5,
                },
                {"product_id": "62599", "price": 7.0},
            ],
        },
        "user_attributes": {"user_id": "shopper"},
    }
    assert (conversion.problems, conversion.omissions, conversion.lane) == ((), (), "")


def test_a_viewed_product_is_its_own_item() -> None:
    """Without a list of products, the properties themselves are the item."""
    viewed = BaseEvent("Product Viewed", user_id="shopper", insert_id="a", time=NOW)
    viewed.event_properties = {"product_id": "sku-1", "price": 3}
    (conversion,) = convert(viewed)
    attributes = conversion.payload["event_attributes"]
    assert attributes["event_name"] == "abx:product_view"
    assert attributes["items"] == [{"product_id": "sku-1", "price": 3.0}]


@pytest.mark.parametrize(("event", "name"), ABX_EVENTS.items())
def test_the_vocabulary(event: str, name: str) -> None:
    """Each standard event is sent under the name that Adbrix's SDKs give it."""
    (conversion,) = convert(BaseEvent(event, user_id="u", insert_id="a", time=NOW))
    assert conversion.payload["event_attributes"]["event_name"] == name
    assert "items" not in conversion.payload["event_attributes"]


@given(st.text())
def test_the_id_is_a_uuid_and_the_same_each_time(id: str) -> None:
    """An insert_id that is no UUID becomes one, the same for the same text."""
    own = AdbrixEvent("*", "own")
    first, second = (convert(order(insert_id=id), own)[0] for _ in range(2))
    if not first.problems:  # text that isn't Unicode has none
        found = first.payload["event_attributes"]["event_id"]
        assert str(UUID(found)) == found
        assert first.body == second.body


def test_two_names_for_one_event_have_ids_of_their_own() -> None:
    """An event that two AdbrixEvents select is sent twice, under two ids."""
    found = convert(order(), AdbrixEvent("Order*", "one"), AdbrixEvent("*", "two"))
    ids = [each.payload["event_attributes"]["event_id"] for each in found]
    assert ids[0] == ID != ids[1]
    assert [each.id for each in found] == [ID, f"{ID}-2"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"user_id": None, "device_id": "phone"}, "user_id no_identifier"),
        ({"user_id": " "}, "user_id no_identifier"),
        ({"time": None}, "event_datetime not_milliseconds"),
        ({"time": 10**15}, "event_datetime not_milliseconds"),
    ],
)
def test_what_is_required_and_missing(more: dict[str, Any], code: str) -> None:
    """Without a user_id, or with a time that can't be, an event is invalid."""
    event = order()
    for name, value in more.items():
        vars(event)[name] = value
    assert problems_of(event) == [code]


@pytest.mark.parametrize(
    ("properties", "codes"),
    [
        ({"total": "many"}, ["order_sales wrong_type"]),
        ({"total": True}, ["order_sales wrong_type"]),
        ({"total": "1e999999"}, ["order_sales wrong_type"]),
        ({"total": "NaN"}, ["order_sales wrong_type"]),
        ({"order_id": ""}, ["order_id wrong_type"]),
        ({"order_id": "\ud800"}, ["order_id wrong_type"]),
        ({"products": [{"product_id": "a", "quantity": 1.5}]}, ["items.quantity wrong_type"]),
        ({"products": [{"product_id": ["a"]}]}, ["items.product_id wrong_type"]),
    ],
    ids=str,
)
def test_what_is_optional_and_wrong_is_left_out(
    properties: dict[str, Any], codes: list[str]
) -> None:
    """What can't be sent and is not required is left out, and said; the event is sent."""
    (conversion,) = convert(order(event_properties=properties))
    assert conversion.problems == ()
    assert [each.code for each in conversion.omissions] == codes


def test_items_that_are_none() -> None:
    """What is no item is left out, as is an attribute that the API lacks, and what raises."""
    bad = AdbrixEvent(
        "*", "own", items=lambda event: ["a", {"colour": "red"}], discount=lambda event: 1 / 0
    )
    assert problems_of(order(), bad) == [
        "discount mapping_failed",
        "items wrong_type",
        "items unknown_value",
    ]
    one = AdbrixEvent("*", "own", items=lambda event: {"product_id": "a"})
    (conversion,) = convert(order(), one)
    assert conversion.payload["event_attributes"]["items"] == [{"product_id": "a"}]
    (conversion,) = convert(order(), AdbrixEvent("*", "own", items=lambda event: None))
    assert "items" not in conversion.payload["event_attributes"]
    assert conversion.omissions == ()


def test_selection() -> None:
    """Names and filters select; ``explain`` says why an event is not sent, users' never are."""
    converter = AdbrixSettings(
        "token", AdbrixEvent("Order *", "own", where="event_properties.discount > `50`")
    ).converter()
    assert converter.convert(order(), NOW) == []
    assert "where is false" in str(converter.explain(order(), NOW))
    assert converter.convert(BaseEvent("$identify", user_id="u"), NOW) == []


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message", "verdict"),
    [
        (200, "", Verdict.DELIVERED),
        (400, '{"code": 4002, "message": "Invalid request format."}', Verdict.REJECTED),
        (400, '{"code": 4007}', Verdict.REJECTED),
        (400, '{"code": 4001}', Verdict.MISCONFIGURED),
        (400, "Invalid API Token Error.", Verdict.MISCONFIGURED),
        (400, "This API is closed.", Verdict.MISCONFIGURED),
        (400, "an id with 40015 in it", Verdict.REJECTED),
        (401, "", Verdict.MISCONFIGURED),
        (403, '{"code": 4003}', Verdict.MISCONFIGURED),
        (404, "", Verdict.MISCONFIGURED),
        (302, "", Verdict.MISCONFIGURED),
        (413, "", Verdict.REJECTED),
        (429, '{"code": 4006}', Verdict.THROTTLED),
        (408, "", Verdict.RETRY),
        (100, "", Verdict.RETRY),
        (500, "", Verdict.RETRY),
        (None, "ReadTimeout", Verdict.RETRY),
    ],
)
def test_answers(status: int | None, message: str, verdict: Verdict) -> None:
    """Each documented code has its meaning: one event's fault, all events', or no fault of ours."""
    assert classify(SendResult(status, message)) is verdict


@given(st.binary())
def test_bodies_of_answers(body: bytes) -> None:
    """The body of an answer may be anything."""
    assert isinstance(error_message(body), str)


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"token": ""}, "token"),
        ({"token": None}, "token"),
        ({"events": []}, "events"),
        ({"events": "Order Completed"}, "events"),
        ({"base_url": "http://192.0.2.1"}, "base_url"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"on_ambiguous": "ask"}, "on_ambiguous"),
        ({"token": "${ADBRIX_TOKEN}"}, "token"),
    ],
    ids=str,
)
def test_settings_that_can_not_work(settings: dict[str, Any], place: str) -> None:
    """A setting that can't work is refused at construction, by its name, without the token."""
    with pytest.raises(ConfigurationError, match=f"^{place}: "):
        AdbrixSettings(**{"token": "s3cret", "events": adbrix_commerce_events(), **settings})


@pytest.mark.parametrize(
    ("arguments", "more", "place"),
    [
        (("", "own"), {}, "event"),
        (("$identify", "own"), {}, "event"),
        (("Order", ""), {}, "name"),
        (("Order", 5), {}, "name"),
        (("Order", "own"), {"items": "a["}, "items"),
        (("Order", "own"), {"where": "nothing"}, "where"),
    ],
)
def test_events_that_can_not_work(arguments: Any, more: dict[str, Any], place: str) -> None:
    """An AdbrixEvent is checked at construction."""
    with pytest.raises(ConfigurationError, match=f"^{place}: "):
        AdbrixEvent(*arguments, **more)


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings can stand in a file, with ``commerce`` for the ready-made events."""
    assert {*keys_in(AdbrixSettings, SHAPE)["events"]} == {
        *("event", "name", "where", "order_id", "order_sales", "payment_method", "discount"),
        "items",
    }
    monkeypatch.setenv("ADBRIX_TOKEN", "s3cret")
    path = tmp_path / "adbrix.toml"
    path.write_text('token = "${ADBRIX_TOKEN}"\nevents = "commerce"\n', encoding="utf-8")
    settings = AdbrixSettings.from_file(path)
    assert len(settings.converter().syncs) == len(ABX_EVENTS)
    assert "s3cret" not in repr(settings) + repr(vars(settings))
    assert settings.endpoint().headers["Authorization"] == "Bearer s3cret"
    destination = AdbrixDestination.from_file(path, transport="requests")
    assert repr(destination) == (
        f"AdbrixDestination('https://openapi.dfinery.io/api/v1/events', {len(ABX_EVENTS)} events, "
        f"buffer='memory://', transport='requests')"
    )
    destination.close()
    own = {"token": "t", "events": [{"event": "Order Completed", "name": "purchase"}]}
    from_dict = AdbrixDestination.from_dict(own)
    assert from_dict.explain(order()).is_sent
    from_dict.close()
    with pytest.raises(ConfigurationError, match="use a list of events"):
        AdbrixSettings.from_dict({"token": "t", "events": "shop"})


def test_a_buffer_of_the_apps_own() -> None:
    """A callable may open the buffer."""
    destination = AdbrixDestination("token", AdbrixEvent("Own", "own"), buffer=MemoryBuffer)
    assert destination.buffer_state().waiting == 0
    destination.close()


def test_a_password_of_redis_is_not_shown() -> None:
    """The buffer's address may hold a password, which no repr of the settings shows."""
    url = "redis://shop:s3cret@127.0.0.1/0"
    settings = AdbrixSettings("token", adbrix_commerce_events(), buffer=url)
    assert "s3cret" not in repr(settings) + repr(vars(settings))


# -- delivery ------------------------------------------------------------------------------------


@pytest.fixture
def facts() -> list[Fact]:
    return []


@pytest.fixture(params=["requests", "curl"])
def destination(
    request: pytest.FixtureRequest,
    bare_environment: pytest.MonkeyPatch,
    server: FaultyServer,
    facts: list[Fact],
) -> Iterator[AdbrixDestination]:
    made = AdbrixDestination(
        "s3cret",
        adbrix_commerce_events(),
        base_url=server.url,
        transport=request.param,
        retry=RetrySchedule(delays_seconds=(0.01,), then_seconds=0.01),
        breaker=BreakerPolicy(failures=1000),
        hooks=facts.append,
    )
    yield made
    made.close(LONG)


def test_an_event_is_one_post(destination: AdbrixDestination, server: FaultyServer) -> None:
    """An event is one POST of JSON with the token, repeated under the same id until it is taken."""
    server.answer(500)
    destination.execute(order())
    destination.close(LONG)
    first, second = server.requests
    assert (first.method, first.target) == ("POST", "/api/v1/events")
    assert first.headers["Authorization"] == "Bearer s3cret"
    assert first.headers["Content-Type"] == "application/json"
    assert first.body == second.body == convert(order())[0].body
    assert destination.stats().delivered == 1


def test_one_refused_event_stops_no_other(
    destination: AdbrixDestination, server: FaultyServer, facts: list[Fact]
) -> None:
    """What the API refuses becomes a dead letter, with its answer, and the others go on."""
    server.answer(400, b'{"code": 4002, "message": "Invalid request format."}')
    destination.execute(order())
    assert destination.flush(LONG).result().dead_lettered == {"rejected": 1}
    destination.execute(order(insert_id="another"))
    assert destination.flush(LONG).result().delivered == 1
    (letter,) = [fact for fact in facts if isinstance(fact, DeadLettered)]
    assert "Invalid request format" in letter.message


def test_a_wrong_token_pauses_and_loses_nothing(
    destination: AdbrixDestination, server: FaultyServer
) -> None:
    """A wrong token ends no event: sending pauses."""
    server.decide = lambda request: server.reply(400, b'{"code": 4001}')
    destination.execute(order())
    stats = destination.flush(LONG).result()
    assert (stats.buffered, stats.dead_lettered) == (1, {})
    destination.close(0.01)


def test_two_destinations_with_one_name_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """Two destinations of one client that may send the same event are warned about."""
    client = Amplitude("key")
    client.configuration.opt_out = True
    with caplog.at_level(logging.WARNING):
        for events in (adbrix_commerce_events(), AdbrixEvent("Own", "own")):
            client.add(AdbrixDestination("t", events))
    assert "may both send" not in caplog.text
    with caplog.at_level(logging.WARNING):
        client.add(AdbrixDestination("t", adbrix_commerce_events()))
    assert "may both send Cart Viewed as abx:cart_view" in caplog.text
    client.add(AdbrixDestination("t", adbrix_commerce_events(), base_url="https://other.test"))
    client.shutdown()
    assert "not constructed" in repr(AdbrixDestination.__new__(AdbrixDestination))
    assert repr(AdbrixEvent("Own", "own")) == "AdbrixEvent('Own', 'own')"

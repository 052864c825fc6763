"""From an exported record to the event that live code would have tracked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from amplitude import BaseEvent
from hypothesis import given
from hypothesis import strategies as st
from support.exports import EVENT_MILLIS, NOW_MILLIS, SENDERS, live_event, record
from support.languages import ISO

from amplitude_moloco import Conversion, Sync, ecommerce_syncs
from amplitude_moloco.history.document import parse_exactly, parse_fast
from amplitude_moloco.history.place import Unreadable
from amplitude_moloco.history.record import Inexact, event_of
from amplitude_moloco.moloco.converter import Converter
from amplitude_moloco.moloco.wire.vocabulary import ChannelType

TEXT = st.text("aé$ \u2028😀0", max_size=4) | st.just("EMPTY")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(TEXT, parts, max_size=3),
    max_leaves=8,
)
NOTHING_MORE = vars(BaseEvent("any"))


def made(**values: Any) -> BaseEvent:
    return event_of(record(**values))


def convert(event: BaseEvent, syncs: list[Sync] | None = None, **settings: Any) -> list[Conversion]:
    converter = Converter(syncs or ecommerce_syncs(), channel_type=ChannelType.SITE, **settings)
    return converter.convert(event, NOW_MILLIS)


def sent(event: BaseEvent, **settings: Any) -> dict[str, Any]:
    """What MCM gets of an event of which it gets one."""
    (conversion,) = convert(event, **settings)
    assert conversion.problems == ()
    return conversion.payload


class TestSenders:
    """Lines of each known sender."""

    @pytest.mark.parametrize("sender", SENDERS)
    def test_the_same_bytes_as_live(self, sender: str) -> None:
        """A line of each known sender becomes the bytes that live code sends, id and time too."""
        exported, arguments = SENDERS[sender]
        line = json.dumps(exported).encode()

        from_export = convert(event_of(parse_exactly(line)), include_user_properties=False)

        live = convert(live_event(arguments), include_user_properties=False)
        assert [each.problems for each in live] == [()]
        assert [each.body for each in from_export] == [each.body for each in live]

    @pytest.mark.parametrize("sender", SENDERS)
    def test_the_same_attributes_as_live(self, sender: str) -> None:
        """A line gives every attribute that live code sets, with the type that the SDK wants."""
        exported, arguments = SENDERS[sender]
        event = vars(event_of(json.loads(json.dumps(exported))))

        for name, value in vars(live_event(arguments)).items():
            if name not in ("language", "event_properties", "session_id") and value is not None:
                assert (event[name], type(event[name])) == (value, type(value)), name
        assert event.keys() == NOTHING_MORE.keys()

    def test_a_conversion_like_any_other(self) -> None:
        """An exported event works wherever a live one does: as a dict, as text and as a copy."""
        event = event_of(json.loads(json.dumps(SENDERS["ios"][0])))
        assert isinstance(event, BaseEvent)
        assert event["device_model"] == "iPhone17,1"
        assert json.loads(str(event))["insert_id"] == event.insert_id


class TestIds:
    """The id that MCM gets."""

    def test_is_the_insert_id(self) -> None:
        """The id is the insert_id that live code sends, whatever its form."""
        assert made(**{"$insert_id": "ajs-1:a b"}).insert_id == "ajs-1:a b"

    def test_a_second_sync_gets_the_same_suffix(self) -> None:
        """The second sync of an event adds -2 to its insert_id, as live."""
        syncs = [Sync("HOME", "Page Viewed"), Sync("LAND", "Page Viewed")]
        ids = [each.id for each in convert(made(user_id="u", **{"$insert_id": "a"}), syncs)]
        assert ids == ["a", "a-2"]

    @pytest.mark.parametrize("absent", [None, ""])
    def test_without_it_the_rows(self, absent: str | None) -> None:
        """A record without an insert_id has Amplitude's id of the row."""
        assert made(**{"$insert_id": absent}, uuid="row-1").insert_id == "row-1"

    def test_without_any(self) -> None:
        """A record without ids has none, rather than one that the next run would not repeat."""
        assert made(**{"$insert_id": None}, uuid=None).insert_id is None

    def test_event_id_is_left_out(self) -> None:
        """An event_id, arbitrary where the sender set none, does not become MCM's id."""
        event = made(event_id=355175889, user_id="u", event_type="Home", **{"$insert_id": "a"})
        assert event.event_id is None
        assert sent(event)["id"] == "a"

    def test_event_id_on_request(self) -> None:
        """On request the event_id is kept, for what Amplitude's own destination delivered."""
        event = event_of(record(event_id=17, user_id="u", event_type="Home"), keep_event_id=True)
        assert event.event_id == 17
        assert sent(event)["id"] == "17"

    @pytest.mark.parametrize("absent", [None, "x", 1.5])
    def test_event_id_that_is_none(self, absent: object) -> None:
        """On request, an event_id that is no whole number is absent."""
        assert event_of(record(event_id=absent), keep_event_id=True).event_id is None


class TestTime:
    """The time of an event."""

    def test_is_in_utc(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A time without a zone is in UTC wherever it is read, with its milliseconds."""
        monkeypatch.setenv("TZ", "Asia/Seoul")
        assert made(event_time="2025-06-17 09:30:00.123000").time == EVENT_MILLIS

    def test_is_corrected(self) -> None:
        """The time is the one that Amplitude corrected by the device's clock."""
        event = event_of(json.loads(json.dumps(SENDERS["android"][0])))
        assert event.time == EVENT_MILLIS

    def test_else_the_senders(self) -> None:
        """Without event_time, the time is the one that the sender said."""
        assert made(event_time=None).time == EVENT_MILLIS

    def test_is_never_now(self) -> None:
        """A record without a time is an error: it never gets the time at which it is read."""
        with pytest.raises(Unreadable, match=r"^event_time: found nothing"):
            made(event_time=None, client_event_time=None)

    @pytest.mark.parametrize("time", ["yesterday", "2025-02-30 00:00:00", 17, True, [], ""])
    def test_is_readable(self, time: object) -> None:
        """Something that is no time is an error that names the field and not the value."""
        with pytest.raises(Unreadable, match=r"^event_time: found no time like '2026-01-31 18:00"):
            made(event_time=time)


class TestIdentity:
    """Who did it."""

    def test_no_user_of_a_merge(self) -> None:
        """A record from before a merge has no user: Amplitude's own id of the user is not read."""
        event = made(user_id=None, device_id="d", amplitude_id=923_476_234_876)
        assert event.user_id is None
        assert "923476234876" not in str(vars(event))

    def test_no_identifier_at_all(self) -> None:
        """A record without any identifier is invalid: it gets no invented one."""
        (conversion,) = convert(made(event_type="Home", session_id=-1))
        assert [problem.reason for problem in conversion.problems] == ["no_identifier"]

    def test_out_of_session(self) -> None:
        """A session of -1 is no identifier, as live."""
        event = made(event_type="Home", device_id="d", session_id=-1)
        assert event.session_id == -1
        assert "custom_id" not in sent(event)

    def test_android_device(self) -> None:
        """The id of an Android device keeps its R."""
        assert made(device_id="f3b1R").device_id == "f3b1R"

    def test_a_number_for_a_text(self) -> None:
        """An id that is a number is its text; the SDK would drop it."""
        assert made(user_id=12).user_id == "12"
        assert made(user_id=10**30).user_id == str(10**30)

    @pytest.mark.parametrize("value", [True, 1.5, [], {}, "", ["u"]])
    def test_no_text(self, value: object) -> None:
        """Anything else in place of a text is absent."""
        assert made(user_id=value).user_id is None


class TestAttributes:
    """What else an event has."""

    def test_renamed(self) -> None:
        """The names of exports become those of the SDK."""
        event = made(ip_address="203.0.113.7", device_carrier="c", version_name="1.2")
        assert (event.ip, event.carrier) == ("203.0.113.7", "c")
        assert (event.version_name, event.app_version) == ("1.2", "1.2")

    def test_nothing_of_nulls(self) -> None:
        """A record of nulls is the bare event: every absent key is null in an export."""
        event = vars(made(**{"$insert_id": None, "uuid": None}))
        assert event == {**NOTHING_MORE, "event_type": "Page Viewed", "time": EVENT_MILLIS}

    def test_type_and_family_are_not_the_model(self) -> None:
        """The device's model is never its marketing name, which live code does not send either."""
        assert made(device_type="Mac", device_family="Mac OS X").device_model is None

    def test_ignored(self) -> None:
        """What describes the row, the merged user and the plan is not read."""
        ignored = dict.fromkeys(
            (
                *("$insert_key", "$schema", "amplitude_attribution_ids", "amplitude_event_type"),
                *(
                    "amplitude_id",
                    "app",
                    "client_upload_time",
                    "data",
                    "data_type",
                    "is_attribution",
                ),
                *("global_user_properties", "partner_id", "paying", "plan", "processed_time"),
                *("sample_rate", "server_received_time", "server_upload_time", "source_id"),
                *("start_version", "user_creation_time", "is_attribution_event", "$schema"),
            ),
            "12",
        )
        assert vars(made(**ignored)) == vars(made())

    def test_whole_numbers_for_floats(self) -> None:
        """Whole numbers become the floats that the SDK wants; it would drop them otherwise."""
        event = made(location_lat=37, location_lng=-127)
        assert (event.location_lat, type(event.location_lat)) == (37.0, float)
        assert (event.location_lng, type(event.location_lng)) == (-127.0, float)

    @pytest.mark.parametrize("value", ["37", True, 10**400, float("nan"), float("inf"), []])
    def test_no_number(self, value: object) -> None:
        """What is no finite number is absent."""
        assert made(location_lat=value).location_lat is None

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(7, 7), (7.0, 7), (7.5, None), ("7", None), (True, None), (1e300, None), (-1, -1)],
    )
    def test_whole_numbers(self, value: object, expected: int | None) -> None:
        """A whole number that an export writes as a float is whole again."""
        assert made(session_id=value).session_id == expected

    def test_on_the_web_the_system_is_the_browser(self) -> None:
        """On the web the system's name is the browser, and it is no app's system."""
        event = made(platform="Web", os_name="Chrome", os_version="137", user_id="u")
        event.event_type = "Home"
        assert sent(event)["channel_type"] == "SITE"
        assert sent(event)["device"] == {"os": "Chrome", "os_version": "137"}

    def test_languages(self) -> None:
        """Names of languages become the tags that live code sends, Greek among them."""
        names = {
            "Greek": "el",
            "Chinese": "zh",
            "Norwegian": "no",
            "Occitan": "oc",
            "Tongan": "to",
            "Interlingua": "ia",
            "Korean": "ko",
        }
        for name, tag in names.items():
            event = made(language=name, user_id="u", event_type="Home")
            assert sent(event)["device"]["language"] == tag
        assert "el/ell" in ISO


class TestProperties:
    """Properties of events, users and groups."""

    def test_lists_of_objects(self) -> None:
        """Lists of objects survive, and so do lists in lists, for which the SDK drops all."""
        properties = {"products": [{"id": "a", "tags": [["x"], {"y": 1}]}], "matrix": [[1], [2]]}
        assert made(event_properties=json.loads(json.dumps(properties))).event_properties == (
            properties
        )

    def test_nulls_are_left_out(self) -> None:
        """Nulls are left out at any depth: live code has none."""
        event = made(
            event_properties={"a": None, "b": {"c": None, "d": [None, {"e": None}, 1]}},
            user_properties={"x": None},
        )
        assert event.event_properties == {"b": {"d": [{}, 1]}}
        assert event.user_properties is None

    @pytest.mark.parametrize("value", [{}, None, [], "x", 0])
    def test_none(self, value: object) -> None:
        """Empty properties are absent, as in an event that was tracked without any."""
        assert made(event_properties=value, groups=value).event_properties is None
        assert made(event_properties=value, groups=value).groups is None

    def test_groups(self) -> None:
        """Groups keep their lists of names."""
        assert made(groups={"company": ["acme"]}).groups == {"company": ["acme"]}
        assert made(group_properties={"company": {}}).group_properties == {"company": {}}

    def test_empty_stands_for_nothing(self) -> None:
        """EMPTY stands for nothing in the first values of a user, and is text elsewhere."""
        event = made(user_properties={"initial_utm_source": "EMPTY", "box": "EMPTY", "n": 1})
        assert event.user_properties == {"box": "EMPTY", "n": 1}
        assert made(user_properties={"initial_gclid": "EMPTY"}).user_properties is None

    def test_user_properties_are_the_whole_state(self) -> None:
        """All of the user's state is there for filters, and a setting keeps it from MCM."""
        event = made(event_type="Home", user_id="u", user_properties={"plan": "gold"})
        assert sent(event)["user_properties"] == {"plan": "gold"}
        assert "user_properties" not in sent(event, include_user_properties=False)


class TestMoney:
    """Amounts are properties in an export, whatever they were when they were tracked."""

    def test_attributes_come_back(self) -> None:
        """Revenue, price, quantity and the rest are attributes again, and stay properties."""
        money = {
            "$revenue": 30,
            "$price": 15,
            "$quantity": 2.0,
            "$productId": "sku",
            "$revenueType": "purchase",
            "$currency": "KRW",
        }
        event = made(event_type="Order Completed", event_properties=dict(money))
        assert (event.revenue, type(event.revenue)) == (30.0, float)
        assert (event.price, type(event.price)) == (15.0, float)
        assert (event.quantity, type(event.quantity)) == (2, int)
        assert (event.product_id, event.revenue_type, event.currency) == ("sku", "purchase", "KRW")
        assert event.event_properties == money

    def test_of_the_revenue_call(self) -> None:
        """An event of client.revenue() keeps its amounts as properties alone, as it was tracked."""
        money = {"$revenue": 30, "$price": 15, "$quantity": 2, "$currency": "KRW"}
        syncs = [Sync("PURCHASE", "revenue_amount", mapping={"items": "[{id: 'a'}]"})]
        event = made(event_type="revenue_amount", user_id="u", event_properties=dict(money))
        assert (event.revenue, event.price, event.currency) == (None, None, None)
        (conversion,) = convert(event, syncs)
        assert conversion.payload["revenue"] == {"currency": "KRW", "amount": 30}

    def test_never_at_the_top(self) -> None:
        """An amount at the top of a record is none: exports have none there."""
        assert made(revenue=12.5, price=3).revenue is None

    @pytest.mark.parametrize("amount", ["30", None, True, [30], float("nan")])
    def test_no_amount(self, amount: object) -> None:
        """What is no amount does not become one."""
        assert made(event_properties={"$revenue": amount, "a": 1}).revenue is None


class TestNumbers:
    """Whole numbers of any size."""

    def test_that_the_fast_parser_rounds(self) -> None:
        """A whole number of more than 64 bits is noticed, so that it is never sent rounded."""
        line = json.dumps(record(event_properties={"a": [{"id": 2**70 + 1}]})).encode()
        with pytest.raises(Inexact):
            event_of(parse_fast(line), is_exact=False)
        event = event_of(parse_exactly(line))
        assert event.event_properties == {"a": [{"id": 2**70 + 1}]}

    def test_of_64_bits(self) -> None:
        """Up to 64 bits, the fast parser is exact."""
        properties = {"a": 2**64 - 1, "b": -(2**63), "c": 1.5}
        line = json.dumps(record(event_properties=properties)).encode()
        assert event_of(parse_fast(line), is_exact=False).event_properties == properties


@given(st.dictionaries(st.sampled_from([*record(), "library", "groups"]), JSON))
def test_any_record_is_an_event_or_unreadable(values: dict[str, Any]) -> None:
    """Whatever a record holds, it becomes an event whose attributes have the SDK's types."""
    values.setdefault("event_type", "Page Viewed")
    try:
        event = event_of({**record(), **json.loads(json.dumps(values))})
    except Unreadable:
        assert values.keys() & {"event_time", "client_event_time"} or not (
            isinstance(values["event_type"], str) and values["event_type"]
        )
        return
    assert type(event.time) is int
    assert vars(event).keys() == NOTHING_MORE.keys()
    for name in ("user_id", "device_id", "insert_id", "platform", "library", "ip", "language"):
        assert event[name] is None or (type(event[name]) is str and event[name])
    for name in ("session_id", "quantity"):
        assert event[name] is None or type(event[name]) is int
    for name in ("revenue", "price", "location_lat", "location_lng"):
        assert event[name] is None or type(event[name]) is float
    for name in ("event_properties", "user_properties", "groups", "group_properties"):
        assert event[name] is None or (type(event[name]) is dict and event[name])
        assert not has_null(event[name] or {})
    for conversion in convert(event, [Sync("HOME", "*")]):
        assert conversion.body or conversion.problems


def has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return has_null(list(value.values()))
    return isinstance(value, list) and any(each is None or has_null(each) for each in value)

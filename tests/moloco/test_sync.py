"""A sync: the events that it selects, and the settings that it refuses."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import hypothesis
import pytest
from amplitude import BaseEvent, GroupIdentifyEvent, IdentifyEvent
from hypothesis import strategies as st
from support.events import NOW
from support.events import bare_event as event
from support.events import event as complete_event

from amplitude_moloco import ChannelType, ConfigurationError, EventType, MolocoError, Sync
from amplitude_moloco.moloco.converter import Converter

ALL_TYPES = "HOME LAND PAGE_VIEW ITEM_PAGE_VIEW SEARCH ADD_TO_CART ADD_TO_WISHLIST PURCHASE".split()


def selects(sync: Sync, made: BaseEvent) -> bool:
    return sync.matches_name(made.event_type) and sync.selects(made)


def refusal(**arguments: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Sync(**{"event_type": "HOME", "events": "Viewed", **arguments})
    return str(caught.value)


NAMES = ["Viewed", "viewed", "Home", "View.d", "Home Viewed", "Home\nViewed", "[A] Viewed", ""]


@pytest.mark.parametrize(
    ("events", "names"),
    [
        ("Viewed", ["Viewed"]),
        (["Viewed"], ["Viewed"]),
        (["Viewed", "Home Viewed"], ["Viewed", "Home Viewed"]),
        pytest.param({"Home", "viewed"}, ["viewed", "Home"], id="a set"),
        pytest.param(
            iter(["Viewed", "Home*"]),
            ["Viewed", "Home", "Home Viewed", "Home\nViewed"],
            id="an iterator",
        ),
        ("*Viewed", ["Viewed", "Home Viewed", "Home\nViewed", "[A] Viewed"]),
        ("Home*Viewed", ["Home Viewed", "Home\nViewed"]),
        ("*me*ew*", ["Home Viewed", "Home\nViewed"]),
        ("*", NAMES),
        ("View.d", ["View.d"]),
        ("[A] *", ["[A] Viewed"]),
        ("Viewed ", []),
    ],
    ids=str,
)
def test_events_are_selected_by_name(events: str | Iterable[str], names: list[str]) -> None:
    """Names match exactly, case included; a * stands for any text, even none."""
    sync = Sync("HOME", events)
    assert [name for name in NAMES if selects(sync, event(event_type=name))] == names


@hypothesis.given(
    st.text("ab*", max_size=8).filter(bool),
    st.text("ab", max_size=10),
)
def test_a_wildcard_means_what_a_regular_expression_would(pattern: str, name: str) -> None:
    """A * stands for any text, in every combination of parts."""
    regex = ".*".join(map(re.escape, pattern.split("*")))
    assert Sync("HOME", pattern).matches_name(name) == bool(re.fullmatch(regex, name, re.DOTALL))


def test_no_wildcard_takes_long() -> None:
    """A pattern with many wildcards answers at once, where a regular expression would hang."""
    sync = Sync("HOME", "*a" * 200 + "*b")
    assert not sync.matches_name("a" * 100_000)
    assert sync.matches_name("a" * 100_000 + "b")


def test_one_callable_selects_events() -> None:
    """A callable for the events gets the event, and replaces names."""
    sync = Sync("HOME", lambda made: made.user_id == "me")
    assert selects(sync, event(user_id="me"))
    assert selects(sync, event(event_type="anything", user_id="me"))
    assert not selects(sync, event(user_id="you"))


@pytest.mark.parametrize("events", ["*", "$*", lambda made: True])
def test_identify_events_are_never_sent(events: str | Callable[[Any], Any]) -> None:
    """Events that describe users and groups are not selected, whatever the sync says."""
    sync = Sync("HOME", events)
    assert not sync.matches_name(IdentifyEvent().event_type)
    assert not sync.matches_name(GroupIdentifyEvent().event_type)


GOLD = event(
    {"total": 120, "coupon": "SPRING-24", "tags": ["sale", "new"], "gift": False, "count": 0},
    event_type="Order Completed",
    user_properties={"tier": "gold"},
    platform="Web",
)
TIN = event({"total": 20, "coupon": "", "tags": []}, event_type="Order Completed", platform="iOS")
BARE = event(event_type="Order Completed")


@pytest.mark.parametrize(
    ("where", "selected"),
    [
        # is, is not
        ("user_properties.tier == 'gold'", "gold"),
        ("user_properties.tier != 'gold'", "tin bare"),
        ("platform == 'Web'", "gold"),
        ("event_properties.gift == `false`", "gold"),
        ("event_properties.total == `20`", "tin"),
        # is one of
        ("contains(['Web', 'iOS'], platform)", "gold tin"),
        # contains, does not contain
        ("contains(event_properties.coupon || '', 'SPRING')", "gold"),
        ("!contains(event_properties.coupon || '', 'SPRING')", "tin bare"),
        ("event_properties.tags && contains(event_properties.tags, 'sale')", "gold"),
        ("starts_with(event_properties.coupon || '', 'SPR')", "gold"),
        # greater, less
        ("event_properties.total > `20`", "gold"),
        ("event_properties.total >= `20`", "gold tin"),
        ("event_properties.total < `120`", "tin"),
        ("event_properties.total <= `120`", "gold tin"),
        # is set, is not set
        ("event_properties.count != null", "gold"),
        ("event_properties.coupon", "gold"),
        ("!(event_properties.coupon)", "tin bare"),
        ("event_properties.count", "gold"),
        # several conditions
        ("event_properties.total > `10` && platform == 'iOS'", "tin"),
        ("user_properties.tier == 'gold' || platform == 'iOS'", "gold tin"),
        # callables
        (lambda made: made.platform == "Web", "gold"),
        (lambda made: made.event_properties, "gold tin"),
        (lambda made: 0, ""),
        (None, "gold tin bare"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:12],
)
def test_a_filter_can_express_amplitudes_conditions(
    where: str | Callable[[Any], Any] | None, selected: str
) -> None:
    """A filter over event and user properties can express each of Amplitude's conditions."""
    sync = Sync("PURCHASE", "Order Completed", where=where)
    named = {"gold": GOLD, "tin": TIN, "bare": BARE}
    assert [name for name, made in named.items() if selects(sync, made)] == selected.split()
    assert not selects(sync, event(event_type="Another"))


def test_a_filter_is_applied_after_the_events() -> None:
    """A filter is applied only to events that the names or the callable select."""
    asked: list[str] = []

    def where(made: BaseEvent) -> bool:
        asked.append(made.event_type)
        return True

    sync = Sync("HOME", lambda made: made.event_type == "Viewed", where=where)
    assert [selects(sync, event(event_type=name)) for name in ("Other", "Viewed")] == [False, True]
    assert asked == ["Viewed"]


def test_an_exception_of_a_filter_propagates() -> None:
    """An exception of a filter propagates to the caller, which knows the event."""
    with pytest.raises(ZeroDivisionError):
        Sync("HOME", "Viewed", where=lambda made: 1 / 0).selects(event())
    with pytest.raises(TypeError):
        Sync("HOME", "Viewed", where="event_properties.a > `1`").selects(event({"a": ""}))


def test_a_sync_can_be_switched_off_and_on() -> None:
    """A sync that is not enabled selects nothing, and can be switched at any time."""
    sync = Sync("HOME", "Viewed", enabled=False)
    assert not selects(sync, event())
    sync.enabled = True
    assert selects(sync, event())
    sync.enabled = False
    assert not selects(sync, event())
    assert Sync("HOME", "Viewed").enabled is True


@pytest.mark.parametrize("event_type", EventType, ids=lambda each: each.value)
def test_an_event_type_is_mcms_in_any_case(event_type: EventType) -> None:
    """Each of the eight is accepted as the enum, or as text in any case."""
    for given in (event_type, event_type.value, event_type.value.lower(), f" {event_type.value}\n"):
        sync = Sync(given, "Viewed")
        assert sync.event_type is event_type
        assert sync.name == event_type.value


@pytest.mark.parametrize(
    ("misspelled", "right"),
    [
        ("PURHCASE", EventType.PURCHASE),
        ("purhcase", EventType.PURCHASE),
        ("ITEM_SEARCH_VIEW", EventType.ITEM_PAGE_VIEW),
        ("Item_Search_View", EventType.ITEM_PAGE_VIEW),
    ],
)
def test_amplitudes_misspellings_are_understood(misspelled: str, right: EventType) -> None:
    """The two misspelled names on Amplitude's page are accepted, with a warning."""
    message = (
        f"{misspelled.upper()} is a misspelling on Amplitude's page; MCM's name is {right.value}"
    )
    with pytest.warns(UserWarning, match=f"^{message}$") as warned:
        sync = Sync(misspelled, "Viewed")
    assert sync.event_type is right
    assert [warning.filename for warning in warned] == [__file__]


def test_the_right_names_give_no_warning() -> None:
    """The names as MCM spells them give no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ALL_TYPES:
            Sync(name, "Viewed")


@pytest.mark.parametrize(
    "event_type",
    ["", "BUY", "UNKNOWN_EVENT_TYPE", "ADD TO CART", None, 5, True, ["PURCHASE"], {"HOME": 1}],
    ids=str,
)
def test_another_event_type_is_refused_with_the_eight(event_type: Any) -> None:
    """Any other event type is refused with the list of types."""
    assert refusal(event_type=event_type) == (
        f"event_type: {event_type!r} is not one of MCM's event types; use one of "
        f"{', '.join(ALL_TYPES)}"
    )


@pytest.mark.parametrize("given", [ChannelType.APP, "APP", "app", " App "])
def test_a_channel_type_is_mcms_in_any_case(given: ChannelType | str) -> None:
    """A sync's channel type is the enum, or text in any case."""
    assert Sync("HOME", "Viewed", channel_type=given).channel_type is ChannelType.APP
    assert Sync("HOME", "Viewed").channel_type is None


@pytest.mark.parametrize("given", ["", "WEB", "UNKNOWN_CHANNEL_TYPE", 5, ["APP"]], ids=str)
def test_another_channel_type_is_refused_with_the_four(given: Any) -> None:
    """Any other channel type is refused with the list of channel types."""
    assert refusal(channel_type=given) == (
        f"channel_type: {given!r} is not one of MCM's channel types; use one of APP, SITE, "
        f"DESKTOP_SITE, MOBILE_SITE"
    )


@pytest.mark.parametrize("events", ["", [], (), [""], ["Viewed", ""], ["Viewed", 5], [None], {}])
def test_events_must_have_names(events: Any) -> None:
    """No names, or a name that is not text, are refused with examples."""
    message = refusal(events=events)
    assert message.startswith("events: found ")
    assert "['Order Completed']" in message
    assert "['Order *']" in message
    assert "callable" in message


@pytest.mark.parametrize(
    "events",
    [
        "$identify",
        "$groupidentify",
        ["$identify", "$groupidentify"],
        ["Order Completed", "$identify"],
        ["*", "$groupidentify"],
    ],
    ids=str,
)
def test_events_that_are_never_sent_are_refused(events: Any) -> None:
    """Identify events are never sent, and refused by name, also among others."""
    message = refusal(events=events)
    assert "is never sent" in message
    assert "identify" in message
    assert "Order" not in message


@pytest.mark.parametrize("field", [5, None, ("page_id",), 10**5000, "page\nid"], ids=type)
def test_a_field_that_is_no_name_is_refused_on_one_line(field: Any) -> None:
    """A key of the mapping that can't be a field is refused, whatever it is."""
    message = refusal(mapping={field: "user_id"})
    assert message.startswith("mapping")
    assert "is not a Moloco field" in message
    assert message.isprintable()


@pytest.mark.parametrize("pattern", ["^Order.*$", "^Order", "Order .*", "Order .+", r"Order \d"])
def test_a_regular_expression_is_refused(pattern: str) -> None:
    """A regular expression in place of a name would match nothing, and is refused."""
    assert refusal(events=["Home", pattern]).startswith(
        f"events: {pattern!r} looks like a regular expression"
    )


async def _async(made: Any) -> bool:
    return True


def _generator(made: Any) -> Any:
    yield True


class _AsyncCall:
    async def __call__(self, made: Any) -> bool:
        return True


@pytest.mark.parametrize(
    "call",
    [_async, _generator, _AsyncCall(), lambda: True, lambda a, b: True],
    ids=["async", "generator", "async call", "no argument", "two arguments"],
)
@pytest.mark.parametrize("place", ["events", "where", "mapping.items"])
def test_callables_that_cannot_work_are_refused(place: str, call: Any) -> None:
    """An async callable, or one that does not take one argument, is refused with its place."""
    key = place.partition(".")[0]
    value = {"items": call} if key == "mapping" else call
    assert refusal(**{key: value}).startswith(f"{place}: found a")


@pytest.mark.parametrize(("key", "value"), [("name", 5), ("enabled", "no"), ("enabled", 1)])
def test_a_name_is_text_and_a_toggle_a_flag(key: str, value: Any) -> None:
    """A name that is no text, or a toggle that is neither True nor False, is refused."""
    assert refusal(**{key: value}).startswith(f"{key}: found ")


def test_all_errors_of_a_sync_are_reported_at_once() -> None:
    """A sync with several mistakes reports each, with its place, one a line."""
    with pytest.raises(ConfigurationError) as caught:
        Sync(
            "BUY",
            [],
            name=5,  # type: ignore[arg-type]  # what is tested
            where="a b",
            mapping={"item": "'x'", "page_id": "q.a", "domain": "'ok'"},
            channel_type="TV",
        )
    places = [each.partition(":")[0] for each in caught.value.errors]
    assert places == (
        "event_type channel_type events where mapping.item mapping.page_id name".split()
    )
    assert str(caught.value).splitlines() == list(caught.value.errors)


@pytest.mark.parametrize("events", [None, 5, True], ids=str)
def test_events_of_another_kind_are_refused(events: Any) -> None:
    """Events of any other type are refused."""
    assert refusal(events=events).startswith("events: found ")


@pytest.mark.parametrize("where", [5, True, ["platform"], {"platform": "iOS"}], ids=str)
def test_a_filter_is_an_expression_or_a_callable(where: Any) -> None:
    """A filter of any other type is refused."""
    assert refusal(where=where) == (
        f"where: found {type(where).__name__}; use a JMESPath expression or a callable"
    )


def test_settings_that_cannot_work_are_refused_at_once() -> None:
    """Expressions and fields are checked at construction; the refusal names their place."""
    assert refusal(where="a b").startswith("where: 'a b' is not a JMESPath expression")
    assert refusal(mapping={"item": "a"}).startswith("mapping.item: 'item' is not a Moloco field")
    assert refusal(mapping={"items": "a["}).startswith("mapping.items: 'a[' is not a JMESPath")


@pytest.mark.parametrize("mapping", [5, "items", ["items"]], ids=str)
def test_a_mapping_is_a_mapping(mapping: Any) -> None:
    """A mapping of any other type is refused."""
    assert refusal(mapping=mapping).startswith("mapping: ")


def test_a_refusal_is_a_value_error_of_this_library() -> None:
    """A setting that can't work raises an exception of this library, which is a ValueError."""
    with pytest.raises(ValueError, match="event_type") as caught:
        Sync("BUY", "Viewed")
    assert isinstance(caught.value, MolocoError)


def test_a_sync_has_a_name() -> None:
    """A sync's name is its event type, unless it is given one."""
    assert Sync("home", "Viewed").name == "HOME"
    sync = Sync("HOME", "Viewed", name="Start page", enabled=False)
    assert sync.name == "Start page"
    assert repr(sync) == "Sync('HOME', name='Start page', enabled=False)"


def test_a_sync_keeps_its_own_mapping() -> None:
    """Later changes to the caller's mapping do not change the sync."""
    mapping = {"page_id": "platform"}
    sync = Sync("HOME", "Viewed", mapping=mapping)
    mapping["nonsense"] = "a["
    assert sync.mapping == {"page_id": "platform"}
    assert Sync("HOME", "Viewed").mapping == {}


def test_the_mapping_cannot_be_changed() -> None:
    """A change to a sync's mapping raises, and the events are still converted as before."""
    sync = Sync("PAGE_VIEW", "Viewed", mapping={"page_id": "platform"})
    converter = Converter([sync])
    with pytest.raises(TypeError):
        sync.mapping["page_id"] = "user_id"  # type: ignore[index]  # what is tested
    with pytest.raises(AttributeError):
        sync.mapping.clear()  # type: ignore[attr-defined]  # as above
    assert sync.mapping == {"page_id": "platform"}
    (conversion,) = converter.convert(complete_event(), NOW)
    assert conversion.payload["page_id"] == "Web"


@pytest.mark.parametrize(
    "name", ["events", "where", "mapping", "event_type", "name", "channel_type", "enabeld"]
)
def test_nothing_but_enabled_can_be_changed(name: str) -> None:
    """An assignment to any attribute but enabled raises, and changes nothing."""
    sync = Sync("HOME", "Viewed", where="platform", mapping={"page_id": "platform"})
    before = repr(sync), dict(sync.mapping)
    message = f"^{name}: a sync can't be changed, except enabled; use a new Sync$"
    with pytest.raises(AttributeError, match=message):
        setattr(sync, name, "Other")
    with pytest.raises(AttributeError, match=message):
        delattr(sync, name)
    assert (repr(sync), dict(sync.mapping)) == before
    assert selects(sync, event(platform="Web"))
    assert not selects(sync, event())


def test_enabled_cannot_be_deleted() -> None:
    """A sync is always enabled or disabled."""
    sync = Sync("HOME", "Viewed")
    with pytest.raises(AttributeError):
        del sync.enabled
    assert sync.enabled


def test_a_copy_of_a_sync_is_a_sync() -> None:
    """A copy selects the same events, and is enabled and disabled independently."""
    sync = Sync("HOME", "Viewed", where="platform", mapping={"page_id": "platform"})
    for copied in (copy.copy(sync), copy.deepcopy(sync)):
        assert repr(copied) == repr(sync)
        assert copied.mapping == sync.mapping
        sync.enabled = False
        assert selects(copied, event(platform="Web"))
        assert not selects(copied, event())
        sync.enabled = True


def test_a_name_that_is_not_unicode_is_refused() -> None:
    """A buffer in a file could not store its events."""
    with pytest.raises(ConfigurationError, match=r"name: '\\ud800' is not valid Unicode"):
        Sync("HOME", "Home", name="\ud800")
    assert Sync("HOME", "Home", name="홈").name == "홈"

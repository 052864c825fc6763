"""A sync: the events that it selects, and the settings that it refuses."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from amplitude import BaseEvent, GroupIdentifyEvent, IdentifyEvent

from amplitude_moloco import ChannelType, ConfigurationError, EventType, MolocoError, Sync

ALL_TYPES = "HOME LAND PAGE_VIEW ITEM_PAGE_VIEW SEARCH ADD_TO_CART ADD_TO_WISHLIST PURCHASE".split()


def event(name: str = "Viewed", properties: dict[str, Any] | None = None, **more: Any) -> BaseEvent:
    return BaseEvent(name, event_properties=properties, **more)


def selects(sync: Sync, made: BaseEvent) -> bool:
    return sync.concerns(made.event_type) and sync.selects(made)


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
    """Names are exact, case included, but for a * that stands for anything, or nothing."""
    sync = Sync("HOME", events)
    assert [name for name in NAMES if selects(sync, event(name))] == names


def test_one_callable_selects_events() -> None:
    """A callable for the events gets the event, and is asked instead of the name."""
    sync = Sync("HOME", lambda made: made.user_id == "me")
    assert selects(sync, event("Viewed", user_id="me"))
    assert selects(sync, event("anything", user_id="me"))
    assert not selects(sync, event("Viewed", user_id="you"))


@pytest.mark.parametrize("events", ["*", "$*", "$identify", "$groupidentify", lambda made: True])
def test_identify_events_are_never_sent(events: str | Callable[[Any], Any]) -> None:
    """What only describes users and groups is not selected, whatever the sync says."""
    sync = Sync("HOME", events)
    assert not sync.concerns(IdentifyEvent().event_type)
    assert not sync.concerns(GroupIdentifyEvent().event_type)


GOLD = event(
    "Order Completed",
    {"total": 120, "coupon": "SPRING-24", "tags": ["sale", "new"], "gift": False, "count": 0},
    user_properties={"tier": "gold"},
    platform="Web",
)
TIN = event("Order Completed", {"total": 20, "coupon": "", "tags": []}, platform="iOS")
BARE = event("Order Completed")


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
def test_a_filter_is_what_amplitudes_conditions_are(
    where: str | Callable[[Any], Any] | None, selected: str
) -> None:
    """A filter over event and user properties says whatever a condition of Amplitude's can."""
    sync = Sync("PURCHASE", "Order Completed", where=where)
    named = {"gold": GOLD, "tin": TIN, "bare": BARE}
    assert [name for name, made in named.items() if selects(sync, made)] == selected.split()
    assert not selects(sync, event("Another"))


def test_a_filter_comes_after_the_name() -> None:
    """A filter is asked only about events whose name, or whose callable, says yes."""
    asked: list[str] = []

    def where(made: BaseEvent) -> bool:
        asked.append(made.event_type)
        return True

    sync = Sync("HOME", lambda made: made.event_type == "Viewed", where=where)
    assert [selects(sync, event(name)) for name in ("Other", "Viewed")] == [False, True]
    assert asked == ["Viewed"]


def test_a_filter_that_raises_raises() -> None:
    """What a filter raises is left to the caller, who knows which event it was."""
    with pytest.raises(ZeroDivisionError):
        Sync("HOME", "Viewed", where=lambda made: 1 / 0).selects(event())
    with pytest.raises(TypeError):
        Sync("HOME", "Viewed", where="event_properties.a > `1`").selects(
            event(properties={"a": ""})
        )


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
    """Each of the eight is taken as the enum, or as text in any case."""
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
    """The two misspelled names on Amplitude's page are understood, with a warning that tells."""
    told = f"{misspelled.upper()} is a misspelling on Amplitude's page; MCM's name is {right.value}"
    with pytest.warns(UserWarning, match=f"^{told}$") as warned:
        sync = Sync(misspelled, "Viewed")
    assert sync.event_type is right
    assert [warning.filename for warning in warned] == [__file__]


def test_the_right_names_give_no_warning() -> None:
    """Spelled as MCM has it, no name is warned of."""
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
    """What is none of MCM's types is refused with all eight."""
    assert refusal(event_type=event_type) == (
        f"event_type: {event_type!r} is none of MCM's; use one of {', '.join(ALL_TYPES)}"
    )


@pytest.mark.parametrize("given", [ChannelType.APP, "APP", "app", " App "])
def test_a_channel_type_is_mcms_in_any_case(given: ChannelType | str) -> None:
    """A sync's channel type is the enum, or text in any case."""
    assert Sync("HOME", "Viewed", channel_type=given).channel_type is ChannelType.APP
    assert Sync("HOME", "Viewed").channel_type is None


@pytest.mark.parametrize("given", ["", "WEB", "UNKNOWN_CHANNEL_TYPE", 5, ["APP"]], ids=str)
def test_another_channel_type_is_refused_with_the_four(given: Any) -> None:
    """What is none of MCM's channels is refused with all four."""
    assert refusal(channel_type=given) == (
        f"channel_type: {given!r} is none of MCM's; use one of APP, SITE, DESKTOP_SITE, MOBILE_SITE"
    )


@pytest.mark.parametrize("events", ["", [], (), [""], ["Viewed", ""], ["Viewed", 5], [None], {}])
def test_events_must_have_names(events: Any) -> None:
    """A sync without any event, or with a name that is none, is refused with examples."""
    message = refusal(events=events)
    assert message.startswith("events: found ")
    assert "['Order Completed']" in message
    assert "['Order *']" in message
    assert "callable" in message


@pytest.mark.parametrize("events", [None, 5, True], ids=str)
def test_events_of_another_kind_are_refused(events: Any) -> None:
    """What can't be a list of names is refused as a setting, too."""
    assert refusal(events=events).startswith("events: found ")


@pytest.mark.parametrize("where", [5, True, ["platform"], {"platform": "iOS"}], ids=str)
def test_a_filter_is_an_expression_or_a_callable(where: Any) -> None:
    """A filter of another kind is refused with both kinds."""
    assert refusal(where=where) == (
        f"where: found {type(where).__name__}; use a JMESPath expression or a callable"
    )


def test_settings_that_cannot_work_are_refused_at_once() -> None:
    """Expressions and fields are checked while the sync is made, and told with their place."""
    assert refusal(where="a b").startswith("where: 'a b' is not a JMESPath expression")
    assert refusal(mapping={"item": "a"}).startswith("mapping.item: 'item' is not a Moloco field")
    assert refusal(mapping={"items": "a["}).startswith("mapping.items: 'a[' is not a JMESPath")


@pytest.mark.parametrize("mapping", [5, "items", ["items"]], ids=str)
def test_a_mapping_is_a_mapping(mapping: Any) -> None:
    """What is no mapping at all is refused as a setting, too."""
    assert refusal(mapping=mapping).startswith("mapping: ")


def test_a_refusal_is_a_value_error_of_this_library() -> None:
    """A setting that can't work raises one kind of error, which is a ValueError too."""
    with pytest.raises(ValueError, match="event_type") as caught:
        Sync("BUY", "Viewed")
    assert isinstance(caught.value, MolocoError)


def test_a_sync_has_a_name() -> None:
    """A sync is called after its type, or as it is told."""
    assert Sync("home", "Viewed").name == "HOME"
    sync = Sync("HOME", "Viewed", name="Start page", enabled=False)
    assert sync.name == "Start page"
    assert repr(sync) == "Sync('HOME', name='Start page', enabled=False)"


def test_a_sync_keeps_its_own_mapping() -> None:
    """What becomes of the caller's mapping later does not change the sync."""
    mapping = {"page_id": "platform"}
    sync = Sync("HOME", "Viewed", mapping=mapping)
    mapping["nonsense"] = "a["
    assert sync.mapping == {"page_id": "platform"}
    assert Sync("HOME", "Viewed").mapping == {}

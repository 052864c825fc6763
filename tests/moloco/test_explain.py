"""Why an event is sent, or not, sync by sync."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from amplitude import Amplitude, BaseEvent, Config, EventPlugin
from amplitude.constants import PluginType
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import (
    Explanation,
    Fact,
    Invalid,
    MolocoDestination,
    Outcome,
    SelectionReason,
    SendResult,
    Sync,
    SyncExplanation,
    Trimmed,
    Unselected,
)

LONG = 30.0
SEARCH = Sync("SEARCH", ["Searched"], mapping={"search_query": "event_properties.query"})


class Accepting:
    """A transport that takes everything, and remembers it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def send(self, body: bytes) -> SendResult:
        self.bodies.append(body)
        return SendResult(200)

    def close(self) -> None: ...


class Shop:
    """A destination with everything that it sends and reports."""

    def __init__(self, *syncs: Sync, **more: Any) -> None:
        self.transport = Accepting()
        self.facts: list[Fact] = []
        arguments: dict[str, Any] = {
            "channel_type": "SITE",
            "transport": lambda endpoint: self.transport,
            "hooks": self.facts.append,
            **more,
        }
        self.destination = MolocoDestination(
            "key", "SHOP", syncs or [SEARCH], base_url="https://shop.example", **arguments
        )

    def facts_of(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


def event(name: str = "Searched", /, **properties: Any) -> BaseEvent:
    return BaseEvent(
        name, user_id="u-1", time=1_700_000_000_000, insert_id="i-1", event_properties=properties
    )


MakeShop = Callable[..., Shop]


@pytest.fixture
def make_shop() -> Iterator[MakeShop]:
    shops: list[Shop] = []

    def make(*syncs: Sync, **more: Any) -> Shop:
        shops.append(Shop(*syncs, **more))
        return shops[-1]

    yield make
    for shop in shops:
        shop.destination.close(0)


def explained(shop: Shop, it: BaseEvent) -> SyncExplanation:
    """The explanation of the only sync."""
    (found,) = shop.destination.explain(it).syncs
    return found


# -- one outcome per sync ----------------------------------------------------------------------


def test_what_is_sent_is_shown_with_what_is_left_out(make_shop: MakeShop) -> None:
    """A sync that sends the event has the payload, and the parts that it leaves out."""
    it = event(query="shoes", referrer_page_id="x" * 129)
    found = explained(make_shop(), it)
    assert found.outcome is Outcome.SENT
    assert found.payload is not None
    assert found.payload["search_query"] == "shoes"
    assert found.problems == ()
    assert [each.field for each in found.omissions] == ["referrer_page_id"]
    assert str(found).startswith('SEARCH is sent as {"event_type":"SEARCH"')
    assert "\nwithout:\n- referrer_page_id: " in str(found)


def test_what_is_invalid_is_shown_with_its_problems(make_shop: MakeShop) -> None:
    """A sync that can't send the event has all problems, and no payload."""
    found = explained(make_shop(), event(keyword="shoes"))
    assert (found.outcome, found.payload) == (Outcome.INVALID, None)
    assert [each.field for each in found.problems] == ["search_query"]
    assert str(found).startswith("SEARCH can't be sent:\n- search_query: found nothing; ")


def is_paid(event: Any) -> bool:
    return False


FILTERED = Sync(
    "HOME", ["Searched"], where="event_properties.total > `5` && event_properties.query == 'a'"
)


@pytest.mark.parametrize(
    ("sync", "reason", "text"),
    [
        (Sync("HOME", ["Home"]), "name", "HOME does not select it: its name is none of 'Home'"),
        (
            Sync("HOME", [f"Name {number}" for number in range(11)]),
            "name",
            (
                "HOME does not select it: its name is none of "
                + ", ".join(f"'Name {number}'" for number in range(10))
                + ", …"
            ),
        ),
        (
            Sync("SEARCH", ["search", "SEARCHED "]),
            "name",
            "SEARCH does not select it: its name differs; did you mean 'SEARCHED '?",
        ),
        (
            Sync("SEARCH", ["Searchd"]),
            "name",
            "SEARCH does not select it: its name differs; did you mean 'Searchd'?",
        ),
        (
            Sync("HOME", ["Searched"], enabled=False),
            "disabled",
            "HOME does not select it: the sync is disabled",
        ),
        (
            Sync("HOME", is_paid),
            "events",
            "HOME does not select it: events is false: the callable is_paid",
        ),
        (
            Sync("HOME", is_paid, where="user_id"),
            "events",
            "HOME does not select it: events is false: the callable is_paid",
        ),
        (
            Sync("HOME", ["Searched"], where=is_paid),
            "where",
            "HOME does not select it: where is false: the callable is_paid",
        ),
        (
            Sync("HOME", lambda event: True, where=is_paid),
            "where",
            "HOME does not select it: where is false: the callable is_paid",
        ),
        (
            FILTERED,
            "where",
            (
                "HOME does not select it: where is false: event_properties.total > `5` && "
                "event_properties.query == 'a'\n"
                "- event_properties.total is absent; did you mean 'Total'?\n"
                "- event_properties.query is 'shoes' (str)"
            ),
        ),
    ],
)
def test_what_is_not_selected_has_its_reason(
    make_shop: MakeShop, sync: Sync, reason: str, text: str
) -> None:
    """A sync that does not select the event says why, and what it read in it."""
    found = explained(make_shop(sync), event(query="shoes", Total=7))
    assert (found.outcome, found.reason) == (Outcome.NOT_SELECTED, reason)
    assert (found.payload, found.problems, found.omissions) == (None, (), ())
    assert str(found) == text


def test_a_callable_is_asked_again_only_if_it_may_be_the_reason(make_shop: MakeShop) -> None:
    """A callable that raises when it is asked a second time is taken for the reason."""
    answers = [True]

    def selects(event: Any) -> bool:
        return answers.pop()

    found = explained(make_shop(Sync("HOME", selects, where="user_properties")), event())
    assert found.reason is SelectionReason.EVENTS


@pytest.mark.parametrize("name", ["$identify", "$groupidentify"])
def test_what_describes_users_is_never_sent(make_shop: MakeShop, name: str) -> None:
    """Identify events are selected by no sync, whatever it selects."""
    found = explained(make_shop(Sync("HOME", "*")), event(name))
    assert found.reason is SelectionReason.NEVER_SENT
    assert str(found).endswith("it describes users or groups, and is never sent")


def test_a_name_that_is_no_text_matches_nothing(make_shop: MakeShop) -> None:
    """An event whose name was replaced by something else is explained, too."""
    it = event()
    it.__dict__["event_type"] = 7
    found = make_shop().destination.explain(it)
    assert (found.event_name, found.syncs[0].reason) == ("", "name")


class Name(str):
    """A name of an app's own type, which equals nothing."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return False


def test_a_name_of_an_own_type_is_taken_as_its_text(make_shop: MakeShop) -> None:
    """A subclass of str matches as its text does when it is tracked."""
    it = event(query="shoes")
    it.__dict__["event_type"] = Name("Searched")
    found = make_shop().destination.explain(it)
    assert (found.event_name, found.syncs[0].outcome) == ("Searched", Outcome.SENT)


def test_syncs_stay_in_their_order(make_shop: MakeShop) -> None:
    """Each sync has its outcome, in the order of the syncs, also two of one name."""
    shop = make_shop(
        Sync("HOME", ["Home"]), SEARCH, Sync("HOME", "*", where=is_paid), Sync("LAND", "*")
    )
    found = shop.destination.explain(event(query="shoes"))
    assert [(each.sync, each.outcome, each.reason) for each in found.syncs] == [
        ("HOME", "not_selected", "name"),
        ("SEARCH", "sent", None),
        ("HOME", "not_selected", "where"),
        ("LAND", "sent", None),
    ]
    assert found.is_sent
    assert str(found).splitlines()[:2] == [
        "'Searched' is sent.",
        "HOME does not select it: its name is none of 'Home'",
    ]


def test_one_sync_may_be_there_twice(make_shop: MakeShop) -> None:
    """The same sync given twice has two outcomes."""
    shop = make_shop(FILTERED, SEARCH, FILTERED, SEARCH)
    found = shop.destination.explain(event(query="shoes"))
    outcomes = ["not_selected", "sent", "not_selected", "sent"]
    assert [each.outcome for each in found.syncs] == outcomes


# -- what concerns the event as a whole --------------------------------------------------------


class Dropping(EventPlugin):  # type: ignore[misc]  # the SDK has no types
    """A plugin that drops every event."""

    def __init__(self) -> None:
        super().__init__(PluginType.ENRICHMENT)

    def execute(self, event: BaseEvent) -> None:
        return None


def test_what_a_plugin_of_the_destination_drops_is_said(make_shop: MakeShop) -> None:
    """A plugin that was added to the destination, and drops the event, is the reason."""
    shop = make_shop(SEARCH, Sync("HOME", "*"))
    shop.destination.add(Dropping())
    found = shop.destination.explain(event(query="shoes"))
    assert [each.reason for each in found.syncs] == [SelectionReason.PLUGIN] * 2
    assert not found.is_sent
    assert "a plugin that was added to the destination has dropped it" in str(found)


def test_what_sends_nothing_at_all_is_noted(make_shop: MakeShop) -> None:
    """An explanation says so if the client, the destination or the transport sends nothing."""
    shop = make_shop()
    assert shop.destination.explain(event()).notes == ()
    client = Amplitude("key", Config())
    client.configuration.opt_out = True
    client.add(shop.destination)
    shop.destination.close(0)
    (opted_out, closed) = shop.destination.explain(event()).notes
    assert "opt_out" in opted_out
    assert "closed" in closed
    client.shutdown()
    (nowhere,) = make_shop(transport="none").destination.explain(event()).notes
    assert "MOLOCO_TRANSPORT" in nowhere
    assert nowhere in str(make_shop(transport="none").destination.explain(event()))


def test_explaining_changes_nothing(make_shop: MakeShop) -> None:
    """Neither the event, nor a counter, nor the log knows of an explanation."""
    shop = make_shop(SEARCH, FILTERED)
    it = BaseEvent("Searched", event_properties={"query": "shoes"})
    before = dict(vars(it))
    for _ in range(3):
        shop.destination.explain(it)
        shop.destination.explain(event("searched"))
        shop.destination.preview(event("searched"))
    assert vars(it) == before
    shop.destination.close(LONG)
    stats = shop.destination.stats()
    assert (stats.accepted, stats.unselected, stats.filtered) == (0, {}, {})
    assert (shop.transport.bodies, shop.facts) == ([], [])


# -- it agrees with what happens ---------------------------------------------------------------

NAMES = ["Searched", "searched ", "Home", "Home Viewed", "$identify", "Order *", ""]


def raising(event: Any) -> bool:
    raise KeyError("total")


def is_big(event: Any) -> Any:
    return (event.event_properties or {}).get("total")


syncs = st.builds(
    Sync,
    st.sampled_from(["HOME", "LAND", "SEARCH", "PAGE_VIEW", "PURCHASE"]),
    st.lists(st.sampled_from(["Searched", "Home", "Home *", "*", "* "]), min_size=1, max_size=3)
    | st.sampled_from([is_paid, is_big, raising]),
    name=st.none() | st.sampled_from(["A", "B"]),
    where=st.none()
    | st.sampled_from(
        [
            "event_properties.total > `5`",
            "event_properties.plan == 'gold' || user_id",
            "contains(event_properties.plan, 'o')",
            "!(event_properties.total)",
            is_paid,
            is_big,
            raising,
        ]
    ),
    mapping=st.sampled_from([None, {"search_query": "event_properties.plan"}]),
    enabled=st.booleans(),
)
properties = st.dictionaries(
    st.sampled_from(["total", "Total", "plan", "search_query", "page_id", "referrer_page_id"]),
    st.none() | st.integers(0, 9) | st.text("go ", max_size=4) | st.just("x" * 129),
    max_size=4,
)


@given(st.lists(syncs, min_size=1, max_size=4), st.sampled_from(NAMES), properties)
def test_an_explanation_agrees_with_what_happens(
    several: list[Sync], name: str, given_properties: dict[str, Any]
) -> None:
    """What is explained as sent, invalid, left out or not selected is just that when tracked."""
    shop = Shop(*several)
    it = event(name, **given_properties)
    found = shop.destination.explain(it)
    shop.destination.execute(it)
    shop.destination.close(LONG)
    assert isinstance(found, Explanation)
    assert [each.sync for each in found.syncs] == [each.name for each in several]
    _agrees(found, shop, name)
    assert str(found).count("\n") >= len(several)


def _agrees(found: Explanation, shop: Shop, name: str) -> None:
    by_outcome: dict[str, list[SyncExplanation]] = {each: [] for each in Outcome}
    for each in found.syncs:
        by_outcome[each.outcome].append(each)
    sent = [json.loads(body) for body in shop.transport.bodies]
    expected = [json.loads(json.dumps(each.payload)) for each in by_outcome["sent"]]
    assert sorted(map(json.dumps, sent)) == sorted(map(json.dumps, expected))
    assert [(fact.sync, fact.problems) for fact in shop.facts_of(Invalid)] == [
        (each.sync, each.problems) for each in by_outcome["invalid"]
    ]
    assert [(fact.sync, fact.omissions) for fact in shop.facts_of(Trimmed)] == [
        (each.sync, each.omissions) for each in by_outcome["sent"] if each.omissions
    ]
    stats = shop.destination.stats()
    left_out = Counter(
        each.sync for each in by_outcome["not_selected"] if each.reason in ("where", "events")
    )
    assert stats.filtered == left_out
    is_selected = by_outcome["sent"] or by_outcome["invalid"]
    assert stats.unselected == ({} if is_selected else {name: 1})
    assert shop.facts_of(Unselected) == ([] if is_selected else [Unselected(name)])
    assert stats.accepted == len(by_outcome["sent"]) + len(by_outcome["invalid"])


def test_what_can_not_be_copied_is_explained(make_shop: MakeShop) -> None:
    """An attribute that is a lock, or raises when it is copied, stands in the way of nothing."""
    shop, it = make_shop(), event(query="shoes")
    vars(it).update(language=threading.Lock())
    assert shop.destination.explain(it).is_sent
    (conversion,) = shop.destination.preview(it)
    assert conversion.payload["search_query"] == "shoes"

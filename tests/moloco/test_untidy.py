"""A thousand untidy events: each is sent whole, sent without told parts, or invalid for a cause.

The contract is read here a second time, naively: what a part is worth, never how it is read.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from support.events import NOW, bare_event

from amplitude_moloco import Conversion, Sync
from amplitude_moloco.moloco.converter import Converter

NEEDS = {
    "HOME": set(),
    "LAND": set(),
    "PAGE_VIEW": {"page_id"},
    "ITEM_PAGE_VIEW": {"items"},
    "SEARCH": {"search_query"},
    "ADD_TO_CART": {"items"},
    "ADD_TO_WISHLIST": {"items"},
    "PURCHASE": {"items", "revenue_amount"},
}
ABOUT = {("PAGE_VIEW", "page_id"), ("LAND", "referrer_page_id")}
NAN = float("nan")
UNSENDABLE_TEXTS: list[Any] = [1.5, True, ["a"], {"a": 1}, b"a", NAN, "\ud800", object()]
ABSENT: list[Any] = [None, "", "  "]
OPTIONAL_TEXTS = ("domain", "decision_track_id", "search_query", "page_id", "referrer_page_id")
ATTRIBUTES = ("os_version", "device_model", "ip", "library")
NOBODY = ["None", "nan", "<NA>", "null", "guest", "0" * 32, "00000000-0000-0000-0000-000000000000"]
BAD_IDS: list[Any] = [1.5, "x" * 129, ["a"], "\udcff"]
BAD_NUMBERS: list[Any] = [NAN, float("inf"), "12,50", True, [1], 10**400]


class Case:
    """An event, and what a reader of the contract expects of it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  # a reproducible corpus, no secret
        self.type = self.random.choice(sorted(NEEDS))
        self.refused: set[str] = set()
        self.left_out: set[str] = set()
        self.oversized: set[str] = set()  # seen only if the event is not refused already
        self.properties: dict[str, Any] = {
            "page_id": "/kitchen",
            "referrer_page_id": "/home",
            "search_query": "kettle",
            "items": [{"id": "SKU-1", "price": 5, "currency": "USD"}],
            "revenue_amount": 5,
            "revenue_currency": "USD",
        }
        self.attributes: dict[str, Any] = {
            "user_id": "shopper-1",
            "insert_id": f"insert-{seed}",
            "time": NOW,
            "platform": "Web",
            "user_properties": {"tier": "gold"},
        }
        spoilers = (
            self.spoil_text,
            self.spoil_attribute,
            self.spoil_identity,
            self.spoil_items,
            self.spoil_revenue,
            self.spoil_user_properties,
            self.spoil_common,
            self.spoil_page,
            self.add_foreign,
            self.spoil_size,
        )
        for spoil in self.random.sample(spoilers, self.random.randint(0, 3)):
            spoil()

    def lacks(self, field: str) -> None:
        needed = field in NEEDS[self.type]
        (self.refused if needed else self.left_out).add(field)

    def spoil_text(self) -> None:
        field = self.random.choice(OPTIONAL_TEXTS)
        self.oversized.discard(field)
        if self.random.random() < 0.3:
            self.properties[field] = self.random.choice(ABSENT)
            self.left_out.discard(field)
            if field in NEEDS[self.type] or (self.type, field) in ABOUT:
                self.lacks(field)
        else:
            self.properties[field] = self.random.choice(UNSENDABLE_TEXTS)
            self.lacks(field)

    def spoil_page(self) -> None:
        field = self.random.choice(["page_id", "referrer_page_id"])
        if isinstance(self.properties[field], str) and self.properties[field].strip():
            self.properties[field] = "/" + "x" * self.random.randint(128, 3_000)
            if (self.type, field) not in ABOUT:
                self.left_out.add(field)

    def spoil_attribute(self) -> None:
        name = self.random.choice(ATTRIBUTES)
        self.attributes[name] = self.random.choice(UNSENDABLE_TEXTS)
        chart = {"device_model": "device_type", "ip": "ip_address"}
        self.left_out.add(chart.get(name, name))

    def spoil_identity(self) -> None:
        has_device = self.random.random() < 0.5
        if has_device:
            self.attributes["device_id"] = "device-1"
        if self.random.random() < 0.5:
            self.attributes["user_id"] = self.random.choice([*NOBODY, None, ""])
            if not has_device:
                self.refused.add("user_id")
        else:
            self.attributes["user_id"] = self.random.choice(BAD_IDS)
            (self.left_out if has_device else self.refused).add("user_id")

    def spoil_items(self) -> None:
        kind = self.random.randrange(4)
        good = self.properties["items"][0]
        if kind == 0:
            self.properties["items"] = self.random.choice([7, "SKU", [good] * 10_001, [{}], [7]])
            self.lacks("items")
        elif kind == 1:
            self.properties["items"] = [good, self.random.choice([{}, 7, {"id": ""}, {"id": NAN}])]
            self.left_out.add("items")
        elif kind == 2:
            bad = {"price": self.random.choice(BAD_NUMBERS)}
            self.properties["items"] = [{**good, **bad}]
            self.left_out.add("items")
        else:
            bad = {"quantity": self.random.choice([0.5, 2**31, "many", NAN])}
            self.properties["items"] = [{**good, **bad}, {**good, "seller_id": NAN}]
            self.left_out.add("items")

    def spoil_revenue(self) -> None:
        self.properties["revenue_amount"] = self.random.choice(BAD_NUMBERS)
        self.lacks("revenue_amount")

    def spoil_user_properties(self) -> None:
        several = [NAN, "\ud800", [0] * 12_000, {1, 2}, b"x", 2**64, "x" * 1_000_001]
        self.attributes["user_properties"] = {"tier": "gold", "bad": self.random.choice(several)}
        self.left_out.add("user_properties")

    def spoil_common(self) -> None:
        choices: list[tuple[str, str, list[Any]]] = [
            ("time", "timestamp", [None, "now", NOW * 1000, NOW // 1000, NAN]),
            ("insert_id", "event_id", [None, "", "x" * 129, 1.5]),
            ("platform", "platform", [None, "Windows", 7]),
        ]
        name, field, values = self.random.choice(choices)
        self.attributes[name] = self.random.choice(values)
        self.refused.add(field)

    def spoil_size(self) -> None:
        self.properties["domain"] = "x" * self.random.randint(1_000_000, 1_100_000)
        self.left_out.discard("domain")
        self.oversized.add("domain")

    def add_foreign(self) -> None:
        self.properties["foreign"] = self.random.choice([NAN, object(), "x" * 10_000, {1: 2}])

    def convert(self, *, has_shortcuts: bool = True) -> Conversion:
        made = bare_event(self.properties, **self.attributes)
        made.event_properties = self.properties  # past the SDK, which empties them
        converter = Converter([Sync(self.type, "Viewed")], has_shortcuts=has_shortcuts)
        (conversion,) = converter.convert(made, NOW)
        return conversion


def places(problems: tuple[Any, ...]) -> set[str]:
    return {problem.field.partition("[")[0] for problem in problems}


@pytest.mark.parametrize("first", range(0, 1_000, 100))
def test_an_untidy_event_is_sent_trimmed_or_refused_as_the_contract_says(first: int) -> None:
    """Each event is sent with exactly the parts it may have, or refused for what it needs."""
    for seed in range(first, first + 100):
        case = Case(seed)
        conversion = case.convert()
        context = (seed, case.type, str(conversion)[:500])
        assert places(conversion.problems) == case.refused, context
        left_out = case.left_out if case.refused else case.left_out | case.oversized
        assert places(conversion.omissions) == left_out, context
        assert bool(conversion.body) is not bool(case.refused), context
        assert conversion == case.convert(has_shortcuts=False), context
        if conversion.body:
            sent = json.loads(conversion.body)
            assert sent == conversion.payload
            assert sent["user_properties"] == {"tier": "gold"}
            assert sent.keys() >= NEEDS[case.type] - {"revenue_amount"}
            for field in {"domain", "page_id", "referrer_page_id"} & left_out:
                assert field not in sent


def test_the_corpus_has_events_of_each_kind() -> None:
    """The corpus has hundreds of events that are whole, trimmed and refused."""
    kinds = [
        "refused" if case.refused else "trimmed" if case.left_out or case.oversized else "whole"
        for case in map(Case, range(1_000))
    ]
    assert min(map(kinds.count, ("refused", "trimmed", "whole"))) > 150

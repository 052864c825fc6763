"""What an expression reads of an event, and how it explains that it found nothing."""

from __future__ import annotations

from typing import Any

import pytest
from amplitude import BaseEvent
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco import ConfigurationError
from amplitude_moloco.convert.expression import compile_event_expression
from amplitude_moloco.convert.paths import close_key, explain_nothing
from amplitude_moloco.plugin import EVENT_ATTRIBUTES


def refusal(source: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        compile_event_expression(source, "syncs[1].mapping.page_id", EVENT_ATTRIBUTES)
    return str(caught.value)


def test_the_roots_are_the_attributes_of_an_event() -> None:
    """An expression may begin with each public attribute of the SDK's event, and no other."""
    public = {name for name in vars(BaseEvent("Viewed")) if not name.startswith("_")}
    assert public == EVENT_ATTRIBUTES
    for root in EVENT_ATTRIBUTES:
        assert (
            compile_event_expression(f"{root}.a", "where", EVENT_ATTRIBUTES)({root: {"a": 1}}) == 1
        )


@pytest.mark.parametrize(
    ("source", "root"),
    [
        ("event_property.q", "event_property"),
        ("event_properties.a == gold", "gold"),
        ('event_properties.a == "gold"', "gold"),
        ("eventProperties.items[].{id: id}", "eventProperties"),
        ("products[?price].id", "products"),
        ("[user_id, userid]", "userid"),
        ("{a: user_id, b: query}", "query"),
        ("length(tags)", "tags"),
        ("!(coupon)", "coupon"),
        ("@.q", "q"),
        ("@ | q.a", "q"),
        ("query.*", "query"),
        ("tags[0]", "tags"),
        ("tags[:2]", "tags"),
    ],
)
def test_an_unknown_root_is_refused(source: str, root: str) -> None:
    """An expression that reads what no event has is refused, with the attributes of events."""
    message = refusal(source)
    assert message.startswith(f"syncs[1].mapping.page_id: {source!r} reads {root!r}, which is no ")
    assert "event_properties, event_type" in message


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("event_property.q", "event_properties"),
        ("eventProperties.q", "event_properties"),
        ("userId", "user_id"),
        ("query", "event_properties.query"),
    ],
)
def test_an_unknown_root_is_refused_with_what_was_meant(source: str, meant: str) -> None:
    """The refusal suggests the attribute that resembles the root, else the event property."""
    assert f"did you mean {meant}? " in refusal(source)


@pytest.mark.parametrize("word", ["true", "false"])
def test_a_word_without_backticks_is_refused(word: str) -> None:
    """The words true and false without backticks would be fields, and are refused."""
    assert refusal(f"event_properties.gift == {word}").endswith(f"; use `{word}`")


@pytest.mark.parametrize(
    "source",
    [
        "event_properties.coupon != null",
        "event_properties.products[].{id: product_id, of: maker.name}",
        "event_properties.products[?price > `1`].anything",
        "sort_by(event_properties.products, &price)[0].price",
        "event_properties.[a, b][?@] | [0]",
        "event_properties | anything",
        "'text'",
        "`1`",
        "@",
    ],
)
def test_fields_below_the_root_may_have_any_name(source: str) -> None:
    """Only what is read from the event itself must be an attribute."""
    compile_event_expression(source, "where", EVENT_ATTRIBUTES)


PROPERTIES = {"query": "x", "Order Total": 5, "products": [{"a": 1}], "page": {"path": "/"}}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("event_properties.Query", "event_properties has no 'Query'; did you mean 'query'?"),
        ("event_properties.qeury", "event_properties has no 'qeury'; did you mean 'query'?"),
        (
            "event_properties.order_total",
            "event_properties has no 'order_total'; did you mean 'Order Total'?",
        ),
        (
            "event_properties.product[].id",
            "event_properties has no 'product'; did you mean 'products'?",
        ),
        ("event_properties.page.Path", "event_properties.page has no 'Path'; did you mean 'path'?"),
        (
            "event_properties.[zzz, Query] | [0]",
            "event_properties has no 'Query'; did you mean 'query'?",
        ),
        ("event_properties.zzz", "event_properties has no 'zzz'"),
        ("event_properties.query.zzz", ""),
        ("event_properties.query", ""),
        ("user_id.name", ""),
    ],
)
def test_the_absent_part_is_named(source: str, said: str) -> None:
    """An explanation names the first absent key, and the key that is there and resembles it."""
    assert explain_nothing(source, {"event_properties": PROPERTIES, "user_id": None}) == said


@given(st.dictionaries(st.text() | st.integers(), st.none(), max_size=5), st.text())
def test_a_similar_key_is_one_of_the_keys(keys: dict[Any, None], name: str) -> None:
    """The key that is suggested is there, and can be printed."""
    found = close_key(name, keys)
    assert found is None or (found in keys and found.isprintable())

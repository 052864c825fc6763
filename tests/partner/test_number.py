"""Numbers in the events of an app."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from amplitude import BaseEvent

from amplitude_moloco.adjust.form import flat
from amplitude_moloco.experimental.adbrix import AdbrixEvent
from amplitude_moloco.experimental.adbrix.converter import Converter
from amplitude_moloco.partner.number import finite_decimal


@pytest.mark.parametrize("value", [5, "5", " 5 ", 5.0, Decimal(5)])
def test_a_number_is_taken_as_it_is_written(value: object) -> None:
    """A number may be of any kind, and may be text."""
    assert finite_decimal(value) == 5


@pytest.mark.parametrize(
    "value",
    [
        *(True, None, [5], "five", "", "nan", "sNaN", "inf", float("nan"), float("-inf")),
        *(Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), pytest.param(10**5000, id="huge")),
    ],
)
def test_what_is_no_finite_number_is_none(value: object) -> None:
    """Nothing that can't be written as a finite number raises, or is taken for one."""
    assert finite_decimal(value) is None


@pytest.mark.parametrize("price", ["sNaN", Decimal("sNaN"), "1e999", 10**400])
def test_a_price_that_is_no_number_costs_no_event_of_adbrix(price: Any) -> None:
    """An item is sent without it, and the omission is told."""
    event = BaseEvent("Bought", user_id="shopper", insert_id="a", time=1_700_000_000_000)
    items = AdbrixEvent(
        "Bought", "abx:purchase", items=lambda event: [{"product_id": "a", "price": price}]
    )
    (conversion,) = Converter([items]).convert(event, 1_700_000_000_000)
    assert conversion.payload["event_attributes"]["items"] == [{"product_id": "a"}]
    assert conversion.problems == ()
    assert conversion.omissions


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_parameter_of_adjust_is_finite(value: float) -> None:
    """No parameter is the text NaN or Infinity."""
    with pytest.raises(ValueError, match="finite"):
        flat(value)

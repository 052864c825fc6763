"""The checks of a destination's checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amplitude_moloco import ConfigurationError, Sync, hash_identifier
from amplitude_moloco.moloco import checks

HOME = Sync("HOME", "Viewed")


def refusal(check: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check(*arguments)
    return str(caught.value)


def test_syncs_become_a_tuple() -> None:
    """Any iterable of syncs is accepted."""
    assert checks.syncs_of([HOME]) == (HOME,)
    assert checks.syncs_of(iter([HOME, HOME])) == (HOME, HOME)


@pytest.mark.parametrize("syncs", [[], ()], ids=str)
def test_at_least_one_sync_is_required(syncs: Any) -> None:
    """No syncs are refused with a way to make them."""
    assert refusal(checks.syncs_of, syncs) == (
        "syncs: without a Sync nothing would be sent; use a list of Sync(…), or ecommerce_syncs()"
    )


@pytest.mark.parametrize("syncs", [None, 5, "HOME", b"HOME", {"event_type": "HOME"}, {}], ids=str)
def test_syncs_are_a_list(syncs: Any) -> None:
    """Anything but a sync or several is refused with a way to make them."""
    assert refusal(checks.syncs_of, syncs) == (
        f"syncs: found {type(syncs).__name__}; use a list of Sync(…), or ecommerce_syncs()"
    )


def test_what_is_no_sync_is_named_by_its_index() -> None:
    """Each element of a list of syncs that is none is refused with its index."""
    several: list[Any] = [HOME, None, "HOME", {"event_type": "HOME"}, [HOME], Sync]
    assert refusal(checks.syncs_of, several).splitlines() == [
        "syncs[1]: found NoneType; use Sync(…)",
        "syncs[2]: found str; use Sync(…)",
        "syncs[3]: found dict; use Sync(…)",
        "syncs[4]: found list; use one flat list: [*ecommerce_syncs(), Sync(…)]",
        "syncs[5]: found type; use Sync(…)",
    ]


@pytest.mark.parametrize("currency", [None, "USD", "CHF"])
def test_a_currency_is_one_of_mcms(currency: str | None) -> None:
    """One of MCM's currencies, or none, is accepted."""
    assert checks.currency_of(currency) == currency


@pytest.mark.parametrize("currency", ["usd", "XXX", ""])
def test_another_currency_is_refused(currency: str) -> None:
    """Any other currency is refused with the list of currencies."""
    message = refusal(checks.currency_of, currency)
    assert message.startswith(
        f"default_currency: {currency!r} is not one of MCM's currencies; use one of AED, AUD, "
    )
    assert message.endswith(", VES, VND")


def test_user_properties_are_chosen_by_name() -> None:
    """True and False are accepted, and any collection of names becomes a set."""
    assert checks.names_of(True) is True
    assert checks.names_of(False) is False
    for names in (["a", "b"], ("a", "b"), {"a", "b"}):
        assert checks.names_of(names) == frozenset({"a", "b"})


@pytest.mark.parametrize("names", ["plan", {"plan": 1}, [1], None, 5], ids=str)
def test_other_names_are_refused(names: Any) -> None:
    """Anything else is refused with what to use instead."""
    assert refusal(checks.names_of, names) == (
        "include_user_properties: use True, False, or a list of the names to send"
    )


def test_identifiers_are_hashed_if_asked() -> None:
    """True hashes without a salt, a salt is used, and None and False do not hash."""
    assert checks.hash_of(None) is None
    assert checks.hash_of(False) is None
    assert checks.hash_of(True) is hash_identifier
    salted = checks.hash_of({"salt": "pepper"})
    assert salted is not None
    assert salted("me") == hash_identifier("me", "pepper")


@pytest.mark.parametrize(
    "setting", ["sha256", {}, {"salt": ""}, {"salt": 5}, {"salt": "a", "pepper": "b"}], ids=str
)
def test_another_hash_is_refused(setting: Any) -> None:
    """Anything else is refused with what to use instead."""
    assert refusal(checks.hash_of, setting) == (
        'hash_identifiers: use True, or {"salt": "…"} for SHA-256 of salt and identifier'
    )

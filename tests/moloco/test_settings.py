"""The checks of a destination's settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amplitude_moloco import ConfigurationError, Sync, hash_identifier
from amplitude_moloco.moloco import settings

HOME = Sync("HOME", "Viewed")


def refusal(check: Callable[..., object], *arguments: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check(*arguments)
    return str(caught.value)


def test_syncs_become_a_tuple() -> None:
    """Any iterable of syncs is accepted."""
    assert settings.syncs_of([HOME]) == (HOME,)
    assert settings.syncs_of(iter([HOME, HOME])) == (HOME, HOME)


@pytest.mark.parametrize("syncs", [[], ["HOME"], [HOME, None]], ids=str)
def test_at_least_one_sync_is_required(syncs: Any) -> None:
    """No syncs, or anything that is not a sync, are refused with a way to make them."""
    assert refusal(settings.syncs_of, syncs) == (
        "syncs: without a Sync nothing would be sent; use a list of Sync(…), or ecommerce_syncs()"
    )


@pytest.mark.parametrize("currency", [None, "USD", "CHF"])
def test_a_currency_is_one_of_mcms(currency: str | None) -> None:
    """One of MCM's currencies, or none, is accepted."""
    assert settings.currency_of(currency) == currency


@pytest.mark.parametrize("currency", ["usd", "XXX", ""])
def test_another_currency_is_refused(currency: str) -> None:
    """Any other currency is refused with the list of currencies."""
    message = refusal(settings.currency_of, currency)
    assert message.startswith(
        f"default_currency: {currency!r} is not one of MCM's currencies; use one of AED, AUD, "
    )
    assert message.endswith(", VES, VND")


def test_user_properties_are_chosen_by_name() -> None:
    """True and False are accepted, and any collection of names becomes a set."""
    assert settings.names_of(True) is True
    assert settings.names_of(False) is False
    for names in (["a", "b"], ("a", "b"), {"a", "b"}):
        assert settings.names_of(names) == frozenset({"a", "b"})


@pytest.mark.parametrize("names", ["plan", {"plan": 1}, [1], None, 5], ids=str)
def test_other_names_are_refused(names: Any) -> None:
    """Anything else is refused with what to use instead."""
    assert refusal(settings.names_of, names) == (
        "include_user_properties: use True, False, or a list of the names to send"
    )


def test_identifiers_are_hashed_if_asked() -> None:
    """True hashes without a salt, a salt is used, and None and False do not hash."""
    assert settings.hash_of(None) is None
    assert settings.hash_of(False) is None
    assert settings.hash_of(True) is hash_identifier
    salted = settings.hash_of({"salt": "pepper"})
    assert salted is not None
    assert salted("me") == hash_identifier("me", "pepper")


@pytest.mark.parametrize(
    "setting", ["sha256", {}, {"salt": ""}, {"salt": 5}, {"salt": "a", "pepper": "b"}], ids=str
)
def test_another_hash_is_refused(setting: Any) -> None:
    """Anything else is refused with what to use instead."""
    assert refusal(settings.hash_of, setting) == (
        'hash_identifiers: use True, or {"salt": "…"} for SHA-256 of salt and identifier'
    )


def test_numbers_above_zero_are_accepted() -> None:
    """A whole number above 0, or any number above 0, is returned unchanged."""
    assert settings.whole_number("connections", 1) == 1
    assert settings.number("timeout_seconds", 0.5) == 0.5
    assert settings.number("timeout_seconds", 3) == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1", None], ids=repr)
def test_other_whole_numbers_are_refused(value: Any) -> None:
    """Anything but a whole number above 0 is refused with the setting's name."""
    assert refusal(settings.whole_number, "connections", value) == (
        f"connections: {value!r} can't be used; use a whole number above 0"
    )


@pytest.mark.parametrize("value", [0, -0.5, float("nan"), float("inf"), True, "1", None], ids=repr)
def test_other_numbers_are_refused(value: Any) -> None:
    """Anything but a finite number above 0 is refused with the setting's name."""
    assert refusal(settings.number, "timeout_seconds", value) == (
        f"timeout_seconds: {value!r} can't be used; use a number above 0"
    )

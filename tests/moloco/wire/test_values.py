"""What becomes of one value on its way to the wire."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import pytest

from amplitude_moloco.moloco.wire import values
from amplitude_moloco.moloco.wire.event import ChannelType, PersonalizationMode
from amplitude_moloco.moloco.wire.values import Unusable

NOW = 1_700_000_000_000
FIVE_MINUTES = 5 * 60 * 1000
LONGEST_ID = "x" * 128


class Color(Enum):
    """An enum whose values are of several kinds."""

    RED = "red"
    NONE = None
    NUMBER = 12


class Word(str, Enum):
    """An enum that is text."""

    SALE = "sale"


class Level(IntEnum):
    """An enum that is a number."""

    TWO = 2


class Text(str):
    """Text with a mind of its own."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Whole(int):
    """A whole number with a mind of its own."""

    def __repr__(self) -> str:
        return "something else"


class OwnMapping(Mapping[str, Any]):
    """An object that is no dict."""

    def __init__(self, **parts: Any) -> None:
        self._parts = parts

    def __getitem__(self, key: str) -> Any:
        return self._parts[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def refusal(read: Callable[[object], object], value: object) -> Unusable:
    with pytest.raises(Unusable) as caught:
        read(value)
    return caught.value


def nested(levels: int) -> dict[str, Any]:
    """An object with so many more inside one another."""
    innermost: dict[str, Any] = {"a": 1}
    for _ in range(levels):
        innermost = {"a": innermost}
    return innermost


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("SKU-1", "SKU-1"),
        (" kept ", " kept "),
        ("微波炉 😀", "微波炉 😀"),
        ("0", "0"),
        (0, "0"),
        (4711, "4711"),
        (-1, "-1"),
        (2**63 - 1, "9223372036854775807"),
        (1 - 2**63, "-9223372036854775807"),
        (Color.RED, "red"),
        (Color.NUMBER, "12"),
        (Word.SALE, "sale"),
        (Level.TWO, "2"),
        (Text("plain"), "plain"),
        (Whole(7), "7"),
    ],
    ids=repr,
)
def test_text_is_kept_and_whole_numbers_become_text(value: object, expected: str) -> None:
    """Text goes along as it is, a whole number as its digits, an enum as its value."""
    result = values.text(value)
    assert result == expected
    assert type(result) is str


@pytest.mark.parametrize(
    "value", [None, "", " ", "\t\r\n", "\u3000", Color.NONE, Text("")], ids=repr
)
def test_blank_text_is_absent(value: object) -> None:
    """None and blank text count as absent."""
    assert values.text(value) is None
    assert values.short_text(value) is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, "a value of type bool"),
        (1.0, "a value of type float"),
        (Decimal(1), "a value of type Decimal"),
        (b"bytes", "a value of type bytes"),
        (dt.date(2024, 1, 1), "a value of type date"),
        (["secret"], "a list of 1"),
        (("secret", "two"), "a list of 2"),
        ({"secret": 1}, "an object"),
        (OwnMapping(secret=1), "an object"),
        (2**63, "a value of type int"),
        (-(2**63), "a value of type int"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_text_is_refused_by_its_kind(value: object, found: str) -> None:
    """What is neither text nor a whole number of 64 bits is refused without being told."""
    refused = refusal(values.text, value)
    assert (refused.reason, refused.found) == ("wrong_type", found)
    assert refused.fix == "use text or a whole number"


@pytest.mark.parametrize("value", ["\ud800", "SKU-\udcff", Text("\ud800")], ids=ascii)
def test_text_that_utf_8_cannot_hold_is_refused(value: str) -> None:
    """A lone surrogate can't be sent, and the refusal does not hold it."""
    refused = refusal(values.text, value)
    assert refused.reason == "not_unicode"
    assert all(part.isascii() for part in (refused.found, refused.fix))


def test_short_text_has_at_most_128_characters() -> None:
    """128 characters are taken as they are, 129 are refused, and nothing is ever cut."""
    assert values.short_text(LONGEST_ID) == LONGEST_ID
    assert values.short_text("微" * 128) == "微" * 128
    refused = refusal(values.short_text, LONGEST_ID + "x")
    assert (refused.reason, refused.found) == ("too_long", "text of 129 characters")
    assert refused.fix == "use at most 128 characters"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("APP", "APP"),
        ("app", "APP"),
        (" Desktop_Site\n", "DESKTOP_SITE"),
        (ChannelType.MOBILE_SITE, "MOBILE_SITE"),
        (None, None),
        ("  ", None),
    ],
    ids=repr,
)
def test_a_word_of_mcm_is_read_in_any_case(value: object, expected: str | None) -> None:
    """MCM's words are understood in any case, with blanks around them, and as enums."""
    result = values.one_of(ChannelType)(value)
    assert result == expected
    assert result is None or type(result) is str


@pytest.mark.parametrize("word", ["UNKNOWN_CHANNEL_TYPE", "Windows", "A P P", 1])
def test_another_word_is_refused_with_those_that_would_do(word: object) -> None:
    """A word that MCM does not have, its UNKNOWN value too, is refused with all that it has."""
    refused = refusal(values.one_of(ChannelType, ", or a hint"), word)
    assert refused.reason == "unknown_value"
    assert refused.found == f"text of {len(str(word))} characters"
    assert refused.fix == "use one of APP, SITE, DESKTOP_SITE, MOBILE_SITE, or a hint"


def test_the_modes_are_listed() -> None:
    """An unknown personalization mode is refused with the three that there are."""
    refused = refusal(values.one_of(PersonalizationMode), "NONE")
    assert refused.fix == "use one of STANDARD, METRIC_ONLY, ID_LESS"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("en-US", "en"),
        (Text("de"), "de"),
        (Word.SALE, None),
        (5, None),
        (None, None),
        (["en"], None),
    ],
    ids=repr,
)
def test_a_language_that_cannot_be_told_is_left_out(value: object, expected: str | None) -> None:
    """A language is two letters or nothing, and never a problem."""
    assert values.language(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("6D92078A-8246-4BA4-AE5B-76104861E7DC", "6D92078A-8246-4BA4-AE5B-76104861E7DC"),
        ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001"),
        ("00000000-0000-0000-0000-000000000000", None),
        ("0" * 32, None),
        (0, None),
        ("", None),
        (None, None),
    ],
    ids=repr,
)
def test_an_advertising_id_of_zeros_is_none(value: object, expected: str | None) -> None:
    """The zeros of a device whose user declines are no advertising id."""
    assert values.advertising_id(value) == expected


@pytest.mark.parametrize(
    "value", ["null", "NULL", "undefined", "Invalid", "nil", " nil\n", "", "  ", None], ids=repr
)
def test_what_reads_like_null_does_not_identify(value: object) -> None:
    """The null-like literals, in any case and with blanks around them, count as no identifier."""
    assert values.identifier(value) is None
    assert values.hashed_identifier(lambda plain: "hash", value) is None


@pytest.mark.parametrize("value", ["nullable", "0", "-", "none", "nils", "nil nil"])
def test_other_short_words_identify(value: str) -> None:
    """Only the four literals are null-like, and not what merely contains them."""
    assert values.identifier(value) == value


def test_an_identifier_is_measured_as_it_is_sent() -> None:
    """An identifier may have 128 characters on the wire, so that any length may be hashed."""
    assert values.identifier(LONGEST_ID) == LONGEST_ID
    refused = refusal(values.identifier, LONGEST_ID + "x")
    assert (refused.reason, refused.found) == ("too_long", "text of 129 characters")

    def hashed(plain: str) -> str:
        return sha256(plain.encode()).hexdigest()

    assert values.hashed_identifier(hashed, LONGEST_ID + "x") == hashed(LONGEST_ID + "x")
    assert values.hashed_identifier(hashed, 4711) == hashed("4711")
    assert values.hashed_identifier(lambda plain: LONGEST_ID, "me") == LONGEST_ID
    refused = refusal(lambda value: values.hashed_identifier(lambda plain: plain, value), "x" * 129)
    assert refused.reason == "too_long"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOW, str(NOW)),
        (NOW - 1, str(NOW - 1)),
        (str(NOW), str(NOW)),
        (float(NOW), str(NOW)),
        (Decimal(NOW), str(NOW)),
        (10**10, "10000000000"),
        (NOW + 1, str(NOW)),
        (NOW + FIVE_MINUTES, str(NOW)),
        (None, None),
        ("", None),
    ],
    ids=repr,
)
def test_a_timestamp_is_text_of_milliseconds(value: object, expected: str | None) -> None:
    """Milliseconds become text, and up to five minutes in the future become now."""
    assert values.timestamp(NOW, value) == expected


@pytest.mark.parametrize(
    ("value", "reason", "found"),
    [
        (NOW + FIVE_MINUTES + 1, "in_future", "a time that is 301 seconds ahead"),
        (NOW + 86_400_000, "in_future", "a time that is 86400 seconds ahead"),
        (10**10 - 1, "not_milliseconds", "a number that may be seconds"),
        (1_700_000_000, "not_milliseconds", "a number that may be seconds"),
        (1_700_000_000.5, "not_milliseconds", "a number that may be seconds"),
        (0, "not_milliseconds", "a number that may be seconds"),
        (-1, "not_milliseconds", "a number that may be seconds"),
        (10**14, "not_milliseconds", "a number that may be microseconds or nanoseconds"),
        (NOW * 1000, "not_milliseconds", "a number that may be microseconds or nanoseconds"),
        (True, "not_a_number", "a value of type bool"),
        ("yesterday", "not_a_number", "text of 9 characters"),
        (dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), "not_a_number", None),
    ],
    ids=repr,
)
def test_another_time_is_refused(value: object, reason: str, found: str | None) -> None:
    """What is not in milliseconds, or over five minutes in the future, is refused."""
    refused = refusal(lambda moment: values.timestamp(NOW, moment), value)
    assert refused.reason == reason
    assert found is None or refused.found == found


def test_the_range_of_milliseconds_ends_before_microseconds() -> None:
    """The last number taken for milliseconds is the one before 10 to the power of 14."""
    assert values.timestamp(10**14, 10**14 - 1) == str(10**14 - 1)
    refused = refusal(lambda moment: values.timestamp(10**14, moment), 10**14)
    assert refused.reason == "not_milliseconds"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (0.0, 0.0),
        (-0.5, -0.5),
        (12.34, 12.34),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, 9.223372036854775808e18),
        (Decimal("12.34"), 12.34),
        (Decimal("12.00"), 12),
        (Fraction(1, 4), 0.25),
        (Level.TWO, 2),
        (Color.NUMBER, 12),
        (Whole(7), 7),
        ("12.34", 12.34),
        (" 12.50\n", 12.5),
        ("12.00", 12),
        ("007", 7),
        ("-5", -5),
        ("+.5", 0.5),
        ("5.", 5),
        ("1e3", 1000),
        ("1.5E-1", 0.15),
        ("9007199254740991", 9007199254740991),
        (Text("5"), 5),
    ],
    ids=repr,
)
def test_what_is_numeric_becomes_a_number(value: object, expected: float) -> None:
    """Ints, floats, decimals, fractions and numeric text become numbers, and 0 is one of them."""
    result = values.number(value)
    assert result == expected
    assert type(result) in (int, float)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12, "12"),
        ("12.0", "12"),
        (Decimal("1E+2"), "100"),
        (12.5, "12.5"),
        ("9007199254740991", "9007199254740991"),
        ("9007199254740992", "9007199254740992.0"),
    ],
)
def test_a_number_is_written_the_short_way(value: object, expected: str) -> None:
    """A whole amount that was text or decimal has no fraction, as far as a float is exact."""
    assert repr(values.number(value)) == expected


@pytest.mark.parametrize("value", [None, "", "  ", Color.NONE], ids=repr)
def test_no_number_is_absent(value: object) -> None:
    """None and blank text are no number, and no problem."""
    assert values.number(value) is None
    assert values.quantity(value) is None


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, "a value of type bool"),
        (False, "a value of type bool"),
        (1j, "a value of type complex"),
        (b"5", "a value of type bytes"),
        ([5], "a list of 1"),
        ({"amount": 5}, "an object"),
        ("12,34", "text of 5 characters"),
        ("1_000", "text of 5 characters"),
        ("$5", "text of 2 characters"),
        ("0x10", "text of 4 characters"),
        ("nan", "text of 3 characters"),
        ("Infinity", "text of 8 characters"),
        ("٣", "text of 1 characters"),
        ("1 2", "text of 3 characters"),
        (float("nan"), "NaN, infinity or a number too large"),
        (float("-inf"), "NaN, infinity or a number too large"),
        (Decimal("NaN"), "NaN, infinity or a number too large"),
        (Decimal("sNaN"), "NaN, infinity or a number too large"),
        (Decimal("Infinity"), "NaN, infinity or a number too large"),
        (10**400, "NaN, infinity or a number too large"),
        ("1e400", "NaN, infinity or a number too large"),
        (Fraction(10**400, 3), "NaN, infinity or a number too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:12],
)
def test_what_is_no_finite_number_is_refused(value: object, found: str) -> None:
    """A bool, NaN, infinity and text that is not plainly numeric are no numbers."""
    refused = refusal(values.number, value)
    assert (refused.reason, refused.found) == ("not_a_number", found)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (2**31 - 1, 2**31 - 1),
        (-(2**31), -(2**31)),
        (3.0, 3),
        ("3", 3),
        ("3.00", 3),
        (Decimal(3), 3),
        (Level.TWO, 2),
        (float(2**31 - 1), 2**31 - 1),
        ("-2147483648", -(2**31)),
    ],
    ids=repr,
)
def test_a_quantity_is_a_whole_number_of_32_bits(value: object, expected: int) -> None:
    """What is a whole number of 32 bits in some form is a quantity."""
    result = values.quantity(value)
    assert result == expected
    assert type(result) is int


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**31, "wrong_type"),
        (-(2**31) - 1, "wrong_type"),
        (2.0**31, "wrong_type"),
        (1.5, "wrong_type"),
        ("1.5", "wrong_type"),
        (True, "not_a_number"),
        (float("nan"), "not_a_number"),
        ("many", "not_a_number"),
    ],
    ids=repr,
)
def test_another_quantity_is_refused(value: object, reason: str) -> None:
    """A part of an item, or more than 32 bits can count, is no quantity."""
    assert refusal(values.quantity, value).reason == reason


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": 1, "b": 1.5, "c": True, "d": False}, {"a": 1, "b": 1.5, "c": True, "d": False}),
        ({"a": None, "b": "", "c": " ", "d": [], "e": {}, "f": [None, ""], "z": 0}, {"z": 0}),
        ({"a": [1, None, "", "x"]}, {"a": [1, "x"]}),
        ({"a": (1, [2, (3,)])}, {"a": [1, [2, [3]]]}),
        ({"a": Decimal("1.50"), "b": Color.RED, "c": Level.TWO}, {"a": 1.5, "b": "red", "c": 2}),
        ({"a": Color.NONE, "b": Word.SALE, "c": Text("x")}, {"b": "sale", "c": "x"}),
        ({"größe": "ß"}, {"größe": "ß"}),
        pytest.param({Text("k"): OwnMapping(x=1)}, {"k": {"x": 1}}, id="own types"),
        ({Word.SALE: 1}, {"sale": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ],
    ids=repr,
)
def test_an_object_is_copied_as_json_has_it(
    value: Mapping[Any, Any], expected: dict[str, Any]
) -> None:
    """An object keeps what JSON can hold, without nulls, empty texts, empty lists and objects."""
    result = values.json_object(value)
    assert repr(result) == repr(expected)


def test_nothing_left_is_no_object() -> None:
    """An object in which nothing is left is absent itself."""
    assert values.json_object({}) is None
    assert values.json_object({"a": {"b": [None]}}) is None


@pytest.mark.parametrize(
    ("value", "reason", "found"),
    [
        ("text", "wrong_type", "text of 4 characters"),
        ([1], "wrong_type", "a list of 1"),
        (None, "wrong_type", "nothing"),
        ({1: "a"}, "not_json", "a key that is a value of type int"),
        ({None: "a"}, "not_json", "a key that is nothing"),
        ({"\ud800": "a"}, "not_unicode", None),
        ({"a": "\ud800"}, "not_unicode", None),
        ({"a": float("nan")}, "not_json", "NaN, infinity or a number too large inside"),
        ({"a": 10**400}, "not_json", "NaN, infinity or a number too large inside"),
        ({"a": [b"x"]}, "not_json", "a value of type bytes inside"),
        ({"a": {"b": {1, 2}}}, "not_json", "a value of type set inside"),
        pytest.param({"a": object()}, "not_json", "a value of type object inside", id="object"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_json_cannot_hold_is_refused(value: object, reason: str, found: str | None) -> None:
    """What has no place in JSON is refused by its kind."""
    refused = refusal(values.json_object, value)
    assert refused.reason == reason
    assert found is None or refused.found == found


def test_64_levels_are_deep_enough() -> None:
    """64 objects inside an object are copied, and 65 are too deep."""
    assert values.json_object(nested(64)) == nested(64)
    refused = refusal(values.json_object, nested(65))
    assert refused.reason == "too_big"
    assert refused.fix == (
        "use at most 1000000 characters, each value counting for 100 more, and 64 levels"
    )


def test_an_object_that_holds_itself_is_refused() -> None:
    """What holds itself, directly or many times over, is found out and refused."""
    once: dict[str, Any] = {}
    once["self"] = once
    many: list[Any] = []
    many += [many] * 50
    for value in (once, {"list": many}):
        assert refusal(values.json_object, value).reason == "too_big"


@pytest.mark.parametrize(
    ("fits", "too_big"),
    [
        ({"a": "x" * (1_000_000 - 101)}, {"a": "x" * (1_000_000 - 99)}),
        ({"x" * 999_900: 1}, {"x" * 999_901: 1}),
        ({"a": [1] * 9_998}, {"a": [1] * 10_000}),
        ({str(i): None for i in range(10_000)}, {str(i): None for i in range(10_001)}),
    ],
    ids=["characters", "characters of a key", "list", "keys"],
)
def test_a_megabyte_is_big_enough(fits: dict[str, Any], too_big: dict[str, Any]) -> None:
    """Each value takes 100 of the million characters that an object may have."""
    values.json_object(fits)
    assert refusal(values.json_object, too_big).reason == "too_big"


def test_copying_changes_nothing() -> None:
    """What is copied stays as it is, and the copy shares no list and no object with it."""
    original = {"a": [1, None, {"b": ""}], "c": {"d": [2]}}
    copy = values.json_object(original)
    assert original == {"a": [1, None, {"b": ""}], "c": {"d": [2]}}
    assert copy == {"a": [1], "c": {"d": [2]}}
    assert copy["c"] is not original["c"]

"""Single values: their form on the wire, and what is refused."""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from types import SimpleNamespace

import pytest
from support.events import FIVE_MINUTES, NOW
from support.values import Color, Fractional, Level, OwnMapping, Text, Whole, Word, refusal

from amplitude_moloco.moloco.wire import values
from amplitude_moloco.moloco.wire.user_properties import read_user_properties
from amplitude_moloco.moloco.wire.vocabulary import ChannelType, PersonalizationMode

LONGEST_ID = "x" * 128


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
        (2**64 - 1, "18446744073709551615"),
        (-(2**63), "-9223372036854775808"),
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
    """Text is sent unchanged, a whole number as its digits, an enum as its value."""
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
        (2**64, "a whole number of over 64 bits"),
        (-(2**63) - 1, "a whole number of over 64 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_other_types_than_text_are_refused(value: object, found: str) -> None:
    """Anything but text and whole numbers of 64 bits is refused; the refusal omits the value."""
    refused = refusal(values.text, value)
    assert (refused.reason, refused.found) == ("wrong_type", found)
    is_too_large = found == "a whole number of over 64 bits"
    assert refused.fix == ("use text" if is_too_large else "use text or a whole number")


@pytest.mark.parametrize("value", ["\ud800", "SKU-\udcff", Text("\ud800")], ids=ascii)
def test_text_that_utf_8_cannot_hold_is_refused(value: str) -> None:
    """A lone surrogate is refused; the refusal omits it."""
    refused = refusal(values.text, value)
    assert refused.reason == "not_unicode"
    assert all(part.isascii() for part in (refused.found, refused.fix))


def test_short_text_has_at_most_128_characters() -> None:
    """128 characters are accepted, 129 are refused, and no text is cut."""
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
    """MCM's words are accepted in any case, with spaces around them, and as enums."""
    result = values.one_of(ChannelType)(value)
    assert result == expected
    assert result is None or type(result) is str


@pytest.mark.parametrize("word", ["UNKNOWN_CHANNEL_TYPE", "Windows", "A P P", 1])
def test_another_word_is_refused_with_the_right_ones(word: object) -> None:
    """Any other word, MCM's UNKNOWN value included, is refused with the list of words."""
    refused = refusal(values.one_of(ChannelType, ", or a hint"), word)
    assert refused.reason == "unknown_value"
    assert refused.found == f"text of {len(str(word))} characters"
    assert refused.fix == "use one of APP, SITE, DESKTOP_SITE, MOBILE_SITE, or a hint"


def test_the_modes_are_listed() -> None:
    """An unknown personalization mode is refused with the list of modes."""
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
def test_an_unknown_language_is_left_out(value: object, expected: str | None) -> None:
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
def test_an_advertising_id_of_zeros_is_absent(value: object, expected: str | None) -> None:
    """All zeros, as devices report them that opted out of tracking, count as absent."""
    assert values.advertising_id(value) == expected


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
        (NOW + FIVE_MINUTES + 1, "in_future", "a time 301 seconds ahead"),
        (NOW + 86_400_000, "in_future", "a time 86400 seconds ahead"),
        (10**10 - 1, "not_milliseconds", "a number that looks like seconds"),
        (1_700_000_000, "not_milliseconds", "a number that looks like seconds"),
        (1_700_000_000.5, "not_milliseconds", "a number that looks like seconds"),
        (0, "not_milliseconds", "a number that looks like seconds"),
        (-1, "not_milliseconds", "a number that looks like seconds"),
        (10**14, "not_milliseconds", "a number that looks like microseconds or nanoseconds"),
        (NOW * 1000, "not_milliseconds", "a number that looks like microseconds or nanoseconds"),
        (True, "not_a_number", "a value of type bool"),
        ("yesterday", "not_a_number", "text of 9 characters"),
        (dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc), "not_a_number", None),
    ],
    ids=repr,
)
def test_another_time_is_refused(value: object, reason: str, found: str | None) -> None:
    """Other units than milliseconds, and times over five minutes ahead, are refused."""
    refused = refusal(lambda moment: values.timestamp(NOW, moment), value)
    assert refused.reason == reason
    assert found is None or refused.found == found


def test_the_range_of_milliseconds_ends_before_microseconds() -> None:
    """The largest number accepted as milliseconds is one less than 10 to the power of 14."""
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
        (Fractional(1.5), 1.5),
        (Fractional(12), 12),
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
def test_numeric_values_become_numbers(value: object, expected: float) -> None:
    """Ints, floats, decimals, fractions and numeric text become numbers, 0 included."""
    result = values.number(value)
    assert result == expected
    assert type(result) in (int, float)


class Float32:
    """A scalar of numpy's kind: a float of 32 bits, which shows few digits."""

    def __init__(self, value: float) -> None:
        self.value = struct.unpack("f", struct.pack("f", value))[0]

    def __float__(self) -> float:
        return float(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Float32) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return f"{self.value:.7g}"


class Int64:
    """An integral number that is no int."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        return self.value


class Array:
    """An array without dimensions, which holds one scalar."""

    shape = ()

    def __init__(self, value: object) -> None:
        self.value = value

    def __getitem__(self, key: object) -> object:
        return self.value

    def item(self) -> object:
        return self.value


class Flag(Array):
    """A scalar that is no number, and that indexing gives again."""

    def __getitem__(self, key: object) -> object:
        return self


Real.register(Float32)
Integral.register(Int64)


def test_scalars_of_other_libraries_are_exact() -> None:
    """A float of 32 bits has its own digits, and an integer of another library is one."""
    assert values.number(Float32(19.99)) == 19.99
    assert values.number(Int64(7)) == 7
    assert values.text(Int64(7)) == "7"
    assert values.text(Array("a")) == "a"
    assert values.number(Array(Float32(19.99))) == 19.99
    assert values.scalar(Flag(True)) is True


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, "9007199254740993", Decimal(2**63), 10**25])
def test_a_whole_number_is_exact(value: object) -> None:
    """A whole number is exact in JSON, also where a float would round it."""
    assert Decimal(repr(values.number(value))) == Decimal(str(value))


@pytest.mark.parametrize("value", [2**64 + 1, str(2**64 + 1), Decimal(2**64 + 1), Int64(2**65 + 1)])
def test_a_whole_number_that_would_be_rounded_is_refused(value: object) -> None:
    """A whole number of more than 64 bits is refused, never rounded."""
    assert refusal(values.number, value).reason == "not_a_number"


def test_a_long_fraction_is_the_closest_float() -> None:
    """A third of 100 with 28 digits is sent as the closest float."""
    assert values.number(Decimal(100) / 3) == 100 / 3


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
def test_a_whole_number_has_no_fraction(value: object, expected: str) -> None:
    """A whole number from text or a decimal has no fraction, as long as a float is exact."""
    assert repr(values.number(value)) == expected


@pytest.mark.parametrize("value", [None, "", "  ", Color.NONE], ids=repr)
def test_no_number_is_absent(value: object) -> None:
    """None and blank text count as absent."""
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
def test_other_values_than_finite_numbers_are_refused(value: object, found: str) -> None:
    """A bool, NaN, infinity and text that is not plainly numeric are refused."""
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
    """A whole number of 32 bits is a quantity, also as text, a float or a decimal."""
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
    """Fractions, numbers of more than 32 bits and other values are refused as a quantity."""
    assert refusal(values.quantity, value).reason == reason


@Integral.register
class Moment:
    """A date or a duration of numpy's kind: registered as a whole number, of nanoseconds."""

    shape = ()

    def __init__(self, kind: str) -> None:
        self.dtype = SimpleNamespace(kind=kind)

    def __int__(self) -> int:
        return 1_577_836_800_000_000_000

    def item(self) -> int:
        return int(self)

    def __getitem__(self, index: object) -> Moment:
        return self


@pytest.mark.parametrize("kind", ["m", "M"])
@pytest.mark.parametrize("read", [values.text, values.number, values.quantity])
def test_a_date_is_no_number(kind: str, read: Callable[[object], object]) -> None:
    """Neither a date nor a duration of numpy's is sent as the whole number that it holds."""
    moment = Moment(kind)
    assert refusal(read, moment).found == "a value of type Moment"
    sent, left_out = read_user_properties({"at": moment, "a": 1})
    assert (sent, [each.found for each in left_out]) == (
        {"a": 1},
        ["a value of type Moment inside"],
    )

"""The identifiers of a shopper in MCM's event."""

from __future__ import annotations

from hashlib import sha256

import pytest
from support.events import NOW
from support.values import refusal
from support.wire import (
    IDENTIFIERS,
    LONG_TEXTS,
    SHORT_TEXTS,
    at,
    payload,
    problem,
    problems,
    trimmed,
)

from amplitude_moloco.moloco.wire.identifiers import hashed_identifier, identifier

LONGEST_ID = "x" * 128


@pytest.mark.parametrize(
    "value", ["null", "NULL", "undefined", "Invalid", "nil", " nil\n", "", "  ", None], ids=repr
)
def test_null_like_text_does_not_identify(value: object) -> None:
    """Null-like words, in any case and with spaces around them, count as absent."""
    assert identifier(value) is None
    assert hashed_identifier(lambda plain: "hash", value) is None


NOTHINGS = ["None", "null", "undefined", "nan", "<NA>", "NaT", "guest", "anonymous"]
AROUND = ["{}", "'{}'", '"{}"', "`{}`", "<{}>", "({})", "[{}]", "__{}__", "{{{}}}", " {}\n", "#{}#"]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("word", NOTHINGS)
def test_a_word_for_nothing_does_not_identify_in_any_dress(word: str, around: str) -> None:
    """Quotes, brackets, blanks and capitals around a word for nothing make it no identifier."""
    for text in (word, word.upper(), word.lower()):
        assert identifier(around.format(text)) is None


@pytest.mark.parametrize("between", "-_:|,;/@+.")
@pytest.mark.parametrize("first", ["None", "nan", "undefined"])
def test_several_words_for_nothing_do_not_identify(first: str, between: str) -> None:
    """An id that was joined from two empty parts identifies no shopper."""
    assert identifier(f"{first}{between}{first}") is None
    assert identifier(f"{first}{between}guest") is None
    assert identifier(f"{first}{between}4711") == f"{first}{between}4711"


@pytest.mark.parametrize(
    "text",
    [
        *("NoneNone", "b'None'", "undefined undefined", "None None", "${user_id}", "{{ user.id }}"),
        *("{user_id}", "%s", "%(user_id)s", "<%= id %>", "$USER_ID", "<class 'NoneType'>"),
        *("02:00:00:00:00:00", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", sha256(b"").hexdigest()),
    ],
)
def test_what_many_shoppers_share_by_mistake_does_not_identify(text: str) -> None:
    """Unfilled templates, the hash of an empty text and ids that all devices have are absent."""
    assert identifier(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("nancy", "nanette@example.com", "nonesuch", "nullarbor-7", "_me_", "+4915112345678"),
        *("{1b4e28ba-2fa1-11d2-883f-0016d3cca427}", "(7)", "#7", "$RCAnonymousID:87c3", "0x1f"),
        *("none-of-your-business", "02:00:00:00:00:01", "user-7", "%7Bme%7D", "b'me'"),
    ],
)
def test_ids_that_resemble_words_for_nothing_identify(text: str) -> None:
    """An id that begins as a word for nothing, or with a sign, is an id."""
    assert identifier(text) == text


@pytest.mark.parametrize(
    "text",
    """-- __ ... {} {0} %s %d %user_id% {{user.name|title}} #{user_id} @user_id [user_id]
    <user_id> USER_ID your_user_id user_undefined user_null guest-null shop:undefined
    cart_undefined undefinedundefined NoneNone set() b'' Optional(nil) Optional.empty Symbol()
    nan+nanj NaT NotImplemented \0\0 \ufeffnull \u200bNone \uff4e\uff55\uff4c\uff4c""".split(),
)
def test_what_programs_print_for_nothing_does_not_identify(text: str) -> None:
    """Punctuation, templates, empty collections, joined words, and what can't be seen around."""
    assert identifier(text) is None


@pytest.mark.parametrize(
    "text",
    """dev_null jean-none Ünal {550e8400-e29b-41d4-a716-446655440000} null@shop.example @handle
    undefined1 [vip]7 a@none 00012 user%40example.com Nandini ünundefined""".split(),
)
def test_ids_that_only_resemble_them_identify(text: str) -> None:
    """A nickname that ends in null is one."""
    assert identifier(text) == text


NAMES = ["id", "user_id", "userId", "uid", "customer", "Member-ID"]


@pytest.mark.parametrize("value", ["null", "None", "undefined", "NaN", "Nothing", "nil", "guest"])
@pytest.mark.parametrize("between", ["=", ":", " = ", ": ", "='{}'", ': "{}"', "-", "_"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_with_nothing_as_its_value_does_not_identify(
    name: str, between: str, value: str
) -> None:
    """Neither alone, nor in an object, nor beside another one; with a value it does."""
    pattern = between if "{}" in between else between + "{}"
    text = name + pattern.format(value)
    for each in (text, text.upper(), f"{{{text}}}"):
        assert identifier(each) is None
    filled = name + pattern.format("4711")
    assert identifier(filled) == filled


@pytest.mark.parametrize(
    "text",
    [
        *"- ~ ? _ . * # : \u2013 — … · 。 -- (-) «None» —null— \u200b \u200b\u200c $null".split(
            " "
        ),
        *"Nothing NOTHING <Nothing> noone not_found Unassigned ::unspecified:: DBNull".split(),
        *"id= user_id: ##id## __UID__ none@none.com null@null undefined@undefined.com".split(),
        *"user-{id} user-{user.id} shop:{{user_id}} u-${id} user-%s %%USER_ID%% $(user_id)".split(),
        *"list() array() deque([]) HASH(0x55d0c8) %!s(<nil>) user[null] Some(None)".split(),
        *("User object (None)", "Decimal('NaN')", "<User: None>", "<object object at 0x7f0a>"),
        *("#<User:0x00007f>", "id=null&session=null", '{"id": null, "name": null}', "No One"),
        *("user-[object Object]", "Series([], dtype: object)", "{% user %}", "%(user_id)s"),
    ],
)
def test_whatever_stands_for_nothing_does_not_identify(text: str) -> None:
    """Signs alone, words of other languages, partly filled templates, objects in place of ids."""
    assert identifier(text) is None


@pytest.mark.parametrize("word", ["None", "null", " NULL ", "unknown", "n/a", "0000-0000"])
def test_an_advertising_id_may_be_a_word_for_nothing(word: str) -> None:
    """It is left out then: all who lack one would share it."""
    assert "device" not in payload(advertising_id=word)


@pytest.mark.parametrize(
    "text",
    [
        *"id=7 id:7 uid:alice 7=null? YWJjZA== YWI= cn=guest,dc=shop uid=jane,ou=me c-3po".split(),
        *"anna.guest mr.nothing johnnil brennan Kiernan me) [me] {me@x.de} u:7 a:b:".split(),
        *"x-{550e8400-e29b-41d4-a716-446655440000} 李雷 me… «me» nil-nil-7 @david $sid".split(),
        'Optional("abc")',
        *("User object (7)", "{'user_id': 'abc'}", "id = 7", "John (Smith)", "<User: 7>"),
    ],
)
def test_ids_with_signs_in_them_identify(text: str) -> None:
    """What is left of them is no word for nothing."""
    assert identifier(text) == text


@pytest.mark.parametrize("part", ["none ", "{{", "null", "_", "é", "_undefined", "% "])
def test_a_long_id_takes_no_time(part: str) -> None:
    """A megabyte is no placeholder, whatever it begins with, and is refused for its length."""
    assert refusal(identifier, part * (1_000_000 // len(part)) + "none").reason == "too_long"


@pytest.mark.parametrize("value", ["nullable", "0", "nones", "nils", "nil nil", "guest-7", "0001"])
def test_other_short_words_identify(value: str) -> None:
    """Only the words themselves count as absent, not words that contain them."""
    assert identifier(value) == value


def test_an_identifier_is_measured_as_it_is_sent() -> None:
    """The limit of 128 characters applies to what is sent: to the hash, if there is one."""
    assert identifier(LONGEST_ID) == LONGEST_ID
    refused = refusal(identifier, LONGEST_ID + "x")
    assert (refused.reason, refused.found) == ("too_long", "text of 129 characters")

    def hashed(plain: str) -> str:
        return sha256(plain.encode()).hexdigest()

    assert hashed_identifier(hashed, LONGEST_ID + "x") == hashed(LONGEST_ID + "x")
    assert hashed_identifier(hashed, 4711) == hashed("4711")
    assert hashed_identifier(lambda plain: LONGEST_ID, "me") == LONGEST_ID
    refused = refusal(lambda value: hashed_identifier(lambda plain: plain, value), "x" * 129)
    assert refused.reason == "too_long"


@pytest.mark.parametrize("field", IDENTIFIERS)
def test_one_identifier_is_enough(field: str) -> None:
    """Any one of the three identifiers is enough."""
    result = payload(**{"user_id": None, field: "me"})
    assert [at(result, path) for path in IDENTIFIERS.values()].count("me") == 1


@pytest.mark.parametrize("field", IDENTIFIERS)
@pytest.mark.parametrize("word", ["null", "Undefined", "INVALID", " nil "])
def test_null_like_words_do_not_identify(field: str, word: str) -> None:
    """A null-like identifier is left out beside another one, and a problem without one."""
    result = payload(**{"user_id": "me", "device_persistent_id": "mine", field: word})
    assert at(result, IDENTIFIERS[field]) == {}
    reported = problem(**{"user_id": None, field: word})
    assert (reported.field, reported.reason) == ("user_id", "no_identifier")
    assert reported.found == "only placeholders (blank, null, None, nan, anonymous, zeros, …)"


@pytest.mark.parametrize("mode", [None, "STANDARD", "METRIC_ONLY"])
def test_an_event_without_identifier_is_a_problem(mode: str | None) -> None:
    """An event without any of the three identifiers is a problem."""
    reported = problem(user_id=None, personalization_mode=mode)
    assert (reported.field, reported.reason, reported.found) == (
        "user_id",
        "no_identifier",
        "no identifier",
    )
    for name in (*IDENTIFIERS, "ID_LESS"):
        assert name in reported.fix


def test_an_unusable_identifier_is_reported_once() -> None:
    """An identifier that can't be used is reported once, and not as missing too."""
    assert problems(user_id="x" * 129) == [("user_id", "too_long")]
    assert problems(user_id=1.5, device_persistent_id="mine") == [("user_id", "wrong_type")]
    assert trimmed(user_id=1.5, device_persistent_id="mine").code == "user_id wrong_type"


def test_id_less_sends_none_of_the_identifiers() -> None:
    """With ID_LESS no identifier is sent, and none is required."""
    result = payload(
        personalization_mode="id_less",
        user_id="me",
        device_persistent_id="mine",
        custom_id="ours",
        advertising_id="38400000-8cf0-11bd-b23e-10b96e40000d",
    )
    assert result == {
        "event_type": "HOME",
        "id": "event-1",
        "channel_type": "SITE",
        "personalization_mode": "ID_LESS",
        "timestamp": str(NOW),
    }
    assert payload(personalization_mode="ID_LESS", user_id=None, os_name="iOS")["device"] == {
        "os": "iOS"
    }


def test_only_the_three_identifiers_are_hashed() -> None:
    """Hashing applies to the three identifiers, and to nothing else."""

    def hashed(plain: str) -> str:
        return sha256(plain.encode()).hexdigest()

    ids = dict.fromkeys([*SHORT_TEXTS, *LONG_TEXTS, "language"], "en")
    result = payload(hash_identifier=hashed, **ids)
    assert at(result, ("device", "language")) == "en"
    for field, path in {**SHORT_TEXTS, **LONG_TEXTS}.items():
        assert at(result, path) == (hashed("en") if field in IDENTIFIERS else "en")


def test_hashed_identifiers_may_be_of_any_length() -> None:
    """An identifier of over 128 characters can be sent as a hash."""
    result = payload(user_id="x" * 129, hash_identifier=lambda plain: "hash")
    assert result["user_id"] == "hash"

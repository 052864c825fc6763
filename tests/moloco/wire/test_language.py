"""A device's language, as ISO 639-1 wants it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.languages import AMPLITUDE, ISO, entries

from amplitude_moloco.moloco.wire.language import iso_639_1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("en", "en"),
        ("EN", "en"),
        ("eng", "en"),
        ("English", "en"),
        ("english", "en"),
        ("ENGLISH", "en"),
        (" English ", "en"),
        ("en-US", "en"),
        ("en_GB", "en"),
        ("en_US.UTF-8", "en"),
        ("de_DE@euro", "de"),
        ("en-US,en;q=0.9", "en"),
        ("zh-Hant-TW", "zh"),
        ("pt_BR", "pt"),
        ("ger", "de"),
        ("deu", "de"),
        ("iw", "he"),
        ("in-ID", "id"),
        ("Moldavian", "ro"),
        ("Norwegian Bokmål", "nb"),
        ("scottish gaelic", "gd"),
        ("Greek", "el"),
        ("Occitan", "oc"),
        ("Tongan", "to"),
        ("Interlingua", "ia"),
        ("Serbo-Croatian", "sr"),
        ("sh", "sr"),
        ("English (United States)", "en"),
        ("Modern Greek (1453-)", "el"),
        ("Farsi", "fa"),
        ("mo", "ro"),
        *(("Spanish; Castilian", "es"), ("Dutch; Flemish", "nl"), ("Catalan; Valencian", "ca")),
    ],
)
def test_a_language_is_known_by_any_of_its_names(text: str, code: str) -> None:
    """Names, codes of two or three letters, locales and withdrawn codes become two letters."""
    assert iso_639_1(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "x",
        "xx",
        "xxx",
        "C",
        "POSIX",
        "und",
        "tlh",
        "Klingon",
        "dud",
        "Elvish",
        "1",
        "en us",
        "Tonga (Zambia)",
        "(English)",
        "Klingon (Qo'noS)",
        "Klingon; English",
        "; English",
    ],
)
def test_other_text_is_left_out(text: str) -> None:
    """Text that is not a language, or a language without a code in ISO 639-1, gives None."""
    assert iso_639_1(text) is None


def test_every_language_of_iso_639_1_is_known() -> None:
    """Each language of ISO 639-1 is found by any of its codes and by its English name."""
    assert len(entries(ISO)) == 183
    for codes, name in entries(ISO):
        expected = codes[:2]
        for known_as in (*codes.split("/"), name):
            assert (known_as, iso_639_1(known_as)) == (known_as, expected)
            assert iso_639_1(known_as.upper()) == expected


def test_every_language_name_of_amplitude_is_known() -> None:
    """Amplitude turns tags into names of its own; each of them gives the code of two letters."""
    assert len(entries(AMPLITUDE)) > 180
    for code, name in entries(AMPLITUDE):
        assert (name, iso_639_1(name)) == (name, code)


@given(st.text() | st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z]{2})?", fullmatch=True))
@example("\ud800")
@example("x" * 100_000)
@settings(deadline=None)  # a machine may be slow
def test_any_text_gives_two_letters_or_none(text: str) -> None:
    """Any text gives two lowercase letters or None."""
    code = iso_639_1(text)
    assert code is None or (len(code) == 2 and code.isascii() and code.islower())

"""Text from outside, as logs and messages show it."""

from __future__ import annotations

import dataclasses
import io
import logging
import traceback
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.facts import BODY, FACTS, kind_of

from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.engine.facts import DeadLettered, Degraded, Fact, Invalid, Paused
from amplitude_moloco.engine.ledger import Ledger
from amplitude_moloco.engine.log import LogHook
from amplitude_moloco.reasons import DeadLetterReason, PauseReason
from amplitude_moloco.text import keep_record_on_one_line, one_line, shown, traceback_of

ENDS_LINES = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
FORGING = f"i-1{ENDS_LINES}\x1b[31m\x9b31m\x00\x08\u200b\u202e\u2066\ufeff\ud800"
TEXTS = st.text() | st.text(st.sampled_from(f"ab %s{{}}{FORGING}"))
EVERYTHING = f"Level %(levelname)s %(message)s {'%(event_id)s %(sync)s %(reason)s'}"


@given(TEXTS)
@example(FORGING)
def test_a_text_stays_on_one_line(text: str) -> None:
    """Any text becomes one printable line that can be encoded."""
    line = one_line(text)
    assert line.isprintable()
    assert len(line.splitlines()) <= 1
    assert not any(unicodedata.bidirectional(each) in {"RLO", "LRO", "RLI"} for each in line)
    assert len(line.encode()) >= len(text)
    assert one_line(line) == line


@given(st.text(st.characters(categories=["L", "N", "P", "S"], include_characters=" ")))
def test_a_printable_text_is_unchanged(text: str) -> None:
    """Text in any language is shown as it is."""
    assert not text.isprintable() or one_line(text) == text


def test_what_is_escaped_can_be_read() -> None:
    """What is not printable is written as Python writes it."""
    assert (
        one_line("i-1\nCRITICAL\x1b\x85\u2028 \ub300") == "i-1\\nCRITICAL\\x1b\\x85\\u2028 \ub300"
    )
    assert one_line(ValueError("a\nb")) == "a\\nb"


class Hostile:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("hostile")


def test_any_value_can_be_shown() -> None:
    """A message shows any value on one line, and never too much of it."""
    assert shown("a\nb\u200b") == "'a\\nb\\u200b'"
    assert shown(10**5000) == "a value of type int"
    assert shown(Hostile()) == "a value of type Hostile"
    assert shown("a" * 198) == repr("a" * 198)
    assert shown("a" * 199) == f"'{'a' * 198}…"


def forged(fact: Fact, text: str) -> Fact:
    """A fact in which every text from outside is ``text``."""
    names = {each.name for each in dataclasses.fields(fact)} - {"body", "reason", "problems"}
    values: dict[str, Any] = {name: text for name in names if isinstance(getattr(fact, name), str)}
    if isinstance(fact, Invalid):
        values["problems"] = (Problem(text, ProblemReason.MISSING, text, text),)
    return dataclasses.replace(fact, **values)


def logged(fact: Fact, form: str) -> str:
    """What a plain handler writes about a fact."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        logging.Formatter(form, defaults={"event_id": "", "sync": "", "reason": ""})
    )
    logger = logging.getLogger("amplitude_moloco.engine.log")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        LogHook("MCM", "the key")(fact)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    return stream.getvalue()


@pytest.mark.parametrize("fact", FACTS, ids=kind_of)
@given(text=TEXTS)
@example(text=FORGING)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None
)
def test_a_record_is_one_line(fact: Fact, text: str) -> None:
    """Whatever an id, a name or the server's message holds, a record is one line of plain text."""
    said = logged(forged(fact, text), EVERYTHING)
    assert said.endswith("\n")
    for line in said[:-1].split("\n"):  # a first failure has a record of its own
        assert line.isprintable()
        assert line.startswith("Level ")


def test_a_forged_line_is_part_of_its_own() -> None:
    """A line end in an id, a message or a path does not begin a record."""
    forging = "x\nCRITICAL root: forged"
    for fact in (
        DeadLettered(forging, forging, 1, DeadLetterReason.REJECTED, 400, forging),
        Paused(PauseReason.OUTAGE, 503, forging),
        Degraded(f"buffer: {forging} is a link"),
    ):
        (line,) = logged(fact, "%(levelname)s %(message)s").splitlines()
        assert not line.startswith("CRITICAL")
        assert "x\\nCRITICAL root: forged" in line
    assert BODY.decode() not in line


class Exiting(Exception):
    """Ends the thread that asks for its text."""

    def __str__(self) -> str:
        raise SystemExit


class Mute(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    """The exception as it is once it was raised."""
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def in_handler(first: BaseException, second: BaseException) -> BaseException:
    """The second exception, raised while the first one was handled."""
    try:
        raise first
    except BaseException:
        return _reraised(second)


def _reraised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@given(TEXTS)
@example(FORGING)
def test_a_traceback_holds_no_line_of_its_message(text: str) -> None:
    """A message with line ends is one line of the traceback, however exceptions are linked."""
    forging = f"{text}\nCRITICAL root: forged"
    for error, links in (
        (raised(ValueError(forging)), 0),
        (raised(ValueError(forging), raised(KeyError(forging))), 1),
        (in_handler(KeyError(forging), ValueError(forging)), 1),
    ):
        lines = traceback_of(error).split("\n")
        assert not any(line.startswith(("CRITICAL", "forged")) for line in lines)
        assert all(line.isprintable() for line in lines)
        assert lines.count("Traceback (most recent call last):") == 1 + links
        assert lines[-1] == f"ValueError: {one_line(forging)}"


def test_a_traceback_reads_as_pythons() -> None:
    """For a message of one line the traceback is what Python prints."""
    for error in (
        raised(ValueError("text")),
        raised(ValueError()),
        raised(ValueError("text"), raised(KeyError("cause"))),
        in_handler(KeyError("first"), ValueError("second")),
        raised(ValueError("text"), None),
    ):
        assert traceback_of(error) == "".join(traceback.format_exception(error)).rstrip("\n")


def test_a_traceback_survives_its_exception() -> None:
    """An exception without text, or one that is its own cause, has a traceback too."""
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(traceback_of, raised(Exiting())).result(timeout=10)
    assert said.endswith("\nExiting: <exception str() failed>")
    assert traceback_of(raised(Mute())).endswith("\nMute: <exception str() failed>")
    error = raised(ValueError("loop"))
    error.__cause__ = raised(KeyError("x"), error)
    assert traceback_of(error).count("Traceback") == 2


def test_what_a_hook_raised_forges_no_line() -> None:
    """The log of a hook that raised has no line from the exception's message."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("amplitude_moloco.engine.ledger")
    logger.addHandler(handler)

    def hook(fact: Fact) -> None:
        raise ValueError("me@example.com\nCRITICAL root: forged")

    try:
        Ledger([hook]).record(FACTS[0])
    finally:
        logger.removeHandler(handler)
    said = stream.getvalue().splitlines()
    assert said[0] == "A hook raised on Delivered"
    assert said[-1] == "ValueError: me@example.com\\nCRITICAL root: forged"


def test_a_record_without_texts_passes() -> None:
    """A record whose arguments are a mapping, or that has no exception, passes as it is."""
    record = logging.makeLogRecord({"msg": "x", "args": {"a": 1}, "exc_info": (None, None, None)})
    assert keep_record_on_one_line(record)
    assert (record.getMessage(), record.exc_text) == ("x", None)

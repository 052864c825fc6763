"""The log of the service."""

from __future__ import annotations

import io
import json
import logging
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amplitude_moloco.relay.log_lines import JsonFormatter, LogFormat, TextFormatter, logging_to

OURS = "amplitude_moloco.engine.log"


def record(
    message: str = "Sent %s", *args: object, name: str = OURS, **more: Any
) -> logging.LogRecord:
    """A record with further fields."""
    made = logging.LogRecord(name, logging.WARNING, __file__, 1, message, args, None)
    made.created = 1_700_000_000.1239
    vars(made).update(more)
    return made


def as_json(made: logging.LogRecord) -> Any:
    line = JsonFormatter().format(made)
    assert line.isascii()
    assert line.isprintable()
    return json.loads(line)


def test_a_line_is_one_object() -> None:
    """Time, level, logger and message come first, then the fields that apply."""
    made = record(
        "Sent %s", "a", event_id="a", sync="HOME", reason=None, status=503, attempts=2, count=1.5
    )
    assert as_json(made) == {
        "time": "2023-11-14T22:13:20.123Z",
        "level": "warning",
        "logger": OURS,
        "message": "Sent a",
        "event_id": "a",
        "sync": "HOME",
        "status": 503,
        "attempts": 2,
        "count": 1.5,
    }


def test_fields_of_other_libraries_are_left_out() -> None:
    """What another library adds to its records is not known, and not written."""
    made = record("Hi", name="urllib3", user="user-1")
    assert as_json(made).keys() == {"time", "level", "logger", "message"}


def test_objects_are_left_out() -> None:
    """A field that is no text and no number of JSON's is not written."""
    more: dict[str, Any] = {"body": {"user": "user-1"}, "rate": float("inf"), "share": float("nan")}
    assert as_json(record("Hi", **more)).keys() == {"time", "level", "logger", "message"}


def test_no_field_hides_what_every_line_has() -> None:
    """A field that is called as one of every line does not replace it."""
    assert as_json(record("Hi", level="none", time=5))["level"] == "warning"


@given(st.text(), st.floats(0, 4e9))
def test_whatever_is_logged_a_line_is_a_line(text: str, created: float) -> None:
    """No text breaks a line, and the time is UTC as RFC 3339 has it."""
    made = record("%s", text)
    made.created = created
    found = as_json(made)
    assert found["time"].endswith("Z")
    moment = datetime.fromisoformat(found["time"].replace("Z", "+00:00"))
    assert moment.utcoffset() == timedelta(0)
    assert abs(moment.timestamp() - created) < 0.01
    assert len(TextFormatter().format(made).splitlines()) == 1


def test_an_exception_has_its_traceback() -> None:
    """A traceback is a field in JSON, and follows the line in text."""
    try:
        raise ValueError("boom\nboom")
    except ValueError as error:
        made = record("Hi")
        made.exc_info = (ValueError, error, error.__traceback__)
    assert as_json(made)["exception"].endswith("ValueError: boom\\nboom")
    assert TextFormatter().format(made).splitlines()[1] == "Traceback (most recent call last):"
    made.exc_text = "as another formatter wrote it"
    assert as_json(made)["exception"] == "as another formatter wrote it"


def test_a_text_line_reads_well() -> None:
    """Text has the time, the level, the logger and the message."""
    line = TextFormatter().format(record("Sent %s", "a"))
    assert line == f"2023-11-14T22:13:20.123Z warning {OURS}: Sent a"


@pytest.mark.parametrize("form", LogFormat)
def test_the_log_is_configured_for_a_time(form: LogFormat) -> None:
    """Info of this library and warnings of others are written, and nothing after the block."""
    stream = io.StringIO()
    ours, theirs = logging.getLogger(OURS), logging.getLogger("another.library")
    level = logging.getLogger("amplitude_moloco").level
    with logging_to(stream, form):
        ours.info("ours")
        ours.debug("too much")
        theirs.info("too much")
        theirs.warning("theirs")
    ours.warning("later")
    lines = stream.getvalue().splitlines()
    assert [line.partition("ours")[1] or line.partition("theirs")[1] for line in lines] == [
        "ours",
        "theirs",
    ]
    assert logging.getLogger("amplitude_moloco").level == level

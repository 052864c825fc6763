"""The log of the service: one line a record, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from enum import Enum
from math import isfinite
from typing import Any, TextIO

from amplitude_moloco.text import one_line, traceback_of

_LIBRARY = __name__.partition(".")[0]
_STANDARD = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"])


class LogFormat(str, Enum):
    """How the log is written."""

    TEXT = "text"
    JSON = "json"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message``, and further fields.

    Fields that are None are left out, and so are those of other libraries: what they hold is not
    known. An exception's traceback is the field ``exception``.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": one_line(record.getMessage()),
        }
        if record.name.partition(".")[0] == _LIBRARY:
            line = {**line, **_fields(record), **line}
        trace = _trace(record)
        if trace:
            line["exception"] = trace
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """The time, the level and the message, and the traceback of an exception below it."""

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        line = f"{_time(record)} {level:7} {record.name}: {one_line(record.getMessage())}"
        trace = _trace(record)
        return f"{line}\n{trace}" if trace else line


@contextmanager
def logging_to(stream: TextIO | None = None, form: LogFormat = LogFormat.TEXT) -> Iterator[None]:
    """Writes the log of the program to a stream, by default stderr, for the time of the block.

    From info on of this library, and from warning on of all others.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form is LogFormat.JSON else TextFormatter())
    library, root = logging.getLogger(_LIBRARY), logging.getLogger()
    level = library.level
    root.addHandler(handler)
    library.setLevel(logging.INFO)
    try:
        yield
    finally:
        library.setLevel(level)
        root.removeHandler(handler)


def _time(record: logging.LogRecord) -> str:
    """Returns the time of a record as RFC 3339 has it, in UTC."""
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Returns the fields beyond those of every record that are text or a number of JSON's."""
    return {
        name: value
        for name, value in vars(record).items()
        if name not in _STANDARD
        and isinstance(value, (str, int, float))
        and not (isinstance(value, float) and not isfinite(value))
    }


def _trace(record: logging.LogRecord) -> str:
    if record.exc_text:
        return record.exc_text
    error = record.exc_info[1] if record.exc_info else None
    return "" if error is None else traceback_of(error)

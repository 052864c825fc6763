"""Text from outside, made safe to print: ids, names, paths, a server's message."""

from __future__ import annotations

import logging
import numbers
import traceback

from amplitude_moloco.host.interruption import raise_if_apps

_MAX_CHAIN = 20  # exceptions that led to each other
_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"

_MOST_SHOWN = 200


def one_line(value: object) -> str:
    r"""Returns the text of ``value`` on one line, with everything escaped that is not printable.

    Line ends, terminal sequences, bidirectional controls, invisible characters and lone surrogates
    become ``\n``, ``\x1b``, ``\u202e`` and so on, as in a repr. So no id forges a second line of a
    log, or changes how the line around it is shown. All other text is returned as it is.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold a text: it can't hold a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object) -> str:
    """Returns a repr for a message: on one line, 200 characters at most. Never raises."""
    try:
        text = one_line(repr(value))
    except Exception:  # from the value itself, or an integer of more than 4,300 digits
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


def keep_record_on_one_line(record: logging.LogRecord) -> bool:
    """A filter for loggers: passes each record, with its arguments and fields as ``one_line``.

    An exception's traceback has its usual lines, and its message is one of them. A field ``trace``
    is lines of a traceback, and follows the record in the same way.
    """
    if isinstance(record.args, tuple):
        record.args = tuple(
            each if isinstance(each, numbers.Number) else one_line(each) for each in record.args
        )
    fields = vars(record)
    fields.update({name: one_line(each) for name, each in fields.items() if isinstance(each, str)})
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        record.exc_text = traceback_of(error)  # formatters use it in place of their own
    trace = fields.pop("trace", ())
    if trace:
        record.exc_text = "\n".join(map(one_line, trace))
    return True


def traceback_of(error: BaseException) -> str:
    """Returns the traceback of an exception, as Python prints it, with each message on one line."""
    return "\n".join(_lines_of_traceback(error, set()))


def _lines_of_traceback(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    lines: list[str] = []
    earlier, link = error.__cause__, _CAUSE
    if earlier is None and not error.__suppress_context__:
        earlier, link = error.__context__, _CONTEXT
    if earlier is not None and id(earlier) not in seen and len(seen) < _MAX_CHAIN:
        lines += [*_lines_of_traceback(earlier, seen), "", link, ""]
    lines.append("Traceback (most recent call last):")
    for frame in traceback.format_tb(error.__traceback__):
        lines += map(one_line, frame.splitlines())
    name = type(error).__qualname__
    try:
        message = one_line(error)
    except BaseException as failure:  # the exception's own __str__ raised
        raise_if_apps(failure)
        message = "<exception str() failed>"
    return [*lines, f"{name}: {message}" if message else name]

"""Text from outside, made safe to print: ids, names, paths, a server's message."""

from __future__ import annotations

import logging
import numbers

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


def shown(value: object) -> str:
    """Returns a repr for a message: on one line, 200 characters at most. Never raises."""
    try:
        text = one_line(repr(value))
    except Exception:  # from the value itself, or an integer of more than 4,300 digits
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"


def keep_record_on_one_line(record: logging.LogRecord) -> bool:
    """A filter for loggers: passes each record, with its arguments and fields as ``one_line``."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            each if isinstance(each, numbers.Number) else one_line(each) for each in record.args
        )
    fields = vars(record)
    fields.update({name: one_line(each) for name, each in fields.items() if isinstance(each, str)})
    return True

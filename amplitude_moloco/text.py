"""Text from outside, made safe to print: ids, names, paths, a server's message."""

from __future__ import annotations

import logging
import numbers


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


def keep_record_on_one_line(record: logging.LogRecord) -> bool:
    """A filter for loggers: passes each record, with its arguments and fields as ``one_line``."""
    if isinstance(record.args, tuple):
        record.args = tuple(
            each if isinstance(each, numbers.Number) else one_line(each) for each in record.args
        )
    fields = vars(record)
    fields.update({name: one_line(each) for name, each in fields.items() if isinstance(each, str)})
    return True

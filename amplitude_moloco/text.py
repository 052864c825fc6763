"""Text from outside, made safe to print: ids, names, paths, a server's message."""

from __future__ import annotations


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

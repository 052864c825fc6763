"""Turns the docstrings' reStructuredText into Markdown, for the API reference."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|data|func|meth|mod):`~?([^`]+)`")
_LITERAL_BLOCK = re.compile(r"^(?:(.+:):|::)$", re.MULTILINE)
# From its first line of equals signs to the last one that no further line of it follows.
_TABLE = re.compile(r"(?:^=+ [= ]*=$\n(?:(?!^=+ ).+\n)+)+^=+ [= ]*=$", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrites each docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **arguments: Any) -> None:
        """Roles become code, and tables become blocks of text."""
        if obj.docstring:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            text = _LITERAL_BLOCK.sub(r"\1", text)
            obj.docstring.value = _TABLE.sub(r"```text\n\g<0>\n```", text)

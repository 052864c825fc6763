"""A function that is written when its settings are known, as Python source, and then compiled.

The source is readable, and known to ``linecache``: a traceback shows its lines, and so does
``inspect.getsource``.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from zlib import crc32

from amplitude_moloco.text import one_line

_INDENT = "    "


class Code:
    """The source of one function, line by line, with the objects that its lines name.

    Args:
        signature: The function's name and parameters: ``convert(event)``.
    """

    def __init__(self, signature: str) -> None:
        self._name = signature.partition("(")[0]
        self._lines = [f"def {signature}:"]
        self._depth = 1
        self._objects: dict[str, object] = {"__name__": __name__}  # the module in a traceback

    def __str__(self) -> str:
        return "\n".join([*self._lines, ""])

    def add(self, *lines: str) -> None:
        """Add lines at the present indentation."""
        self._lines += [_INDENT * self._depth + line for line in lines]

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Indent the lines that are added meanwhile, under a line such as ``if found:``."""
        self.add(opening)
        self._depth += 1
        first = len(self._lines)
        yield
        if len(self._lines) == first:
            self.add("pass")
        self._depth -= 1

    def bind(self, **objects: object) -> None:
        """Let the lines use objects under these names."""
        self._objects.update(objects)

    def compile(self, title: str) -> Callable[..., Any]:
        """Returns the function. ``title`` names it in tracebacks, in place of a file."""
        source = str(self)
        # Equal sources share an entry, so that an app that makes many destinations needs few.
        file = f"<{one_line(title)} {crc32(source.encode()):08x}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        objects = dict(self._objects)
        # The lines hold names from this library's own tables, and text as repr() writes it.
        exec(compile(source, file, "exec"), objects)  # noqa: S102  # no text runs as code
        function: Callable[..., Any] = objects[self._name]  # type: ignore[assignment]  # defined just now
        return function

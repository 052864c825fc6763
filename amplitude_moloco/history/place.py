"""Where a record lies, and the error that names the place."""

from __future__ import annotations

from typing import NamedTuple

from amplitude_moloco.errors import MolocoError
from amplitude_moloco.text import one_line


class Place(NamedTuple):
    """A file, the member in it and the line. Its text is on one line, and safe to print."""

    file: str
    """The path as it was given or found; ``-`` for the standard input."""
    member: str = ""
    """The name of the file inside a zip; empty if the file is no zip."""
    line: int = 0
    """The number of the line, from 1; 0 for the file as a whole."""

    def __str__(self) -> str:
        parts = [self.file, self.member, f"line {self.line}" if self.line else ""]
        return ": ".join(one_line(part) for part in parts if part)


class ExportError(MolocoError):
    """A part of an export can't be read.

    The text names the place and what was found there. It never holds a value of an event.

    Attributes:
        place: The file, the member and the line.
        problem: What is wrong there.
    """

    def __init__(self, place: Place, problem: str) -> None:
        super().__init__(place, problem)
        self.place = place
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


class Unreadable(ValueError):
    """Something is not as an export has it. Its text is the problem, without the place."""

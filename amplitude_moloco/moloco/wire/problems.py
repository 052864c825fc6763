"""The problems of one event, collected while its fields are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from amplitude_moloco.convert.problem import Problem, ProblemReason
from amplitude_moloco.host.interruption import pass_interruption

_Value = TypeVar("_Value")


class InvalidValue(Exception):
    """A value that can't be sent. Describes the kind of value, never the value."""

    def __init__(self, reason: ProblemReason, found: str, fix: str) -> None:
        super().__init__(reason, found, fix)
        self.reason, self.found, self.fix = reason, found, fix


def unreadable(error: Exception) -> InvalidValue:
    """Returns the refusal of a value that raised this when it was read.

    Raises it again if a signal handler raised it meanwhile: it is the app's.
    """
    pass_interruption(error)
    return InvalidValue(
        ProblemReason.UNREADABLE,
        f"a value that raised {type(error).__name__} when it was read",
        "use plain dicts, lists, text and numbers",
    )


class Problems(list[Problem]):
    """The problems of one event, in the order in which they were found."""

    item_index: int | None = None
    """The item that is being read; None for fields outside ``items``."""

    def read(
        self, field: str, reader: Callable[[object], _Value | None], value: object
    ) -> _Value | None:
        """Returns what ``reader`` makes of ``value``; None, and a problem, if it raises."""
        try:
            return reader(value)
        except Exception as error:
            self.add_error(field, error)
        return None

    def add_error(self, field: str, error: Exception) -> None:
        """Adds what reading a value raised: an InvalidValue, or whatever an object raises."""
        self.add_invalid(field, error if isinstance(error, InvalidValue) else unreadable(error))

    def add_invalid(self, field: str, invalid: InvalidValue) -> None:
        self.add(field, invalid.reason, invalid.found, invalid.fix)

    def add(self, field: str, reason: ProblemReason, found: str, fix: str) -> None:
        """Adds a problem. Inside an item, ``field`` is the item's field, or empty for the item."""
        if self.item_index is not None:
            field = f"items[{self.item_index}].{field}".rstrip(".")
        self.append(Problem(field, reason, found, fix))

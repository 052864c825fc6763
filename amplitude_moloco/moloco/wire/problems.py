"""The problems of one event, gathered while it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.moloco.wire.values import Unusable

_Value = TypeVar("_Value")


class Problems(list[Problem]):
    """The problems of one event, noted while it is read."""

    item: int | None = None
    """The index of the item that is read; None for the fields of the event itself."""

    def read(
        self, field: str, as_what: Callable[[object], _Value | None], value: object
    ) -> _Value | None:
        """``value`` as what MCM wants; None, and a problem, if it can't be that."""
        try:
            return as_what(value)
        except Unusable as unusable:
            self.note_unusable(field, unusable)
            return None

    def note_unusable(self, field: str, unusable: Unusable) -> None:
        self.note(field, unusable.reason, unusable.found, unusable.fix)

    def note(self, field: str, reason: str, found: str, fix: str) -> None:
        if self.item is not None:
            field = f"items[{self.item}].{field}".rstrip(".")
        self.append(Problem(field, reason, found, fix))

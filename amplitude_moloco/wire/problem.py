"""Why an event can't be sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from amplitude_moloco.wire.values import Unusable

_Value = TypeVar("_Value")
_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class Problem:
    """One reason why an event can't be sent. Holds no value of the event, so it may be logged."""

    field: str
    """The Moloco field of the mapping chart, with its place: ``items[1].price``."""
    reason: str
    """A fixed word for counting: ``missing``, ``wrong_type``, ``too_long`` and so on."""
    found: str
    """What kind of thing was found."""
    fix: str
    """What would do."""

    def __str__(self) -> str:
        return f"{self.field}: found {self.found}; {self.fix}"

    @property
    def code(self) -> str:
        """What the problem is counted under: ``items.price wrong_type``."""
        return f"{_INDEX.sub('', self.field)} {self.reason}"


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

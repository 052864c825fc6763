"""Why an event can't be sent."""

from __future__ import annotations

import re
from dataclasses import dataclass

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

"""The result of converting one event for one sync."""

from __future__ import annotations

from typing import Any, NamedTuple

from amplitude_moloco.convert.problem import Problem


class Conversion(NamedTuple):
    """What one sync makes of one event: a request's body, or the problems that prevent it."""

    sync: str
    """The sync's name."""
    id: str | None
    """The event's id at the partner. Converting the same event again gives the same id."""
    payload: dict[str, Any]
    """The partner's event; complete only if there are no problems."""
    body: bytes
    """The bytes of the request; empty if there are problems."""
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        if self.problems:
            return f"{self.sync} can't be sent:" + "".join(f"\n- {each}" for each in self.problems)
        return f"{self.sync} is sent as {self.body.decode()}"

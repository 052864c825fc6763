"""The result of converting one event for one sync."""

from __future__ import annotations

from typing import Any, NamedTuple

from amplitude_moloco.convert.problem import Problem


class Conversion(NamedTuple):
    """What one sync makes of one event: a request's body, or the problems that prevent it.

    Parts that can't be sent, and that the event does without, are ``omissions``.
    """

    sync: str
    """The sync's name."""
    id: str | None
    """The event's id at the partner. Converting the same event again gives the same id."""
    payload: dict[str, Any]
    """The partner's event; complete only if there are no problems."""
    body: bytes
    """The bytes of the request; empty if there are problems."""
    problems: tuple[Problem, ...]
    """Why it can't be sent; empty if it can."""
    omissions: tuple[Problem, ...] = ()
    """What was left out, since the partner doesn't require it and it can't be sent as it is."""
    twin: str = ""
    """The earlier sync that sends the same event as the same type; empty if there is none."""
    lane: str = ""
    """Events of one lane are sent one at a time, in their order; empty: it waits for no other."""

    def __str__(self) -> str:
        if self.problems:
            return f"{self.sync} can't be sent:{_lines(self.problems)}"
        sent = f"{self.sync} is sent as {self.body.decode()}"
        if self.twin:
            sent += f"\nand counted twice: the sync {self.twin} sends it as the same type"
        return f"{sent}\nwithout:{_lines(self.omissions)}" if self.omissions else sent


def _lines(problems: tuple[Problem, ...]) -> str:
    return "".join(f"\n- {problem}" for problem in problems)

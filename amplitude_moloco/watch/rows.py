"""What the live page shows of a fact. Identifiers are shortened; no value of an event is shown."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from typing import Any

from amplitude_moloco.convert.problem import Problem
from amplitude_moloco.engine.facts import (
    DeadLettered,
    Degraded,
    Delivered,
    Dropped,
    Fact,
    Invalid,
    Lost,
    Paused,
    RepeatedId,
    Resumed,
    Retrying,
    SentTwice,
    ThrottledIdentifier,
    Trimmed,
    Unselected,
    Untold,
)

_SECOND_SYNC = re.compile(r"-\d{1,2}\Z")
_TEXT_CHARACTERS = 300
_PROBLEM_CHARACTERS = 1_000
_MAX_PROBLEMS = 10
_SHOWN_CHARACTERS = 4


class FactRows:
    """Turns facts into rows. Pure, but for a key that it draws once."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)

    def row_of(self, fact: Fact) -> dict[str, Any]:
        """Returns a row without its number and its time."""
        row = self._event(fact) or _note(fact)
        return {"i": 0, "side": "partner", "words": "", "delay": None, **row}

    def _event(self, fact: Fact) -> dict[str, Any] | None:
        """Returns what is shown of a fact about one event; None for others."""
        if isinstance(fact, Delivered):
            return self._row(fact, "delivered", "", status=fact.status, attempts=fact.attempts)
        if isinstance(fact, Retrying):
            said = f"{fact.cause or fact.reason}; next attempt in {fact.delay_seconds:.0f} s"
            return self._row(fact, "failing", said, status=fact.status, attempts=fact.attempts)
        if isinstance(fact, Invalid):
            said = f"{fact.event_name}: {fact.reason}"
            return self._row(fact, "invalid", said, problems=_shown(fact.problems))
        if isinstance(fact, Trimmed):
            said = f"{fact.event_name}: parts are left out"
            return self._row(fact, "note", said, problems=_shown(fact.omissions))
        if isinstance(fact, DeadLettered):
            said = f"dead letter, {fact.reason}: {fact.message}"
            return self._row(fact, "refused", said, status=fact.status)
        if isinstance(fact, Dropped):
            return self._row(fact, "lost", fact.reason)
        return None

    def _row(
        self,
        fact: Delivered | Retrying | Invalid | Trimmed | DeadLettered | Dropped,
        outcome: str,
        said: str,
        **more: Any,
    ) -> dict[str, Any]:
        about = {"type": fact.sync[:_TEXT_CHARACTERS], "id": self.shortened(fact.id or "")}
        return {"outcome": outcome, "message": said[:_TEXT_CHARACTERS], **about, **more}

    def shortened(self, id: str) -> str:
        """Returns the beginning of an id, and a fingerprint that tells apart those that share it.

        The fingerprint has another key in each process, so that it identifies nobody. The number
        that the second sync of an event adds to the id stays readable.
        """
        if not id:
            return ""
        base = _SECOND_SYNC.sub("", id)
        text = base.encode(errors="replace")
        digest = hashlib.blake2b(text, key=self._key, digest_size=4).hexdigest()
        return f"{base[:_SHOWN_CHARACTERS]}…{digest}{id[len(base) :]}"


def _shown(problems: Iterable[Problem]) -> list[dict[str, str]]:
    return [_shown_problem(each) for each in islice(problems, _MAX_PROBLEMS)]


@lru_cache(maxsize=256)
def _shown_problem(problem: Problem) -> dict[str, str]:
    """Returns the same object for the same problem: thousands of events may have it."""
    said = f"found {problem.found}; {problem.fix}"
    return {"place": problem.field[:_TEXT_CHARACTERS], "message": said[:_PROBLEM_CHARACTERS]}


def _note(fact: Fact) -> dict[str, Any]:
    said = ""
    if isinstance(fact, Paused):
        said = fact.cause or f"{fact.status or ''} {fact.message}".strip()
    elif isinstance(fact, (Degraded, Lost)):
        said = fact.message
    elif isinstance(fact, Unselected):
        said = f"no sync selects {fact.event_name!r}"
    elif isinstance(fact, SentTwice):
        said = f"{fact.event_name!r} is sent by {fact.by}"
    elif isinstance(fact, RepeatedId):
        said = f"events of two users have one id (sync {fact.sync})"
    elif isinstance(fact, ThrottledIdentifier):
        said = f"fingerprint {fact.identifier}"
    elif isinstance(fact, Untold):
        said = f"{fact.facts} facts are counted, but not shown"
    elif isinstance(fact, Resumed):
        said = "events are accepted again"
    name = type(fact).__name__
    return {"outcome": "note", "type": name, "id": "", "message": said[:_TEXT_CHARACTERS]}

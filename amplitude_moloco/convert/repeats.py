"""Ids that events of different users share: a sign of an event object that is tracked twice."""

from __future__ import annotations

from typing import Any

_MAX_REMEMBERED = 1_000


class RepeatedIds:
    """Remembers whose the latest events were, until one id turned up for two users.

    Safe from any thread: threads that race may miss a repetition, or find one twice.
    """

    def __init__(self) -> None:
        self._owners: dict[str, int] | None = {}

    def found(self, id: str, event: Any) -> bool:
        """Whether this id has come with another user before. True once; from then on False."""
        owners = self._owners
        if owners is None:
            return False
        owner = hash((event.user_id, event.device_id))
        known = owners.setdefault(id, owner)
        if known != owner:
            self._owners = None
            return True
        if len(owners) > _MAX_REMEMBERED:
            self._owners = {}
        return False

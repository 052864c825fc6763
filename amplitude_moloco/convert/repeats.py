"""Ids that come twice: from different users, or from different destinations of one address."""

from __future__ import annotations

from enum import Enum
from typing import Any
from weakref import WeakValueDictionary

from amplitude_moloco.host.interruption import pass_interruption

_MAX_REMEMBERED = 1_000


class Repetition(Enum):
    """Why an id should not have come again."""

    OF_ANOTHER_USER = "user"
    """Events of two users have it: one event object may have been tracked twice."""
    OF_ANOTHER_SENDER = "sender"
    """Two destinations send the same event to the same address."""


class RepeatedIds:
    """Remembers whose the latest events of an address were, and who sent them.

    Finds each repetition once for each sender. Safe from any thread: threads that race may miss a
    repetition, or find one twice.
    """

    def __init__(self, address: str) -> None:
        self._latest = _latest_of.setdefault(address, _Latest())
        self._found: set[Repetition] = set()
        self._sender = _Sender()  # not self, which would keep itself alive

    def find(self, id: str, event: Any) -> Repetition | None:
        """Returns why the id should not have come again, if that is so and was not found before."""
        try:
            owner = (hash((event.user_id, event.device_id)), self._sender)
        except Exception as error:  # a list, or an object of the app that raises
            pass_interruption(error)
            return None
        owners = self._latest.owners
        known = owners.setdefault(id, owner)
        if known != owner:
            is_same_user = known[0] == owner[0]
            if is_same_user and not (known[1].is_open and self._sender.is_open):
                return None
            return self._repetition(is_same_user)
        if len(owners) > _MAX_REMEMBERED:
            self._latest.owners = {}
        return None

    def open(self) -> None:
        """Count as a sender from now on: it was added to a client."""
        self._sender.is_open = True

    def forget(self) -> None:
        """Forget what this sender has sent: it sends no more."""
        self._sender.is_open = False
        owners = self._latest.owners
        self._latest.owners = {
            id: each for id, each in [*owners.items()] if each[1] is not self._sender
        }

    def _repetition(self, is_same_user: bool) -> Repetition | None:
        found = Repetition.OF_ANOTHER_SENDER if is_same_user else Repetition.OF_ANOTHER_USER
        if found in self._found:
            return None
        self._found.add(found)
        return found


class _Sender:
    """Stands for one sender."""

    is_open = False


class _Latest:
    """The latest ids of all senders of one address in this process."""

    def __init__(self) -> None:
        self.owners: dict[str, tuple[int, _Sender]] = {}


_latest_of: WeakValueDictionary[str, _Latest] = WeakValueDictionary()

"""What lies where in Redis. All keys share one hash tag, so that one node of a cluster has them.

===========  ==========  ===========================================================================
key          type        holds
===========  ==========  ===========================================================================
``:new``     stream      entries that were never given back, in the order of their numbers
``:due``     stream      entries on their way for another reason: retries, and new ones that a
                         claim took out of turn. Each was read when it was added
``:later``   hash        entries that wait for their next attempt, by their number
``:dues``    sorted set  when those are due
``:untried`` sorted set  the numbers of entries outside ``:new`` that were never sent
``:ages``    sorted set  when the entries outside ``:new`` were accepted
``:dead``    stream      dead letters
``:bell``    list        a token, if there may be something to claim for a process that waits for it
``:meta``    hash        the target, the last number, the bytes of all bodies
``:fleet``   hash        what the processes agree on: a version, and a text
``:put:ID``  string      the last number that this producer has written
===========  ==========  ===========================================================================

An entry is one text, with numbers as ``record.py`` and the scripts pack them. Its head: when it was
accepted, its number, its attempts and strikes. Its tail: the lengths of its id and sync, then id,
sync and body.

Both streams have one consumer group. An entry is in one place at a time: acknowledged or moved, it
is deleted. So every entry of a stream was claimed, or no consumer has read it.

Times are microseconds of Redis's own clock.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from amplitude_moloco.errors import ConfigurationError
from amplitude_moloco.text import shown

VERSION = 2
GROUP = "senders"
NEW, DUE = 1, 2
"""The streams, by their places among the keys of each script."""
MICROSECONDS = 1_000_000
_NAMES = ("new", "due", "later", "dues", "untried", "ages", "dead", "fleet", "bell", "meta")
_STREAM = re.compile(r"[A-Za-z0-9._:-]{1,100}")


class Layout(NamedTuple):
    """The names of the keys."""

    stream: str

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of every script, in this order."""
        return tuple(f"{{{self.stream}}}:{name}" for name in _NAMES)

    @property
    def bell(self) -> str:
        """The key of the list on which processes wait."""
        return f"{{{self.stream}}}:bell"

    def producer(self, id: str) -> str:
        """Returns the key of a producer."""
        return f"{{{self.stream}}}:put:{id}"


def layout_of(stream: str) -> Layout:
    """Returns the layout for this name. Raises ConfigurationError if it can't be one."""
    if not _STREAM.fullmatch(stream):
        raise ConfigurationError(
            f"buffer: the option stream={shown(stream)} can't be used; use up to 100 letters, "
            f"digits and . _ : -"
        )
    return Layout(stream)

"""What a backfill would do, found by reading and converting everything."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from amplitude_moloco.history.export import ExportReader
from amplitude_moloco.history.filters import LeftOutReason
from amplitude_moloco.history.seen_ids import SeenIds
from amplitude_moloco.plugin import Converter


@dataclass
class Plan:
    """What would become of the events of an export."""

    read: int = 0
    """Events in the range that pass the filters."""
    unselected: int = 0
    """Those that no sync selects."""
    to_send: Counter[str] = field(default_factory=Counter)
    """Requests by sync."""
    invalid: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What can't be sent, by sync and the code of its first problem."""
    problems: dict[tuple[str, str], str] = field(default_factory=dict)
    """The first problem of each of these in words, with its place."""
    duplicates: int = 0
    """Requests whose id was there before."""
    left_out: Counter[LeftOutReason] = field(default_factory=Counter)
    """Events that the filters left out."""
    unreadable: int = 0
    """Lines, members and files that can't be read."""
    first_millis: int | None = None
    last_millis: int | None = None
    """Unix milliseconds of the first and the last event that is to be sent."""

    @property
    def total(self) -> int:
        """How many requests there are to send."""
        return self.to_send.total()

    def seconds(self, rate: float) -> float:
        """Returns how long sending takes at this rate, in requests a second."""
        return self.total / rate


def plan_of(
    reader: ExportReader, converter: Converter, on_progress: Callable[[Plan], object]
) -> Plan:
    """Returns the plan for an export. ``on_progress`` is called after each event that was read."""
    plan, now_millis = Plan(), int(time.time() * 1000)
    with closing(sqlite3.connect("", isolation_level=None)) as db:  # a file that SQLite deletes
        db.execute("PRAGMA journal_mode = OFF")
        ids = SeenIds(db)
        db.execute("BEGIN")
        for place, event in reader:
            plan.read += 1
            conversions = converter.convert(event, now_millis)
            plan.unselected += not conversions
            for each in conversions:
                if each.problems:
                    key = each.sync, each.problems[0].code
                    plan.invalid[key] += 1
                    plan.problems.setdefault(key, f"{place}: {each.problems[0]}")
                elif ids.are_first(0, [(plan.read, each.sync, each.id)]) == [True]:
                    plan.to_send[each.sync] += 1
                    first, last = plan.first_millis or event.time, plan.last_millis or event.time
                    plan.first_millis = min(first, event.time)
                    plan.last_millis = max(last, event.time)
                else:
                    plan.duplicates += 1
            on_progress(plan)
    plan.left_out, plan.unreadable = reader.left_out.copy(), reader.unreadable
    return plan

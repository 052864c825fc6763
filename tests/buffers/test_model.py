"""Every buffer against a model of it that is too simple to be wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from math import inf
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from amplitude_moloco.buffers.base import Buffer, DeadLetter, Entry
from amplitude_moloco.buffers.memory import MemoryBuffer
from amplitude_moloco.buffers.sqlite.buffer import SqliteBuffer

EXAMPLES = int(os.environ.get("TORTURE_EXAMPLES", "100"))
LEASE_SECONDS = 60.0
MAX_EVENTS = 6
MAX_BYTES = 20
NOW = 1_700_000_000.0


def bare(entry: Entry) -> Entry:
    """Without the token, which is the buffer's own business."""
    return entry._replace(token=0)


@dataclass
class Model:
    """What lies in the buffer, with the keys as the buffer gave them."""

    new: list[Entry] = field(default_factory=list)
    later: list[tuple[float, Entry]] = field(default_factory=list)
    claimed: list[Entry] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    lease_seconds: float = inf
    leases: dict[int, float] = field(default_factory=dict)
    """When the lease of each key ends."""

    def all(self) -> list[Entry]:
        return [*self.new, *(entry for _, entry in self.later), *self.claimed]

    def is_full(self, size: int) -> bool:
        bodies = [entry.body for entry in self.all()]
        return len(bodies) >= MAX_EVENTS or len(b"".join(bodies)) + size > MAX_BYTES

    def claim(self, limit: int, now: float, newest: int) -> list[Entry]:
        reserved = self.new[len(self.new) - min(limit, newest, len(self.new)) :]
        others = self.new[: len(self.new) - len(reserved)]
        overdue = [(self.leases[entry.key], entry) for entry in self.claimed]
        retries = [entry for due, entry in sorted(self.later + overdue) if due <= now]
        entries = [*(retries + others)[: limit - len(reserved)], *reserved]
        self.new = [entry for entry in self.new if entry not in entries]
        self.later = [(due, entry) for due, entry in self.later if entry not in entries]
        self.claimed = [entry for entry in self.claimed if entry not in entries] + entries
        lease_end = now + self.lease_seconds
        self.leases.update((entry.key, lease_end) for entry in entries)
        return entries

    def end(self) -> None:
        """Of a process: what it has claimed is due again when its lease ends."""
        self.later += [(self.leases[entry.key], entry) for entry in self.claimed]
        self.claimed.clear()

    def next_due(self, now: float) -> float | None:
        dues = [due for due, _ in self.later] + [now for _ in self.new]
        return max(now, min(dues)) if dues else None

    def oldest_untried(self) -> int | None:
        return min((entry.key for entry in self.all() if not entry.attempts), default=None)


class Machine(RuleBasedStateMachine):
    """Does to a buffer and to the model the same things, in any order."""

    def __init__(self, open_buffer: Callable[[], Buffer]) -> None:
        super().__init__()
        self.open_buffer = open_buffer
        self.buffer = open_buffer()
        self.model = Model()
        self.held: list[Entry] = []
        """The claims as the buffer gave them."""
        self.stale: list[Entry] = []
        """Claims that were settled."""
        self.now = NOW
        self.last_key = 0
        self.accepted = self.acknowledged = 0

    @rule(id=st.sampled_from("abc"), body=st.binary(max_size=8))
    def put(self, id: str, body: bytes) -> None:
        is_full = self.model.is_full(len(body))
        assert self.buffer.put(id, "HOME", body, self.now) == ("full" if is_full else None)
        if not is_full:
            self.accepted += 1
            self.model.new.append(Entry(self.next_key(), id, "HOME", body, self.now))

    @rule(limit=st.integers(0, 4), newest=st.integers(0, 2))
    def claim(self, limit: int, newest: int) -> None:
        entries = self.buffer.claim(limit, self.now, newest)
        assert [bare(e) for e in entries] == self.model.claim(limit, self.now, newest)
        keys = {entry.key for entry in entries}
        self.stale += [entry for entry in self.held if entry.key in keys]
        self.held = [entry for entry in self.held if entry.key not in keys] + entries

    def let_go(self, data: st.DataObject) -> Entry:
        """One of the claims, which is to be settled now."""
        entry = data.draw(st.sampled_from(self.held))
        self.held.remove(entry)
        self.model.claimed.remove(bare(entry))
        self.stale.append(entry)
        return entry

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        assert self.buffer.ack(self.let_go(data))
        self.acknowledged += 1

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        delay=st.integers(-2, 5),
        attempts=st.integers(0, 3),
        strikes=st.integers(0, 3),
    )
    def retry(self, data: st.DataObject, delay: int, attempts: int, strikes: int) -> None:
        entry = self.let_go(data)
        due = self.now + delay
        assert self.buffer.retry(entry, due, attempts=attempts, strikes=strikes)
        given_back = bare(entry)._replace(attempts=attempts, strikes=strikes)
        self.model.later.append((due, given_back))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), status=st.sampled_from([None, 400]))
    def bury(self, data: st.DataObject, status: int | None) -> None:
        entry = self.let_go(data)
        assert self.buffer.bury(DeadLetter(entry, "rejected", status, "no", self.now))
        self.model.dead.append(DeadLetter(bare(entry), "rejected", status, "no", self.now))

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), how=st.sampled_from(["ack", "retry", "bury"]))
    def settle_what_is_not_held(self, data: st.DataObject, how: str) -> None:
        entry = data.draw(st.sampled_from(self.stale))
        if how == "ack":
            assert not self.buffer.ack(entry)
        elif how == "retry":
            assert not self.buffer.retry(entry, self.now, attempts=9, strikes=9)
        else:
            assert not self.buffer.bury(DeadLetter(entry, "stale", None, "", self.now))

    @precondition(lambda self: self.model.dead)
    @rule(ids=st.none() | st.sets(st.sampled_from("abc")))
    def resend(self, ids: set[str] | None) -> None:
        resent = [each for each in self.model.dead if ids is None or each.entry.id in ids]
        before = self.last_key
        assert self.buffer.resend(ids, self.now) == len(resent)
        self.last_key = self.buffer.state().last_key
        self.model.dead = [each for each in self.model.dead if each not in resent]
        keys = range(before + 1, before + 1 + len(resent))
        self.model.new += [
            each.entry._replace(key=key, accepted_at=self.now, attempts=0, strikes=0)
            for key, each in zip(keys, resent, strict=True)
        ]

    @rule(seconds=st.integers(1, 5))
    def let_time_pass(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def its_state_is_true(self) -> None:
        state = self.buffer.state()
        assert state.waiting == len(self.model.new) + len(self.model.later)
        assert state.claimed == len(self.model.claimed)
        assert state.dead == len(self.model.dead)
        assert state.last_key == self.last_key
        assert state.oldest_untried == self.model.oldest_untried()
        due = state.next_due
        assert (None if due is None else max(self.now, due)) == self.model.next_due(self.now)

    @invariant()
    def its_dead_letters_are_the_models(self) -> None:
        letters = self.buffer.dead_letters()
        assert [each._replace(entry=bare(each.entry)) for each in letters] == self.model.dead

    @invariant()
    def nothing_vanishes(self) -> None:
        assert self.accepted == self.acknowledged + len(self.model.dead) + len(self.model.all())

    def next_key(self) -> int:
        """The key of what was just put: a new one, greater than all before it."""
        key = self.buffer.state().last_key
        assert key > self.last_key
        self.last_key = key
        return key

    def teardown(self) -> None:
        lost = [bare(entry) for entry in self.buffer.close()]
        assert sorted(lost) == ([] if self.buffer.is_durable else sorted(self.model.all()))


class DurableMachine(Machine):
    """Ends processes as well, in order or not, and has others go on."""

    def __init__(self, open_buffer: Callable[[], Buffer]) -> None:
        super().__init__(open_buffer)
        self.model.lease_seconds = LEASE_SECONDS

    def go_on(self) -> None:
        """As another process; what the one before held is settled by nobody."""
        self.model.end()
        self.held.clear()
        self.buffer = self.open_buffer()
        assert self.buffer.claim(0, self.now) == []  # now it knows the time

    @rule()
    def reopen(self) -> None:
        assert self.buffer.close() == []
        self.go_on()

    @rule()
    def crash(self) -> None:
        self.go_on()

    @rule()
    def let_leases_end(self) -> None:
        self.now += LEASE_SECONDS


def run_machine(machine: type[Machine]) -> None:
    """Do anything, in any order."""
    run_state_machine_as_test(
        machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
    )


def test_a_buffer_in_memory_is_its_model() -> None:
    """Whatever is done to a buffer in memory, in any order, it answers as the model does."""

    class InMemory(Machine):
        def __init__(self) -> None:
            super().__init__(lambda: MemoryBuffer(MAX_EVENTS, MAX_BYTES))

    run_machine(InMemory)


@pytest.mark.timeout(600)
def test_a_buffer_in_a_file_is_its_model(tmp_path: Path) -> None:
    """Whatever is done to a buffer in a file, crashes included, it answers as the model does."""
    numbers = count()

    class InFile(DurableMachine):
        def __init__(self) -> None:
            self.stack = ExitStack()
            self.path = tmp_path / f"{next(numbers)}.db"
            super().__init__(self.open_one)

        def open_one(self) -> Buffer:
            buffer = SqliteBuffer(
                self.path,
                target="t",
                max_events=MAX_EVENTS,
                max_bytes=MAX_BYTES,
                lease_seconds=LEASE_SECONDS,
            )
            self.stack.callback(buffer.close)
            return buffer

        def teardown(self) -> None:
            super().teardown()
            self.stack.close()

    run_machine(InFile)

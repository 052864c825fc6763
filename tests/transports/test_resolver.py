"""Names are looked up within a deadline, and threads that wait for the same name share a lookup."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from amplitude_moloco.transports.resolver import Resolver

LONG = 30.0
"""Seconds after which a wait in a test has failed."""


class Lookups:
    """Stands in for the system's resolver. Each lookup waits until it is allowed to end."""

    def __init__(self) -> None:
        self.count = 0
        self.error: OSError | None = None
        self.may_end = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.count += 1
        self.threads.append(threading.current_thread())
        assert self.may_end.wait(LONG)
        if self.error:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", port))]

    def end(self) -> None:
        """Let those that wait end, and wait for it."""
        self.may_end.set()
        for thread in self.threads:
            thread.join(LONG)


class Deadline(float):
    """A deadline that calls a function when somebody begins to wait for it."""

    on_wait: Callable[[], object]

    def __sub__(self, other: float) -> float:
        self.on_wait()
        return float(self) - other


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Lookups:
    found = Lookups()
    monkeypatch.setattr(socket, "getaddrinfo", found)
    return found


def in_time() -> float:
    return time.monotonic() + LONG


def test_a_late_answer_serves_the_next_request(lookups: Lookups) -> None:
    """An answer that came too late serves the next lookup, once."""
    resolver = Resolver()
    with pytest.raises(TimeoutError):
        resolver.resolve("shop.example", 443, 0.0)
    lookups.end()
    assert resolver.resolve("shop.example", 443, in_time())[0][4] == ("192.0.2.1", 443)
    assert lookups.count == 1
    resolver.resolve("shop.example", 443, in_time())
    assert lookups.count == 2


def test_a_late_refusal_serves_no_request(lookups: Lookups) -> None:
    """A lookup that failed too late for its request is done again for the next one."""
    resolver = Resolver()
    with pytest.raises(TimeoutError):
        resolver.resolve("shop.example", 443, 0.0)
    lookups.error = socket.gaierror(socket.EAI_AGAIN, "try again")
    lookups.end()
    lookups.error = None
    assert resolver.resolve("shop.example", 443, in_time())
    assert lookups.count == 2


def test_threads_that_ask_for_the_same_name_share_one_lookup(lookups: Lookups) -> None:
    """However many threads wait for one name, it is looked up once."""
    resolver, waiting = Resolver(), threading.Semaphore(0)
    results: list[Any] = []

    def ask() -> None:
        deadline = Deadline(in_time())
        deadline.on_wait = waiting.release
        results.append(resolver.resolve("shop.example", 443, deadline))

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert waiting.acquire(timeout=LONG)
    lookups.end()
    for thread in threads:
        thread.join(LONG)
    assert len(results) == 5
    assert lookups.count == 1

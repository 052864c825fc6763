"""The daemon threads of an engine."""

from __future__ import annotations

import threading

from support.engines import UnstartableThread

from amplitude_moloco.engine.threads import Threads

LONG = 60.0
"""Seconds after which a wait in a test has failed."""


def test_no_more_threads_run_than_are_allowed() -> None:
    """Starting one more, where enough run, starts none and says that all is well."""
    go_on = threading.Event()
    threads = Threads(go_on.wait, most=2, name="test", new_thread=threading.Thread)
    assert not threads
    assert [threads.start_one() for _ in range(4)] == [True] * 4
    running = [thread for thread in threading.enumerate() if thread.name == "test"]
    assert len(running) == 2
    assert all(thread.daemon for thread in running)
    go_on.set()
    threads.join(LONG)
    assert not threads


def test_a_thread_that_cannot_be_started_does_not_count() -> None:
    """Where no thread can be started, that is reported, and none is taken for running."""
    threads = Threads(lambda: None, most=1, name="test", new_thread=UnstartableThread)
    assert [threads.start_one(), threads.start_one()] == [False, False]
    assert not threads
    threads.join(LONG)


def test_a_thread_does_not_wait_for_itself() -> None:
    """A join from one of the threads waits for the others alone."""
    is_done = threading.Event()

    def run() -> None:
        threads.join(LONG)
        is_done.set()

    threads = Threads(run, most=1, name="test", new_thread=threading.Thread)
    threads.start_one()
    assert is_done.wait(LONG / 2)

"""A process that claims nothing shares what it holds: it moves into the file."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from support.sqlite_buffers import LONG, OpenBuffer, bury, claim, dead, put, resend_all


def test_others_claim_what_is_shared(open_buffer: OpenBuffer) -> None:
    """What a living process has put can be claimed by another one once it was shared."""
    app, relay = open_buffer(), open_buffer()
    put(app, "a", "b")
    assert claim(relay) == []
    assert app.share()
    assert claim(relay) == ["a", "b"]
    assert claim(app) == []


def test_thousands_are_shared_in_their_order(open_buffer: OpenBuffer) -> None:
    """More than fits into one transaction is shared, oldest first."""
    app, relay = open_buffer(), open_buffer()
    ids = [str(number) for number in range(5000)]
    put(app, *ids)
    assert app.share()
    assert claim(relay, 10_000) == ids


def test_what_is_resent_is_shared(open_buffer: OpenBuffer) -> None:
    """Dead letters that a process has sent again are for others to send."""
    app, relay = open_buffer(), open_buffer()
    bury(app, "a")
    assert resend_all(app) == 1
    assert app.share()
    assert dead(relay) == []
    assert claim(relay) == ["a"]


def test_sharing_ends_while_events_keep_coming(open_buffer: OpenBuffer) -> None:
    """What is put while others are being shared waits for the next time."""
    app, is_over = open_buffer(), threading.Event()

    def keep_putting() -> None:
        while not is_over.is_set():
            app.put("a", "HOME", b"body")

    thread = threading.Thread(target=keep_putting)
    thread.start()
    try:
        assert all(app.share() for _ in range(3))
    finally:
        is_over.set()
        thread.join(LONG)


def test_nothing_to_share_is_shared(open_buffer: OpenBuffer) -> None:
    """An empty buffer, and one that is closed, have nothing left to share."""
    app = open_buffer()
    assert app.share()
    app.close()
    assert app.share()


def test_a_locked_file_is_shared_with_later(open_buffer: OpenBuffer, path: Path) -> None:
    """While another program holds the file's lock nothing is lost, and it is done afterwards."""
    app = open_buffer()
    put(app, "a")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not app.share()
        other.execute("ROLLBACK")
    assert app.share()
    assert claim(open_buffer()) == ["a"]

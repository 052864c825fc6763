"""What is in the file of a SqliteBuffer. Nothing in it needs a SQLite newer than 3.9 (2015).

With these triggers every change is a single statement, atomic by itself. So SQLite's lock is never
held from one statement to the next, while Python may be busy with another thread for long.
"""

from __future__ import annotations

APPLICATION_ID = 0x4D4F4C42  # "MOLB"
MIGRATIONS = (
    """
    -- Kept by triggers, in the transaction of the change, so that nobody has to count rows.
    CREATE TABLE totals (
        target TEXT NOT NULL, last_key INTEGER NOT NULL DEFAULT 0,
        events INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0, dead_bytes INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE events (
        key INTEGER PRIMARY KEY,
        due REAL NOT NULL,  -- 0 while new; then the end of the lease, or the next attempt
        was_due REAL NOT NULL,  -- before the lease
        token INTEGER,  -- of the claim; NULL while it is nobody's
        attempts INTEGER NOT NULL, strikes INTEGER NOT NULL, accepted_at REAL NOT NULL,
        id TEXT NOT NULL, sync TEXT NOT NULL, body BLOB NOT NULL
    );
    CREATE INDEX events_due ON events (due);
    CREATE INDEX events_untried ON events (key) WHERE attempts = 0 AND due > 0;
    CREATE TRIGGER event_in AFTER INSERT ON events BEGIN
        UPDATE totals SET
            events = events + 1, bytes = bytes + length(NEW.body), last_key = NEW.key;
    END;
    CREATE TRIGGER event_out AFTER DELETE ON events BEGIN
        UPDATE totals SET events = events - 1, bytes = bytes - length(OLD.body);
    END;

    -- Who becomes a dead letter is no event any more, and the other way round.
    CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT, resent_at REAL,
        key INTEGER NOT NULL, attempts INTEGER NOT NULL, strikes INTEGER NOT NULL,
        accepted_at REAL NOT NULL, buried_at REAL NOT NULL, status INTEGER, reason TEXT NOT NULL,
        message TEXT NOT NULL, id TEXT NOT NULL, sync TEXT NOT NULL, body BLOB NOT NULL
    );
    CREATE TRIGGER dead_in AFTER INSERT ON dead_letters BEGIN
        DELETE FROM events WHERE key = NEW.key;
        UPDATE totals SET dead = dead + 1, dead_bytes = dead_bytes + length(NEW.body);
    END;
    CREATE TRIGGER dead_resent AFTER UPDATE OF resent_at ON dead_letters BEGIN
        INSERT INTO events
            SELECT last_key + 1, 0, 0, NULL, 0, 0, NEW.resent_at, NEW.id, NEW.sync, NEW.body
            FROM totals;
        DELETE FROM dead_letters WHERE number = NEW.number;
    END;
    CREATE TRIGGER dead_out AFTER DELETE ON dead_letters BEGIN
        UPDATE totals SET dead = dead - 1, dead_bytes = dead_bytes - length(OLD.body);
    END;
    """,
)
"""How each version of the schema becomes the next, the first out of nothing. Only appended to."""

RECOUNT = """UPDATE totals SET
    last_key = max(last_key, (SELECT coalesce(max(key), 0) FROM events)),
    events = (SELECT count(*) FROM events),
    bytes = (SELECT coalesce(sum(length(body)), 0) FROM events),
    dead = (SELECT count(*) FROM dead_letters),
    dead_bytes = (SELECT coalesce(sum(length(body)), 0) FROM dead_letters)"""

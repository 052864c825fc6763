"""The schema of a SqliteBuffer's file. It needs SQLite 3.9 (2015) or newer.

With these triggers every change is a single, atomic statement. So SQLite's lock is never held
between statements, while Python may be busy with another thread for long.
"""

from __future__ import annotations

APPLICATION_ID = 0x4D4F4C42  # "MOLB"
MIGRATIONS = (
    """
    -- How many of all keys ever given, and of all bytes ever stored, are gone. With these, no rows
    -- have to be counted, and a put writes nothing here. Triggers keep them, in the transaction of
    -- the change.
    CREATE TABLE totals (
        target TEXT NOT NULL,
        last_key INTEGER NOT NULL DEFAULT 0, last_bytes INTEGER NOT NULL DEFAULT 0,
        gone INTEGER NOT NULL DEFAULT 0, gone_bytes INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0, dead_bytes INTEGER NOT NULL DEFAULT 0
    );

    -- Entries that were never claimed. No index, and as small as possible.
    CREATE TABLE fresh (
        key INTEGER PRIMARY KEY,
        all_bytes INTEGER NOT NULL,  -- of all bodies ever put, up to this one
        accepted_at REAL NOT NULL, id TEXT NOT NULL, sync TEXT NOT NULL, body BLOB NOT NULL
    );
    CREATE TRIGGER fresh_out AFTER DELETE ON fresh BEGIN
        UPDATE totals SET
            last_key = max(last_key, OLD.key), last_bytes = max(last_bytes, OLD.all_bytes);
    END;
    CREATE VIEW counted AS SELECT
        target, dead, dead_bytes,
        max(last_key, coalesce(key, 0)) AS last_key,
        max(last_bytes, coalesce(all_bytes, 0)) AS last_bytes,
        max(last_key, coalesce(key, 0)) - gone AS events,
        max(last_bytes, coalesce(all_bytes, 0)) - gone_bytes AS bytes
        FROM totals LEFT JOIN fresh ON key = (SELECT max(key) FROM fresh);

    -- All other entries: on their way, or waiting for another attempt.
    CREATE TABLE claimed (
        key INTEGER PRIMARY KEY,
        due REAL NOT NULL,  -- the end of the lease, or the next attempt
        was_due REAL NOT NULL,  -- before the lease; 0 if it was fresh
        token INTEGER,  -- of the claim; NULL while unclaimed
        attempts INTEGER NOT NULL, strikes INTEGER NOT NULL, accepted_at REAL NOT NULL,
        id TEXT NOT NULL, sync TEXT NOT NULL, body BLOB NOT NULL
    );
    CREATE INDEX claimed_due ON claimed (due);
    CREATE INDEX claimed_untried ON claimed (key) WHERE attempts = 0;
    CREATE TRIGGER claimed_in AFTER INSERT ON claimed BEGIN
        DELETE FROM fresh WHERE key = NEW.key;
    END;
    CREATE TRIGGER claimed_out AFTER DELETE ON claimed BEGIN
        UPDATE totals SET gone = gone + 1, gone_bytes = gone_bytes + length(OLD.body);
    END;

    -- A row is either a dead letter or an entry, never both.
    CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT, resent_at REAL,
        key INTEGER NOT NULL, attempts INTEGER NOT NULL, strikes INTEGER NOT NULL,
        accepted_at REAL NOT NULL, buried_at REAL NOT NULL, status INTEGER, reason TEXT NOT NULL,
        message TEXT NOT NULL, id TEXT NOT NULL, sync TEXT NOT NULL, body BLOB NOT NULL
    );
    CREATE TRIGGER dead_in AFTER INSERT ON dead_letters BEGIN
        DELETE FROM claimed WHERE key = NEW.key;
        UPDATE totals SET dead = dead + 1, dead_bytes = dead_bytes + length(NEW.body);
    END;
    CREATE TRIGGER dead_resent AFTER UPDATE OF resent_at ON dead_letters BEGIN
        INSERT INTO fresh
            SELECT last_key + 1, last_bytes + length(NEW.body), NEW.resent_at, NEW.id, NEW.sync,
                NEW.body
            FROM counted;
        DELETE FROM dead_letters WHERE number = NEW.number;
    END;
    CREATE TRIGGER dead_out AFTER DELETE ON dead_letters BEGIN
        UPDATE totals SET dead = dead - 1, dead_bytes = dead_bytes - length(OLD.body);
    END;
    """,
)
"""Turns each version of the schema into the next, starting from an empty file. Only append."""

RECOUNT = (
    """UPDATE totals SET
        last_key = max(last_key, (SELECT coalesce(max(key), 0) FROM claimed)),
        dead = (SELECT count(*) FROM dead_letters),
        dead_bytes = (SELECT coalesce(sum(length(body)), 0) FROM dead_letters)""",
    """UPDATE totals SET
        gone = (SELECT last_key FROM counted)
            - (SELECT count(*) FROM fresh) - (SELECT count(*) FROM claimed),
        gone_bytes = (SELECT last_bytes FROM counted)
            - (SELECT coalesce(sum(length(body)), 0) FROM fresh)
            - (SELECT coalesce(sum(length(body)), 0) FROM claimed)""",
)

-- As release 0.1.0 writes it. Never changed: what is in users' files isn't, either.
BEGIN TRANSACTION;
CREATE TABLE claimed (
        key INTEGER PRIMARY KEY,
        due REAL NOT NULL,  -- the end of the lease, or the next attempt
        was_due REAL NOT NULL,  -- before the lease; 0 if it was fresh
        token INTEGER,  -- of the claim; NULL while it is nobody's
        attempts INTEGER NOT NULL, strikes INTEGER NOT NULL, accepted_at REAL NOT NULL,
        id TEXT NOT NULL, sync TEXT NOT NULL, body BLOB NOT NULL
    );
INSERT INTO "claimed" VALUES(2,1700000005.0,0.0,NULL,2,1,1700000000.0,'tried','HOME',X'7B7D');
INSERT INTO "claimed" VALUES(3,1700000060.0,0.0,69085248357541066,0,0,1700000000.0,'claimed','HOME',X'7B7D');
CREATE TABLE dead_letters (
        number INTEGER PRIMARY KEY AUTOINCREMENT, resent_at REAL,
        key INTEGER NOT NULL, attempts INTEGER NOT NULL, strikes INTEGER NOT NULL,
        accepted_at REAL NOT NULL, buried_at REAL NOT NULL, status INTEGER, reason TEXT NOT NULL,
        message TEXT NOT NULL, id TEXT NOT NULL, sync TEXT NOT NULL, body BLOB NOT NULL
    );
INSERT INTO "dead_letters" VALUES(1,NULL,1,1,0,1700000000.0,1700000000.0,400,'rejected','missing page_id','dead','HOME',X'7B7D');
CREATE TABLE fresh (
        key INTEGER PRIMARY KEY,
        all_bytes INTEGER NOT NULL,  -- of all bodies ever put, up to this one
        accepted_at REAL NOT NULL, id TEXT NOT NULL, sync TEXT NOT NULL, body BLOB NOT NULL
    );
INSERT INTO "fresh" VALUES(4,262,1700000000.0,'new 가격','SEARCH',X'000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF');
CREATE TABLE totals (
        target TEXT NOT NULL,
        last_key INTEGER NOT NULL DEFAULT 0, last_bytes INTEGER NOT NULL DEFAULT 0,
        gone INTEGER NOT NULL DEFAULT 0, gone_bytes INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0, dead_bytes INTEGER NOT NULL DEFAULT 0
    );
INSERT INTO "totals" VALUES('https://mcm.test|SHOP',3,6,1,2,1,2);
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
CREATE INDEX claimed_due ON claimed (due);
CREATE INDEX claimed_untried ON claimed (key) WHERE attempts = 0;
CREATE TRIGGER claimed_in AFTER INSERT ON claimed BEGIN
        DELETE FROM fresh WHERE key = NEW.key;
    END;
CREATE TRIGGER claimed_out AFTER DELETE ON claimed BEGIN
        UPDATE totals SET gone = gone + 1, gone_bytes = gone_bytes + length(OLD.body);
    END;
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
COMMIT;
PRAGMA user_version = 1;
PRAGMA application_id = 1297042498;

-- What nodes follow. One text for SQLite and PostgreSQL.

CREATE TABLE policy_lock (
    id      TEXT PRIMARY KEY,
    -- JSON, as nodes have it.
    target  TEXT NOT NULL,
    reason  TEXT NOT NULL,
    -- Unix seconds; none: until it is taken away.
    until   BIGINT,
    created BIGINT NOT NULL
);

-- The JSON of what stood in the files of the authority that read them last: of a version, all show the same.
CREATE TABLE policy_rules (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL
);

-- The end of the last certificate, Unix seconds: a person who is removed stays locked until then.
ALTER TABLE person ADD COLUMN certified_until BIGINT NOT NULL DEFAULT 0;

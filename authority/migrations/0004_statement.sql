-- What all authorities that share this storage know and nobody else.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Statements of where somebody is that have been used; until they would not count any more anyway.
CREATE TABLE used_statement (
    id      TEXT PRIMARY KEY,
    -- Unix seconds.
    ends_at BIGINT NOT NULL
);

-- One text for SQLite and PostgreSQL.

CREATE TABLE person (
    name       TEXT PRIMARY KEY,
    -- argon2id in PHC form; none: nobody can log in by password.
    password   TEXT,
    -- The second factor's shared secret in base32.
    totp       TEXT,
    -- The last step of the second factor that was used: no code counts twice.
    totp_step  BIGINT NOT NULL DEFAULT 0,
    -- JSON arrays.
    roles      TEXT NOT NULL,
    logins     TEXT NOT NULL,
    locked     BIGINT NOT NULL DEFAULT 0,
    -- Unix seconds.
    created_at BIGINT NOT NULL
);

CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

-- Of the last certificate.
INSERT INTO counter (name, value) VALUES ('serial', 0);
-- Of what agents follow.
INSERT INTO counter (name, value) VALUES ('policy', 1);

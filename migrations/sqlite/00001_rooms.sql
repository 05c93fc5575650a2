-- +goose Up
CREATE TABLE rooms (
    id           TEXT PRIMARY KEY,
    title        TEXT NOT NULL,
    language     TEXT NOT NULL,
    locked       INTEGER NOT NULL DEFAULT 0,
    runs_enabled INTEGER NOT NULL DEFAULT 1,
    ended        INTEGER NOT NULL DEFAULT 0,
    open         INTEGER NOT NULL DEFAULT 0, -- anybody may enter without a token
    created_at   INTEGER NOT NULL            -- all times: microseconds since 1970, UTC
) STRICT;

CREATE TABLE room_tokens (
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    role    TEXT NOT NULL CHECK (role IN ('host', 'guest', 'viewer')),
    hash    BLOB NOT NULL,
    PRIMARY KEY (room_id, role)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_tokens (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;

-- The log of a room's document. It is only ever appended to: snapshots make
-- loading fast, the log stays for history.
CREATE TABLE updates (
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    author  TEXT NOT NULL,
    data    BLOB NOT NULL,
    PRIMARY KEY (room_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    room_id TEXT PRIMARY KEY REFERENCES rooms (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL, -- of the last update in it
    data    BLOB NOT NULL     -- the encoded document, zstd
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    room_id     TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    number      INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('queued', 'running', 'finished')),
    doc_seq     INTEGER NOT NULL, -- the last update in its snapshot of the document
    created_at  INTEGER NOT NULL,
    record      TEXT NOT NULL,    -- the whole run as JSON, as callers see it
    PRIMARY KEY (room_id, number)
) STRICT, WITHOUT ROWID;

CREATE INDEX runs_unfinished ON runs (state) WHERE state <> 'finished';

CREATE TABLE run_output (
    room_id TEXT NOT NULL,
    number  INTEGER NOT NULL,
    seq     INTEGER NOT NULL, -- order of reading, all streams together
    stream  INTEGER NOT NULL, -- 1 stdout, 2 stderr, 3 terminal
    data    BLOB NOT NULL,
    PRIMARY KEY (room_id, number, seq),
    FOREIGN KEY (room_id, number) REFERENCES runs (room_id, number) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id      INTEGER PRIMARY KEY,
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    at      INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    data    TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_room ON events (room_id, id);

-- +goose Down
DROP TABLE events;
DROP TABLE run_output;
DROP TABLE runs;
DROP TABLE snapshots;
DROP TABLE updates;
DROP TABLE api_tokens;
DROP TABLE room_tokens;
DROP TABLE rooms;

-- +goose Up
-- What a room's document was when its history begins: the updates up to seq, folded into one
-- state and deleted, as they were older than history is kept.
CREATE TABLE bases (
    room_id TEXT PRIMARY KEY REFERENCES rooms (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL, -- of the last update in it
    at      INTEGER NOT NULL, -- of the latest update in it
    data    BLOB NOT NULL     -- the encoded document, zstd
) STRICT, WITHOUT ROWID;

-- By it events that are older than they are kept are found.
CREATE INDEX events_by_time ON events (at);

-- +goose Down
DROP INDEX events_by_time;
-- Without their bases documents would lack what was folded.
DROP TABLE bases;

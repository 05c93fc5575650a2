-- +goose Up
-- What a host defines to test a room's programs with.
CREATE TABLE test_cases (
    room_id  TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    position INTEGER NOT NULL, -- from 0, in the host's order
    id       TEXT NOT NULL,
    record   TEXT NOT NULL,    -- the whole case as JSON, as hosts see it
    PRIMARY KEY (room_id, position),
    UNIQUE (room_id, id)
) STRICT;

-- What became of each case of a run of them, whatever became of the case later.
CREATE TABLE test_results (
    room_id TEXT NOT NULL,
    number  INTEGER NOT NULL,
    seq     INTEGER NOT NULL, -- from 0, in the order in which they ended
    record  TEXT NOT NULL,    -- the result as JSON, as hosts see it, without what was printed
    stdout  TEXT NOT NULL,    -- which JSON might make six times as long
    stderr  TEXT NOT NULL,
    PRIMARY KEY (room_id, number, seq),
    FOREIGN KEY (room_id, number) REFERENCES runs (room_id, number) ON DELETE CASCADE
) STRICT;

-- +goose Down
DROP TABLE test_results;
DROP TABLE test_cases;

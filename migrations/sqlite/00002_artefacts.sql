-- +goose Up
-- Files that programs left to be kept, which people may look at.
CREATE TABLE run_artefacts (
    room_id TEXT NOT NULL,
    number  INTEGER NOT NULL,
    path    TEXT NOT NULL,
    data    BLOB NOT NULL,
    PRIMARY KEY (room_id, number, path),
    FOREIGN KEY (room_id, number) REFERENCES runs (room_id, number) ON DELETE CASCADE
) STRICT;

-- +goose Down
DROP TABLE run_artefacts;

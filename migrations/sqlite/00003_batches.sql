-- +goose Up
-- A row may hold the updates seq-n+1 to seq of a room, which were stored at once. Then data
-- is, for each: varuint microseconds after at, varuint length and author, varuint length and
-- update.
ALTER TABLE updates ADD COLUMN n INTEGER NOT NULL DEFAULT 1;

-- State vectors of documents that were deleted, of rooms whose name can be used again: by
-- them a client that still has the old document is told.
CREATE TABLE past_documents (
    id           INTEGER PRIMARY KEY,
    room_id      TEXT NOT NULL,
    deleted_at   INTEGER NOT NULL,
    state_vector BLOB NOT NULL
) STRICT;

CREATE INDEX past_documents_by_room ON past_documents (room_id, id);

-- +goose Down
DROP TABLE past_documents;
-- Rows that hold several updates cannot be told from others after this.
ALTER TABLE updates DROP COLUMN n;

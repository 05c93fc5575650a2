-- +goose Up
-- The private notes of a room's hosts are a document like any other: a row here, which belongs
-- to the room that it names and goes with it.
ALTER TABLE rooms ADD COLUMN notes_of TEXT REFERENCES rooms (id) ON DELETE CASCADE;

CREATE UNIQUE INDEX notes_of_room ON rooms (notes_of) WHERE notes_of IS NOT NULL;

-- +goose Down
DELETE FROM rooms WHERE notes_of IS NOT NULL;
DROP INDEX notes_of_room;
ALTER TABLE rooms DROP COLUMN notes_of;

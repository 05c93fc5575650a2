-- +goose Up
-- Nobody edits but who drives.
ALTER TABLE rooms ADD COLUMN driver_only INTEGER NOT NULL DEFAULT 0;

-- By it the last messages of a room's chat are found.
CREATE INDEX events_of_chat ON events (room_id, id) WHERE kind = 'chat';

-- +goose Down
DROP INDEX events_of_chat;
ALTER TABLE rooms DROP COLUMN driver_only;

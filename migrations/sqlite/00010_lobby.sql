-- +goose Up
-- Guests and viewers wait until a host starts the room.
ALTER TABLE rooms ADD COLUMN lobby INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE rooms DROP COLUMN lobby;

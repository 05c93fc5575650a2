-- +goose Up
-- Nobody edits but who drives.
ALTER TABLE rooms ADD COLUMN driver_only INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE rooms DROP COLUMN driver_only;

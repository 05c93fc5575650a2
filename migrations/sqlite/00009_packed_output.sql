-- +goose Up
-- Output is packed with zstd where that makes it smaller; size is then what it unpacks to, in
-- bytes, and else 0.
ALTER TABLE run_output ADD COLUMN size INTEGER NOT NULL DEFAULT 0;

-- +goose Down
-- An older version cannot unpack.
UPDATE run_output SET data = CAST('[packed by a newer version]' AS BLOB) WHERE size > 0;
ALTER TABLE run_output DROP COLUMN size;

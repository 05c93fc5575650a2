-- +goose Up
-- When the first byte of a row was read, and where in its stream it is: by them what a program
-- printed is shown again as it came.
ALTER TABLE run_output ADD COLUMN at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE run_output ADD COLUMN first INTEGER NOT NULL DEFAULT 0;
UPDATE run_output SET
    at = (SELECT created_at FROM runs r WHERE r.room_id = run_output.room_id AND r.number = run_output.number),
    first = (SELECT COALESCE(SUM(LENGTH(o.data)), 0) FROM run_output o
        WHERE o.room_id = run_output.room_id AND o.number = run_output.number AND o.stream = run_output.stream AND o.seq < run_output.seq);

-- By it the events of a moment are found.
CREATE INDEX events_by_moment ON events (room_id, at);

-- +goose Down
DROP INDEX events_by_moment;
ALTER TABLE run_output DROP COLUMN first;
ALTER TABLE run_output DROP COLUMN at;

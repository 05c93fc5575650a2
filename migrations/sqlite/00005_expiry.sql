-- +goose Up
-- When a token stops to open anything; NULL is never.
ALTER TABLE room_tokens ADD COLUMN expires_at INTEGER;
ALTER TABLE api_tokens ADD COLUMN expires_at INTEGER;

-- +goose Down
ALTER TABLE room_tokens DROP COLUMN expires_at;
ALTER TABLE api_tokens DROP COLUMN expires_at;

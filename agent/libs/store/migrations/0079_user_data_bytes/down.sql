ALTER TABLE instances DROP COLUMN IF EXISTS user_data_bytes;

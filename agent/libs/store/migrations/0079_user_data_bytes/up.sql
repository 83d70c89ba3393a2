-- What user data adds to a page. The data itself is kept outside its row, and whoever asks for its length reads all of it.
ALTER TABLE instances ADD COLUMN IF NOT EXISTS user_data_bytes INT UNSIGNED AS (LENGTH(user_data)) STORED;

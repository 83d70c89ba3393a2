//! Reads the oldest rows for the drainer, beside the writer.

use std::path::Path;

use uuid::Uuid;

use super::{SpoolError, files, store};

/// Payload bytes of one batch.
const MAX_BYTES: usize = 1024 * 1024;

/// A row as stored.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) sequence: i64,
    pub(crate) format: i64,
    pub(crate) payload: Vec<u8>,
    pub(crate) recorded_at: i64,
}

/// The oldest rows of one file.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The file, as the writer calls it.
    pub(crate) spool_id: Uuid,
    pub(crate) rows: Vec<Row>,
}

/// At most `limit` rows and one MiB, but always one row if there is any. The connection is opened anew each time:
/// the file may have been replaced, and an idle drainer should hold nothing open.
pub(crate) fn oldest(directory: &Path, spool_id: Uuid, limit: usize) -> Result<Batch, SpoolError> {
    let connection = store::open_reader(&directory.join(files::FILE))?;
    let mut statement = connection
        .prepare("SELECT sequence, format, payload, recorded_at FROM spool ORDER BY sequence LIMIT ?1")?;
    let mut found = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut batch = Batch { spool_id, rows: Vec::new() };
    let mut bytes = 0;
    while let Some(row) = found.next()? {
        let row = Row {
            sequence: row.get(0)?,
            format: row.get(1)?,
            payload: row.get(2)?,
            recorded_at: row.get(3)?,
        };
        bytes += row.payload.len();
        if bytes > MAX_BYTES && !batch.rows.is_empty() {
            break;
        }
        batch.rows.push(row);
    }
    Ok(batch)
}

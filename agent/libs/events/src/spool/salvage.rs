//! Reads what can still be read of a damaged file.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use uuid::Uuid;

use super::{SpoolError, store};
use crate::decode::{CURRENT_FORMAT, decode, encode};

/// What a salvage found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Salvaged {
    /// Rows put back.
    pub rows: u64,
    /// Rows found that do not decode.
    pub undecodable: u64,
}

/// Puts every row of `file` that still decodes into the spool behind `connection`, in one transaction. Identities are
/// kept, so that nothing that was sent already is stored twice.
pub(crate) fn into_connection(file: &Path, connection: &Connection) -> Result<Salvaged, SpoolError> {
    let source = store::open_reader(file)?;
    // Without the identity of the damaged file, rows of the oldest format get a new one, stable for this file name.
    let spool_id = store::spool_id(&source)
        .unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_URL, file.as_os_str().as_encoded_bytes()));
    let mut salvaged = Salvaged::default();
    let transaction = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    for (sequence, format, payload, recorded_at) in readable_rows(&source) {
        match decode(spool_id, sequence, format, &payload) {
            Ok(event) => {
                transaction
                    .prepare_cached("INSERT INTO spool (format, payload, recorded_at) VALUES (?1, ?2, ?3)")?
                    .execute((CURRENT_FORMAT, encode(&event), recorded_at))?;
                salvaged.rows += 1;
            }
            Err(_) => salvaged.undecodable += 1,
        }
    }
    transaction.commit()?;
    Ok(salvaged)
}

type RawRow = (i64, i64, Vec<u8>, i64);

/// Rows from the front until the first unreadable page, then from the back until the same: one broken page costs its
/// own rows only.
fn readable_rows(source: &Connection) -> Vec<RawRow> {
    let mut rows = until_unreadable(source, "ASC", i64::MIN);
    let last = rows.last().map_or(i64::MIN, |row| row.0);
    let mut from_back = until_unreadable(source, "DESC", last);
    from_back.reverse();
    rows.extend(from_back);
    rows
}

fn until_unreadable(source: &Connection, order: &str, above: i64) -> Vec<RawRow> {
    let sql = format!(
        "SELECT sequence, format, payload, recorded_at FROM spool WHERE sequence > {above} ORDER BY sequence {order}"
    );
    let Ok(mut statement) = source.prepare(&sql) else { return Vec::new() };
    let Ok(rows) = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
    else {
        return Vec::new();
    };
    rows.map_while(Result::ok).collect()
}

//! How long the log is: counted by one gateway a minute, known to all.

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::sql;

/// The name of the shared count.
const NAME: &str = "events-rows";
/// Seconds between counts.
const PERIOD: u32 = 60;

/// Rows of the log as of the last count. Whoever finds it old counts anew; a guarded update decides who that is.
///
/// # Errors
/// The database fails.
pub async fn sample_rows(conn: &mut Conn) -> StoreResult<u64> {
    sql("INSERT IGNORE INTO samples (name, value, sampled_at) VALUES (?, 0, UTC_TIMESTAMP(6) - INTERVAL 1 DAY)")
        .bind(NAME)
        .run(conn)
        .await?;
    let mine = sql("UPDATE samples SET sampled_at = UTC_TIMESTAMP(6) \
         WHERE name = ? AND sampled_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND")
    .bind(NAME)
    .bind(PERIOD)
    .run(conn)
    .await?;
    if mine > 0 {
        sql("UPDATE samples SET value = (SELECT COUNT(*) FROM events) WHERE name = ?")
            .bind(NAME)
            .run(conn)
            .await?;
    }
    let count: Option<i64> = sql("SELECT value FROM samples WHERE name = ?").bind(NAME).value(conn).await?;
    Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
}

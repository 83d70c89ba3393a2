//! The database's clock. Leases, claims, schedules and expiry are decided by it and never by a node's clock.

use chrono::{DateTime, Utc};

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::sql;

/// Reads the clock: the start of this statement, to the microsecond.
///
/// # Errors
/// The database does not answer.
pub async fn read(conn: &mut Conn) -> StoreResult<DateTime<Utc>> {
    let time = sql("SELECT UTC_TIMESTAMP(6) AS value").value(conn).await?;
    time.ok_or_else(|| StoreError::Corrupt("no clock".to_owned()))
}

/// Whether the server accepts no writes at present: one round trip that also says that it lives.
///
/// # Errors
/// The database does not answer.
pub async fn is_read_only(conn: &mut Conn) -> StoreResult<bool> {
    let flag: Option<i64> = sql("SELECT CAST(@@global.read_only AS SIGNED) AS value").value(conn).await?;
    flag.map(|flag| flag != 0).ok_or_else(|| StoreError::Corrupt("no answer about read_only".to_owned()))
}

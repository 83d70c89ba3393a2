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

//! Removing many rows a few at a time: no transaction holds more locks than others can wait for.

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::{Sql, sql};

/// Deletes the rows of `table` that meet `condition`, at most `limit` of them, and says how many there were: with as many
/// as `limit` there may be more.
pub(crate) async fn delete_some(
    conn: &mut Conn,
    table: &str,
    condition: Sql,
    limit: u64,
) -> StoreResult<u64> {
    let delete = sql(format!("DELETE FROM {table} WHERE ")).append(condition).push(" LIMIT ?").bind(limit);
    Ok(delete.run(conn).await? as u64)
}

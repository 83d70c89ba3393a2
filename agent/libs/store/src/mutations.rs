//! The memory of recent mutations: a call that is repeated gets the reply of the first attempt and has no second effect.

use sf_model::MutationId;

use crate::bounded::delete_some;
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{Bind, sql};

/// Rows removed by one pruning transaction.
const PRUNE_CHUNK: u64 = 2_000;
/// Minutes a reply is remembered; far longer than any caller repeats a call.
const KEPT_MINUTES: u64 = 15;

/// Notes that a mutation begins. To be the first statement of its transaction: an attempt that runs at the same moment
/// waits here for the outcome of the other one. `Some`: the encoded reply of an attempt that committed.
///
/// # Errors
/// Those of the database; [`StoreError::Invalid`] when the id was used for another call.
pub async fn begin(conn: &mut Conn, id: MutationId, rpc: &str) -> StoreResult<Option<Vec<u8>>> {
    let insert = sql(
        "INSERT INTO mutation_log (mutation_id, rpc, reply, created_at) VALUES (?, ?, '', UTC_TIMESTAMP(6))",
    )
    .bind(id.as_uuid())
    .bind(rpc)
    .run(conn)
    .await;
    match insert {
        Ok(_) => return Ok(None),
        Err(error) if error.is_duplicate() => {}
        Err(error) => return Err(error),
    }
    let same: Option<Vec<u8>> =
        sql("SELECT reply AS value FROM mutation_log WHERE mutation_id = ? AND rpc = ?")
            .bind(id.as_uuid())
            .bind(rpc)
            .value(conn)
            .await?;
    same.map(Some).ok_or_else(|| StoreError::invalid(format!("mutation id {id} was used for another call")))
}

/// Stores the reply that repeated attempts get.
///
/// # Errors
/// Those of the database.
pub async fn finish(conn: &mut Conn, id: MutationId, reply: Vec<u8>) -> StoreResult<()> {
    sql("UPDATE mutation_log SET reply = ? WHERE mutation_id = ?")
        .bind(Bind::Bytes(reply))
        .bind(id.as_uuid())
        .run(conn)
        .await?;
    Ok(())
}

/// Forgets old replies; true when there are more.
///
/// # Errors
/// Those of the database.
pub async fn prune(conn: &mut Conn) -> StoreResult<(u64, bool)> {
    let old = sql("created_at < UTC_TIMESTAMP(6) - INTERVAL ? MINUTE").bind(KEPT_MINUTES);
    let deleted = delete_some(conn, "mutation_log", old, PRUNE_CHUNK).await?;
    Ok((deleted, deleted == PRUNE_CHUNK))
}

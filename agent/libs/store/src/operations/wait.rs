//! Waiting for ends: all waiters of a gateway share one question.

use std::collections::BTreeMap;

use sf_model::OperationId;
use sf_model::state::OperationState;
use sf_protos::operations::{OperationError, OperationOutcome, WaitOperationsReply};

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::{rows, sql};

rows! {
    struct Row {
        uuid: OperationId,
        state: String,
        code: Option<String>,
        message: Option<String>,
    }
}

/// States of these operations; those that do not exist are left out.
///
/// # Errors
/// The database fails.
pub async fn outcomes(
    conn: &mut Conn,
    operations: &[OperationId],
) -> StoreResult<BTreeMap<OperationId, OperationOutcome>> {
    if operations.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<Row> = sql("SELECT o.uuid, o.state, e.code, e.message FROM cluster_operations o \
         LEFT JOIN cluster_operation_errors e ON e.operation_uuid = o.uuid WHERE o.uuid IN ")
    .list(operations.iter().copied())
    .all(conn)
    .await?;
    let outcome = |row: Row| {
        let error = row.code.zip(row.message).map(|(code, message)| OperationError { code, message });
        (row.uuid, OperationOutcome { operation_uuid: row.uuid.to_string(), state: row.state, error })
    };
    Ok(rows.into_iter().map(outcome).collect())
}

/// The answer to a wait. Operations that are gone have ended.
pub fn reply_for_wait(
    operations: &[OperationId],
    outcomes: &BTreeMap<OperationId, OperationOutcome>,
) -> WaitOperationsReply {
    let found: Vec<OperationOutcome> = operations.iter().filter_map(|id| outcomes.get(id).cloned()).collect();
    let ended =
        |outcome: &OperationOutcome| outcome.state.parse::<OperationState>().is_ok_and(|s| s.is_terminal());
    WaitOperationsReply { done: found.iter().all(ended), outcomes: found }
}

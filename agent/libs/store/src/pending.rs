//! What the views of instances, networks and artifacts say about operations (`database-tier.md` §13.6).

use std::collections::BTreeMap;

use sf_model::ObjectType;
use sf_protos::common::OperationHandle;

use crate::conn::Conn;
use crate::error::StoreResult;
use crate::sql::{rows, sql};

/// Operations of one object; observational ones do not count.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pending {
    /// Some operation has not ended.
    pub any: bool,
    /// The latest one.
    pub last: Option<OperationHandle>,
}

rows! {
    struct Row {
        target_id: String,
        pending: bool,
        op_type: String,
        op_uuid: String,
    }
}

/// Operations of many objects of one type in one statement; objects without any are left out.
///
/// # Errors
/// Those of the database.
pub async fn load(
    conn: &mut Conn,
    object_type: ObjectType,
    ids: &[String],
) -> StoreResult<BTreeMap<String, Pending>> {
    let rows: Vec<Row> =
        sql("SELECT p.target_id, p.pending, l.operation_type AS op_type, l.uuid AS op_uuid FROM \
         (SELECT t.target_id, MAX(t.sequence) AS latest, MAX(o.state IN ('queued', 'executing')) AS pending \
         FROM cluster_operation_targets t JOIN cluster_operations o ON o.uuid = t.operation_uuid \
         WHERE t.target_type = ? AND t.observational = FALSE AND t.target_id IN ")
        .bind(object_type)
        .list(ids)
        .push(
            " GROUP BY t.target_id) p JOIN cluster_operation_targets x ON x.sequence = p.latest \
         JOIN cluster_operations l ON l.uuid = x.operation_uuid",
        )
        .all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let last = OperationHandle { op_type: row.op_type, op_uuid: row.op_uuid };
            (row.target_id, Pending { any: row.pending, last: Some(last) })
        })
        .collect())
}

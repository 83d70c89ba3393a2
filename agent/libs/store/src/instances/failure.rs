//! What the bad end of an operation means for its instance (`instances.md` §5.4).

use sf_model::operation::OperationArgs;
use sf_model::state::{InstanceState, PowerAction};
use sf_model::{InstanceId, OperationId};

use super::power;
use super::transition::Change;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::sql;

/// Instances locked ahead of one end: as many as it may take with it.
const MOST_CONCERNED: u32 = 1000;

/// Called in the transaction that ends an operation with `error` or `abort`, once for the operation and once for each
/// operation that is aborted because of it. `message` is the sentence of the first cause.
///
/// A create whose preflight or any requirement failed goes to its `-error` state with that sentence; a power action
/// gives the instance a state from which it can be asked again. Everything else is left to the node's own comparison.
///
/// # Errors
/// Those of the database.
pub async fn on_operation_failed(
    conn: &mut Conn,
    ctx: &TxContext,
    operation: OperationId,
    message: &str,
) -> StoreResult<()> {
    let document: Option<String> = sql("SELECT arguments AS value FROM cluster_operations WHERE uuid = ? \
         AND operation_type IN ('instance_preflight', 'instance_create', 'instance_power')")
    .bind(operation)
    .value(conn)
    .await?;
    let Some(document) = document else { return Ok(()) };
    let args = match serde_json::from_str(&document) {
        Ok(args) => args,
        // Of a newer release, or changed by hand. The operation ends all the same; what it was for is seen by
        // [`super::check`], which does not need them.
        Err(error) => {
            tracing::error!(%operation, %error, "the arguments of a failed operation cannot be read");
            return Ok(());
        }
    };
    match args {
        OperationArgs::InstancePreflight { instance, placement_seq }
        | OperationArgs::InstanceCreate { instance, placement_seq } => {
            fail_create(conn, ctx, instance, Some(placement_seq), message).await.map(|_| ())
        }
        OperationArgs::InstancePower { instance, action } => restore_power(conn, instance, action).await,
        _ => Ok(()),
    }
}

/// Locks the instances that the bad end of this operation may change, its own and those of what requires it. To be called
/// before the operation itself is locked: instances come first in the lock order, and a delete takes both in that order.
/// Neither an operation's instance nor its edges ever change, so they are read without a lock. Ends in a sweep of many
/// operations do not call it: one of them may lose a deadlock to a delete, and the sweep is done again.
///
/// # Errors
/// Those of the database.
pub async fn lock_before_failure(conn: &mut Conn, operation: OperationId) -> StoreResult<()> {
    let concerned: Vec<InstanceId> = sql("WITH RECURSIVE ending AS (\
         SELECT uuid FROM cluster_operations WHERE uuid = ? UNION \
         SELECT d.operation_uuid FROM cluster_operation_dependencies d JOIN ending e ON e.uuid = d.depends_on_uuid \
         WHERE d.satisfied_at IS NULL AND d.kind = 'requires') \
         SELECT DISTINCT o.instance_uuid AS value FROM ending e JOIN cluster_operations o ON o.uuid = e.uuid \
         WHERE o.instance_uuid IS NOT NULL AND o.state IN ('queued', 'executing') \
         AND o.operation_type IN ('instance_preflight', 'instance_create', 'instance_power') LIMIT ?")
    .bind(operation)
    .bind(MOST_CONCERNED)
    .values(conn)
    .await?;
    sql("SELECT uuid AS value FROM instances WHERE uuid IN ")
        .list(concerned)
        .push(" ORDER BY uuid FOR UPDATE")
        .values::<InstanceId>(conn)
        .await?;
    Ok(())
}

/// Moves an instance that is still being created to the `-error` of its state; does nothing to others. Answers whether
/// it changed.
pub(super) async fn fail_create(
    conn: &mut Conn,
    ctx: &TxContext,
    instance: InstanceId,
    placement_seq: Option<u32>,
    message: &str,
) -> StoreResult<bool> {
    for from in [InstanceState::Initial, InstanceState::Preflight, InstanceState::Creating] {
        let Some(to) = from.failed() else { continue };
        let change = Change { instance, expected: &[from], placement_seq, to };
        if change.apply(conn, ctx, Some(message), None).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Only while nothing else is queued for the instance: a later action has its own wish already.
async fn restore_power(conn: &mut Conn, instance: InstanceId, action: PowerAction) -> StoreResult<()> {
    sql("UPDATE instances SET power_state = ?, power_changed_at = UTC_TIMESTAMP(6), \
         row_version = row_version + 1 WHERE uuid = ? AND power_state = ? \
         AND NOT EXISTS (SELECT 1 FROM cluster_operations o WHERE o.instance_uuid = ? \
         AND o.operation_type = 'instance_power' AND o.state IN ('queued', 'executing'))")
    .bind(power::before(action).as_str())
    .bind(instance)
    .bind(action.transition().as_str())
    .bind(instance)
    .run(conn)
    .await?;
    Ok(())
}

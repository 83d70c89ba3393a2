//! The leader's look at instances that nobody works on any more.

use sf_model::event::EventType;
use sf_model::operation::OperationType;
use sf_model::state::InstanceState;
use sf_model::{InstanceId, ObjectRef, ObjectType};
use sf_protos::instances::{CheckInstancesReply, EnsureDeleteQueuedRequest};

use super::rows::Guard;
use super::transition::{Change, SETTLING};
use super::{delete, failure, finish};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::item::Item;
use crate::operations;
use crate::sql::{rows, sql};

/// Instances handled in one call; the caller repeats while there are more.
const BATCH: u32 = 100;
/// A teardown without operation is left to the node for this long.
const ORPHANED_DELETE_SECONDS: u32 = 300;
/// A teardown that failed is asked for again after this long, when nobody else can ask.
const FAILED_DELETE_SECONDS: u32 = 3600;

rows! {
    struct LateRow {
        uuid: InstanceId,
        late: bool,
        cause: Option<String>,
    }
}

/// Fails creates that are too late or whose operation has ended, settles errors whose node cannot clean up, and keeps
/// deletes going, also those that follow from the end of a namespace.
///
/// # Errors
/// Those of the database.
pub async fn check(conn: &mut Conn, ctx: &TxContext) -> StoreResult<CheckInstancesReply> {
    let (failed, more_failed) = fail_creates(conn, ctx).await?;
    let (settled, more_settled) = settle(conn, ctx).await?;
    let (marked, more_marked) = follow_namespaces(conn, ctx).await?;
    let (requeued, more_requeued) = continue_deletes(conn, ctx).await?;
    let more = more_failed || more_settled || more_marked || more_requeued;
    Ok(CheckInstancesReply { failed, settled, requeued: marked + requeued, more })
}

async fn fail_creates(conn: &mut Conn, ctx: &TxContext) -> StoreResult<(u32, bool)> {
    let deadline = ctx.settings.cluster.instance_create_deadline;
    let create = OperationType::InstanceCreate;
    // The cause is that of the operation of this placement; an instance whose operation is queued or executing is
    // nobody's business before the deadline.
    let rows: Vec<LateRow> = sql("SELECT i.uuid, \
         i.created_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) AS late, \
         (SELECT e.message FROM cluster_operations o \
          JOIN cluster_operation_errors e ON e.operation_uuid = o.uuid \
          WHERE o.instance_uuid = i.uuid AND o.state IN ('error', 'abort') \
          ORDER BY o.created_at DESC, o.uuid DESC LIMIT 1) AS cause \
         FROM instances i WHERE i.state IN ('initial', 'preflight', 'creating') \
         AND (i.created_at < TIMESTAMPADD(MICROSECOND, -?, UTC_TIMESTAMP(6)) \
              OR NOT EXISTS (SELECT 1 FROM cluster_operations o WHERE o.instance_uuid = i.uuid \
                 AND o.operation_type = ? AND o.state IN ('queued', 'executing'))) \
         ORDER BY i.uuid LIMIT ?")
    .bind(deadline)
    .bind(deadline)
    .bind(create.to_string())
    .bind(BATCH)
    .all(conn)
    .await?;
    let mut failed = 0;
    for row in &rows {
        let message = if row.late {
            format!("create did not finish within {} s", deadline.as_secs())
        } else {
            row.cause.clone().unwrap_or_else(|| "the work to create the instance ended early".to_owned())
        };
        let item = Item::begin(conn, ctx, "stuck creates", row.uuid).await?;
        let outcome = give_up(conn, ctx, row.uuid, &message).await;
        failed += u32::from(item.end(conn, ctx, outcome).await?.unwrap_or(false));
    }
    Ok((failed, is_full(rows.len())))
}

/// Fails one create. Says whether it was still going on.
async fn give_up(conn: &mut Conn, ctx: &TxContext, instance: InstanceId, message: &str) -> StoreResult<bool> {
    let changed = failure::fail_create(conn, ctx, instance, None, message).await?;
    if changed {
        operations::abort_for_target(conn, ctx, ObjectRef::new(ObjectType::Instance, instance)).await?;
    }
    Ok(changed)
}

/// The node of a failed instance is gone or has lost its storage: there is nothing to wait for.
async fn settle(conn: &mut Conn, ctx: &TxContext) -> StoreResult<(u32, bool)> {
    let stuck: Vec<InstanceId> = sql("SELECT i.uuid AS value FROM instances i \
         LEFT JOIN nodes n ON n.uuid = i.node_uuid WHERE i.state LIKE '%-error' \
         AND (n.uuid IS NULL OR n.state IN ('deleted', 'error')) ORDER BY i.uuid LIMIT ?")
    .bind(BATCH)
    .values(conn)
    .await?;
    let mut settled = 0;
    for instance in &stuck {
        let change = Change {
            instance: *instance,
            expected: &SETTLING,
            placement_seq: None,
            to: InstanceState::Error,
        };
        let item = Item::begin(conn, ctx, "failed instances", instance).await?;
        let outcome = change.apply(conn, ctx, None, None).await;
        settled += u32::from(item.end(conn, ctx, outcome).await?.unwrap_or(false));
    }
    Ok((settled, is_full(stuck.len())))
}

/// Failed instances do not keep their namespace from being deleted. What they hold goes with it.
async fn follow_namespaces(conn: &mut Conn, ctx: &TxContext) -> StoreResult<(u32, bool)> {
    let left: Vec<InstanceId> = sql("SELECT i.uuid AS value FROM instances i \
         JOIN namespaces n ON n.name = i.namespace WHERE i.state = 'error' AND n.state = 'deleted' \
         AND (i.state_changed_at <= n.state_changed_at \
              OR i.state_changed_at < TIMESTAMPADD(SECOND, -?, UTC_TIMESTAMP(6))) ORDER BY i.node_uuid, i.uuid LIMIT ?")
    .bind(FAILED_DELETE_SECONDS)
    .bind(BATCH)
    .values(conn)
    .await?;
    let mut marked = 0;
    for instance in &left {
        let item = Item::begin(conn, ctx, "instances of deleted namespaces", instance).await?;
        let outcome = delete::mark_for_deletion(conn, ctx, *instance).await;
        marked += u32::from(item.end(conn, ctx, outcome).await?.is_some());
    }
    Ok((marked, is_full(left.len())))
}

/// Queues deletes that have no operation, and finishes those whose node is gone.
async fn continue_deletes(conn: &mut Conn, ctx: &TxContext) -> StoreResult<(u32, bool)> {
    let stuck: Vec<InstanceId> = sql("SELECT i.uuid AS value FROM instances i \
         LEFT JOIN nodes n ON n.uuid = i.node_uuid WHERE i.state = 'delete-wait' \
         AND (n.uuid IS NULL OR n.state = 'deleted' \
              OR (n.state <> 'missing' AND i.state_changed_at < TIMESTAMPADD(SECOND, -?, UTC_TIMESTAMP(6)) \
                  AND NOT EXISTS (SELECT 1 FROM cluster_operations o WHERE o.instance_uuid = i.uuid \
                      AND o.operation_type = ? AND o.state IN ('queued', 'executing')))) \
         ORDER BY i.node_uuid, i.uuid LIMIT ?")
    .bind(ORPHANED_DELETE_SECONDS)
    .bind(OperationType::InstanceDelete.to_string())
    .bind(BATCH)
    .values(conn)
    .await?;
    let mut requeued = 0;
    for instance in &stuck {
        let item = Item::begin(conn, ctx, "stuck deletes", instance).await?;
        let outcome = continue_delete(conn, ctx, *instance).await;
        requeued += u32::from(item.end(conn, ctx, outcome).await?.unwrap_or(false));
    }
    Ok((requeued, is_full(stuck.len())))
}

/// Queues or finishes one delete. Says whether it changed anything.
async fn continue_delete(conn: &mut Conn, ctx: &TxContext, instance: InstanceId) -> StoreResult<bool> {
    let row = Guard::read(conn, instance).await?;
    if delete::reachable_node(conn, &row).await?.is_none() {
        return finish::globally(conn, ctx, &row, &[InstanceState::DeleteWait]).await;
    }
    let request = EnsureDeleteQueuedRequest { context: None, instance_uuid: instance.to_string() };
    let enqueued = delete::ensure_queued(conn, ctx, &request).await?.enqueued;
    if enqueued {
        let object = ObjectRef::new(ObjectType::Instance, instance);
        ctx.event(EventType::Status, "instance delete queued again", &[object]);
    }
    Ok(enqueued)
}

fn is_full(rows: usize) -> bool {
    u32::try_from(rows).is_ok_and(|rows| rows >= BATCH)
}

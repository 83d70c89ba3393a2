//! Comparing the counters with the reservations they are sums of (`scheduler.md` §7). The expected correction is
//! nothing, for ever; whatever is corrected is a bug and says so.
//!
//! Each function is one transaction. The order is: claims that ended, orphans, each node, claims, the cluster.

use serde_json::json;
use sf_model::event::EventType;
use sf_model::{InstanceId, NodeId, ObjectRef, ObjectType, ReservationId};
use sf_protos::scheduler::DriftCorrection;
use sf_scheduler::limits::AUXILIARY_DISK_GB;
use sf_scheduler::{Amounts, Dimension};
use uuid::Uuid;

use super::amounts::{add_to, negative, set};
use super::limits::TotalRow;
use super::release::{change_namespace_side, give_back, release};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::{rows, sql};

/// Rows repaired in one transaction; more are left to the next pass.
const BATCH: u32 = 200;

/// Reservations that did not match an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OrphanCounts {
    /// Reservations of instances that are gone.
    pub released: u32,
    /// Placed instances that had none.
    pub inserted: u32,
}

rows! {
    struct UsedRow {
        cpus: i64,
        memory_mb: i64,
        disk_gb: i64,
        instances: i64,
    }
    struct UncoveredRow {
        uuid: InstanceId,
        node_uuid: NodeId,
        namespace: String,
        cpus: i64,
        memory_mb: i64,
        disk_gb: i64,
    }
    struct ClaimRow {
        uuid: Uuid,
        namespace: String,
    }
}

impl UsedRow {
    fn amounts(&self) -> Amounts {
        Amounts { cpus: self.cpus, memory_mb: self.memory_mb, disk_gb: self.disk_gb }
    }
}

/// Ends claims whose time is over; what they covered competes for unclaimed capacity from then on.
///
/// # Errors
/// Those of the database.
pub async fn expire_claims(conn: &mut Conn, ctx: &TxContext) -> StoreResult<u32> {
    let due: Vec<ClaimRow> = sql("SELECT uuid, namespace FROM namespace_claims \
         WHERE coverage_state = 'active' AND expires_at <= UTC_TIMESTAMP(6) ORDER BY uuid LIMIT ? FOR UPDATE")
    .bind(BATCH)
    .all(conn)
    .await?;
    for claim in &due {
        sql("UPDATE placement_reservations SET claim_uuid = NULL, row_version = row_version + 1 \
             WHERE namespace = ? AND claim_uuid = ?")
        .bind(&claim.namespace)
        .bind(claim.uuid)
        .run(conn)
        .await?;
        sql("UPDATE namespace_claims SET coverage_state = 'expired', used_cpus = 0, used_memory_mb = 0, \
             used_disk_gb = 0, updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE uuid = ?")
        .bind(claim.uuid)
        .run(conn)
        .await?;
        let namespace = ObjectRef::new(ObjectType::Namespace, claim.namespace.as_str());
        ctx.event(EventType::Audit, "claim expired", &[namespace]);
    }
    if !due.is_empty() {
        recount_cluster(conn).await?;
    }
    Ok(u32::try_from(due.len()).unwrap_or(u32::MAX))
}

/// Releases reservations without a live instance and inserts those that placed instances lack.
///
/// # Errors
/// Those of the database.
pub async fn repair_orphans(conn: &mut Conn, ctx: &TxContext) -> StoreResult<OrphanCounts> {
    let gone: Vec<InstanceId> = sql("SELECT r.owner_uuid AS value FROM placement_reservations r \
         WHERE r.state = 'consumed' AND NOT EXISTS (SELECT 1 FROM instances i \
         WHERE i.uuid = r.owner_uuid AND i.state <> 'deleted') ORDER BY r.node_uuid, r.owner_uuid LIMIT ?")
    .bind(BATCH)
    .values(conn)
    .await?;
    let uncovered: Vec<UncoveredRow> = sql("SELECT i.uuid, i.node_uuid, i.namespace, \
         CAST(i.cpus AS SIGNED) AS cpus, CAST(i.memory_mb AS SIGNED) AS memory_mb, \
         CAST(IF(i.uefi OR i.configdrive <> 'none', ?, 0) \
         + (SELECT COALESCE(SUM(d.size_gb), 0) FROM instance_disks d WHERE d.instance_uuid = i.uuid) \
         AS SIGNED) AS disk_gb \
         FROM instances i WHERE i.state <> 'deleted' AND i.node_uuid IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM placement_reservations r WHERE r.owner_uuid = i.uuid) \
         ORDER BY i.node_uuid, i.uuid LIMIT ?")
    .bind(AUXILIARY_DISK_GB)
    .bind(BATCH)
    .all(conn)
    .await?;

    let mut owed = Vec::new();
    for owner in &gone {
        if let Some(released) = release(conn, *owner).await? {
            report_orphan(ctx, *owner, released.node, "reservation without instance released");
            owed.push(released);
        }
    }
    for instance in &uncovered {
        cover(conn, instance).await?;
        report_orphan(ctx, instance.uuid, instance.node_uuid, "instance without reservation charged");
    }
    for released in &owed {
        give_back(conn, released).await?;
    }
    for instance in &uncovered {
        change_namespace_side(conn, None, instance.amounts()).await?;
    }
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(OrphanCounts { released: count(owed.len()), inserted: count(uncovered.len()) })
}

/// The nodes that have a capacity row, for one [`reconcile_node`] each.
///
/// # Errors
/// Those of the database.
pub async fn sized_nodes(conn: &mut Conn) -> StoreResult<Vec<NodeId>> {
    sql("SELECT node_uuid AS value FROM node_capacity ORDER BY node_uuid").values(conn).await
}

/// Compares one node. Exact while traffic flows: an admission holds the row's lock before it inserts its reservation,
/// so no uncommitted reservation of this node exists while the lock is held here.
///
/// # Errors
/// Those of the database.
pub async fn reconcile_node(
    conn: &mut Conn,
    ctx: &TxContext,
    node: NodeId,
) -> StoreResult<Vec<DriftCorrection>> {
    let held: Option<UsedRow> = sql("SELECT used_cpus AS cpus, used_memory_mb AS memory_mb, \
         used_disk_gb AS disk_gb, used_instances AS instances FROM node_capacity WHERE node_uuid = ? FOR UPDATE")
    .bind(node)
    .first_row(conn)
    .await?;
    let Some(held) = held else { return Ok(Vec::new()) };
    let Some(real) = reserved(conn, "node_uuid = ?", Some(node.as_uuid())).await? else {
        return Ok(Vec::new());
    };
    let mut drift = differences(&node.to_string(), held.amounts(), real.amounts());
    if held.instances != real.instances {
        drift.push(correction(&node.to_string(), "instances", held.instances, real.instances));
    }
    if !drift.is_empty() {
        set(sql("UPDATE node_capacity SET "), "used", real.amounts())
            .push(
                ", used_instances = ?, updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 \
                 WHERE node_uuid = ?",
            )
            .bind(real.instances)
            .bind(node)
            .run(conn)
            .await?;
        report_drift(ctx, ObjectRef::new(ObjectType::Node, node), &drift);
    }
    Ok(drift)
}

/// Compares the claims.
///
/// # Errors
/// Those of the database.
pub async fn reconcile_claims(conn: &mut Conn, ctx: &TxContext) -> StoreResult<Vec<DriftCorrection>> {
    let claims: Vec<ClaimRow> = sql("SELECT uuid, namespace FROM namespace_claims \
         WHERE coverage_state = 'active' ORDER BY uuid FOR UPDATE")
    .all(conn)
    .await?;
    let mut all = Vec::new();
    for claim in claims {
        let held: Option<TotalRow> =
            sql("SELECT used_cpus AS cpus, used_memory_mb AS memory_mb, used_disk_gb AS disk_gb \
             FROM namespace_claims WHERE uuid = ?")
            .bind(claim.uuid)
            .first_row(conn)
            .await?;
        let real = reserved(conn, "claim_uuid = ?", Some(claim.uuid)).await?;
        let (Some(held), Some(real)) = (held, real) else { continue };
        let drift = differences(&claim.namespace, held.amounts(), real.amounts());
        if !drift.is_empty() {
            set(sql("UPDATE namespace_claims SET "), "used", real.amounts())
                .push(", updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE uuid = ?")
                .bind(claim.uuid)
                .run(conn)
                .await?;
            report_drift(ctx, ObjectRef::new(ObjectType::Namespace, claim.namespace.as_str()), &drift);
            all.extend(drift);
        }
    }
    Ok(all)
}

/// Compares the cluster's row. Exact: a writer that has changed it keeps its lock until it commits, and one that has
/// not will apply its difference afterwards.
///
/// # Errors
/// Those of the database.
pub async fn reconcile_cluster(conn: &mut Conn, ctx: &TxContext) -> StoreResult<Vec<DriftCorrection>> {
    let (held, real) = recount_cluster(conn).await?;
    let drift = differences("cluster", held, real);
    if !drift.is_empty() {
        report_drift(ctx, ObjectRef::new(ObjectType::Namespace, "system"), &drift);
    }
    Ok(drift)
}

/// Recounts what is used without a claim and what is claimed; answers what stood there and what is.
async fn recount_cluster(conn: &mut Conn) -> StoreResult<(Amounts, Amounts)> {
    let held: Option<TotalRow> =
        sql("SELECT unclaimed_used_cpus AS cpus, unclaimed_used_memory_mb AS memory_mb, \
         unclaimed_used_disk_gb AS disk_gb FROM cluster_capacity WHERE id = 1 FOR UPDATE")
        .first_row(conn)
        .await?;
    let held = held.map(|row| row.amounts()).unwrap_or_default();
    let real = reserved(conn, "claim_uuid IS NULL", None).await?.map(|row| row.amounts()).unwrap_or_default();
    let claimed: Option<TotalRow> = sql("SELECT CAST(COALESCE(SUM(limit_cpus), 0) AS SIGNED) AS cpus, \
         CAST(COALESCE(SUM(limit_memory_mb), 0) AS SIGNED) AS memory_mb, \
         CAST(COALESCE(SUM(limit_disk_gb), 0) AS SIGNED) AS disk_gb \
         FROM namespace_claims WHERE coverage_state = 'active'")
    .first_row(conn)
    .await?;
    let claimed = claimed.map(|row| row.amounts()).unwrap_or_default();
    let update = set(sql("UPDATE cluster_capacity SET "), "unclaimed_used", real).push(", ");
    set(update, "claimed", claimed)
        .push(", updated_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE id = 1")
        .run(conn)
        .await?;
    Ok((held, real))
}

async fn reserved(conn: &mut Conn, condition: &str, key: Option<Uuid>) -> StoreResult<Option<UsedRow>> {
    let query = sql(format!(
        "SELECT CAST(COALESCE(SUM(cpus), 0) AS SIGNED) AS cpus, \
         CAST(COALESCE(SUM(memory_mb), 0) AS SIGNED) AS memory_mb, \
         CAST(COALESCE(SUM(disk_gb), 0) AS SIGNED) AS disk_gb, COUNT(*) AS instances \
         FROM placement_reservations WHERE {condition}"
    ));
    match key {
        Some(key) => query.bind(key),
        None => query,
    }
    .first_row(conn)
    .await
}

impl UncoveredRow {
    fn amounts(&self) -> Amounts {
        Amounts { cpus: self.cpus, memory_mb: self.memory_mb, disk_gb: self.disk_gb }
    }
}

/// Charges an instance that is there, whether or not it fits.
async fn cover(conn: &mut Conn, instance: &UncoveredRow) -> StoreResult<()> {
    add_to(sql("UPDATE node_capacity SET "), "used", instance.amounts())
        .push(
            ", used_instances = used_instances + 1, updated_at = UTC_TIMESTAMP(6), \
             row_version = row_version + 1 WHERE node_uuid = ?",
        )
        .bind(instance.node_uuid)
        .run(conn)
        .await?;
    sql("INSERT INTO placement_reservations (owner_uuid, reservation_uuid, node_uuid, namespace, cpus, memory_mb, \
         disk_gb, state, request_hash, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, 'consumed', ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))")
    .bind(instance.uuid)
    .bind(ReservationId::random())
    .bind(instance.node_uuid)
    .bind(&instance.namespace)
    .bind(instance.cpus)
    .bind(instance.memory_mb)
    .bind(instance.disk_gb)
    .bind([0u8; 32])
    .run(conn)
    .await?;
    Ok(())
}

fn differences(scope: &str, held: Amounts, real: Amounts) -> Vec<DriftCorrection> {
    let delta = real.plus(negative(held));
    Dimension::ALL
        .into_iter()
        .filter(|dimension| delta.get(*dimension) != 0)
        .map(|dimension| correction(scope, dimension.as_str(), held.get(dimension), real.get(dimension)))
        .collect()
}

fn correction(scope: &str, dimension: &str, old: i64, new: i64) -> DriftCorrection {
    DriftCorrection { scope: scope.to_owned(), dimension: dimension.to_owned(), old, new }
}

fn report_drift(ctx: &TxContext, object: ObjectRef, drift: &[DriftCorrection]) {
    for entry in drift {
        tracing::error!(
            scope = entry.scope,
            dimension = entry.dimension,
            old = entry.old,
            new = entry.new,
            "the capacity ledger had drifted and was corrected"
        );
        let extra = json!({"dimension": entry.dimension, "old": entry.old, "new": entry.new});
        ctx.event_with(
            EventType::Audit,
            "ledger drift corrected",
            std::slice::from_ref(&object),
            Some(&extra),
        );
    }
}

fn report_orphan(ctx: &TxContext, instance: InstanceId, node: NodeId, message: &str) {
    tracing::error!(%instance, %node, "{message}");
    let objects = [ObjectRef::new(ObjectType::Instance, instance), ObjectRef::new(ObjectType::Node, node)];
    ctx.event(EventType::Audit, message, &objects);
}

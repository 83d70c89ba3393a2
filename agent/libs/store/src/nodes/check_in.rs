//! The pulse of a node: last seen, units, storage, and when due its figures.

use chrono::{DateTime, TimeDelta, Utc};
use sf_model::NodeId;
use sf_model::state::NodeState;
use sf_protos::nodes::{CheckInReply, CheckInRequest, DaemonUnit, StorageHealth};

use super::metrics;
use super::register::{change_state, daemon_name, require_live};
use crate::capacity;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::sql;
use crate::wire::{datetime, parse};

/// Takes one check-in.
///
/// # Errors
/// [`crate::StoreError::Missing`] for an unknown or deleted node: its daemons end.
pub async fn check_in(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &CheckInRequest,
) -> StoreResult<CheckInReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let now = crate::clock::read(conn).await?;
    let skew = request.sent_at.as_ref().and_then(datetime).map(|sent| seconds(now, sent));
    if let Some(figures) = &request.metrics {
        // The capacity row is first in the lock order; a deleted node must not get a new one.
        if is_known(conn, node).await? {
            capacity::publish_limits(conn, node, figures, &ctx.settings.cluster).await?;
        }
    }
    let mut state = require_live(conn, node).await?;
    sql("UPDATE nodes SET last_seen = UTC_TIMESTAMP(6), clock_skew = ?, `release` = ? WHERE uuid = ?")
        .bind(skew)
        .bind(&request.release)
        .bind(node)
        .run(conn)
        .await?;
    if matches!(state, NodeState::Missing | NodeState::Stopped | NodeState::Stopping) {
        change_state(conn, ctx, node, state, NodeState::Created, "checks in again").await?;
        state = NodeState::Created;
    }
    let units_changed = record_units(conn, node, &request.units).await?;
    record_health(conn, node, state, &request.storage_health).await?;
    if let Some(figures) = &request.metrics {
        metrics::store(conn, node, figures, &request.processes).await?;
    }
    if units_changed || !request.storage_health.is_empty() || request.metrics.is_some() {
        capacity::refresh_open(conn, node).await?;
    }
    let schedulable: Option<bool> =
        sql("SELECT schedulable AS value FROM nodes WHERE uuid = ?").bind(node).value(conn).await?;
    Ok(CheckInReply {
        state: state.to_string(),
        schedulable: schedulable.unwrap_or(false),
        clock_skew_seconds: skew.unwrap_or(0.0),
    })
}

/// Writes what is told of the storage paths of a node in `state`. `since` is the time of the last change, not of the last
/// word. A node in `error` forgets a failure when an operator says so: until then recovery has to know what was lost.
/// What fails beside it has consequences of its own, so those of the node are drawn again.
pub(super) async fn record_health(
    conn: &mut Conn,
    node: NodeId,
    state: NodeState,
    paths: &[StorageHealth],
) -> StoreResult<()> {
    let in_error = state == NodeState::Error;
    if in_error && fails_anew(conn, node, paths).await? {
        sql("UPDATE nodes SET cascaded_at = NULL WHERE uuid = ?").bind(node).run(conn).await?;
    }
    for path in paths.iter().filter(|path| !path.healthy || !in_error) {
        sql("INSERT INTO node_storage_health (node_uuid, path, object_types, healthy, detail, since, last_checked) \
             VALUES (?, ?, ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE \
             since = IF(healthy = VALUES(healthy), since, VALUES(since)), object_types = VALUES(object_types), \
             healthy = VALUES(healthy), detail = VALUES(detail), last_checked = VALUES(last_checked)")
        .bind(node)
        .bind(&path.path)
        .bind(path.object_types.join(","))
        .bind(path.healthy)
        .bind(path.detail.as_ref())
        .run(conn)
        .await?;
    }
    Ok(())
}

/// Whether a path is told to fail that was not known to, or not for all these types of objects.
async fn fails_anew(conn: &mut Conn, node: NodeId, paths: &[StorageHealth]) -> StoreResult<bool> {
    let known: Vec<String> = sql("SELECT CONCAT(object_types, ' ', path) AS value FROM node_storage_health \
         WHERE node_uuid = ? AND NOT healthy")
    .bind(node)
    .values(conn)
    .await?;
    let is_known =
        |path: &StorageHealth| known.contains(&format!("{} {}", path.object_types.join(","), path.path));
    Ok(paths.iter().any(|path| !path.healthy && !is_known(path)))
}

/// Asks without a lock: the answer only decides whether to lock the capacity row.
async fn is_known(conn: &mut Conn, node: NodeId) -> StoreResult<bool> {
    let known: Option<bool> =
        sql("SELECT state <> 'deleted' AS value FROM nodes WHERE uuid = ? AND is_hypervisor")
            .bind(node)
            .value(conn)
            .await?;
    Ok(known == Some(true))
}

/// Writes the states that the service manager reports; says whether one changed.
async fn record_units(conn: &mut Conn, node: NodeId, units: &[DaemonUnit]) -> StoreResult<bool> {
    let known: Vec<String> =
        sql("SELECT CONCAT(daemon, ' ', COALESCE(unit_state, '')) AS value FROM node_daemons \
         WHERE node_uuid = ?")
        .bind(node)
        .values(conn)
        .await?;
    let mut changed = false;
    for unit in units {
        let daemon = daemon_name(&unit.daemon);
        if known.contains(&format!("{daemon} {}", unit.state)) {
            continue;
        }
        changed = true;
        sql("INSERT INTO node_daemons (node_uuid, daemon, enabled, unit_state, unit_since, updated_at) \
             VALUES (?, ?, TRUE, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE \
             unit_since = IF(unit_state <=> VALUES(unit_state), unit_since, VALUES(unit_since)), \
             unit_state = VALUES(unit_state)")
        .bind(node)
        .bind(daemon)
        .bind(&unit.state)
        .run(conn)
        .await?;
    }
    Ok(changed)
}

fn seconds(later: DateTime<Utc>, earlier: DateTime<Utc>) -> f64 {
    let difference: TimeDelta = later - earlier;
    #[expect(clippy::cast_precision_loss, reason = "microseconds of any plausible skew fit")]
    let micros = difference.num_microseconds().unwrap_or(i64::MAX) as f64;
    micros / 1e6
}

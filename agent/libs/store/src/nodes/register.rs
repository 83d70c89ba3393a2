//! A daemon introduces its node and itself.

use std::net::Ipv4Addr;

use sf_config::WRAPPED;
use sf_model::event::EventType;
use sf_model::state::NodeState;
use sf_model::{IncarnationId, NodeId, ObjectRef, ObjectType};
use sf_protos::nodes::{
    DaemonConditions, RegisterNodeReply, RegisterNodeRequest, ReportDaemonStateReply,
    ReportDaemonStateRequest,
};

use super::view;
use crate::capacity;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult, reason};
use crate::networks;
use crate::sql::{rows, sql};
use crate::wire::{from_row, parse};

/// Reason of a refusal of a second node.
const OPEN_SEED: &str = "open-seed";
/// Version of the rows written by this build.
const ROW_VERSION: u32 = 1;
/// States a daemon may report of itself.
const DAEMON_STATES: [&str; 5] = ["starting", "running", "stopping", "stopped", "failed"];

rows! {
    struct Present {
        state: String,
        fqdn: String,
        mesh_ip: Ipv4Addr,
    }
}

/// Records a node and its roles. Called by each daemon at its start; the second one of a node changes nothing.
///
/// # Errors
/// [`StoreError::Missing`] for a node that was deleted: it must come back under a new identity. [`StoreError::Exists`]
/// when its name belongs to another live node.
pub async fn register(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &RegisterNodeRequest,
) -> StoreResult<RegisterNodeReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let mesh_ip: Ipv4Addr = parse("mesh_ip", &request.mesh_ip)?;
    let egress_ip: Option<Ipv4Addr> = request.egress_ip.parse().ok();
    if request.name.is_empty() || request.name.len() > 255 {
        return Err(StoreError::invalid("name: 1 to 255 bytes"));
    }
    let present: Option<Present> = sql("SELECT state, fqdn, mesh_ip FROM nodes WHERE uuid = ? FOR UPDATE")
        .bind(node)
        .first_row(conn)
        .await?;
    if let Some(present) = &present {
        if from_row::<NodeState>("node state", &present.state)? == NodeState::Deleted {
            return Err(StoreError::missing(ObjectType::Node, node));
        }
        if present.fqdn != request.name {
            ctx.event(EventType::Audit, format!("node renamed from {}", present.fqdn), &[of(node)]);
        }
    }
    if present.is_none() {
        refuse_beside_an_open_seed(conn).await?;
    }
    let daemons = daemons(request);
    let database = daemons.contains(&"database");
    // A daemon that registers only itself knows nothing of the roles of the others.
    let whole = daemons.len() > 1;
    let written = sql("INSERT INTO nodes (uuid, fqdn, live_fqdn, mesh_ip, egress_ip, is_hypervisor, is_network_node, \
         is_database_node, `release`, last_seen, state, state_changed_at, created_at, version) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, UTC_TIMESTAMP(6), 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?) \
         ON DUPLICATE KEY UPDATE live_fqdn = IF(uuid = VALUES(uuid), VALUES(live_fqdn), live_fqdn), \
         is_hypervisor = IF(uuid = VALUES(uuid), VALUES(is_hypervisor), is_hypervisor), \
         is_network_node = IF(uuid = VALUES(uuid), VALUES(is_network_node), is_network_node), \
         is_database_node = IF(uuid = VALUES(uuid) AND (? OR VALUES(is_database_node)), VALUES(is_database_node), \
         is_database_node), `release` = IF(uuid = VALUES(uuid), VALUES(`release`), `release`), \
         mesh_ip = IF(uuid = VALUES(uuid), VALUES(mesh_ip), mesh_ip), \
         egress_ip = IF(uuid = VALUES(uuid), VALUES(egress_ip), egress_ip), \
         fqdn = IF(uuid = VALUES(uuid), VALUES(fqdn), fqdn), row_version = row_version + 1")
    .bind(node)
    .bind(&request.name)
    .bind(&request.name)
    .bind(mesh_ip)
    .bind(egress_ip)
    .bind(request.is_hypervisor)
    .bind(request.carrier_eligible)
    .bind(database)
    .bind(&request.release)
    .bind(ROW_VERSION)
    .bind(whole)
    .run(conn)
    .await;
    match written {
        // The row of this node exists and its new name belongs to another live one.
        Err(error) if error.is_duplicate() => {
            return Err(StoreError::exists(ObjectType::Node, &request.name));
        }
        other => other?,
    };
    // The name was taken and the row of its owner matched instead of ours.
    let exists: Option<NodeId> =
        sql("SELECT uuid AS value FROM nodes WHERE uuid = ?").bind(node).value(conn).await?;
    if exists.is_none() {
        return Err(StoreError::exists(ObjectType::Node, &request.name));
    }
    record_daemons(conn, node, &daemons, whole).await?;
    if present.as_ref().is_some_and(|before| before.mesh_ip != mesh_ip) {
        networks::node_moved(conn, ctx, node).await?;
    }
    if present.is_none() {
        ctx.event(EventType::Audit, "node registered", &[of(node)]);
    }
    capacity::refresh_open(conn, node).await?;
    Ok(RegisterNodeReply { node: Some(view::by_id(conn, node).await?) })
}

/// With more than one node any host of an unencrypted mesh may claim to be one that is told the seed of token keys, so
/// the seed must not stand in the database in the open (`security.md` §11.2).
async fn refuse_beside_an_open_seed(conn: &mut Conn) -> StoreResult<()> {
    let open: Option<u64> = sql(
        "SELECT 1 AS value FROM cluster_config WHERE key_name = 'AUTH_SECRET_SEED' AND value_text NOT LIKE ? \
             AND EXISTS (SELECT 1 FROM nodes WHERE state <> 'deleted')",
    )
    .bind(format!("{WRAPPED}%"))
    .value(conn)
    .await?;
    match open {
        None => Ok(()),
        Some(_) => Err(StoreError::precondition(
            OPEN_SEED,
            "a second node may not join while auth_secret_seed is stored in the open: make a key-encryption key \
             (openssl rand -base64 32), run bootstrap-cluster with it as kek, and give it to the nodes that run sf-api",
        )),
    }
}

/// A daemon says how it is.
///
/// # Errors
/// [`StoreError::Missing`] for an unknown or deleted node.
pub async fn report_daemon(
    conn: &mut Conn,
    request: &ReportDaemonStateRequest,
) -> StoreResult<ReportDaemonStateReply> {
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let incarnation: IncarnationId = parse("incarnation", &request.incarnation)?;
    if !DAEMON_STATES.contains(&request.state.as_str()) {
        return Err(StoreError::Invalid(format!("state: {:?} is not a state of a daemon", request.state)));
    }
    require_live(conn, node).await?;
    let conditions = request.conditions.as_ref().map(conditions).transpose()?;
    sql("INSERT INTO node_daemons (node_uuid, daemon, enabled, state, incarnation, pid, `release`, conditions, started_at, \
         updated_at) VALUES (?, ?, TRUE, ?, ?, ?, ?, COALESCE(?, ''), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)) \
         ON DUPLICATE KEY UPDATE started_at = IF(incarnation <=> VALUES(incarnation), started_at, VALUES(started_at)), \
         state = VALUES(state), incarnation = VALUES(incarnation), pid = VALUES(pid), `release` = VALUES(`release`), \
         conditions = COALESCE(?, conditions), updated_at = VALUES(updated_at)")
    .bind(node)
    .bind(daemon_name(&request.daemon))
    .bind(&request.state)
    .bind(incarnation)
    .bind(request.pid)
    .bind(&request.release)
    .bind(conditions.as_ref())
    .bind(conditions.as_ref())
    .run(conn)
    .await?;
    capacity::refresh_open(conn, node).await?;
    Ok(ReportDaemonStateReply {})
}

/// Conditions as they are kept: in a set, by which they are found.
fn conditions(conditions: &DaemonConditions) -> StoreResult<String> {
    let is_name = |name: &String| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    match conditions.names.iter().find(|name| !is_name(name)) {
        Some(name) => Err(StoreError::Invalid(format!("conditions: {name:?} is no name of a condition"))),
        None => Ok(conditions.names.join(",")),
    }
}

/// Locks a node's row and answers its state.
///
/// # Errors
/// [`StoreError::Missing`] for an unknown or deleted node.
pub(super) async fn require_live(conn: &mut Conn, node: NodeId) -> StoreResult<NodeState> {
    let state: Option<String> =
        sql("SELECT state AS value FROM nodes WHERE uuid = ? FOR UPDATE").bind(node).value(conn).await?;
    let state: Option<NodeState> = state.map(|text| from_row("node state", &text)).transpose()?;
    state.filter(|s| *s != NodeState::Deleted).ok_or_else(|| StoreError::missing(ObjectType::Node, node))
}

/// Changes a node's state, recording why, and whether it takes placements.
///
/// # Errors
/// [`reason::BAD_STATE`] for an edge that does not exist.
pub(super) async fn change_state(
    conn: &mut Conn,
    ctx: &TxContext,
    node: NodeId,
    from: NodeState,
    to: NodeState,
    why: &str,
) -> StoreResult<()> {
    if from == to {
        return Ok(());
    }
    if !from.may_become(to) {
        let message = format!("node {node} is {from} and cannot become {to}");
        return Err(StoreError::precondition(reason::BAD_STATE, message).with("state", from));
    }
    sql("UPDATE nodes SET state = ?, state_changed_at = UTC_TIMESTAMP(6), state_message = ?, cascaded_at = NULL, \
         live_fqdn = IF(? = 'deleted', NULL, live_fqdn), row_version = row_version + 1 WHERE uuid = ?")
    .bind(to.as_str())
    .bind(why)
    .bind(to.as_str())
    .bind(node)
    .run(conn)
    .await?;
    let extra = serde_json::json!({ "from": from.as_str(), "to": to.as_str() });
    ctx.event_with(EventType::Mutate, format!("node is {to}: {why}"), &[of(node)], Some(&extra));
    capacity::refresh_open(conn, node).await
}

/// A node as the subject of an event.
pub(super) fn of(node: NodeId) -> ObjectRef {
    ObjectRef::new(ObjectType::Node, node)
}

/// Names without `sf-`, however the caller wrote them.
pub(crate) fn daemon_name(name: &str) -> &str {
    name.strip_prefix("sf-").unwrap_or(name)
}

fn daemons(request: &RegisterNodeRequest) -> Vec<&str> {
    request.daemons.iter().map(|daemon| daemon_name(daemon)).collect()
}

/// Daemons that the node no longer runs are switched off, not forgotten: their last state is worth seeing.
async fn record_daemons(conn: &mut Conn, node: NodeId, daemons: &[&str], whole: bool) -> StoreResult<()> {
    if daemons.is_empty() {
        return Ok(());
    }
    for daemon in daemons {
        sql("INSERT INTO node_daemons (node_uuid, daemon, enabled, updated_at) \
             VALUES (?, ?, TRUE, UTC_TIMESTAMP(6)) ON DUPLICATE KEY UPDATE enabled = TRUE")
        .bind(node)
        .bind(*daemon)
        .run(conn)
        .await?;
    }
    if whole {
        sql("UPDATE node_daemons SET enabled = FALSE WHERE node_uuid = ? AND daemon NOT IN ")
            .bind(node)
            .list(daemons.iter().copied())
            .run(conn)
            .await?;
    }
    Ok(())
}

//! Nodes as others see them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use chrono::{DateTime, Utc};
use sf_model::id::parse_hyphenated;
use sf_model::{NodeId, ObjectType};
use sf_protos::nodes::{GetNodeRequest, ListNodesReply, ListNodesRequest, Node, NodeDaemon, StorageHealth};

use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::locks::LEADER;
use crate::metadata::{self, metadata_bytes};
use crate::page::Page;
use crate::sql::{Sql, rows, sql};
use crate::wire::{state_info, timestamp};

/// Seconds a daemon may be inactive before its node counts as degraded.
const DEGRADED_SECONDS: u32 = 60;

rows! {
    struct Row {
        uuid: NodeId,
        fqdn: String,
        mesh_ip: Ipv4Addr,
        egress_ip: Option<Ipv4Addr>,
        release: String,
        state: String,
        state_changed_at: DateTime<Utc>,
        state_message: Option<String>,
        last_seen: Option<DateTime<Utc>>,
        unseen_us: Option<i64>,
        is_hypervisor: bool,
        is_network_node: bool,
        is_database_node: bool,
        is_leader: bool,
        schedulable: bool,
        draining: bool,
        version: u32,
        created_at: DateTime<Utc>,
        weight: u64,
    }

    struct Daemon {
        node_uuid: NodeId,
        daemon: String,
        state: Option<String>,
        release: Option<String>,
        pid: Option<u32>,
        unit_state: Option<String>,
        degraded: bool,
    }

    struct Health {
        node_uuid: NodeId,
        path: String,
        object_types: String,
        healthy: bool,
        detail: Option<String>,
    }
}

/// One node by name or UUID. A deleted node is found by UUID only.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn get(conn: &mut Conn, request: &GetNodeRequest) -> StoreResult<Node> {
    let node = resolve(conn, &request.reference).await?;
    by_id(conn, node).await
}

/// Nodes by UUID, in pages.
///
/// # Errors
/// The database fails.
pub async fn list(conn: &mut Conn, request: &ListNodesRequest) -> StoreResult<ListNodesReply> {
    let page = Page::new(request.page.clone());
    let condition = sql(if request.include_deleted { "TRUE" } else { "n.state <> 'deleted'" });
    let rows = rows(conn, page.by_key(condition, "n.uuid")).await?;
    let (rows, info) = page.cut_by_weight(rows, |row| row.weight, |row| row.uuid.to_string());
    Ok(ListNodesReply { nodes: complete(conn, rows).await?, page: Some(info) })
}

/// The node a name or UUID means.
///
/// # Errors
/// [`StoreError::Missing`].
pub(super) async fn resolve(conn: &mut Conn, reference: &str) -> StoreResult<NodeId> {
    let query = match parse_hyphenated(reference) {
        Some(uuid) => sql("SELECT uuid AS value FROM nodes WHERE uuid = ?").bind(uuid),
        None => sql("SELECT uuid AS value FROM nodes WHERE live_fqdn = ?").bind(reference),
    };
    query.value(conn).await?.ok_or_else(|| StoreError::missing(ObjectType::Node, reference))
}

/// One node.
///
/// # Errors
/// [`StoreError::Missing`].
pub(super) async fn by_id(conn: &mut Conn, node: NodeId) -> StoreResult<Node> {
    let rows = rows(conn, sql("n.uuid = ?").bind(node)).await?;
    let found = complete(conn, rows).await?.into_iter().next();
    found.ok_or_else(|| StoreError::missing(ObjectType::Node, node))
}

async fn rows(conn: &mut Conn, condition: Sql) -> StoreResult<Vec<Row>> {
    sql(concat!(
        "SELECT n.uuid, n.fqdn, n.mesh_ip, n.egress_ip, n.`release`, n.state, n.state_changed_at, n.state_message, \
         n.last_seen, TIMESTAMPDIFF(MICROSECOND, n.last_seen, UTC_TIMESTAMP(6)) AS unseen_us, n.is_hypervisor, \
         n.is_network_node, n.is_database_node, \
         EXISTS (SELECT 1 FROM cluster_locks l WHERE l.lock_name = ? AND l.expires_at > UTC_TIMESTAMP(6) \
         AND l.holder_node IN (n.fqdn, CAST(n.uuid AS CHAR))) AS is_leader, \
         n.schedulable, n.draining, n.version, n.created_at, ",
        metadata_bytes!("node", "n.uuid"),
        " AS weight FROM nodes n WHERE "
    ))
    .bind(LEADER)
    .append(condition)
    .all(conn)
    .await
}

/// Adds what stands in other tables: three statements for any number of nodes.
async fn complete(conn: &mut Conn, rows: Vec<Row>) -> StoreResult<Vec<Node>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<NodeId> = rows.iter().map(|row| row.uuid).collect();
    let names: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let daemons: Vec<Daemon> = sql("SELECT node_uuid, daemon, state, `release`, pid, unit_state, \
         COALESCE(state = 'failed' OR (unit_state NOT IN ('active', 'activating', 'reloading') \
         AND unit_since < UTC_TIMESTAMP(6) - INTERVAL ? SECOND), FALSE) AS degraded \
         FROM node_daemons WHERE enabled AND node_uuid IN ")
    .bind(DEGRADED_SECONDS)
    .list(ids.iter().copied())
    .push(" ORDER BY daemon")
    .all(conn)
    .await?;
    let health: Vec<Health> =
        sql("SELECT node_uuid, path, object_types, healthy, detail FROM node_storage_health \
         WHERE node_uuid IN ")
        .list(ids.iter().copied())
        .push(" ORDER BY path")
        .all(conn)
        .await?;
    let mut entries = metadata::load(conn, ObjectType::Node, &names).await?;
    let mut by_node: BTreeMap<NodeId, Node> = BTreeMap::new();
    for row in daemons {
        let node = by_node.entry(row.node_uuid).or_default();
        if row.degraded {
            node.degraded_daemons.push(row.daemon.clone());
        }
        let Daemon { daemon, state, release, pid, unit_state, .. } = row;
        node.daemons.push(NodeDaemon { daemon, state, release, pid, unit_state });
    }
    for row in health {
        by_node.entry(row.node_uuid).or_default().storage_health.push(StorageHealth {
            path: row.path,
            object_types: row.object_types.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect(),
            healthy: row.healthy,
            detail: row.detail,
        });
    }
    let node = |row: Row| {
        let parts = by_node.remove(&row.uuid).unwrap_or_default();
        let metadata = entries.remove(&row.uuid.to_string()).unwrap_or_default();
        fill(Node { metadata, ..parts }, row)
    };
    Ok(rows.into_iter().map(node).collect())
}

fn fill(parts: Node, row: Row) -> Node {
    Node {
        uuid: row.uuid.to_string(),
        name: row.fqdn,
        mesh_ip: row.mesh_ip.to_string(),
        egress_ip: row.egress_ip.unwrap_or(row.mesh_ip).to_string(),
        release: row.release,
        state: Some(state_info(&row.state, row.state_changed_at, row.state_message)),
        last_seen: row.last_seen.map(timestamp),
        is_hypervisor: row.is_hypervisor,
        is_network_node: row.is_network_node,
        is_database_node: row.is_database_node,
        is_cluster_maintainer: row.is_leader,
        schedulable: row.schedulable,
        draining: row.draining,
        version: row.version,
        created_at: Some(timestamp(row.created_at)),
        checkin_age_seconds: row.unseen_us.map(|age| age as f64 / 1e6),
        ..parts
    }
}

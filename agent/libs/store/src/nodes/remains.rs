//! What still ties a node to the cluster, and what its removal would lose.

use sf_model::NodeId;
use sf_protos::nodes::{GetNodeRemainsReply, GetNodeRemainsRequest, RemainingInstance};

use super::view;
use crate::config;
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult, reason};
use crate::sql::{rows, sql};

/// Instances that are named.
const NAMED: u32 = 500;

rows! {
    struct Instance {
        uuid: String,
        name: String,
        namespace: String,
    }

    struct Copies {
        short: u64,
        last: u64,
    }

    struct Others {
        gateways: u64,
        carriers: u64,
        networks: u64,
    }
}

/// The instances of a node, and its blobs that have too few copies on other nodes. A copy counts on a node that is well
/// and stays; a cluster of few nodes cannot be asked for more copies than it has such nodes.
///
/// # Errors
/// [`StoreError::Missing`].
pub async fn remains(conn: &mut Conn, request: &GetNodeRemainsRequest) -> StoreResult<GetNodeRemainsReply> {
    let node = view::resolve(conn, &request.reference).await?;
    let instances: Vec<Instance> = sql("SELECT CAST(uuid AS CHAR) AS uuid, name, namespace FROM instances \
         WHERE node_uuid = ? AND state <> 'deleted' ORDER BY uuid LIMIT ?")
    .bind(node)
    .bind(NAMED)
    .all(conn)
    .await?;
    let copies = copies(conn, node).await?;
    Ok(GetNodeRemainsReply {
        instances: instances
            .into_iter()
            .map(|row| RemainingInstance { uuid: row.uuid, name: row.name, namespace: row.namespace })
            .collect(),
        instance_count: instances_of(conn, node).await?,
        blobs_under_replicated: copies.short,
        last_copies: copies.last,
    })
}

/// Refuses to remove a node that the cluster cannot do without.
///
/// # Errors
/// [`reason::IN_USE`], naming the rule.
pub(super) async fn refuse_loss(conn: &mut Conn, node: NodeId, lost: bool) -> StoreResult<()> {
    let others: Option<Others> = sql("SELECT \
         (SELECT CAST(COUNT(*) AS UNSIGNED) FROM nodes WHERE state <> 'deleted' AND is_database_node AND uuid <> ?) \
         AS gateways, \
         (SELECT CAST(COUNT(*) AS UNSIGNED) FROM nodes WHERE state <> 'deleted' AND is_network_node AND uuid <> ?) \
         AS carriers, \
         (SELECT CAST(COUNT(*) AS UNSIGNED) FROM networks WHERE state <> 'deleted') AS networks")
    .bind(node)
    .bind(node)
    .first_row(conn)
    .await?;
    let others = others.unwrap_or(Others { gateways: 0, carriers: 0, networks: 0 });
    let roles = "SELECT is_database_node AS value FROM nodes WHERE uuid = ?";
    let gateway: Option<bool> = sql(roles).bind(node).value(conn).await?;
    let roles = "SELECT is_network_node AS value FROM nodes WHERE uuid = ?";
    let carrier: Option<bool> = sql(roles).bind(node).value(conn).await?;
    if gateway == Some(true) && others.gateways == 0 {
        return Err(in_use("it is the last node of the database tier"));
    }
    if carrier == Some(true) && others.carriers == 0 && others.networks > 0 {
        return Err(in_use(format!("it is the last carrier and there are {} networks", others.networks)));
    }
    let last = copies(conn, node).await?.last;
    if !lost && last > 0 {
        return Err(in_use(format!("it holds the last copy of {last} blobs: drain it first")));
    }
    Ok(())
}

/// How many instances a node has.
pub(super) async fn instances_of(conn: &mut Conn, node: NodeId) -> StoreResult<u64> {
    let count = "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM instances WHERE node_uuid = ? AND state <> 'deleted'";
    Ok(sql(count).bind(node).value(conn).await?.unwrap_or(0))
}

async fn copies(conn: &mut Conn, node: NodeId) -> StoreResult<Copies> {
    let factor = u64::from(config::settings(conn, "").await?.cluster.blob_replication_factor);
    let stays = "state IN ('created', 'missing') AND NOT draining";
    let hosts: Option<u64> = sql(format!(
        "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM nodes WHERE uuid <> ? AND is_hypervisor AND {stays}"
    ))
    .bind(node)
    .value(conn)
    .await?;
    let wanted = factor.min(hosts.unwrap_or(0)).max(1);
    let counted: Option<Copies> = sql(format!(
        "SELECT CAST(COALESCE(SUM(elsewhere < ?), 0) AS UNSIGNED) AS short, \
         CAST(COALESCE(SUM(elsewhere = 0), 0) AS UNSIGNED) AS last FROM ( \
         SELECT (SELECT COUNT(*) FROM blob_replicas o JOIN nodes n ON n.uuid = o.node_uuid \
         WHERE o.blob_uuid = p.blob_uuid AND o.node_uuid <> p.node_uuid AND o.state = 'present' AND n.{stays}) AS elsewhere \
         FROM blob_replicas p JOIN blobs b ON b.uuid = p.blob_uuid \
         WHERE p.node_uuid = ? AND b.state <> 'deleted') held"
    ))
    .bind(wanted)
    .bind(node)
    .first_row(conn)
    .await?;
    Ok(counted.unwrap_or(Copies { short: 0, last: 0 }))
}

fn in_use(why: impl std::fmt::Display) -> StoreError {
    StoreError::precondition(reason::IN_USE, format!("the node cannot be removed: {why}"))
}

//! Ports of an instance on its node: console and graphics.

use sf_model::{InstanceId, NodeId, ObjectType};
use sf_protos::instances::{SwapPortReply, SwapPortRequest};

use super::guard::lost;
use super::rows::Guard;
use crate::allocator::{self, Owner, Pool, Strategy};
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::sql;
use crate::wire::parse;

/// The serial console and the graphical console.
const KINDS: [&str; 2] = ["console", "vdi"];

/// Claims the ports of a new placement.
pub(super) async fn claim(conn: &mut Conn, instance: InstanceId, node: NodeId) -> StoreResult<()> {
    for kind in KINDS {
        let port = take(conn, instance, node, kind).await?;
        sql("INSERT INTO instance_ports (instance_uuid, kind, port) VALUES (?, ?, ?)")
            .bind(instance)
            .bind(kind)
            .bind(port)
            .run(conn)
            .await?;
    }
    Ok(())
}

/// Replaces a port that something else on the node occupies. A repeated call finds the swap done and answers the
/// present port.
///
/// # Errors
/// [`StoreError::Missing`] for an unknown kind; a precondition when the placement is stale; exhaustion of the pool.
pub async fn swap(conn: &mut Conn, request: &SwapPortRequest) -> StoreResult<SwapPortReply> {
    let instance: InstanceId = parse("instance_uuid", &request.instance_uuid)?;
    let row = Guard::lock(conn, instance).await?;
    let Some(node) = row.node_uuid.filter(|_| row.placement_seq == request.placement_seq) else {
        return Err(lost(conn, instance, request.placement_seq).await);
    };
    let current: Option<u32> =
        sql("SELECT port AS value FROM instance_ports WHERE instance_uuid = ? AND kind = ?")
            .bind(instance)
            .bind(&request.kind)
            .value(conn)
            .await?;
    let Some(current) = current else {
        let port = format!("{instance} port {}", request.kind);
        return Err(StoreError::missing(ObjectType::Instance, port));
    };
    if current != request.old_port {
        return Ok(SwapPortReply { port: current });
    }
    // The new one first, so that it is certainly another.
    let port = take(conn, instance, node, &request.kind).await?;
    allocator::release(conn, &Pool::node_port(node), current.into()).await?;
    sql("UPDATE instance_ports SET port = ? WHERE instance_uuid = ? AND kind = ?")
        .bind(port)
        .bind(instance)
        .bind(&request.kind)
        .run(conn)
        .await?;
    Ok(SwapPortReply { port })
}

async fn take(conn: &mut Conn, instance: InstanceId, node: NodeId, kind: &str) -> StoreResult<u32> {
    let pool = Pool::node_port(node);
    let value = allocator::claim(conn, &pool, Strategy::Random, Owner::from(instance), kind, "").await?;
    u32::try_from(value).map_err(|_| StoreError::Corrupt(format!("port {value}")))
}

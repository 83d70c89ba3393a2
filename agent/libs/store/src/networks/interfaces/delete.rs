//! Removing interfaces: addresses rest, networks are rendered again, and a network that waited for it is deleted.

use std::net::Ipv4Addr;

use sf_model::operation::Priority;
use sf_model::{InstanceId, InterfaceId, MacAddress, NetworkId, NodeId};

use super::super::{finish, live_interfaces, lock, render};
use crate::allocator::{self, Pool, value_of};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::StoreResult;
use crate::sql::{rows, sql};
use crate::wire::from_row;

rows! {
    struct Going {
        uuid: InterfaceId,
        network_uuid: NetworkId,
        macaddr: String,
        ipv4: Option<Ipv4Addr>,
        floating_address: Option<Ipv4Addr>,
        node_uuid: Option<NodeId>,
    }
}

/// Removes every interface of an instance; answers the networks concerned.
///
/// # Errors
/// Those of the database.
pub async fn delete_of_instance(
    conn: &mut Conn,
    ctx: &TxContext,
    instance: InstanceId,
) -> StoreResult<Vec<NetworkId>> {
    let interfaces: Vec<InterfaceId> =
        sql("SELECT uuid AS value FROM network_interfaces WHERE instance_uuid = ? AND state <> 'deleted'")
            .bind(instance)
            .values(conn)
            .await?;
    delete_these(conn, ctx, &interfaces).await
}

/// Removes interfaces; those that are gone already are left out.
///
/// # Errors
/// Those of the database.
pub async fn delete_these(
    conn: &mut Conn,
    ctx: &TxContext,
    interfaces: &[InterfaceId],
) -> StoreResult<Vec<NetworkId>> {
    if interfaces.is_empty() {
        return Ok(Vec::new());
    }
    let networks: Vec<NetworkId> = sql("SELECT DISTINCT network_uuid AS value FROM network_interfaces \
         WHERE state <> 'deleted' AND uuid IN ")
    .list(interfaces.iter().copied())
    .push(" ORDER BY 1")
    .values(conn)
    .await?;
    for network in &networks {
        render::next_generation(conn, *network).await?;
    }
    let going: Vec<Going> =
        sql("SELECT f.uuid, f.network_uuid, f.macaddr, f.ipv4, f.floating_address, i.node_uuid \
         FROM network_interfaces f LEFT JOIN instances i ON i.uuid = f.instance_uuid \
         WHERE f.state <> 'deleted' AND f.uuid IN ")
        .list(interfaces.iter().copied())
        .push(" ORDER BY f.uuid")
        .all(conn)
        .await?;
    for interface in &going {
        delete_one(conn, ctx, interface).await?;
    }
    for network in &networks {
        let left: Vec<NodeId> =
            going.iter().filter(|g| g.network_uuid == *network).filter_map(|g| g.node_uuid).collect();
        settle(conn, ctx, *network, left).await?;
    }
    Ok(networks)
}

async fn delete_one(conn: &mut Conn, ctx: &TxContext, interface: &Going) -> StoreResult<()> {
    sql("UPDATE network_interfaces SET state = 'deleted', state_changed_at = UTC_TIMESTAMP(6), live_macaddr = NULL, \
         floating_address = NULL, row_version = row_version + 1 WHERE uuid = ?")
    .bind(interface.uuid)
    .run(conn)
    .await?;
    let mac: MacAddress = from_row("MAC address", &interface.macaddr)?;
    allocator::release(conn, &Pool::mac(&ctx.settings), mac.as_u64()).await?;
    if let Some(address) = interface.ipv4 {
        let held = lock(conn, interface.network_uuid).await?;
        let pool = Pool::ipv4(held.uuid, held.netblock()?, &ctx.settings);
        allocator::release(conn, &pool, value_of(address)).await?;
    }
    if let Some(address) = interface.floating_address {
        allocator::release(conn, &Pool::floating(&ctx.settings), value_of(address)).await?;
    }
    Ok(())
}

/// Has a network rendered where it is and where it was, or deleted if that was all it waited for.
async fn settle(conn: &mut Conn, ctx: &TxContext, network: NetworkId, left: Vec<NodeId>) -> StoreResult<()> {
    let held = lock(conn, network).await?;
    if held.state == "delete-wait" && live_interfaces(conn, network).await? == 0 {
        return finish::release_renders(conn, ctx, &held).await;
    }
    let mut nodes = render::participants(conn, network).await?;
    nodes.extend(left);
    nodes.sort_unstable();
    nodes.dedup();
    render::request(conn, ctx, network, held.generation, Priority::UserFacing, &nodes).await
}

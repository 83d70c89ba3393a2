//! Making a network: everything it needs is allocated in the one transaction (`networking.md` §2.1).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sf_model::event::EventType;
use sf_model::operation::{NetworkTask, OperationArgs, Priority};
use sf_model::{NetworkId, NodeId, ObjectType, OperationId};
use sf_protos::networks::{CreateNetworkReply, CreateNetworkRequest};

use super::{BAD_NETBLOCK, VERSION, carriers, netblock, object, render, view};
use crate::allocator::{self, Owner, Pool, Strategy, address, value_of};
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::namespaces;
use crate::operations::{self, EnqueueOperation};
use crate::sql::sql;
use crate::wire::parse;

/// Seconds in which a network must be rendered.
const CREATE_DEADLINE: u32 = 3600;

/// Creates a network in state `initial`; its carrier renders it next.
///
/// # Errors
/// [`StoreError::Missing`] for a namespace that is not the caller's; a precondition `bad-netblock`;
/// [`StoreError::Capacity`] when VXLAN ids or egress addresses are exhausted; [`StoreError::Exists`] for the identity.
pub async fn create(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &CreateNetworkRequest,
) -> StoreResult<CreateNetworkReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let network: NetworkId = parse("network_uuid", &request.network_uuid)?;
    sf_model::name::network(&request.name).map_err(|rule| StoreError::invalid(format!("name: {rule}")))?;
    if !viewer.owns(&request.namespace) {
        return Err(StoreError::missing(ObjectType::Namespace, &request.namespace));
    }
    let block = check_netblock(conn, ctx, &request.netblock).await?;
    namespaces::hold(conn, &request.namespace).await?;
    let vxid = allocator::claim(conn, &Pool::vxid(), Strategy::Random, network.into(), "vxid", "").await?;
    reserve_own(conn, ctx, network, block).await?;
    let egress = match request.provide_nat {
        true => Some(claim_egress(conn, ctx, network).await?),
        false => None,
    };
    insert(conn, ctx, request, network, block, vxid, egress).await?;
    let carrier = carriers::assign_new(conn, network).await?;
    enqueue_create(conn, ctx, request, network, carrier).await?;
    ctx.event(EventType::Audit, "network created", &[object(network)]);
    let created = view::load(conn, &ctx.settings, &[network]).await?.pop();
    let created = created.ok_or_else(|| StoreError::missing(ObjectType::Network, network))?;
    Ok(CreateNetworkReply { network: Some(created) })
}

async fn check_netblock(conn: &mut Conn, ctx: &TxContext, text: &str) -> StoreResult<Ipv4Net> {
    let mesh: Vec<Ipv4Addr> =
        sql("SELECT mesh_ip AS value FROM nodes WHERE state <> 'deleted'").values(conn).await?;
    let mut reserved = vec![ctx.settings.floating_network];
    reserved.extend(ctx.settings.protected_cidrs.iter().copied());
    reserved.extend(mesh.into_iter().map(Ipv4Net::from));
    netblock::parse(text, &reserved)
        .map_err(|problem| StoreError::precondition(BAD_NETBLOCK, format!("netblock: {problem}")))
}

/// The addresses of a block that belong to the network itself.
async fn reserve_own(
    conn: &mut Conn,
    ctx: &TxContext,
    network: NetworkId,
    block: Ipv4Net,
) -> StoreResult<()> {
    let own = [
        (value_of(block.network()), "network", ""),
        (value_of(netblock::gateway(block)), "gateway", ""),
        (value_of(block.broadcast()), "broadcast", ""),
    ];
    allocator::reserve_all(conn, &Pool::ipv4(network, block, &ctx.settings), network.into(), &own).await
}

async fn claim_egress(conn: &mut Conn, ctx: &TxContext, network: NetworkId) -> StoreResult<Ipv4Addr> {
    let pool = Pool::floating(&ctx.settings);
    let owner = Owner::from(network);
    Ok(address(allocator::claim(conn, &pool, Strategy::Random, owner, "gateway", "egress").await?))
}

async fn insert(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &CreateNetworkRequest,
    network: NetworkId,
    block: Ipv4Net,
    vxid: u64,
    egress: Option<Ipv4Addr>,
) -> StoreResult<()> {
    let inserted = sql("INSERT INTO networks (uuid, namespace, name, netblock_address, netblock_prefix, provide_dhcp, \
         provide_nat, provide_dns, vxid, live_vxid, floating_gateway, port_security, generation, generation_changed_at, \
         state, state_changed_at, created_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, UTC_TIMESTAMP(6), \
         'initial', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), ?)")
    .bind(network)
    .bind(&request.namespace)
    .bind(&request.name)
    .bind(block.network())
    .bind(block.prefix_len())
    .bind(request.provide_dhcp)
    .bind(request.provide_nat)
    .bind(request.provide_dns)
    .bind(vxid)
    .bind(vxid)
    .bind(egress)
    .bind(ctx.settings.port_security_default.to_string())
    .bind(VERSION)
    .run(conn)
    .await;
    match inserted {
        Err(error) if error.is_duplicate() => Err(StoreError::exists(ObjectType::Network, network)),
        other => other.map(|_| ()),
    }
}

async fn enqueue_create(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &CreateNetworkRequest,
    network: NetworkId,
    carrier: Option<NodeId>,
) -> StoreResult<()> {
    let operation = EnqueueOperation {
        uuid: OperationId::ordered(),
        node: render::operation_node(ctx, carrier),
        namespace: Some(request.namespace.clone()),
        priority: Priority::UserWaiting,
        args: OperationArgs::NetOp { network, task: NetworkTask::NetworkCreate, generation: 1 },
        dependencies: Vec::new(),
        deadline_seconds: CREATE_DEADLINE,
        observational: false,
    };
    operations::enqueue(conn, ctx, &[operation]).await?;
    let nodes: Vec<NodeId> = carrier.into_iter().collect();
    render::request(conn, ctx, network, 1, Priority::UserWaiting, &nodes).await
}

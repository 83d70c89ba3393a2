//! The complete intent of one network on one node.

use std::net::Ipv4Addr;

use sf_model::{NetworkId, NodeId, ObjectType};
use sf_protos::net_privexec::{NetworkIntent, Presence};
use sf_protos::networks::{GetNetworkIntentReply, GetNetworkIntentRequest};

use super::super::{block, mtu};
use super::carrier;
use super::ports::{self, PortRow};
use crate::conn::Conn;
use crate::context::Settings;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};
use crate::wire::parse;

rows! {
    /// The network with its carrier.
    pub(super) struct NetworkRow {
        pub(super) uuid: NetworkId,
        pub(super) namespace: String,
        pub(super) name: String,
        pub(super) state: String,
        pub(super) vxid: u32,
        pub(super) generation: u64,
        pub(super) netblock_address: Ipv4Addr,
        pub(super) netblock_prefix: u8,
        pub(super) provide_dhcp: bool,
        pub(super) provide_nat: bool,
        pub(super) provide_dns: bool,
        pub(super) floating_gateway: Option<String>,
        pub(super) carrier: Option<NodeId>,
        pub(super) carrier_mesh_ip: Option<String>,
        pub(super) epoch: Option<u64>,
        pub(super) session_epoch: Option<u64>,
    }
}

/// Computes the intent of a network for a node. Runs in a transaction: the row of the network is held in share mode, and
/// everybody who changes what an intent shows takes that row exclusively first.
///
/// # Errors
/// [`StoreError::Missing`] when the row of the network is gone; an error is never an empty intent.
pub async fn intent_of(
    conn: &mut Conn,
    settings: &Settings,
    request: &GetNetworkIntentRequest,
) -> StoreResult<GetNetworkIntentReply> {
    let id: NetworkId = parse("network_uuid", &request.network_uuid)?;
    let node: NodeId = parse("node_uuid", &request.node_uuid)?;
    let network = load(conn, id).await?;
    let interfaces = ports::load(conn, id).await?;
    let intent = if is_present(&network, &interfaces, node) {
        present(conn, settings, &network, &interfaces, node).await?
    } else {
        NetworkIntent { presence: Presence::Absent.into(), ..identity(settings, &network) }
    };
    Ok(GetNetworkIntentReply { intent: Some(intent), namespace: network.namespace, name: network.name })
}

async fn load(conn: &mut Conn, id: NetworkId) -> StoreResult<NetworkRow> {
    sql("SELECT uuid AS value FROM networks WHERE uuid = ? LOCK IN SHARE MODE")
        .bind(id)
        .values::<NetworkId>(conn)
        .await?;
    let network: Option<NetworkRow> = sql("SELECT n.uuid, COALESCE(n.namespace, '') AS namespace, n.name, n.state, n.vxid, \
         n.generation, n.netblock_address, n.netblock_prefix, n.provide_dhcp, n.provide_nat, n.provide_dns, \
         n.floating_gateway, k.node_uuid AS carrier, d.mesh_ip AS carrier_mesh_ip, k.epoch, s.session_epoch \
         FROM networks n LEFT JOIN network_carriers k ON k.network_uuid = n.uuid LEFT JOIN nodes d ON d.uuid = k.node_uuid \
         LEFT JOIN carrier_sessions s ON s.node_uuid = k.node_uuid WHERE n.uuid = ? AND n.kind = 'vxlan'")
    .bind(id)
    .first_row(conn)
    .await?;
    network.ok_or_else(|| StoreError::missing(ObjectType::Network, id))
}

/// A node has a network while it hosts an interface of it, or carries it and it is not on its way out.
fn is_present(network: &NetworkRow, interfaces: &[PortRow], node: NodeId) -> bool {
    let hosts = interfaces.iter().any(|port| port.node_uuid == node);
    let carries = network.carrier == Some(node);
    match network.state.as_str() {
        "deleted" => false,
        "delete-wait" => hosts || (carries && !interfaces.is_empty()),
        _ => hosts || carries,
    }
}

async fn present(
    conn: &mut Conn,
    settings: &Settings,
    network: &NetworkRow,
    interfaces: &[PortRow],
    node: NodeId,
) -> StoreResult<NetworkIntent> {
    let carrier = if network.carrier == Some(node) {
        Some(carrier::part(conn, settings, network, interfaces).await?)
    } else {
        None
    };
    let netblock = block(network.netblock_address, network.netblock_prefix)?;
    Ok(NetworkIntent {
        presence: Presence::Present.into(),
        learning: interfaces.iter().any(|port| port.port_security == "off"),
        peers: ports::peers(network, interfaces, node),
        local_ports: ports::local(interfaces, node, netblock)?,
        remote_ports: ports::remote(network, interfaces, node),
        carrier,
        ..identity(settings, network)
    })
}

fn identity(settings: &Settings, network: &NetworkRow) -> NetworkIntent {
    NetworkIntent {
        network_uuid: network.uuid.to_string(),
        vxid: network.vxid,
        generation: network.generation,
        mtu: mtu(settings),
        ..NetworkIntent::default()
    }
}

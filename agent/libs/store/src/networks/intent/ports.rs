//! Peers, local and remote ports of a network as one node sees them: pure, over the interfaces of the network.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use sf_model::mac::GATEWAY_PREFIX;
use sf_model::{InterfaceId, MacAddress, NetworkId, NodeId};
use sf_protos::net_privexec::{LocalPort, Peer, PortSecurity, RemotePort};

use super::network::NetworkRow;
use crate::conn::Conn;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};

rows! {
    /// One live interface, and where it is.
    pub(super) struct PortRow {
        pub(super) uuid: InterfaceId,
        pub(super) macaddr: String,
        pub(super) ipv4: Option<Ipv4Addr>,
        pub(super) floating_address: Option<Ipv4Addr>,
        pub(super) port_security: String,
        pub(super) instance_uuid: String,
        pub(super) instance_name: String,
        pub(super) node_uuid: NodeId,
        pub(super) mesh_ip: String,
    }
}

/// The live interfaces of a network whose instances are placed.
pub(super) async fn load(conn: &mut Conn, network: NetworkId) -> StoreResult<Vec<PortRow>> {
    sql("SELECT f.uuid, f.macaddr, f.ipv4, f.floating_address, f.port_security, f.instance_uuid, \
         i.name AS instance_name, d.uuid AS node_uuid, d.mesh_ip FROM network_interfaces f \
         JOIN instances i ON i.uuid = f.instance_uuid JOIN nodes d ON d.uuid = i.node_uuid \
         WHERE f.network_uuid = ? AND f.state <> 'deleted' ORDER BY f.uuid")
    .bind(network)
    .all(conn)
    .await
}

/// Every participant but the node itself; a node in its own flood list would receive its frames twice.
pub(super) fn peers(network: &NetworkRow, interfaces: &[PortRow], node: NodeId) -> Vec<Peer> {
    let mut peers: BTreeMap<NodeId, &str> =
        interfaces.iter().map(|port| (port.node_uuid, port.mesh_ip.as_str())).collect();
    if let (Some(carrier), Some(mesh_ip)) = (network.carrier, network.carrier_mesh_ip.as_deref()) {
        peers.insert(carrier, mesh_ip);
    }
    peers.remove(&node);
    peers
        .into_iter()
        .map(|(node, mesh_ip)| Peer { node_uuid: node.to_string(), mesh_ip: mesh_ip.to_owned() })
        .collect()
}

/// Interfaces of instances on the node.
pub(super) fn local(interfaces: &[PortRow], node: NodeId, netblock: Ipv4Net) -> StoreResult<Vec<LocalPort>> {
    let here = interfaces.iter().filter(|port| port.node_uuid == node);
    here.map(|port| {
        Ok(LocalPort {
            interface_uuid: port.uuid.to_string(),
            macaddr: port.macaddr.clone(),
            allowed_addresses: port
                .ipv4
                .iter()
                .filter(|address| netblock.contains(*address))
                .map(ToString::to_string)
                .collect(),
            port_security: security(port)?.into(),
        })
    })
    .collect()
}

/// Where the MACs of other nodes are, the gateway's among them.
pub(super) fn remote(network: &NetworkRow, interfaces: &[PortRow], node: NodeId) -> Vec<RemotePort> {
    let mut ports: Vec<RemotePort> = interfaces
        .iter()
        .filter(|port| port.node_uuid != node)
        .map(|port| RemotePort { macaddr: port.macaddr.clone(), mesh_ip: port.mesh_ip.clone() })
        .collect();
    if let (Some(carrier), Some(mesh_ip)) = (network.carrier, network.carrier_mesh_ip.as_deref())
        && carrier != node
    {
        ports
            .push(RemotePort { macaddr: gateway_mac(network.vxid).to_string(), mesh_ip: mesh_ip.to_owned() });
    }
    ports
}

fn gateway_mac(vxid: u32) -> MacAddress {
    let [_, a, b, c] = vxid.to_be_bytes();
    let [x, y, z] = GATEWAY_PREFIX;
    MacAddress::new([x, y, z, a, b, c])
}

fn security(port: &PortRow) -> StoreResult<PortSecurity> {
    Ok(match port.port_security.as_str() {
        "strict" => PortSecurity::Strict,
        "mac" => PortSecurity::Mac,
        "off" => PortSecurity::Off,
        other => return Err(StoreError::Corrupt(format!("an unknown port security {other:?}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_named_by_the_network() {
        assert_eq!(gateway_mac(0x0012_3456).to_string(), "02:53:46:12:34:56");
    }
}

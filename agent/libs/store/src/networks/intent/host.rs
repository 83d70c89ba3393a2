//! What a node needs once, whatever networks it has: the part that the database knows.

use std::net::Ipv4Addr;

use sf_config::EgressMode as Configured;
use sf_model::{NodeId, ObjectType};
use sf_protos::net_privexec::{EgressHost, EgressMode, HostIntent};
use sf_protos::networks::{GetHostIntentReply, GetHostIntentRequest};

use super::super::netblock;
use crate::conn::Conn;
use crate::context::Settings;
use crate::error::{StoreError, StoreResult};
use crate::sql::{rows, sql};
use crate::wire::parse;

rows! {
    struct Node {
        uuid: NodeId,
        mesh_ip: Ipv4Addr,
        egress_ip: Option<Ipv4Addr>,
        is_network_node: bool,
    }
}

/// Peers, protected networks and egress values of a node. Names of its interfaces are the node's own knowledge.
///
/// # Errors
/// [`StoreError::Missing`] for an unknown node.
pub async fn host_intent(
    conn: &mut Conn,
    settings: &Settings,
    request: &GetHostIntentRequest,
) -> StoreResult<GetHostIntentReply> {
    let id: NodeId = parse("node_uuid", &request.node_uuid)?;
    let nodes: Vec<Node> = sql(
        "SELECT uuid, mesh_ip, egress_ip, is_network_node FROM nodes WHERE state <> 'deleted' ORDER BY uuid",
    )
    .all(conn)
    .await?;
    let own = nodes.iter().find(|node| node.uuid == id);
    let own = own.ok_or_else(|| StoreError::missing(ObjectType::Node, id))?;
    let mut protected: Vec<String> = settings.protected_cidrs.iter().map(ToString::to_string).collect();
    let addresses = nodes.iter().flat_map(|node| [Some(node.mesh_ip), node.egress_ip]).flatten();
    protected.extend(addresses.map(|address| format!("{address}/32")));
    protected.sort_unstable();
    protected.dedup();
    let intent = HostIntent {
        cluster_id: settings.cluster_id.map(|id| id.to_string()).unwrap_or_default(),
        node_uuid: id.to_string(),
        mesh_ip: own.mesh_ip.to_string(),
        mesh_nic: String::new(),
        mesh_peers: nodes.iter().map(|node| node.mesh_ip.to_string()).collect(),
        protected_cidrs: protected,
        underlay_mtu: settings.max_hypervisor_mtu,
        vxlan_udp_port: settings.vxlan_udp_port.into(),
        egress: own.is_network_node.then(|| egress(settings)),
        service_targets: Vec::new(),
    };
    Ok(GetHostIntentReply { intent: Some(intent) })
}

fn egress(settings: &Settings) -> EgressHost {
    let mode = match settings.egress_mode {
        Configured::Nat => EgressMode::Nat,
        Configured::Routed => EgressMode::Routed,
        Configured::Bridged => EgressMode::Bridged,
    };
    let block = settings.floating_network.trunc();
    EgressHost {
        mode: mode.into(),
        floating_network: block.to_string(),
        floating_router: settings.floating_router.unwrap_or_else(|| netblock::gateway(block)).to_string(),
        nic: String::new(),
        nic_dedicated: false,
    }
}

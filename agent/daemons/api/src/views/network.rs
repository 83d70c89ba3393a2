//! Networks (`rest-api.md` §2.2).

use serde::Serialize;
use serde_json::{Map, Value};
use sf_protos::networks::Network;

use super::{OpRef, message, metadata, op_ref, state};

/// A virtual network.
#[derive(Debug, Serialize)]
pub struct NetworkView {
    uuid: String,
    state: String,
    metadata: Map<String, Value>,
    version: u32,
    name: String,
    netblock: String,
    namespace: Option<String>,
    provide_dhcp: bool,
    provide_nat: bool,
    provide_dns: bool,
    floating_gateway: Option<String>,
    vxid: u32,
    vxlan_id: u32,
    mtu: u32,
    port_security: String,
    has_pending_operations: bool,
    last_cluster_operation: Option<OpRef>,
    error_message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    carrier: Option<String>,
}

impl NetworkView {
    /// The network as its owner sees it; an administrator also sees where and in which generation it is carried.
    pub fn of(network: Network, administrator: bool) -> Self {
        Self {
            uuid: network.uuid,
            state: state(network.state.as_ref()),
            metadata: metadata(&network.metadata),
            version: network.version,
            name: network.name,
            netblock: network.netblock,
            namespace: network.namespace,
            provide_dhcp: network.provide_dhcp,
            provide_nat: network.provide_nat,
            provide_dns: network.provide_dns,
            floating_gateway: network.floating_gateway,
            vxid: network.vxid,
            vxlan_id: network.vxid,
            mtu: network.mtu,
            port_security: network.port_security,
            has_pending_operations: network.has_pending_operations,
            last_cluster_operation: op_ref(network.last_operation.as_ref()),
            error_message: message(network.state.as_ref()),
            generation: administrator.then_some(network.generation),
            carrier: network.carrier_node_name.filter(|_| administrator),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_network_looks_like_this() {
        insta::assert_json_snapshot!("network_owner", NetworkView::of(samples::network(), false));
        insta::assert_json_snapshot!("network_administrator", NetworkView::of(samples::network(), true));
    }
}

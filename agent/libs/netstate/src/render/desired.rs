//! From an intent to the state the kernel should have. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::host::Host;
use crate::intent::{Carrier, EgressMode, NetworkIntent};
use crate::model::{
    BridgeSpec, InnerLink, LinkSpec, LinkState, Master, NamespaceModel, NetworkModel, Route, VxlanSpec,
};
use crate::names::{Role, egress_mac, gateway_mac};
use crate::nft::TableSpec;
use crate::nft::tables::{net, port};

/// The wanted state and the rules behind it.
pub(super) struct Desired {
    /// The state.
    pub(super) model: NetworkModel,
    /// Rules of the namespace's table, when there is one.
    pub(super) table: Option<TableSpec>,
}

/// What the kernel should hold of the network.
pub(super) fn desired(intent: &NetworkIntent, host: &Host) -> Desired {
    if !intent.present {
        return Desired { model: NetworkModel::default(), table: None };
    }
    let table = intent.carrier.as_ref().map(|carrier| net::spec(intent.vxid, carrier));
    let mut model = NetworkModel {
        links: segment(intent, host),
        flood: intent.peers.iter().copied().filter(|peer| *peer != host.mesh_address()).collect(),
        unicast: intent.remote_ports.iter().copied().collect(),
        ports: port::elements(&intent.local_ports),
        namespace: None,
    };
    if let (Some(carrier), Some(table)) = (&intent.carrier, &table) {
        model.links.extend(outer_ends(intent, carrier, host));
        model.namespace = Some(namespace(intent, carrier, host, table));
    }
    Desired { model, table }
}

fn segment(intent: &NetworkIntent, host: &Host) -> BTreeMap<Role, LinkState> {
    let vxlan = VxlanSpec {
        local: host.mesh_address(),
        port: host.intent.vxlan_udp_port,
        lower: host.mesh_index,
        learning: intent.learning,
    };
    let link = |spec, master| LinkState { spec, mtu: intent.mtu, up: true, master };
    BTreeMap::from([
        (Role::Vxlan, link(LinkSpec::Vxlan(vxlan), Some(Master::Network))),
        (Role::Bridge, link(LinkSpec::Bridge(BridgeSpec::WANTED), None)),
    ])
}

fn outer_ends(intent: &NetworkIntent, carrier: &Carrier, host: &Host) -> BTreeMap<Role, LinkState> {
    let gateway =
        LinkState { spec: LinkSpec::Veth, mtu: intent.mtu, up: true, master: Some(Master::Network) };
    let mut links = BTreeMap::from([(Role::GatewayOuter, gateway)]);
    if carrier.needs_egress() {
        let egress = LinkState {
            spec: LinkSpec::Veth,
            mtu: host.egress_mtu,
            up: carrier.egress_live,
            master: Some(Master::Egress),
        };
        links.insert(Role::EgressOuter, egress);
    }
    links
}

fn namespace(intent: &NetworkIntent, carrier: &Carrier, host: &Host, table: &TableSpec) -> NamespaceModel {
    let inner = |mac, mtu| InnerLink { mac, mtu, up: true, marked: true };
    let mut space = NamespaceModel {
        links: BTreeMap::from([(Role::GatewayInner, inner(gateway_mac(intent.vxid), intent.mtu))]),
        addresses: BTreeSet::from([(
            Role::GatewayInner,
            with_prefix(carrier.gateway, carrier.netblock.prefix_len()),
        )]),
        table: Some(table.state(net::elements(carrier, &host.intent.protected))),
        ..NamespaceModel::default()
    };
    if let (Some(egress), Some(egress_host)) = (carrier.egress, &host.intent.egress) {
        space.links.insert(Role::EgressInner, inner(egress_mac(intent.vxid), host.egress_mtu));
        let prefix = if egress_host.mode == EgressMode::Routed {
            32
        } else {
            egress_host.floating_network.prefix_len()
        };
        space.addresses.insert((Role::EgressInner, with_prefix(egress, prefix)));
        for float in &carrier.floats {
            space.addresses.insert((Role::EgressInner, with_prefix(float.floating, 32)));
        }
        space.routes.insert(Route {
            destination: IpNet::V4(Ipv4Net::default()),
            role: Role::EgressInner,
            via: Some(egress_host.router.into()),
            source: Some(egress.into()),
        });
        for address in &carrier.routed {
            let destination = with_prefix(*address, 32);
            space.routes.insert(Route { destination, role: Role::GatewayInner, via: None, source: None });
            space.proxies.insert((Role::EgressInner, IpAddr::V4(*address)));
        }
    }
    space
}

fn with_prefix(address: std::net::Ipv4Addr, prefix: u8) -> IpNet {
    Ipv4Net::new(address, prefix).unwrap_or_else(|_| Ipv4Net::from(address)).into()
}

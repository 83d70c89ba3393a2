//! `inet sf_host`, one per node: protection of the host and the way out of the egress bridge (`networking.md` §6, §7.4).

use std::collections::BTreeMap;

use super::{address_set, block_set, key, triple};
use crate::intent::{EgressHost, EgressMode, HostIntent};
use crate::nft::expr::{Expr, Meta};
use crate::nft::ir::{
    Base, ChainSpec, Element, Elements, Field, RuleSpec, SetSpec, TableFamily, TableSpec, hook,
};
use crate::nft::matches::{
    ICMP, ICMP_ECHO, UDP, accept, destination_in_set, destination_is, destination_port, destination_triple,
    drop_counted, established, icmp_type, interface, interface_not, interface_not_prefix, interface_prefix,
    ipv4, protocol, rule, source_in, source_in_set,
};

/// Family and name of the table.
pub const TABLE: crate::nft::encode::TableName =
    crate::nft::encode::TableName { family: TableFamily::Inet, name: "sf_host" };

const TENANT: &str = "br-vxlan-";

/// Links the host's rules name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostLinks {
    /// Interface that holds the mesh address.
    pub mesh_nic: String,
    /// Interface towards the outside; empty when there is none.
    pub egress_nic: String,
    /// The egress bridge; empty on a node that carries nothing.
    pub egress_bridge: String,
}

/// The table of this host.
pub fn spec(host: &HostIntent, links: &HostLinks) -> TableSpec {
    let set = |name, key: &[Field], interval| SetSpec {
        name,
        key: key.to_vec(),
        data: Vec::new(),
        interval,
        timeout: false,
    };
    let base = |kind, hook, priority| Some(Base { kind, hook, priority, drop: false });
    TableSpec {
        family: TABLE.family,
        name: TABLE.name,
        sets: vec![
            set("mesh_peers", &[Field::Ipv4], false),
            set("protected", &[Field::Ipv4], true),
            set("svc_targets", &[Field::Ipv4, Field::Protocol, Field::Port], false),
        ],
        chains: vec![
            ChainSpec { name: "input", base: base("filter", hook::INPUT, 0), rules: input(host, links) },
            ChainSpec { name: "forward", base: base("filter", hook::FORWARD, 0), rules: forward(links) },
            ChainSpec {
                name: "postrouting",
                base: base("nat", hook::POSTROUTING, 100),
                rules: postrouting(host, links),
            },
        ],
    }
}

/// The members of the table's sets.
pub fn elements(host: &HostIntent) -> Elements {
    let targets = host
        .service_targets
        .iter()
        .map(|target| (key(triple(target.address, target.protocol, target.port)), Element::default()));
    BTreeMap::from([
        ("mesh_peers".to_owned(), address_set(host.mesh_peers.iter().copied())),
        ("protected".to_owned(), block_set(host.protected.iter().copied())),
        ("svc_targets".to_owned(), targets.collect()),
    ])
}

fn input(host: &HostIntent, links: &HostLinks) -> Vec<RuleSpec> {
    let vxlan = || [protocol(UDP), destination_port(host.vxlan_udp_port)].concat();
    let mut rules = vec![
        rule("tenant", [interface_prefix(Meta::IifName, TENANT), drop_counted()]),
        rule(
            "mesh-peer",
            [
                interface(Meta::IifName, &links.mesh_nic),
                ipv4(),
                vxlan(),
                source_in_set("mesh_peers"),
                accept(),
            ],
        ),
        // The node talks to itself when a single node is its own mesh.
        rule("mesh-self", [interface(Meta::IifName, "lo"), vxlan(), accept()]),
        rule("mesh", [vxlan(), drop_counted()]),
    ];
    // A bridged egress NIC is the operator's segment; the host's own policy applies there.
    let routed = |egress: &&EgressHost| egress.mode != EgressMode::Bridged && !links.egress_bridge.is_empty();
    if let Some(egress) = host.egress.as_ref().filter(routed) {
        let from = || interface(Meta::IifName, &links.egress_bridge);
        let echo = [ipv4(), protocol(ICMP), icmp_type(ICMP_ECHO), destination_is(egress.router)].concat();
        rules.push(rule("egress-established", [from(), established(), accept()]));
        rules.push(rule("egress-echo", [from(), echo, accept()]));
        rules.push(rule("egress", [from(), drop_counted()]));
    }
    rules
}

fn forward(links: &HostLinks) -> Vec<RuleSpec> {
    // Where bridge netfilter is on, frames inside one bridge pass here with the bridge on both sides and must not be
    // dropped. What a guest would route through the host never gets here: the port table drops it at the bridge.
    let mut rules = vec![
        rule(
            "from-tenant",
            [
                interface_prefix(Meta::IifName, TENANT),
                interface_not_prefix(Meta::OifName, TENANT),
                drop_counted(),
            ],
        ),
        rule(
            "to-tenant",
            [
                interface_not_prefix(Meta::IifName, TENANT),
                interface_prefix(Meta::OifName, TENANT),
                drop_counted(),
            ],
        ),
    ];
    if !links.egress_bridge.is_empty() {
        let from = || interface(Meta::IifName, &links.egress_bridge);
        rules.push(rule(
            "service",
            [from(), ipv4(), destination_triple("svc_targets", None, false), accept()],
        ));
        rules.push(rule("protected", [from(), ipv4(), destination_in_set("protected"), drop_counted()]));
    }
    rules
}

fn postrouting(host: &HostIntent, links: &HostLinks) -> Vec<RuleSpec> {
    let Some(egress) = host.egress.as_ref().filter(|egress| egress.mode == EgressMode::Nat) else {
        return Vec::new();
    };
    if links.egress_bridge.is_empty() || links.egress_nic.is_empty() {
        return Vec::new();
    }
    vec![rule(
        "masquerade",
        [
            ipv4(),
            source_in(egress.floating_network),
            interface(Meta::OifName, &links.egress_nic),
            interface_not(Meta::OifName, &links.egress_bridge),
            vec![Expr::Masquerade],
        ],
    )]
}

//! `inet sf_net`, one in each namespace: translation and what may pass (`networking.md` §7.3).

use std::collections::BTreeMap;

use ipnet::Ipv4Net;

use super::{address_set, block_set, key, triple};
use crate::intent::{Carrier, ServicePort};
use crate::names::Role;
use crate::nft::expr::{Expr, Header, Meta, REG, reg};
use crate::nft::ir::{
    Base, ChainSpec, Element, Elements, Field, RuleSpec, SetSpec, TableFamily, TableSpec, hook,
};
use crate::nft::matches::{
    ICMP, ICMP_ECHO, TCP, UDP, accept, destination_in_set, destination_is, destination_port,
    destination_triple, drop_counted, established, icmp_type, interface, invalid, ipv4, protocol, rule,
    source_in, source_in_set, translated,
};
use sf_model::Vxid;

/// Family and name of the table.
pub const TABLE: crate::nft::encode::TableName =
    crate::nft::encode::TableName { family: TableFamily::Inet, name: "sf_net" };

/// The table for a carried network.
pub fn spec(vxid: Vxid, carrier: &Carrier) -> TableSpec {
    let ends = Ends { inside: Role::GatewayInner.name(vxid), outside: Role::EgressInner.name(vxid) };
    let set = |name, key: &[Field]| SetSpec {
        name,
        key: key.to_vec(),
        data: Vec::new(),
        interval: false,
        timeout: false,
    };
    let service = [Field::Ipv4, Field::Protocol, Field::Port];
    TableSpec {
        family: TABLE.family,
        name: TABLE.name,
        sets: vec![
            SetSpec { data: vec![Field::Ipv4], ..set("floating", &[Field::Ipv4]) },
            SetSpec { data: vec![Field::Ipv4, Field::Port], timeout: true, ..set("svcport", &service) },
            set("routed", &[Field::Ipv4]),
            SetSpec { interval: true, ..set("protected", &[Field::Ipv4]) },
        ],
        chains: vec![
            base("prerouting", "nat", hook::PREROUTING, -100, false, prerouting()),
            base("postrouting", "nat", hook::POSTROUTING, 100, false, postrouting(&ends, carrier)),
            base("forward", "filter", hook::FORWARD, 0, true, forward(&ends, carrier)),
            base("input", "filter", hook::INPUT, 0, true, input(&ends, carrier)),
        ],
    }
}

/// The members of the table's sets.
pub fn elements(carrier: &Carrier, protected: &[Ipv4Net]) -> Elements {
    let floating = carrier.floats.iter().map(|float| {
        let data = Element { data: float.address.octets().to_vec(), ..Element::default() };
        (key(float.floating.octets().to_vec()), data)
    });
    let ports = carrier.service_ports.iter().filter_map(|port| service_element(carrier, port));
    BTreeMap::from([
        ("floating".to_owned(), floating.collect()),
        ("svcport".to_owned(), ports.collect()),
        ("routed".to_owned(), address_set(carrier.routed.iter().copied())),
        ("protected".to_owned(), block_set(protected.iter().copied())),
    ])
}

/// Names of the inner ends.
struct Ends {
    inside: String,
    outside: String,
}

fn base(
    name: &'static str,
    kind: &'static str,
    hook: u32,
    priority: i32,
    drop: bool,
    rules: Vec<RuleSpec>,
) -> ChainSpec {
    ChainSpec { name, base: Some(Base { kind, hook, priority, drop }), rules }
}

fn prerouting() -> Vec<RuleSpec> {
    let floating = vec![
        Expr::Payload(Header::Network, 16, 4, REG),
        Expr::Lookup { set: "floating", reg: REG, negate: false, into: Some(REG) },
        Expr::Dnat { addr: REG, port: None },
    ];
    let service = vec![Expr::Dnat { addr: reg(0), port: Some(reg(1)) }];
    vec![
        rule("floating", [ipv4(), floating]),
        rule("service", [ipv4(), destination_triple("svcport", Some(REG), false), service]),
    ]
}

fn postrouting(ends: &Ends, carrier: &Carrier) -> Vec<RuleSpec> {
    let out = |name: &str| interface(Meta::OifName, name);
    let mut rules = Vec::new();
    if let Some(egress) = carrier.egress {
        let snat = || vec![Expr::Immediate(REG, egress.octets().to_vec()), Expr::Snat { addr: REG }];
        if carrier.provide_nat {
            rules.push(rule("nat", [ipv4(), source_in(carrier.netblock), out(&ends.outside), snat()]));
        }
        rules.push(rule("service-source", [ipv4(), out(&ends.outside), translated(), snat()]));
    }
    let hairpin = vec![Expr::Masquerade];
    rules.push(rule(
        "hairpin",
        [ipv4(), source_in(carrier.netblock), out(&ends.inside), translated(), hairpin],
    ));
    rules
}

fn forward(ends: &Ends, carrier: &Carrier) -> Vec<RuleSpec> {
    let from = |name: &str| interface(Meta::IifName, name);
    let to = |name: &str| interface(Meta::OifName, name);
    let (inside, outside) = (ends.inside.as_str(), ends.outside.as_str());
    let mut rules = vec![
        rule("clamp-mss", [protocol(TCP), syn(), clamp()]),
        rule("established", [established(), accept()]),
        rule("invalid", [invalid(), vec![Expr::Drop]]),
        rule("protected", [from(inside), ipv4(), destination_in_set("protected"), drop_counted()]),
    ];
    if carrier.provide_nat {
        rules.push(rule("nat", [from(inside), to(outside), accept()]));
    }
    rules.extend([
        rule("translated", [translated(), accept()]),
        rule("routed-in", [from(outside), to(inside), ipv4(), destination_in_set("routed"), accept()]),
        rule("u-turn", [from(inside), to(inside), accept()]),
        rule("routed-out", [ipv4(), source_in_set("routed"), to(outside), accept()]),
    ]);
    rules
}

fn input(ends: &Ends, carrier: &Carrier) -> Vec<RuleSpec> {
    let from_inside = || interface(Meta::IifName, &ends.inside);
    let echo = |address| {
        [
            ipv4(),
            protocol(ICMP),
            icmp_type(ICMP_ECHO),
            destination_is(address),
            vec![Expr::LimitPerSecond(100)],
            accept(),
        ]
    };
    let mut rules =
        vec![rule("established", [established(), accept()]), rule("echo-gateway", echo(carrier.gateway))];
    rules.extend(carrier.egress.map(|egress| rule("echo-egress", echo(egress))));
    if carrier.dhcp.is_some() {
        rules.push(rule("dhcp", [from_inside(), protocol(UDP), destination_port(67), accept()]));
    }
    if carrier.dns.is_some() {
        rules.push(rule("dns-udp", [from_inside(), protocol(UDP), destination_port(53), accept()]));
        rules.push(rule("dns-tcp", [from_inside(), protocol(TCP), destination_port(53), accept()]));
    }
    rules
}

/// The SYN flag is set.
fn syn() -> Vec<Expr> {
    vec![
        Expr::Payload(Header::Transport, 13, 1, REG),
        Expr::Mask { reg: REG, mask: vec![0x02] },
        Expr::Cmp { reg: REG, negate: true, data: vec![0] },
    ]
}

/// The segment size is lowered to what the route carries.
fn clamp() -> Vec<Expr> {
    vec![Expr::RouteMss(REG), Expr::HostToNetwork16(REG), Expr::SetMss(REG)]
}

fn service_element(carrier: &Carrier, port: &ServicePort) -> Option<(crate::nft::ElementKey, Element)> {
    let mut data = port.target.octets().to_vec();
    data.extend(port.target_port.to_be_bytes());
    data.extend([0, 0]);
    let element = Element { data, timeout_ms: port.ttl_ms, ..Element::default() };
    Some((key(triple(carrier.egress?, port.protocol, port.port)), element))
}

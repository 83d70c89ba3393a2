//! `bridge sf_port`, one per node: what a guest may send (`networking.md` §6), and no way from a tenant's bridge into
//! the host.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use sf_model::{MacAddress, NetworkId};

use crate::intent::{LocalPort, PortLevel};
use crate::model::{PortElement, PortSet};
use crate::names;
use crate::nft::expr::{Expr, Header, Meta, REG, reg};
use crate::nft::ir::{Base, ChainSpec, Field, RuleSpec, SetSpec, TableFamily, TableSpec, hook};
use crate::nft::matches::{
    ICMPV6, ICMPV6_ROUTER_ADVERT, UDP, accept, cmp, destination_port, drop_counted, ethertype, icmp_type,
    ifname_bytes, interface_prefix, member, no_member, protocol, rule, source_is, source_port,
};

/// Family and name of the table.
pub const TABLE: crate::nft::encode::TableName =
    crate::nft::encode::TableName { family: TableFamily::Bridge, name: "sf_port" };

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;

/// The table: the same on every node.
pub fn spec() -> TableSpec {
    let set = |set: PortSet, key: &[Field]| SetSpec {
        name: set.name(),
        key: key.to_vec(),
        data: Vec::new(),
        interval: false,
        timeout: false,
    };
    TableSpec {
        family: TABLE.family,
        name: TABLE.name,
        sets: vec![
            set(PortSet::Macs, &[Field::IfName, Field::Ether]),
            set(PortSet::Ips, &[Field::IfName, Field::Ether, Field::Ipv4]),
            set(PortSet::MacOnly, &[Field::IfName]),
            set(PortSet::Open, &[Field::IfName]),
        ],
        chains: vec![
            ChainSpec { name: "guest", base: None, rules: guest() },
            ChainSpec {
                name: "ingress",
                base: Some(Base { kind: "filter", hook: hook::PREROUTING, priority: -300, drop: false }),
                rules: vec![rule("taps", [guest_tap(), vec![Expr::Jump("guest")]])],
            },
            // Frames for the host itself. Matching the ports instead of the bridge needs no extra kernel feature.
            ChainSpec {
                name: "local",
                base: Some(Base { kind: "filter", hook: hook::INPUT, priority: -300, drop: false }),
                rules: [guest_tap(), vxlan_device(), gateway_end()]
                    .map(|from| rule("host", [from, drop_counted()]))
                    .to_vec(),
            },
        ],
    }
}

/// The elements of one network's ports. The network is kept as the elements' tag.
pub fn elements(ports: &[LocalPort]) -> BTreeSet<PortElement> {
    let mut found = BTreeSet::new();
    for port in ports {
        let tap = names::tap(port.mac);
        let mut add = |set, key| found.insert(PortElement { set, key });
        if port.level == PortLevel::Off {
            add(PortSet::Open, ifname_bytes(&tap));
            continue;
        }
        add(PortSet::Macs, station_key(&tap, port.mac));
        if port.level == PortLevel::Mac || port.allowed.is_empty() {
            add(PortSet::MacOnly, ifname_bytes(&tap));
        } else {
            for address in &port.allowed {
                add(PortSet::Ips, address_key(&tap, port.mac, *address));
            }
        }
    }
    found
}

/// The tag of a network's elements.
pub fn tag(network: NetworkId) -> Vec<u8> {
    network.as_uuid().as_bytes().to_vec()
}

fn guest() -> Vec<RuleSpec> {
    let arp = || ethertype(ARP);
    let ip = || ethertype(IPV4);
    let dhcp_request = [
        ip(),
        source_is(Ipv4Addr::UNSPECIFIED),
        protocol(UDP),
        source_port(68),
        destination_port(67),
        accept(),
    ];
    vec![
        rule("open", [tap(), vec![member("open")], accept()]),
        // A tap in no set is dropped here as well: until its elements are there, nothing passes.
        rule("mac", [station(Header::Link, 6), vec![no_member("macs")], drop_counted()]),
        rule("rogue-dhcp", [ip(), protocol(UDP), source_port(67), drop_counted()]),
        rule("router-advert", [protocol(ICMPV6), icmp_type(ICMPV6_ROUTER_ADVERT), drop_counted()]),
        rule("bridge-group", [link_local_group(), drop_counted()]),
        rule("mac-only", [tap(), vec![member("mac_only")], accept()]),
        // Offsets inside an ARP packet for IPv4 over Ethernet: sender MAC at 8, sender address at 14.
        rule("arp-mac", [arp(), station(Header::Network, 8), vec![no_member("macs")], drop_counted()]),
        rule("arp-probe", [arp(), arp_sender_is_unset(), accept()]),
        rule("arp-own", [arp(), station(Header::Network, 8), address(14), vec![member("ips")], accept()]),
        rule("arp", [arp(), drop_counted()]),
        rule("ip-own", [ip(), station(Header::Link, 6), address(12), vec![member("ips")], accept()]),
        rule("dhcp-request", dhcp_request),
        rule("ip", [ip(), drop_counted()]),
    ]
}

// The names of our ports are told from foreign ones by their length too: other software also has a `tap0`. Matching the
// bridge instead would need a kernel feature that small kernels lack. A name takes four registers of four characters.

/// `tap` and twelve more characters.
fn guest_tap() -> Vec<Expr> {
    let mut exprs = interface_prefix(Meta::IifName, "tap");
    exprs.extend([Expr::Mask { reg: reg(3), mask: vec![0, 0, 0xff, 0] }, differs(3, &[0; 4])]);
    exprs
}

/// `vxlan-` and six more characters.
fn vxlan_device() -> Vec<Expr> {
    let mut exprs = interface_prefix(Meta::IifName, "vxlan-");
    exprs.extend([
        equals(3, &[0]),
        Expr::Mask { reg: reg(2), mask: vec![0, 0, 0, 0xff] },
        differs(2, &[0; 4]),
    ]);
    exprs
}

/// `veth-`, six characters, `-o`.
fn gateway_end() -> Vec<Expr> {
    let mut exprs = interface_prefix(Meta::IifName, "veth-");
    exprs.extend([
        equals(3, b"o\0"),
        Expr::Mask { reg: reg(2), mask: vec![0, 0, 0, 0xff] },
        equals(2, &[0, 0, 0, b'-']),
    ]);
    exprs
}

fn equals(word: u32, data: &[u8]) -> Expr {
    Expr::Cmp { reg: reg(word), negate: false, data: data.to_vec() }
}

fn differs(word: u32, data: &[u8]) -> Expr {
    Expr::Cmp { reg: reg(word), negate: true, data: data.to_vec() }
}

/// Loads the tap's name.
fn tap() -> Vec<Expr> {
    vec![Expr::Meta(Meta::IifName, reg(0))]
}

/// Loads tap and a MAC.
fn station(header: Header, offset: u32) -> Vec<Expr> {
    vec![Expr::Meta(Meta::IifName, reg(0)), Expr::Payload(header, offset, 6, reg(4))]
}

/// Loads an address behind tap and MAC.
fn address(offset: u32) -> Vec<Expr> {
    vec![Expr::Payload(Header::Network, offset, 4, reg(6))]
}

fn arp_sender_is_unset() -> Vec<Expr> {
    vec![Expr::Payload(Header::Network, 14, 4, REG), cmp(vec![0; 4])]
}

/// The sixteen addresses bridges keep for themselves: 01:80:c2:00:00:00 to :0f.
fn link_local_group() -> Vec<Expr> {
    vec![
        Expr::Payload(Header::Link, 0, 6, REG),
        Expr::Mask { reg: REG, mask: vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xf0] },
        cmp(vec![0x01, 0x80, 0xc2, 0, 0, 0]),
    ]
}

fn station_key(tap: &str, mac: MacAddress) -> Vec<u8> {
    let mut bytes = ifname_bytes(tap);
    bytes.extend(mac.octets());
    bytes.extend([0, 0]);
    bytes
}

fn address_key(tap: &str, mac: MacAddress, address: Ipv4Addr) -> Vec<u8> {
    let mut bytes = station_key(tap, mac);
    bytes.extend(address.octets());
    bytes
}

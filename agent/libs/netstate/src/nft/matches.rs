//! Small matches rules are put together from. Each is a run of expressions that continues or ends the rule.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::expr::{Ct, Expr, Header, Meta, REG, reg};
use super::ir::RuleSpec;

/// ICMP echo request.
pub const ICMP_ECHO: u8 = 8;
/// ICMPv6 router advertisement.
pub const ICMPV6_ROUTER_ADVERT: u8 = 134;
/// Transport protocol numbers.
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMPv6.
pub const ICMPV6: u8 = 58;

/// A rule from its label and the runs it consists of.
pub fn rule<const N: usize>(label: &'static str, parts: [Vec<Expr>; N]) -> RuleSpec {
    RuleSpec { label, exprs: parts.into_iter().flatten().collect() }
}

/// Ends the rule by letting the packet pass.
pub fn accept() -> Vec<Expr> {
    vec![Expr::Accept]
}

/// Counts and drops.
pub fn drop_counted() -> Vec<Expr> {
    vec![Expr::Counter, Expr::Drop]
}

/// The incoming (or outgoing) interface has exactly this name.
pub fn interface(key: Meta, name: &str) -> Vec<Expr> {
    vec![Expr::Meta(key, REG), cmp(ifname_bytes(name))]
}

/// The interface is another one.
pub fn interface_not(key: Meta, name: &str) -> Vec<Expr> {
    vec![Expr::Meta(key, REG), cmp_not(ifname_bytes(name))]
}

/// The interface's name begins with `prefix`.
pub fn interface_prefix(key: Meta, prefix: &str) -> Vec<Expr> {
    vec![Expr::Meta(key, REG), cmp(prefix.as_bytes().to_vec())]
}

/// The interface's name does not begin with `prefix`.
pub fn interface_not_prefix(key: Meta, prefix: &str) -> Vec<Expr> {
    vec![Expr::Meta(key, REG), cmp_not(prefix.as_bytes().to_vec())]
}

/// The packet is IPv4 (tables of family inet).
pub fn ipv4() -> Vec<Expr> {
    vec![Expr::Meta(Meta::NfProto, REG), cmp(vec![2])]
}

/// The frame's EtherType (tables of family bridge).
pub fn ethertype(value: u16) -> Vec<Expr> {
    vec![Expr::Meta(Meta::Protocol, REG), cmp(value.to_be_bytes().to_vec())]
}

/// The transport protocol.
pub fn protocol(number: u8) -> Vec<Expr> {
    vec![Expr::Meta(Meta::L4Proto, REG), cmp(vec![number])]
}

/// First byte of the transport header: the type of an ICMP message.
pub fn icmp_type(value: u8) -> Vec<Expr> {
    vec![Expr::Payload(Header::Transport, 0, 1, REG), cmp(vec![value])]
}

/// Source port.
pub fn source_port(port: u16) -> Vec<Expr> {
    vec![Expr::Payload(Header::Transport, 0, 2, REG), cmp(port.to_be_bytes().to_vec())]
}

/// Destination port.
pub fn destination_port(port: u16) -> Vec<Expr> {
    vec![Expr::Payload(Header::Transport, 2, 2, REG), cmp(port.to_be_bytes().to_vec())]
}

/// IPv4 source inside a block.
pub fn source_in(block: Ipv4Net) -> Vec<Expr> {
    let mut exprs = vec![Expr::Payload(Header::Network, 12, 4, REG)];
    if block.prefix_len() < 32 {
        exprs.push(Expr::Mask { reg: REG, mask: block.netmask().octets().to_vec() });
    }
    exprs.push(cmp(block.network().octets().to_vec()));
    exprs
}

/// IPv4 source is exactly this address.
pub fn source_is(address: Ipv4Addr) -> Vec<Expr> {
    vec![Expr::Payload(Header::Network, 12, 4, REG), cmp(address.octets().to_vec())]
}

/// IPv4 destination is exactly this address.
pub fn destination_is(address: Ipv4Addr) -> Vec<Expr> {
    vec![Expr::Payload(Header::Network, 16, 4, REG), cmp(address.octets().to_vec())]
}

/// IPv4 source is in a set.
pub fn source_in_set(set: &'static str) -> Vec<Expr> {
    vec![Expr::Payload(Header::Network, 12, 4, REG), member(set)]
}

/// IPv4 destination is in a set.
pub fn destination_in_set(set: &'static str) -> Vec<Expr> {
    vec![Expr::Payload(Header::Network, 16, 4, REG), member(set)]
}

/// IPv4 destination, transport protocol and destination port are in a set.
pub fn destination_triple(set: &'static str, into: Option<u32>, negate: bool) -> Vec<Expr> {
    vec![
        Expr::Payload(Header::Network, 16, 4, reg(0)),
        Expr::Meta(Meta::L4Proto, reg(1)),
        Expr::Payload(Header::Transport, 2, 2, reg(2)),
        Expr::Lookup { set, reg: reg(0), negate, into },
    ]
}

/// The connection is established or related.
pub fn established() -> Vec<Expr> {
    ct_bits(Ct::State, 0x2 | 0x4)
}

/// The packet belongs to no connection it could belong to.
pub fn invalid() -> Vec<Expr> {
    ct_bits(Ct::State, 0x1)
}

/// The connection's destination was translated.
pub fn translated() -> Vec<Expr> {
    ct_bits(Ct::Status, 0x20)
}

/// The registers from `REG` on are in a set.
pub fn member(set: &'static str) -> Expr {
    Expr::Lookup { set, reg: REG, negate: false, into: None }
}

/// The registers from `REG` on are not in a set.
pub fn no_member(set: &'static str) -> Expr {
    Expr::Lookup { set, reg: REG, negate: true, into: None }
}

/// `REG` equals the bytes.
pub fn cmp(data: Vec<u8>) -> Expr {
    Expr::Cmp { reg: REG, negate: false, data }
}

/// `REG` differs from the bytes.
pub fn cmp_not(data: Vec<u8>) -> Expr {
    Expr::Cmp { reg: REG, negate: true, data }
}

/// An interface name as the kernel compares it: sixteen bytes, zero padded.
pub fn ifname_bytes(name: &str) -> Vec<u8> {
    let mut bytes: Vec<u8> = name.bytes().take(15).collect();
    bytes.resize(16, 0);
    bytes
}

fn ct_bits(key: Ct, bits: u32) -> Vec<Expr> {
    vec![Expr::Ct(key, REG), Expr::Mask { reg: REG, mask: bits.to_ne_bytes().to_vec() }, cmp_not(vec![0; 4])]
}

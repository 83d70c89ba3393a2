//! Expressions of rules and their netlink encoding.
//!
//! Numbers are those of `include/uapi/linux/netfilter/nf_tables.h`. Every integer attribute is big-endian.

use netlink_packet_core::DefaultNla;

use super::attr::{bytes, nested, text, u8_, u32_, u64_};

/// First of the four-byte registers; four of them make one of sixteen bytes.
pub const REG: u32 = 8;

/// Registers `n` four-byte words after the first.
pub const fn reg(words: u32) -> u32 {
    REG + words
}

/// Where a payload offset counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// Ethernet.
    Link = 0,
    /// IP or ARP.
    Network = 1,
    /// TCP, UDP, ICMP.
    Transport = 2,
}

/// What `meta` loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    /// EtherType, two bytes in network order.
    Protocol = 1,
    /// Name of the incoming interface, sixteen bytes.
    IifName = 6,
    /// Name of the outgoing interface, sixteen bytes.
    OifName = 7,
    /// Address family, one byte.
    NfProto = 15,
    /// Transport protocol, one byte.
    L4Proto = 16,
}

/// What `ct` loads, in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ct {
    /// State bits.
    State = 0,
    /// Status bits.
    Status = 2,
}

/// One expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// Loads a property of the packet.
    Meta(Meta, u32),
    /// Loads bytes of the packet: header, offset, length, register.
    Payload(Header, u32, u32, u32),
    /// Loads a property of the connection.
    Ct(Ct, u32),
    /// Continues when the register equals the bytes (or does not, when negated).
    Cmp {
        /// Register compared.
        reg: u32,
        /// True for "differs".
        negate: bool,
        /// Compared bytes; fewer than loaded compare a prefix.
        data: Vec<u8>,
    },
    /// register = register & mask.
    Mask {
        /// Register changed.
        reg: u32,
        /// Mask of the register's length.
        mask: Vec<u8>,
    },
    /// Continues when the register is in the set.
    Lookup {
        /// Name of the set.
        set: &'static str,
        /// First register of the key.
        reg: u32,
        /// Continue when it is not in the set.
        negate: bool,
        /// Register that takes the mapped value, for maps.
        into: Option<u32>,
    },
    /// Loads constant bytes.
    Immediate(u32, Vec<u8>),
    /// Counts packets.
    Counter,
    /// Lets the packet pass.
    Accept,
    /// Drops the packet.
    Drop,
    /// Continues in a chain and comes back.
    Jump(&'static str),
    /// Translates the destination to the address (and port) in the registers.
    Dnat {
        /// Register of the address.
        addr: u32,
        /// Register of the port.
        port: Option<u32>,
    },
    /// Translates the source to the address in the register.
    Snat {
        /// Register of the address.
        addr: u32,
    },
    /// Translates the source to the address of the outgoing interface.
    Masquerade,
    /// Continues while fewer than this many packets per second came.
    LimitPerSecond(u64),
    /// Loads the segment size the route allows, two bytes in host order.
    RouteMss(u32),
    /// Turns two bytes from host to network order.
    HostToNetwork16(u32),
    /// Writes two bytes from the register into the segment-size option of TCP.
    SetMss(u32),
}

const IPV4: u32 = 2;

impl Expr {
    /// The attributes of one list element: name and data.
    pub fn encode(&self) -> Vec<DefaultNla> {
        let (name, data) = self.parts();
        let mut attrs = vec![text(1, name)];
        // An expression without parameters still carries its (empty) data attribute.
        attrs.push(nested(2, data));
        attrs
    }

    fn parts(&self) -> (&'static str, Vec<DefaultNla>) {
        match self {
            Self::Meta(key, reg) => ("meta", vec![u32_(1, *reg), u32_(2, *key as u32)]),
            Self::Payload(header, offset, len, reg) => {
                ("payload", vec![u32_(1, *reg), u32_(2, *header as u32), u32_(3, *offset), u32_(4, *len)])
            }
            Self::Ct(key, reg) => ("ct", vec![u32_(1, *reg), u32_(2, *key as u32)]),
            Self::Cmp { reg, negate, data } => {
                ("cmp", vec![u32_(1, *reg), u32_(2, u32::from(*negate)), value(3, data)])
            }
            Self::Mask { reg, mask } => {
                let zero = vec![0; mask.len()];
                let len = u32::try_from(mask.len()).unwrap_or(0);
                ("bitwise", vec![u32_(1, *reg), u32_(2, *reg), u32_(3, len), value(4, mask), value(5, &zero)])
            }
            Self::Lookup { set, reg, negate, into } => {
                let mut attrs = vec![text(1, set), u32_(2, *reg)];
                attrs.extend(into.map(|into| u32_(3, into)));
                if *negate {
                    attrs.push(u32_(5, 1));
                }
                ("lookup", attrs)
            }
            Self::Immediate(reg, data) => ("immediate", vec![u32_(1, *reg), value(2, data)]),
            Self::Counter => ("counter", vec![u64_(1, 0), u64_(2, 0)]),
            Self::Accept => verdict(1, None),
            Self::Drop => verdict(0, None),
            Self::Jump(chain) => verdict(-3, Some(chain)),
            Self::Dnat { addr, port } => {
                let mut attrs = vec![u32_(1, 1), u32_(2, IPV4), u32_(3, *addr)];
                attrs.extend(port.map(|port| u32_(5, port)));
                ("nat", attrs)
            }
            Self::Snat { addr } => ("nat", vec![u32_(1, 0), u32_(2, IPV4), u32_(3, *addr)]),
            Self::Masquerade => ("masq", Vec::new()),
            Self::LimitPerSecond(rate) => {
                ("limit", vec![u64_(1, *rate), u64_(2, 1), u32_(3, 5), u32_(4, 0), u32_(5, 0)])
            }
            Self::RouteMss(reg) => ("rt", vec![u32_(1, *reg), u32_(2, 3)]),
            Self::HostToNetwork16(reg) => {
                ("byteorder", vec![u32_(1, *reg), u32_(2, *reg), u32_(3, 1), u32_(4, 2), u32_(5, 2)])
            }
            Self::SetMss(reg) => {
                ("exthdr", vec![u8_(2, 2), u32_(3, 2), u32_(4, 2), u32_(6, 1), u32_(7, *reg)])
            }
        }
    }
}

/// A data attribute holding plain bytes.
pub(super) fn value(kind: u16, data: &[u8]) -> DefaultNla {
    nested(kind, vec![bytes(1, data)])
}

fn verdict(code: i32, chain: Option<&str>) -> (&'static str, Vec<DefaultNla>) {
    let mut attrs = vec![bytes(1, &code.to_be_bytes())];
    attrs.extend(chain.map(|chain| text(2, chain)));
    // Register 0 is the verdict register.
    ("immediate", vec![u32_(1, 0), nested(2, vec![nested(2, attrs)])])
}

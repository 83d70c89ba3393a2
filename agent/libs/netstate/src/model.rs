//! Desired and observed state of one network on one node, in one typed form that both are brought into.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use sf_model::MacAddress;

use crate::names::Role;
use crate::nft::TableState;

/// Everything of one network on one node. The default value is "nothing of it".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NetworkModel {
    /// Links in the root namespace.
    pub links: BTreeMap<Role, LinkState>,
    /// Mesh addresses that get broadcast, unknown and multicast frames.
    pub flood: BTreeSet<IpAddr>,
    /// Mesh address behind which a station is.
    pub unicast: BTreeMap<MacAddress, IpAddr>,
    /// Elements of the port security table, by set.
    pub ports: BTreeSet<PortElement>,
    /// The network's namespace.
    pub namespace: Option<NamespaceModel>,
}

/// A link of ours in the root namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkState {
    /// What the link is, and the options that decide how it behaves.
    pub spec: LinkSpec,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Bridge the link is a port of.
    pub master: Option<Master>,
}

/// Kind of a link with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkSpec {
    /// A VXLAN device.
    Vxlan(VxlanSpec),
    /// A bridge.
    Bridge(BridgeSpec),
    /// The outer end of a pair.
    Veth,
    /// A link of our name that was left by another network, by an interrupted creation, or with immutable
    /// options of another value. Only ever observed, and always replaced.
    Unusable,
}

/// Options of a VXLAN device. All but `learning` are fixed at creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VxlanSpec {
    /// Own mesh address.
    pub local: IpAddr,
    /// UDP port.
    pub port: u16,
    /// Interface index of the mesh interface.
    pub lower: u32,
    /// Stations are learned from frames.
    pub learning: bool,
}

/// Options of a network's bridge, as observed; the desired value is [`BridgeSpec::WANTED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Spanning tree.
    pub stp: bool,
    /// Hundredths of a second.
    pub forward_delay: u32,
    /// Hundredths of a second a learned station is kept.
    pub ageing: u32,
    /// Multicast snooping.
    pub snooping: bool,
    /// Frames are handed to the host's packet filters.
    pub netfilter: bool,
    /// ARP requests for addresses of the host are answered: 8 for never.
    pub arp_ignore: i32,
}

impl BridgeSpec {
    /// What every bridge of ours is set to (`networking.md` §5).
    pub const WANTED: Self = Self {
        stp: false,
        forward_delay: 0,
        ageing: 30_000,
        snooping: false,
        netfilter: false,
        arp_ignore: 8,
    };
}

/// The bridge a link is a port of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Master {
    /// The network's own bridge.
    Network,
    /// The node's egress bridge.
    Egress,
    /// Another link, by interface index. Only ever observed.
    Other(u32),
}

/// A set of the port security table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortSet {
    /// Tap and MAC of every checked interface.
    Macs,
    /// Tap, MAC and address of interfaces checked in full.
    Ips,
    /// Taps whose addresses are not checked.
    MacOnly,
    /// Taps that are not checked at all.
    Open,
}

impl PortSet {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Macs, Self::Ips, Self::MacOnly, Self::Open];

    /// Name of the set.
    pub fn name(self) -> &'static str {
        match self {
            Self::Macs => "macs",
            Self::Ips => "ips",
            Self::MacOnly => "mac_only",
            Self::Open => "open",
        }
    }
}

/// One element of the port security table that belongs to the network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortElement {
    /// The set.
    pub set: PortSet,
    /// The key, as the kernel keeps it.
    pub key: Vec<u8>,
}

/// The inside of a network's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamespaceModel {
    /// Inner ends of the pairs.
    pub links: BTreeMap<Role, InnerLink>,
    /// Addresses with their prefix length.
    pub addresses: BTreeSet<(Role, IpNet)>,
    /// Routes of the main table that the kernel did not make itself.
    pub routes: BTreeSet<Route>,
    /// Addresses answered for by proxy.
    pub proxies: BTreeSet<(Role, IpAddr)>,
    /// The rules.
    pub table: Option<TableState>,
}

/// An inner end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InnerLink {
    /// Its MAC.
    pub mac: MacAddress,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Carries the network's mark.
    pub marked: bool,
}

/// A route inside a namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Destination.
    pub destination: IpNet,
    /// Interface.
    pub role: Role,
    /// Next hop, reached without regard to the interface's own prefixes.
    pub via: Option<IpAddr>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
}

impl NetworkModel {
    /// Whether nothing of the network is there.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

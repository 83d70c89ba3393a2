//! Intents: parsed from protobuf once, then trusted.

mod parse;

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use sf_model::{ClusterId, InterfaceId, MacAddress, NetworkId, NodeId, Vxid};

/// Everything one node has to know to render one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkIntent {
    /// The network.
    pub network: NetworkId,
    /// Its VXLAN id.
    pub vxid: Vxid,
    /// Generation the rows were read at.
    pub generation: u64,
    /// Whether the network has a place on the node.
    pub present: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Stations are learned from frames.
    pub learning: bool,
    /// Mesh addresses of the other participants.
    pub peers: Vec<IpAddr>,
    /// Interfaces on this node.
    pub local_ports: Vec<LocalPort>,
    /// Stations on other nodes.
    pub remote_ports: Vec<(MacAddress, IpAddr)>,
    /// What the carrier adds.
    pub carrier: Option<Carrier>,
}

/// How strictly a port is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortLevel {
    /// MAC, ARP and addresses.
    Strict,
    /// MAC.
    Mac,
    /// Nothing.
    Off,
}

/// An interface on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPort {
    /// The interface.
    pub interface: InterfaceId,
    /// Its MAC.
    pub mac: MacAddress,
    /// Addresses it may use as source.
    pub allowed: Vec<Ipv4Addr>,
    /// How strictly it is checked.
    pub level: PortLevel,
}

/// The carrier's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrier {
    /// Fencing epoch of the assignment.
    pub epoch: u64,
    /// Session epoch of the carrier.
    pub session_epoch: u64,
    /// The egress link is up.
    pub egress_live: bool,
    /// Address block of the network.
    pub netblock: Ipv4Net,
    /// Gateway inside it.
    pub gateway: Ipv4Addr,
    /// Egress address; `None` when nothing leaves the network.
    pub egress: Option<Ipv4Addr>,
    /// Members reach the outside by the egress address.
    pub provide_nat: bool,
    /// Addresses translated one to one.
    pub floats: Vec<Float>,
    /// Addresses delivered unmodified.
    pub routed: Vec<Ipv4Addr>,
    /// Transient services.
    pub service_ports: Vec<ServicePort>,
    /// Present when DHCP is provided.
    pub dhcp: Option<Dhcp>,
    /// Present when DNS is provided.
    pub dns: Option<Dns>,
}

/// A floating address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Float {
    /// Outside address.
    pub floating: Ipv4Addr,
    /// Address of the interface.
    pub address: Ipv4Addr,
}

/// A transient service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Transport protocol number.
    pub protocol: u8,
    /// Port at the egress address.
    pub port: u16,
    /// Where it leads.
    pub target: Ipv4Addr,
    /// Port there.
    pub target_port: u16,
    /// Remaining life in milliseconds.
    pub ttl_ms: u64,
}

/// DHCP data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dhcp {
    /// Static reservations.
    pub reservations: Vec<Reservation>,
    /// Resolvers for clients.
    pub dns_servers: Vec<Ipv4Addr>,
    /// Domain name for clients.
    pub domain: String,
}

/// A reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The interface.
    pub interface: InterfaceId,
    /// Its MAC.
    pub mac: MacAddress,
    /// Its address.
    pub address: Ipv4Addr,
    /// Host name.
    pub hostname: String,
}

/// DNS data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dns {
    /// The local zone, without trailing dot.
    pub zone: String,
    /// Bare names and addresses.
    pub records: Vec<(String, Ipv4Addr)>,
    /// Where other names are asked, in order.
    pub forwarders: Vec<IpAddr>,
}

/// What a node needs once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostIntent {
    /// The cluster, part of every mark.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// Its mesh address.
    pub mesh_ip: Ipv4Addr,
    /// Its mesh interface; empty: the one that holds the address.
    pub mesh_nic: String,
    /// Mesh addresses of all nodes.
    pub mesh_peers: Vec<Ipv4Addr>,
    /// Blocks guests never reach.
    pub protected: Vec<Ipv4Net>,
    /// MTU the mesh interface must have.
    pub underlay_mtu: u32,
    /// UDP port of the mesh.
    pub vxlan_udp_port: u16,
    /// Egress side, on nodes that may carry networks.
    pub egress: Option<EgressHost>,
    /// Targets of service ports.
    pub service_targets: Vec<ServiceTarget>,
}

/// How namespaces reach the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EgressMode {
    /// The node masquerades the floating block.
    Nat,
    /// The operator routes the floating block to the node.
    Routed,
    /// The egress interface is a port of the egress bridge.
    Bridged,
}

/// Egress side of a carrier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressHost {
    /// How.
    pub mode: EgressMode,
    /// The floating block.
    pub floating_network: Ipv4Net,
    /// Next hop of the namespaces.
    pub router: Ipv4Addr,
    /// Interface towards the outside; empty: the default route's.
    pub nic: String,
    /// It serves nothing else.
    pub nic_dedicated: bool,
}

/// A target of service ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTarget {
    /// Address.
    pub address: Ipv4Addr,
    /// Transport protocol number.
    pub protocol: u8,
    /// Port.
    pub port: u16,
}

impl Carrier {
    /// Whether anything of the network reaches the egress side.
    pub fn needs_egress(&self) -> bool {
        self.egress.is_some()
    }
}

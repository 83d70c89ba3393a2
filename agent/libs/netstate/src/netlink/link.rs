//! Links: creating, changing, deleting and reading them.

use std::net::IpAddr;
use std::os::fd::RawFd;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InetDevConf, InfoBridge, InfoData,
    InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, Stats64,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;
use sf_model::{MacAddress, Vxid};

use super::RouteSocket;
use crate::error::NetError;
use crate::model::{BridgeSpec, VxlanSpec};
use crate::names::MARK_GROUP;

/// A link as the kernel shows it, as far as anything here depends on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservedLink {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Alias; empty when there is none.
    pub alias: String,
    /// Interface group.
    pub group: u32,
    /// Administratively up.
    pub up: bool,
    /// MTU in bytes.
    pub mtu: u32,
    /// Index of the bridge it is a port of.
    pub master: Option<u32>,
    /// MAC.
    pub mac: Option<MacAddress>,
    /// Kind with options.
    pub kind: ObservedKind,
    /// Traffic counters, when asked for.
    pub stats: Option<Stats64>,
}

/// Kind of a link.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ObservedKind {
    /// A VXLAN device.
    Vxlan {
        /// VXLAN id.
        id: u32,
        /// Options.
        spec: VxlanSpec,
    },
    /// A bridge.
    Bridge(BridgeSpec),
    /// An end of a pair.
    Veth,
    /// Anything else.
    #[default]
    Other,
}

/// The link of this name; `None` when there is none.
pub fn get(socket: &mut RouteSocket, name: &str) -> Result<Option<ObservedLink>, NetError> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    match socket.request(RouteNetlinkMessage::GetLink(message), 0, name) {
        Ok(replies) => Ok(replies.into_iter().find_map(observed)),
        Err(NetError::Kernel(error)) if error.is(Errno::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Every link of the namespace; `stats` adds the traffic counters.
pub fn list(socket: &mut RouteSocket, stats: bool) -> Result<Vec<ObservedLink>, NetError> {
    let mut message = LinkMessage::default();
    if !stats {
        message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    }
    let replies = socket.dump(RouteNetlinkMessage::GetLink(message), NLM_F_DUMP, "links")?;
    Ok(replies.into_iter().filter_map(observed).collect())
}

/// Creates a VXLAN device, down.
pub fn create_vxlan(
    socket: &mut RouteSocket,
    name: &str,
    vxid: Vxid,
    spec: &VxlanSpec,
    mtu: u32,
) -> Result<(), NetError> {
    let local = match spec.local {
        IpAddr::V4(address) => InfoVxlan::Local(address),
        IpAddr::V6(address) => InfoVxlan::Local6(address),
    };
    let data = InfoData::Vxlan(vec![
        InfoVxlan::Id(vxid.get()),
        InfoVxlan::Link(spec.lower),
        local,
        InfoVxlan::Port(spec.port),
        InfoVxlan::Learning(spec.learning),
        InfoVxlan::Ttl(64),
    ]);
    create(socket, name, InfoKind::Vxlan, Some(data), vec![LinkAttribute::Mtu(mtu)])
}

/// Creates a bridge, down, without options.
pub fn create_bridge(socket: &mut RouteSocket, name: &str) -> Result<(), NetError> {
    create(socket, name, InfoKind::Bridge, None, Vec::new())
}

/// The inner end of a pair to be created.
pub struct PeerSpec<'a> {
    /// Name.
    pub name: &'a str,
    /// MAC.
    pub mac: MacAddress,
    /// MTU; both ends are given theirs, a peer otherwise keeps 1500.
    pub mtu: u32,
    /// Descriptor of the namespace it is created in.
    pub namespace: RawFd,
}

/// Creates a pair whose inner end is born inside a namespace.
pub fn create_veth(
    socket: &mut RouteSocket,
    name: &str,
    mtu: u32,
    peer: &PeerSpec<'_>,
) -> Result<(), NetError> {
    let mut inner = LinkMessage::default();
    inner.attributes = vec![
        LinkAttribute::IfName(peer.name.to_owned()),
        LinkAttribute::Address(peer.mac.octets().to_vec()),
        LinkAttribute::Mtu(peer.mtu),
        LinkAttribute::NetNsFd(peer.namespace),
    ];
    let data = InfoData::Veth(InfoVeth::Peer(inner));
    create(socket, name, InfoKind::Veth, Some(data), vec![LinkAttribute::Mtu(mtu)])
}

/// Sets the alias, which is the mark of ownership, and switches off IPv6 link-local addresses where there is IPv6.
pub fn mark(socket: &mut RouteSocket, index: u32, alias: &str) -> Result<(), NetError> {
    set(socket, index, vec![LinkAttribute::IfAlias(alias.to_owned())], "alias")?;
    let quiet = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    match set(socket, index, vec![LinkAttribute::AfSpecUnspec(vec![quiet])], "IPv6 address generation") {
        Err(NetError::Kernel(error)) if error.is(Errno::EAFNOSUPPORT) || error.is(Errno::EOPNOTSUPP) => {
            Ok(())
        }
        outcome => outcome,
    }
}

/// Sets the bridge options of every network bridge.
pub fn set_bridge(socket: &mut RouteSocket, index: u32, spec: &BridgeSpec) -> Result<(), NetError> {
    // The kernel looks at the delay before the protocol, and refuses 0 while the protocol runs: two messages.
    let protocol = if spec.stp { BridgeStpState::KernelStp } else { BridgeStpState::Disabled };
    let others = vec![
        InfoBridge::ForwardDelay(spec.forward_delay),
        InfoBridge::AgeingTime(spec.ageing),
        InfoBridge::MulticastSnooping(spec.snooping),
        InfoBridge::NfCallIpTables(spec.netfilter),
        InfoBridge::NfCallIp6Tables(spec.netfilter),
        InfoBridge::NfCallArpTables(spec.netfilter),
    ];
    for options in [vec![InfoBridge::StpState(protocol)], others] {
        let data = LinkInfo::Data(InfoData::Bridge(options));
        let info = LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge), data]);
        change(socket, index, vec![info], "bridge options")?;
    }
    let mut conf = InetDevConf::default();
    conf.arp_ignore = spec.arp_ignore;
    let af = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)]);
    set(socket, index, vec![LinkAttribute::AfSpecUnspec(vec![af])], "arp_ignore")
}

/// Switches learning of a VXLAN device.
pub fn set_learning(socket: &mut RouteSocket, index: u32, on: bool) -> Result<(), NetError> {
    let info = LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Vxlan),
        LinkInfo::Data(InfoData::Vxlan(vec![InfoVxlan::Learning(on)])),
    ]);
    change(socket, index, vec![info], "learning")
}

/// Enables IPv4 forwarding on one device, whatever the rest of the host does.
pub fn set_forwarding(socket: &mut RouteSocket, index: u32) -> Result<(), NetError> {
    let mut conf = InetDevConf::default();
    conf.forwarding = 1;
    let af = AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)]);
    set(socket, index, vec![LinkAttribute::AfSpecUnspec(vec![af])], "forwarding")
}

/// Sets the MTU.
pub fn set_mtu(socket: &mut RouteSocket, index: u32, mtu: u32) -> Result<(), NetError> {
    set(socket, index, vec![LinkAttribute::Mtu(mtu)], "mtu")
}

/// Sets the MAC.
pub fn set_mac(socket: &mut RouteSocket, index: u32, mac: MacAddress) -> Result<(), NetError> {
    set(socket, index, vec![LinkAttribute::Address(mac.octets().to_vec())], "mac")
}

/// Makes a link a port of a bridge; index 0 takes it out.
pub fn set_master(socket: &mut RouteSocket, index: u32, master: u32) -> Result<(), NetError> {
    set(socket, index, vec![LinkAttribute::Controller(master)], "master")
}

/// Sets a link up or down.
pub fn set_up(socket: &mut RouteSocket, index: u32, up: bool) -> Result<(), NetError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    socket.change(RouteNetlinkMessage::SetLink(message), 0, &format!("link {index} state"))
}

/// Deletes a link; one that is gone already is success.
pub fn delete(socket: &mut RouteSocket, index: u32) -> Result<(), NetError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    match socket.change(RouteNetlinkMessage::DelLink(message), 0, &format!("link {index}")) {
        Err(NetError::Kernel(error)) if error.is(Errno::ENODEV) => Ok(()),
        outcome => outcome,
    }
}

fn create(
    socket: &mut RouteSocket,
    name: &str,
    kind: InfoKind,
    data: Option<InfoData>,
    mut attributes: Vec<LinkAttribute>,
) -> Result<(), NetError> {
    let mut info = vec![LinkInfo::Kind(kind)];
    info.extend(data.map(LinkInfo::Data));
    attributes.push(LinkAttribute::IfName(name.to_owned()));
    attributes.push(LinkAttribute::Group(MARK_GROUP));
    attributes.push(LinkAttribute::LinkInfo(info));
    let mut message = LinkMessage::default();
    message.attributes = attributes;
    socket.change(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, &format!("link {name}"))
}

fn set(
    socket: &mut RouteSocket,
    index: u32,
    attributes: Vec<LinkAttribute>,
    what: &str,
) -> Result<(), NetError> {
    let message = RouteNetlinkMessage::SetLink(existing(index, attributes));
    socket.change(message, 0, &format!("link {index} {what}"))
}

/// Options of a kind are changed by a "new link" for an existing index.
fn change(
    socket: &mut RouteSocket,
    index: u32,
    attributes: Vec<LinkAttribute>,
    what: &str,
) -> Result<(), NetError> {
    let message = RouteNetlinkMessage::NewLink(existing(index, attributes));
    socket.change(message, 0, &format!("link {index} {what}"))
}

fn existing(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn observed(message: RouteNetlinkMessage) -> Option<ObservedLink> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    // A dump may carry entries of other families (bridge ports); they repeat what the plain entry says.
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut link = ObservedLink {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..ObservedLink::default()
    };
    let mut arp_ignore = 0;
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::Group(group) => link.group = group,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(index) => link.master = Some(index),
            LinkAttribute::Address(bytes) => link.mac = <[u8; 6]>::try_from(bytes).ok().map(MacAddress::new),
            LinkAttribute::Stats64(stats) => link.stats = Some(stats),
            LinkAttribute::LinkInfo(info) => link.kind = observed_kind(info),
            LinkAttribute::AfSpecUnspec(specs) => arp_ignore = arp_ignore_of(&specs),
            _ => {}
        }
    }
    if let ObservedKind::Bridge(spec) = &mut link.kind {
        spec.arp_ignore = arp_ignore;
    }
    Some(link)
}

fn arp_ignore_of(specs: &[AfSpecUnspec]) -> i32 {
    let inet = specs.iter().find_map(|spec| match spec {
        AfSpecUnspec::Inet(inet) => inet.iter().find_map(|entry| match entry {
            AfSpecInet::DevConf(conf) => Some(conf.arp_ignore),
            _ => None,
        }),
        _ => None,
    });
    inet.unwrap_or(0)
}

fn observed_kind(info: Vec<LinkInfo>) -> ObservedKind {
    let mut kind = ObservedKind::Other;
    for entry in info {
        match entry {
            LinkInfo::Kind(InfoKind::Veth) => kind = ObservedKind::Veth,
            LinkInfo::Data(InfoData::Bridge(options)) => {
                kind = ObservedKind::Bridge(observed_bridge(options))
            }
            LinkInfo::Data(InfoData::Vxlan(options)) => kind = observed_vxlan(options),
            _ => {}
        }
    }
    kind
}

fn observed_bridge(options: Vec<InfoBridge>) -> BridgeSpec {
    // What a kernel built without a feature does not show counts as wanted.
    let mut spec = BridgeSpec::WANTED;
    for option in options {
        match option {
            InfoBridge::StpState(state) => spec.stp = state != BridgeStpState::Disabled,
            InfoBridge::ForwardDelay(value) => spec.forward_delay = value,
            InfoBridge::AgeingTime(value) => spec.ageing = value,
            InfoBridge::MulticastSnooping(on) => spec.snooping = on,
            InfoBridge::NfCallIpTables(on)
            | InfoBridge::NfCallIp6Tables(on)
            | InfoBridge::NfCallArpTables(on) => {
                spec.netfilter |= on;
            }
            _ => {}
        }
    }
    spec
}

fn observed_vxlan(options: Vec<InfoVxlan>) -> ObservedKind {
    let unspecified = IpAddr::from([0, 0, 0, 0]);
    let mut id = 0;
    let mut spec = VxlanSpec { local: unspecified, port: 0, lower: 0, learning: false };
    for option in options {
        match option {
            InfoVxlan::Id(value) => id = value,
            InfoVxlan::Local(address) => spec.local = address.into(),
            InfoVxlan::Local6(address) => spec.local = address.into(),
            InfoVxlan::Port(port) => spec.port = port,
            InfoVxlan::Link(index) => spec.lower = index,
            InfoVxlan::Learning(on) => spec.learning = on,
            _ => {}
        }
    }
    ObservedKind::Vxlan { id, spec }
}

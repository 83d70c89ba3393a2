//! What a node has once: its two tables and the egress bridge.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use sf_model::ClusterId;

use super::Sockets;
use super::apply::{pin_bridge_mtu, tolerant_batch};
use crate::diff::only_in;
use crate::error::NetError;
use crate::intent::{EgressHost, EgressMode, HostIntent};
use crate::model::BridgeSpec;
use crate::names::{MARK_GROUP, Mark, egress_bridge};
use crate::netlink::link::{self, ObservedLink};
use crate::netlink::{NftSocket, addr};
use crate::nft::encode::{add_elements, delete_table, remove_elements, replace_table};
use crate::nft::ir::{Elements, TableSpec};
use crate::nft::observe;
use crate::nft::tables::{host as host_table, port as port_table};

/// The host as rendered: the intent and the links it resolved to.
#[derive(Debug, Clone)]
pub struct Host {
    /// The intent.
    pub intent: HostIntent,
    /// Index of the mesh interface.
    pub mesh_index: u32,
    /// MTU of the mesh interface.
    pub mesh_mtu: u32,
    /// Names of the links the rules name.
    pub links: host_table::HostLinks,
    /// Index of the egress bridge.
    pub egress_index: Option<u32>,
    /// MTU of the egress side.
    pub egress_mtu: u32,
    /// What is wrong with the host, by condition name.
    pub conditions: Vec<&'static str>,
    /// What the render changed: verb, item, detail.
    pub changes: Vec<(&'static str, &'static str, String)>,
}

/// MTU of an egress bridge without an outside interface.
const DEFAULT_MTU: u32 = 1_500;
/// The condition that a chain of another program drops what is forwarded.
pub const FOREIGN_FORWARD_DROP: &str = "foreign_forward_drop";
/// The condition that nobody can tell whether one does.
pub const FOREIGN_FILTER_UNKNOWN: &str = "foreign_filter_unknown";

impl Host {
    /// The node's own mesh address.
    pub fn mesh_address(&self) -> IpAddr {
        self.intent.mesh_ip.into()
    }

    /// Refuses when the mesh interface cannot carry full frames.
    pub fn check_underlay(&self) -> Result<(), NetError> {
        if self.mesh_mtu >= self.intent.underlay_mtu {
            return Ok(());
        }
        let nic = self.links.mesh_nic.clone();
        Err(NetError::UnderlayMtuTooSmall { nic, mtu: self.mesh_mtu, needed: self.intent.underlay_mtu })
    }
}

/// Renders the host: mesh filter, port security table, egress bridge.
///
/// # Errors
/// The mesh interface must exist; a foreign link of the egress bridge's name is refused.
pub fn render_host(root: &mut Sockets, intent: &HostIntent) -> Result<Host, NetError> {
    let all = link::list(&mut root.route, false)?;
    let addresses = addr::addresses(&mut root.route)?;
    let mesh = mesh_link(intent, &all, &addresses)?;
    check_protected(intent, mesh, &addresses)?;
    let mut host = Host {
        mesh_index: mesh.index,
        mesh_mtu: mesh.mtu,
        links: host_table::HostLinks { mesh_nic: mesh.name.clone(), ..host_table::HostLinks::default() },
        egress_index: None,
        egress_mtu: DEFAULT_MTU,
        conditions: Vec::new(),
        changes: Vec::new(),
        intent: intent.clone(),
    };
    if mesh.mtu < intent.underlay_mtu {
        host.conditions.push("underlay_mtu_too_small");
    }
    if let Some(egress) = &intent.egress {
        render_egress(root, egress, &all, &addresses, &mut host)?;
    }
    let spec = host_table::spec(intent, &host.links);
    if converge(&mut root.nft, &spec, Some(host_table::elements(intent)))? {
        host.changes.push(("replace", "nft", "table sf_host".into()));
    }
    if converge(&mut root.nft, &port_table::spec(), None)? {
        host.changes.push(("replace", "nft", "table sf_port".into()));
    }
    host.conditions.extend(conditions(root));
    Ok(host)
}

/// Takes the egress bridge of a cluster (`None`: of any) and, when no other cluster is left, the host's tables away.
/// Networks must be gone before.
pub fn clear_host(root: &mut Sockets, cluster: Option<ClusterId>) -> Result<Vec<String>, NetError> {
    let mut removed = Vec::new();
    let mut others = false;
    for found in link::list(&mut root.route, false)? {
        match Mark::parse(&found.alias) {
            Some(mark) if !mark.is_of(cluster) => others = true,
            Some(mark) if mark.network.is_none() => {
                link::delete(&mut root.route, found.index)?;
                removed.push(format!("link {}", found.name));
            }
            _ => {}
        }
    }
    if others {
        return Ok(removed);
    }
    for table in [host_table::TABLE, port_table::TABLE] {
        if observe::version(&mut root.nft, table)?.is_some() {
            root.nft.transaction(vec![delete_table(table)])?;
            removed.push(format!("table {}", table.name));
        }
    }
    Ok(removed)
}

fn mesh_link<'a>(
    intent: &HostIntent,
    all: &'a [ObservedLink],
    addresses: &[(u32, IpNet)],
) -> Result<&'a ObservedLink, NetError> {
    let holder =
        addresses.iter().find(|(_, net)| net.addr() == IpAddr::V4(intent.mesh_ip)).map(|(index, _)| *index);
    let found = if intent.mesh_nic.is_empty() {
        all.iter().find(|link| Some(link.index) == holder)
    } else {
        all.iter().find(|link| link.name == intent.mesh_nic)
    };
    found.ok_or_else(|| {
        NetError::InvalidIntent(format!(
            "no interface holds the mesh address {}; set node_mesh_ip or node_mesh_nic to what the node has",
            intent.mesh_ip
        ))
    })
}

/// The part of the protected set that comes from the node itself cannot be left out by whoever asks.
fn check_protected(
    intent: &HostIntent,
    mesh: &ObservedLink,
    addresses: &[(u32, IpNet)],
) -> Result<(), NetError> {
    let own = addresses.iter().find_map(|(index, net)| match net {
        IpNet::V4(net) if *index == mesh.index && net.addr() == intent.mesh_ip => Some(*net),
        _ => None,
    });
    let subnet = own.unwrap_or_else(|| intent.mesh_ip.into()).trunc();
    if intent.protected.iter().any(|block| block.contains(&subnet)) {
        return Ok(());
    }
    Err(NetError::InvalidIntent(format!("the protected set lacks {subnet}, the node's mesh subnet")))
}

fn render_egress(
    root: &mut Sockets,
    egress: &EgressHost,
    all: &[ObservedLink],
    addresses: &[(u32, IpNet)],
    host: &mut Host,
) -> Result<(), NetError> {
    let nic = egress_nic(root, egress, all)?;
    if nic.is_none() {
        host.conditions.push("egress_missing");
    }
    host.egress_mtu = nic.as_ref().map_or(DEFAULT_MTU, |nic| nic.mtu);
    host.links.egress_nic = nic.as_ref().map(|nic| nic.name.clone()).unwrap_or_default();
    host.links.egress_bridge = egress_bridge(nic.as_ref().map_or("none", |nic| &nic.name));
    let index = ensure_bridge(root, host)?;
    host.egress_index = Some(index);
    if egress.mode != EgressMode::Bridged {
        let prefix =
            if egress.mode == EgressMode::Routed { 32 } else { egress.floating_network.prefix_len() };
        let router = Ipv4Net::new(egress.router, prefix).unwrap_or_else(|_| egress.router.into());
        if !addresses.contains(&(index, router.into())) {
            tolerant_batch(&mut root.route, vec![(addr::address(index, router.into(), true), true)])?;
            host.changes.push(("add", "address", format!("{router} {}", host.links.egress_bridge)));
        }
        link::set_forwarding(&mut root.route, index)?;
        if let Some(nic) = nic {
            link::set_forwarding(&mut root.route, nic.index)?;
        }
    } else if let Some(nic) = nic.filter(|nic| nic.master != Some(index)) {
        enslave_nic(root, egress, addresses, &nic, index, host)?;
    }
    Ok(())
}

/// Moving a management address would cut the node off, so only an interface that serves nothing else is taken.
fn enslave_nic(
    root: &mut Sockets,
    egress: &EgressHost,
    addresses: &[(u32, IpNet)],
    nic: &ObservedLink,
    bridge: u32,
    host: &mut Host,
) -> Result<(), NetError> {
    let bare = !addresses.iter().any(|(index, _)| *index == nic.index);
    if !egress.nic_dedicated || !bare {
        host.conditions.push("egress_missing");
        return Ok(());
    }
    link::set_master(&mut root.route, nic.index, bridge)?;
    host.changes.push(("replace", "link", format!("{} made a port", nic.name)));
    Ok(())
}

fn egress_nic(
    root: &mut Sockets,
    egress: &EgressHost,
    all: &[ObservedLink],
) -> Result<Option<ObservedLink>, NetError> {
    if !egress.nic.is_empty() {
        return Ok(all.iter().find(|link| link.name == egress.nic).cloned());
    }
    let routes = addr::routes(&mut root.route)?;
    let default = routes.iter().find(|route| route.destination.prefix_len() == 0).map(|route| route.index);
    Ok(all.iter().find(|link| Some(link.index) == default).cloned())
}

fn ensure_bridge(root: &mut Sockets, host: &mut Host) -> Result<u32, NetError> {
    let name = host.links.egress_bridge.clone();
    let mark = Mark { cluster: host.intent.cluster, network: None };
    let mut found = link::get(&mut root.route, &name)?;
    if let Some(link) = &found {
        match Mark::parse(&link.alias) {
            Some(owner) if owner == mark => {}
            Some(owner) if owner.cluster != mark.cluster => return Err(NetError::NameConflict { name }),
            None if !(link.alias.is_empty() && link.group == MARK_GROUP) => {
                return Err(NetError::NameConflict { name });
            }
            _ => {
                link::delete(&mut root.route, link.index)?;
                found = None;
            }
        }
    }
    if found.is_none() {
        link::create_bridge(&mut root.route, &name)?;
        host.changes.push(("add", "link", name.clone()));
        found = link::get(&mut root.route, &name)?;
    }
    let link = found.ok_or_else(|| NetError::Unverified(format!("link {name} vanished")))?;
    let options = BridgeSpec { arp_ignore: 0, ..BridgeSpec::WANTED };
    let fresh = link.alias.is_empty();
    if link.kind != link::ObservedKind::Bridge(options) {
        link::set_bridge(&mut root.route, link.index, &options)?;
    }
    if fresh || link.mtu != host.egress_mtu {
        pin_bridge_mtu(&mut root.route, link.index, host.egress_mtu)?;
    }
    if fresh {
        link::mark(&mut root.route, link.index, &mark.to_string())?;
    }
    if !link.up {
        link::set_up(&mut root.route, link.index, true)?;
        host.changes.push(("replace", "link", format!("{name} up")));
    }
    Ok(link.index)
}

/// Brings a table of the host to its rules and, when they are given, to its elements. `None` keeps the elements the
/// table has: those of the port table belong to the networks. Returns whether anything was changed.
fn converge(socket: &mut NftSocket, spec: &TableSpec, elements: Option<Elements>) -> Result<bool, NetError> {
    let now = observe::table(socket, spec.table())?;
    let kept = now.as_ref().map(|now| now.elements.clone()).unwrap_or_default();
    let wanted = spec.state(elements.unwrap_or(kept));
    let Some(now) = now.filter(|now| now.fingerprint == wanted.fingerprint) else {
        let known = wanted.elements.into_iter().filter(|(set, _)| spec.set(set).is_some()).collect();
        socket.transaction(replace_table(spec, &known))?;
        return Ok(true);
    };
    let mut requests = Vec::new();
    for (set, want) in &wanted.elements {
        let empty = std::collections::BTreeMap::new();
        let have = now.elements.get(set).unwrap_or(&empty);
        let (extra, missing) = (only_in(have, want), only_in(want, have));
        requests.extend(remove_elements(spec.table(), set, extra.keys()));
        requests.extend(add_elements(spec.table(), set, &missing, false));
    }
    let changed = !requests.is_empty();
    socket.transaction(requests)?;
    Ok(changed)
}

/// Circumstances outside our tables that break networking silently. They are told, not mended: where they cannot be read,
/// because somebody else keeps changing his filters, the host is rendered all the same.
fn conditions(root: &mut Sockets) -> Vec<&'static str> {
    let mut found = Vec::new();
    match observe::foreign_forward_drops(&mut root.nft) {
        Ok(drops) if drops.is_empty() => {}
        Ok(_) => found.push(FOREIGN_FORWARD_DROP),
        Err(error) => {
            tracing::warn!(%error, "the filters of other programs cannot be read");
            found.push(FOREIGN_FILTER_UNKNOWN);
        }
    }
    let bridged = std::fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").unwrap_or_default();
    if bridged.trim() == "1" {
        found.push("bridge_netfilter_enabled");
    }
    found
}

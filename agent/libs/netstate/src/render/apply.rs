//! Steps become kernel messages. Neighbouring steps of one kind travel in one batch.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use super::desired::Desired;
use super::host::Host;
use super::observe::Observed;
use super::{Namespaces, Sockets, lock};
use crate::change::Change;
use crate::error::{KernelError, NetError};
use crate::intent::NetworkIntent;
use crate::model::{BridgeSpec, InnerLink, LinkSpec, LinkState, Master, PortElement, PortSet};
use crate::names::{Mark, Role};
use crate::netlink::addr::{self, IndexedRoute};
use crate::netlink::conntrack::{self, FlowMatch};
use crate::netlink::link::{self, PeerSpec};
use crate::netlink::{RouteSocket, fdb};
use crate::nft::encode::{NftRequest, add_elements, remove_elements, replace_table};
use crate::nft::ir::{Element, ElementKey};
use crate::nft::tables::{net, port};

/// Applies one network's steps.
pub(super) struct Applier<'a> {
    root: &'a mut Sockets,
    spaces: &'a dyn Namespaces,
    host: &'a Host,
    intent: &'a NetworkIntent,
    wanted: &'a Desired,
    mistagged: &'a BTreeSet<PortElement>,
    indexes: BTreeMap<Role, u32>,
    inside_sent: u64,
}

/// Steps that may share a message.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Batch {
    Alone,
    Forwarding,
    Inside,
    Elements,
}

impl<'a> Applier<'a> {
    pub(super) fn new(
        root: &'a mut Sockets,
        spaces: &'a dyn Namespaces,
        host: &'a Host,
        intent: &'a NetworkIntent,
        wanted: &'a Desired,
        observed: &'a Observed,
    ) -> Self {
        let indexes = observed.indexes.clone();
        Self { root, spaces, host, intent, wanted, mistagged: &observed.mistagged, indexes, inside_sent: 0 }
    }

    /// Applies all steps; returns how many changing messages that took.
    pub(super) fn run(mut self, changes: &[Change]) -> Result<u64, NetError> {
        let before = self.root.sent();
        for group in changes.chunk_by(|a, b| batch_of(a) == batch_of(b) && batch_of(a) != Batch::Alone) {
            match group.first().map(batch_of) {
                Some(Batch::Forwarding) => self.forwarding(group)?,
                Some(Batch::Inside) => self.inside(group)?,
                Some(Batch::Elements) => self.elements(group)?,
                _ => group.iter().try_for_each(|change| self.one(change))?,
            }
        }
        Ok(self.root.sent() - before + self.inside_sent)
    }

    fn one(&mut self, change: &Change) -> Result<(), NetError> {
        match change {
            Change::DeleteLink(role) => {
                if let Some(index) = self.find(*role)? {
                    link::delete(&mut self.root.route, index)?;
                    self.indexes.remove(role);
                }
                Ok(())
            }
            Change::CreateLink { role, link, inner } => self.create(*role, link, inner.as_ref()),
            Change::SetMtu(role, mtu) => {
                let index = self.index(*role)?;
                link::set_mtu(&mut self.root.route, index, *mtu)
            }
            Change::SetMaster(role, master) => self.set_master(*role, *master),
            Change::SetUp(role, up) => {
                let index = self.index(*role)?;
                link::set_up(&mut self.root.route, index, *up)
            }
            Change::SetBridge(options) => {
                let index = self.index(Role::Bridge)?;
                link::set_bridge(&mut self.root.route, index, options)
            }
            Change::SetLearning(on) => {
                let index = self.index(Role::Vxlan)?;
                link::set_learning(&mut self.root.route, index, *on)
            }
            Change::AddPorts(elements) => self.add_ports(elements),
            Change::RemovePorts(elements) => self.remove_ports(elements),
            Change::CreateNamespace => self.create_namespace(),
            Change::DeleteNamespace => {
                self.inside_sent += 1;
                self.spaces.delete(self.intent.network)
            }
            Change::SetInner(role, link) => self.set_inner(*role, link),
            Change::ReplaceTable(state) => {
                let Some(spec) = &self.wanted.table else { return Ok(()) };
                let requests = replace_table(spec, &state.elements);
                self.within(|sockets| sockets.nft.transaction(requests))
            }
            // The batched steps never come here alone; see `batch_of`.
            _ => Ok(()),
        }
    }

    fn create(&mut self, role: Role, state: &LinkState, inner: Option<&InnerLink>) -> Result<(), NetError> {
        let name = role.name(self.intent.vxid);
        match (&state.spec, inner, role.inner()) {
            (LinkSpec::Vxlan(spec), _, _) => {
                link::create_vxlan(&mut self.root.route, &name, self.intent.vxid, spec, state.mtu)?;
            }
            (LinkSpec::Bridge(_), _, _) => link::create_bridge(&mut self.root.route, &name)?,
            (_, Some(inner), Some(inner_role)) => {
                let handle = self.spaces.handle(self.intent.network)?;
                let inner_name = inner_role.name(self.intent.vxid);
                let peer = PeerSpec {
                    name: &inner_name,
                    mac: inner.mac,
                    mtu: inner.mtu,
                    namespace: handle.as_raw_fd(),
                };
                link::create_veth(&mut self.root.route, &name, state.mtu, &peer)?;
            }
            _ => return Ok(()),
        }
        self.indexes.remove(&role);
        let index = self.index(role)?;
        if let LinkSpec::Bridge(options) = &state.spec {
            self.prepare_bridge(index, options, state.mtu)?;
        }
        let mark = self.mark();
        link::mark(&mut self.root.route, index, &mark)
    }

    fn prepare_bridge(&mut self, index: u32, options: &BridgeSpec, mtu: u32) -> Result<(), NetError> {
        link::set_bridge(&mut self.root.route, index, options)?;
        pin_bridge_mtu(&mut self.root.route, index, mtu)
    }

    fn set_master(&mut self, role: Role, master: Option<Master>) -> Result<(), NetError> {
        let bridge = match master {
            None => 0,
            Some(Master::Network) => self.index(Role::Bridge)?,
            Some(Master::Egress) => self.host.egress_index.ok_or(NetError::HostNotRendered)?,
            Some(Master::Other(index)) => index,
        };
        let index = self.index(role)?;
        link::set_master(&mut self.root.route, index, bridge)
    }

    fn forwarding(&mut self, changes: &[Change]) -> Result<(), NetError> {
        let index = self.index(Role::Vxlan)?;
        let requests = changes.iter().filter_map(|change| match change {
            Change::Flood(address, add) => Some((fdb::flood(index, *address, *add), *add)),
            Change::SetUnicast(mac, address) => Some((fdb::unicast(index, *mac, *address), true)),
            Change::RemoveUnicast(mac) => Some((fdb::remove_unicast(index, *mac), false)),
            _ => None,
        });
        tolerant_batch(&mut self.root.route, requests.collect())
    }

    fn inside(&mut self, changes: &[Change]) -> Result<(), NetError> {
        let vxid = self.intent.vxid;
        self.within(|sockets| {
            let mut requests = Vec::new();
            for change in changes {
                match change {
                    Change::Address(role, net, add) => {
                        let index = inner_index(&mut sockets.route, &role.name(vxid))?;
                        requests.push((addr::address(index, *net, *add), *add));
                    }
                    Change::Route(route, add) => {
                        let indexed = IndexedRoute {
                            destination: route.destination,
                            index: inner_index(&mut sockets.route, &route.role.name(vxid))?,
                            via: route.via,
                            source: route.source,
                        };
                        requests.push((addr::route(&indexed, *add), *add));
                    }
                    Change::Proxy(role, address, add) => {
                        let index = inner_index(&mut sockets.route, &role.name(vxid))?;
                        requests.push((addr::proxy(index, *address, *add), *add));
                    }
                    _ => {}
                }
            }
            tolerant_batch(&mut sockets.route, requests)
        })
    }

    fn elements(&mut self, changes: &[Change]) -> Result<(), NetError> {
        let mut requests: Vec<NftRequest> = Vec::new();
        let mut forgotten = Vec::new();
        for change in changes {
            let Change::Elements { set, remove, add } = change else { continue };
            let is_map = self
                .wanted
                .table
                .as_ref()
                .and_then(|spec| spec.set(set))
                .is_some_and(|set| !set.data.is_empty());
            requests.extend(remove_elements(net::TABLE, set, remove.keys()));
            requests.extend(add_elements(net::TABLE, set, add, is_map));
            forgotten.extend(remove.keys().filter_map(|key| flow_of(set, key)));
        }
        self.within(|sockets| {
            sockets.nft.transaction(requests)?;
            if !forgotten.is_empty() {
                conntrack::flush(&mut sockets.nft, &forgotten)?;
            }
            Ok(())
        })
    }

    fn add_ports(&mut self, elements: &BTreeSet<PortElement>) -> Result<(), NetError> {
        let tag = port::tag(self.intent.network);
        let mut requests = Vec::new();
        for (set, keys) in by_set(elements) {
            let stale = keys
                .iter()
                .filter(|key| self.mistagged.contains(&PortElement { set, key: key.bytes.clone() }));
            requests.extend(remove_elements(port::TABLE, set.name(), stale));
            let members =
                keys.iter().map(|key| (key.clone(), Element { tag: tag.clone(), ..Element::default() }));
            requests.extend(add_elements(port::TABLE, set.name(), &members.collect(), false));
        }
        match self.root.nft.transaction(requests) {
            // The table itself is missing: somebody flushed the rules of the host.
            Err(NetError::Kernel(error)) if error.is(Errno::ENOENT) => Err(NetError::HostNotRendered),
            outcome => outcome,
        }
    }

    fn remove_ports(&mut self, elements: &BTreeSet<PortElement>) -> Result<(), NetError> {
        let mut requests = Vec::new();
        for (set, keys) in by_set(elements) {
            requests.extend(remove_elements(port::TABLE, set.name(), &keys));
        }
        self.root.nft.transaction(requests)?;
        let gone: Vec<FlowMatch> =
            elements.iter().filter_map(address_of).flat_map(flows_of_address).collect();
        if gone.is_empty() || !self.spaces.exists(self.intent.network)? {
            return Ok(());
        }
        self.within(|sockets| conntrack::flush(&mut sockets.nft, &gone).map(drop))
    }

    fn create_namespace(&mut self) -> Result<(), NetError> {
        const LOOPBACK: u32 = 1;
        self.spaces.create(self.intent.network)?;
        self.within(|sockets| link::set_up(&mut sockets.route, LOOPBACK, true))
    }

    fn set_inner(&mut self, role: Role, wanted: &InnerLink) -> Result<(), NetError> {
        let name = role.name(self.intent.vxid);
        let alias = self.mark();
        self.within(|sockets| {
            let socket = &mut sockets.route;
            let Some(found) = link::get(socket, &name)? else { return Ok(()) };
            if found.mac != Some(wanted.mac) {
                link::set_mac(socket, found.index, wanted.mac)?;
            }
            if found.mtu != wanted.mtu {
                link::set_mtu(socket, found.index, wanted.mtu)?;
            }
            if found.alias != alias {
                link::mark(socket, found.index, &alias)?;
            }
            if found.up != wanted.up {
                link::set_up(socket, found.index, wanted.up)?;
            }
            Ok(())
        })
    }

    fn within<T>(&mut self, work: impl FnOnce(&mut Sockets) -> Result<T, NetError>) -> Result<T, NetError> {
        let sockets = self.spaces.sockets(self.intent.network)?;
        let mut sockets = lock(&sockets);
        let before = sockets.sent();
        let outcome = work(&mut sockets);
        self.inside_sent += sockets.sent() - before;
        outcome
    }

    fn mark(&self) -> String {
        Mark { cluster: self.host.intent.cluster, network: Some(self.intent.network) }.to_string()
    }

    fn index(&mut self, role: Role) -> Result<u32, NetError> {
        self.find(role)?
            .ok_or_else(|| NetError::Unverified(format!("link {} vanished", role.name(self.intent.vxid))))
    }

    fn find(&mut self, role: Role) -> Result<Option<u32>, NetError> {
        if let Some(index) = self.indexes.get(&role) {
            return Ok(Some(*index));
        }
        let found = link::get(&mut self.root.route, &role.name(self.intent.vxid))?.map(|link| link.index);
        self.indexes.extend(found.map(|index| (role, index)));
        Ok(found)
    }
}

/// Sets the MTU in a way the kernel takes as explicit: an explicit one is not lowered by later ports. Setting the
/// value a bridge has already would not count, so the default is left first.
pub(super) fn pin_bridge_mtu(socket: &mut RouteSocket, index: u32, mtu: u32) -> Result<(), NetError> {
    const BRIDGE_DEFAULT: u32 = 1_500;
    if mtu == BRIDGE_DEFAULT {
        link::set_mtu(socket, index, mtu - 1)?;
    }
    link::set_mtu(socket, index, mtu)
}

/// Sends requests; adding what is there and removing what is gone are success.
pub(super) fn tolerant_batch(
    socket: &mut RouteSocket,
    requests: Vec<(fdb::Request, bool)>,
) -> Result<(), NetError> {
    let (requests, adds): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
    for (outcome, add) in socket.batch(requests)?.into_iter().zip(adds) {
        match outcome {
            Err(error) if !harmless(&error, add) => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn harmless(error: &KernelError, add: bool) -> bool {
    if add {
        return error.is(Errno::EEXIST);
    }
    [Errno::ENOENT, Errno::ENODEV, Errno::ESRCH, Errno::EADDRNOTAVAIL].iter().any(|errno| error.is(*errno))
}

fn batch_of(change: &Change) -> Batch {
    match change {
        Change::Flood(..) | Change::SetUnicast(..) | Change::RemoveUnicast(_) => Batch::Forwarding,
        Change::Address(..) | Change::Route(..) | Change::Proxy(..) => Batch::Inside,
        Change::Elements { .. } => Batch::Elements,
        _ => Batch::Alone,
    }
}

fn inner_index(socket: &mut RouteSocket, name: &str) -> Result<u32, NetError> {
    let found = link::get(socket, name)?;
    found.map(|link| link.index).ok_or_else(|| NetError::Unverified(format!("link {name} vanished")))
}

fn by_set(elements: &BTreeSet<PortElement>) -> BTreeMap<PortSet, Vec<ElementKey>> {
    let mut sets: BTreeMap<PortSet, Vec<ElementKey>> = BTreeMap::new();
    for element in elements {
        sets.entry(element.set)
            .or_default()
            .push(ElementKey { bytes: element.key.clone(), range_end: false });
    }
    sets
}

/// The address in an element of the set of checked addresses.
fn address_of(element: &PortElement) -> Option<std::net::IpAddr> {
    let tail: [u8; 4] = element.key.get(24..28)?.try_into().ok()?;
    (element.set == PortSet::Ips).then(|| tail.into())
}

/// Connections an address takes part in, from either side.
fn flows_of_address(address: std::net::IpAddr) -> [FlowMatch; 2] {
    [
        FlowMatch { original_source: Some(address), ..FlowMatch::default() },
        FlowMatch { reply_source: Some(address), ..FlowMatch::default() },
    ]
}

/// Connections that were made by a mapping that is gone.
fn flow_of(set: &str, key: &ElementKey) -> Option<FlowMatch> {
    let address: [u8; 4] = key.bytes.get(..4)?.try_into().ok()?;
    let destination = FlowMatch { original_destination: Some(address.into()), ..FlowMatch::default() };
    match set {
        "floating" => Some(destination),
        "svcport" => Some(FlowMatch {
            protocol: key.bytes.get(4).copied(),
            destination_port: Some(u16::from_be_bytes(key.bytes.get(8..10)?.try_into().ok()?)),
            ..destination
        }),
        _ => None,
    }
}

//! One step from one state to another, what it does to the model, and how it is called.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use sf_model::MacAddress;

use crate::model::{
    BridgeSpec, InnerLink, LinkSpec, LinkState, Master, NamespaceModel, NetworkModel, PortElement, Route,
};
use crate::names::Role;
use crate::nft::{Element, ElementKey, TableState};

/// A step. The order of a list of them matters; every prefix of it leaves a safe state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Deletes a root link; with a pair, both ends.
    DeleteLink(Role),
    /// Creates a root link, down and without master; with a pair, its inner end too.
    CreateLink {
        /// Role of the new link.
        role: Role,
        /// Kind and MTU.
        link: LinkState,
        /// MAC and MTU of the inner end of a pair.
        inner: Option<InnerLink>,
    },
    /// Sets the MTU of a root link.
    SetMtu(Role, u32),
    /// Makes a root link a port of a bridge.
    SetMaster(Role, Option<Master>),
    /// Sets a root link up or down.
    SetUp(Role, bool),
    /// Sets the options of the bridge.
    SetBridge(BridgeSpec),
    /// Switches learning of the VXLAN device.
    SetLearning(bool),
    /// Adds (or removes) a flood entry.
    Flood(IpAddr, bool),
    /// Points a station at a mesh address, wherever it pointed before.
    SetUnicast(MacAddress, IpAddr),
    /// Removes a station's entry.
    RemoveUnicast(MacAddress),
    /// Adds port security elements.
    AddPorts(BTreeSet<PortElement>),
    /// Removes port security elements.
    RemovePorts(BTreeSet<PortElement>),
    /// Creates the namespace.
    CreateNamespace,
    /// Deletes the namespace with all that is in it.
    DeleteNamespace,
    /// Brings an inner end into this state.
    SetInner(Role, InnerLink),
    /// Adds (or removes) an address.
    Address(Role, IpNet, bool),
    /// Adds (or removes) a route.
    Route(Route, bool),
    /// Adds (or removes) a proxied address.
    Proxy(Role, IpAddr, bool),
    /// Replaces the namespace's table.
    ReplaceTable(TableState),
    /// Changes elements of one set of the namespace's table, in one transaction with its neighbours.
    Elements {
        /// The set.
        set: String,
        /// Removed first.
        remove: BTreeMap<ElementKey, Element>,
        /// Added then.
        add: BTreeMap<ElementKey, Element>,
    },
}

impl Change {
    /// Verb, item and detail for reports: `("add", "link", "vxlan")`.
    pub fn describe(&self) -> (&'static str, &'static str, String) {
        let verb = |added: bool| if added { "add" } else { "remove" };
        match self {
            Self::DeleteLink(role) => ("remove", "link", format!("{role:?}")),
            Self::CreateLink { role, .. } => ("add", "link", format!("{role:?}")),
            Self::SetMtu(role, mtu) => ("replace", "link", format!("{role:?} mtu {mtu}")),
            Self::SetMaster(role, master) => ("replace", "link", format!("{role:?} master {master:?}")),
            Self::SetUp(role, up) => {
                ("replace", "link", format!("{role:?} {}", if *up { "up" } else { "down" }))
            }
            Self::SetBridge(_) => ("replace", "link", "Bridge options".into()),
            Self::SetLearning(on) => ("replace", "link", format!("Vxlan learning {on}")),
            Self::Flood(address, add) => (verb(*add), "fdb", format!("flood {address}")),
            Self::SetUnicast(mac, address) => ("replace", "fdb", format!("{mac} {address}")),
            Self::RemoveUnicast(mac) => ("remove", "fdb", mac.to_string()),
            Self::AddPorts(elements) => ("add", "port_security", format!("{} elements", elements.len())),
            Self::RemovePorts(elements) => {
                ("remove", "port_security", format!("{} elements", elements.len()))
            }
            Self::CreateNamespace => ("add", "namespace", String::new()),
            Self::DeleteNamespace => ("remove", "namespace", String::new()),
            Self::SetInner(role, _) => ("replace", "link", format!("{role:?}")),
            Self::Address(role, net, add) => (verb(*add), "address", format!("{net} {role:?}")),
            Self::Route(route, add) => {
                (verb(*add), "route", format!("{} {:?}", route.destination, route.role))
            }
            Self::Proxy(role, address, add) => (verb(*add), "neighbour", format!("proxy {address} {role:?}")),
            Self::ReplaceTable(_) => ("replace", "nft", "table sf_net".into()),
            Self::Elements { set, remove, add } => {
                ("replace", "nft", format!("set {set}: {} added, {} removed", add.len(), remove.len()))
            }
        }
    }

    /// Does to the model what the step does to the kernel.
    pub fn apply(&self, model: &mut NetworkModel) {
        match self {
            Self::DeleteLink(role) => delete_link(model, *role),
            Self::CreateLink { role, link, inner } => {
                model.links.insert(*role, LinkState { up: false, master: None, ..link.clone() });
                if let (Some(inner_role), Some(inner), Some(ns)) = (role.inner(), inner, &mut model.namespace)
                {
                    ns.links.insert(inner_role, InnerLink { up: false, ..inner.clone() });
                }
            }
            Self::SetMtu(role, mtu) => on_link(model, *role, |link| link.mtu = *mtu),
            Self::SetMaster(role, master) => on_link(model, *role, |link| link.master = *master),
            Self::SetUp(role, up) => on_link(model, *role, |link| link.up = *up),
            Self::SetBridge(options) => {
                on_link(model, Role::Bridge, |link| link.spec = LinkSpec::Bridge(*options))
            }
            Self::SetLearning(on) => on_link(model, Role::Vxlan, |link| {
                if let LinkSpec::Vxlan(spec) = &mut link.spec {
                    spec.learning = *on;
                }
            }),
            Self::Flood(address, add) => toggle(&mut model.flood, *address, *add),
            Self::SetUnicast(mac, address) => {
                model.unicast.insert(*mac, *address);
            }
            Self::RemoveUnicast(mac) => {
                model.unicast.remove(mac);
            }
            Self::AddPorts(elements) => model.ports.extend(elements.iter().cloned()),
            Self::RemovePorts(elements) => model.ports.retain(|element| !elements.contains(element)),
            Self::CreateNamespace => model.namespace = Some(NamespaceModel::default()),
            Self::DeleteNamespace => delete_namespace(model),
            _ => {
                if let Some(ns) = &mut model.namespace {
                    self.apply_inside(ns);
                }
            }
        }
    }

    fn apply_inside(&self, ns: &mut NamespaceModel) {
        match self {
            Self::SetInner(role, link) => {
                ns.links.insert(*role, link.clone());
            }
            Self::Address(role, net, add) => toggle(&mut ns.addresses, (*role, *net), *add),
            Self::Route(route, add) => toggle(&mut ns.routes, route.clone(), *add),
            Self::Proxy(role, address, add) => toggle(&mut ns.proxies, (*role, *address), *add),
            Self::ReplaceTable(state) => ns.table = Some(state.clone()),
            Self::Elements { set, remove, add } => {
                if let Some(table) = &mut ns.table {
                    let members = table.elements.entry(set.clone()).or_default();
                    members.retain(|key, _| !remove.contains_key(key));
                    members.extend(add.iter().map(|(key, element)| (key.clone(), element.clone())));
                }
            }
            _ => {}
        }
    }
}

fn toggle<T: Ord>(set: &mut BTreeSet<T>, value: T, add: bool) {
    if add {
        set.insert(value);
    } else {
        set.remove(&value);
    }
}

fn on_link(model: &mut NetworkModel, role: Role, change: impl FnOnce(&mut LinkState)) {
    if let Some(link) = model.links.get_mut(&role) {
        change(link);
    }
}

fn delete_link(model: &mut NetworkModel, role: Role) {
    model.links.remove(&role);
    match role {
        Role::Vxlan => {
            model.flood.clear();
            model.unicast.clear();
        }
        Role::Bridge => {
            for link in model.links.values_mut().filter(|link| link.master == Some(Master::Network)) {
                link.master = None;
            }
        }
        _ => {}
    }
    if let (Some(inner), Some(ns)) = (role.inner(), &mut model.namespace) {
        ns.links.remove(&inner);
        ns.addresses.retain(|(on, _)| *on != inner);
        ns.routes.retain(|route| route.role != inner);
        ns.proxies.retain(|(on, _)| *on != inner);
    }
}

fn delete_namespace(model: &mut NetworkModel) {
    model.namespace = None;
    // The kernel destroys both ends of a pair when one of them goes.
    model.links.retain(|role, _| role.inner().is_none());
}

//! From one state to another: the ordered steps. Pure.
//!
//! The order makes every prefix safe (`networking.md` §7.1): egress goes down first and comes up last, rules stand
//! before addresses, and a link is replaced only when its immutable options differ.

use std::collections::BTreeMap;

use crate::change::Change;
use crate::model::{InnerLink, LinkSpec, LinkState, NamespaceModel, NetworkModel};
use crate::names::Role;
use crate::nft::{Element, ElementKey, TableState};

/// Roles in the order they are taken down.
const TEARDOWN: [Role; 4] = [Role::EgressOuter, Role::GatewayOuter, Role::Vxlan, Role::Bridge];
/// Roles in the order they are built up; the two pairs follow the namespace.
const PAIRS: [Role; 2] = [Role::GatewayOuter, Role::EgressOuter];

/// The steps that turn `observed` into `desired`; none when they are equal.
pub fn diff(observed: &NetworkModel, desired: &NetworkModel) -> Vec<Change> {
    let mut plan = Plan { now: observed.clone(), steps: Vec::new() };
    plan.take_down(desired);
    plan.segment(desired);
    plan.ports(desired);
    if let Some(wanted) = &desired.namespace {
        plan.namespace(desired, wanted);
    }
    plan.bring_up(desired);
    plan.steps
}

/// The state so far and the steps that led there. Every step is applied to the state at once, so that what the
/// kernel does by itself (a deleted link takes its addresses along) is seen by the steps after it.
struct Plan {
    now: NetworkModel,
    steps: Vec<Change>,
}

impl Plan {
    fn step(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.steps.push(change);
    }

    fn take_down(&mut self, desired: &NetworkModel) {
        for role in TEARDOWN {
            let Some(link) = self.now.links.get(&role) else { continue };
            let keep = desired.links.get(&role).is_some_and(|wanted| replaceable(link, wanted))
                && !self.broken_pair(role);
            if !keep {
                self.step(Change::DeleteLink(role));
            } else if role == Role::EgressOuter
                && link.up
                && desired.links.get(&role).is_some_and(|wanted| !wanted.up)
            {
                self.step(Change::SetUp(role, false));
            }
            // The namespace goes after the pairs and before the segment.
            if role == Role::GatewayOuter {
                self.drop_namespace(desired);
            }
        }
        self.drop_namespace(desired);
    }

    fn drop_namespace(&mut self, desired: &NetworkModel) {
        let pairs_left = PAIRS.iter().any(|role| self.now.links.contains_key(role));
        if desired.namespace.is_none() && self.now.namespace.is_some() && !pairs_left {
            self.step(Change::DeleteNamespace);
        }
    }

    /// Whether the outer end stands alone: its namespace was deleted behind our back, or is not the one it leads to.
    fn broken_pair(&self, role: Role) -> bool {
        let Some(inner) = role.inner() else { return false };
        !self.now.namespace.as_ref().is_some_and(|ns| ns.links.contains_key(&inner))
    }

    fn segment(&mut self, desired: &NetworkModel) {
        for role in [Role::Bridge, Role::Vxlan] {
            let Some(wanted) = desired.links.get(&role) else { continue };
            if !self.now.links.contains_key(&role) {
                self.step(Change::CreateLink { role, link: wanted.clone(), inner: None });
            }
            self.adjust(role, wanted);
        }
        let floods: Vec<_> = self.now.flood.difference(&desired.flood).copied().collect();
        floods.into_iter().for_each(|address| self.step(Change::Flood(address, false)));
        let gone: Vec<_> =
            self.now.unicast.keys().filter(|mac| !desired.unicast.contains_key(mac)).copied().collect();
        gone.into_iter().for_each(|mac| self.step(Change::RemoveUnicast(mac)));
        let floods: Vec<_> = desired.flood.difference(&self.now.flood).copied().collect();
        floods.into_iter().for_each(|address| self.step(Change::Flood(address, true)));
        for (mac, address) in &desired.unicast {
            if self.now.unicast.get(mac) != Some(address) {
                self.step(Change::SetUnicast(*mac, *address));
            }
        }
        for role in [Role::Vxlan, Role::Bridge] {
            self.raise(role, desired);
        }
    }

    /// Options, master and MTU of a root link. The MTU comes last: enslaving may change it.
    fn adjust(&mut self, role: Role, wanted: &LinkState) {
        let Some(now) = self.now.links.get(&role).cloned() else { return };
        match (&now.spec, &wanted.spec) {
            (LinkSpec::Bridge(have), LinkSpec::Bridge(want)) if have != want => {
                self.step(Change::SetBridge(*want))
            }
            (LinkSpec::Vxlan(have), LinkSpec::Vxlan(want)) if have.learning != want.learning => {
                self.step(Change::SetLearning(want.learning));
            }
            _ => {}
        }
        if now.master != wanted.master {
            self.step(Change::SetMaster(role, wanted.master));
        }
        if now.mtu != wanted.mtu {
            self.step(Change::SetMtu(role, wanted.mtu));
        }
    }

    fn raise(&mut self, role: Role, desired: &NetworkModel) {
        let Some(wanted) = desired.links.get(&role) else { return };
        if self.now.links.get(&role).is_some_and(|link| link.up != wanted.up) {
            self.step(Change::SetUp(role, wanted.up));
        }
    }

    fn ports(&mut self, desired: &NetworkModel) {
        let extra: std::collections::BTreeSet<_> =
            self.now.ports.difference(&desired.ports).cloned().collect();
        if !extra.is_empty() {
            self.step(Change::RemovePorts(extra));
        }
        let missing: std::collections::BTreeSet<_> =
            desired.ports.difference(&self.now.ports).cloned().collect();
        if !missing.is_empty() {
            self.step(Change::AddPorts(missing));
        }
    }

    fn namespace(&mut self, desired: &NetworkModel, wanted: &NamespaceModel) {
        if self.now.namespace.is_none() {
            self.step(Change::CreateNamespace);
        }
        for role in PAIRS {
            let (Some(link), Some(inner_role)) = (desired.links.get(&role), role.inner()) else { continue };
            let Some(inner) = wanted.links.get(&inner_role) else { continue };
            if !self.now.links.contains_key(&role) {
                self.step(Change::CreateLink { role, link: link.clone(), inner: Some(inner.clone()) });
            }
        }
        self.table(wanted);
        for (role, link) in &wanted.links {
            self.inner(*role, link);
        }
        self.addresses(wanted);
    }

    fn inner(&mut self, role: Role, wanted: &InnerLink) {
        let now = self.now.namespace.as_ref().and_then(|ns| ns.links.get(&role));
        if now != Some(wanted) {
            self.step(Change::SetInner(role, wanted.clone()));
        }
    }

    fn table(&mut self, wanted: &NamespaceModel) {
        let Some(table) = &wanted.table else { return };
        let now = self.now.namespace.as_ref().and_then(|ns| ns.table.clone());
        match now {
            Some(now) if now.fingerprint == table.fingerprint => {
                element_changes(&now, table).into_iter().for_each(|change| self.step(change));
            }
            _ => self.step(Change::ReplaceTable(table.clone())),
        }
    }

    fn addresses(&mut self, wanted: &NamespaceModel) {
        let Some(now) = self.now.namespace.clone() else { return };
        for route in now.routes.difference(&wanted.routes) {
            self.step(Change::Route(route.clone(), false));
        }
        for (role, address) in now.proxies.difference(&wanted.proxies) {
            self.step(Change::Proxy(*role, *address, false));
        }
        for (role, net) in now.addresses.difference(&wanted.addresses) {
            self.step(Change::Address(*role, *net, false));
        }
        for (role, net) in wanted.addresses.difference(&now.addresses) {
            self.step(Change::Address(*role, *net, true));
        }
        for route in wanted.routes.difference(&now.routes) {
            self.step(Change::Route(route.clone(), true));
        }
        for (role, address) in wanted.proxies.difference(&now.proxies) {
            self.step(Change::Proxy(*role, *address, true));
        }
    }

    fn bring_up(&mut self, desired: &NetworkModel) {
        for role in PAIRS {
            if let Some(wanted) = desired.links.get(&role) {
                self.adjust(role, wanted);
                self.raise(role, desired);
            }
        }
    }
}

/// Whether a link can be brought into the wanted state without being made anew.
fn replaceable(now: &LinkState, wanted: &LinkState) -> bool {
    match (&now.spec, &wanted.spec) {
        (LinkSpec::Vxlan(have), LinkSpec::Vxlan(want)) => {
            (have.local, have.port, have.lower) == (want.local, want.port, want.lower)
        }
        (LinkSpec::Bridge(_), LinkSpec::Bridge(_)) | (LinkSpec::Veth, LinkSpec::Veth) => true,
        _ => false,
    }
}

fn element_changes(now: &TableState, wanted: &TableState) -> Vec<Change> {
    let empty = BTreeMap::new();
    let mut names: Vec<&String> = now.elements.keys().chain(wanted.elements.keys()).collect();
    names.sort();
    names.dedup();
    let mut changes = Vec::new();
    for set in names {
        let have = now.elements.get(set).unwrap_or(&empty);
        let want = wanted.elements.get(set).unwrap_or(&empty);
        let remove = only_in(have, want);
        let add = only_in(want, have);
        if !remove.is_empty() || !add.is_empty() {
            changes.push(Change::Elements { set: set.clone(), remove, add });
        }
    }
    changes
}

/// Elements of `these` that `those` lack, or have with another value.
pub(crate) fn only_in(
    these: &BTreeMap<ElementKey, Element>,
    those: &BTreeMap<ElementKey, Element>,
) -> BTreeMap<ElementKey, Element> {
    these
        .iter()
        .filter(|(key, element)| those.get(*key) != Some(element))
        .map(|(k, e)| (k.clone(), e.clone()))
        .collect()
}

//! The state the kernel has of one network, in the same form as the wanted one.

use std::collections::{BTreeMap, BTreeSet};

use sf_model::{MacAddress, NetworkId};

use super::host::Host;
use super::{Namespaces, Sockets, lock};
use crate::error::NetError;
use crate::intent::NetworkIntent;
use crate::model::{
    InnerLink, LinkSpec, LinkState, Master, NamespaceModel, NetworkModel, PortElement, PortSet, Route,
};
use crate::names::{MARK_GROUP, Mark, ROOT_ROLES, Role};
use crate::netlink::link::{ObservedKind, ObservedLink};
use crate::netlink::{addr, fdb, link};
use crate::nft::observe::{set_elements, table};
use crate::nft::tables::{net, port};

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The state.
    pub model: NetworkModel,
    /// Interface indexes of the links in the root namespace.
    pub indexes: BTreeMap<Role, u32>,
    /// Ports of the bridge that are not ours.
    pub guests: Vec<String>,
    /// Wanted port elements that stand under another network's tag.
    pub mistagged: BTreeSet<PortElement>,
}

/// Looks at everything the network has on this node.
pub(super) fn observe(
    root: &mut Sockets,
    spaces: &dyn Namespaces,
    host: &Host,
    intent: &NetworkIntent,
    wanted: &NetworkModel,
) -> Result<Observed, NetError> {
    let mut found = Observed::default();
    let mut links = Vec::new();
    for role in ROOT_ROLES {
        if let Some(link) = link::get(&mut root.route, &role.name(intent.vxid))? {
            found.indexes.insert(role, link.index);
            links.push((role, link));
        }
    }
    let mark = Mark { cluster: host.intent.cluster, network: Some(intent.network) };
    for (role, link) in links {
        let state = root_link(role, &link, mark, intent, host, &found.indexes)?;
        if role == Role::Vxlan && matches!(state.spec, LinkSpec::Vxlan(_)) {
            (found.model.flood, found.model.unicast) = fdb::list(&mut root.route, link.index)?;
        }
        found.model.links.insert(role, state);
    }
    if !intent.present {
        found.guests = guests(root, &found.indexes)?;
    }
    ports(root, intent.network, wanted, &mut found)?;
    if spaces.exists(intent.network)? {
        found.model.namespace = Some(namespace(spaces, intent, mark)?);
    }
    Ok(found)
}

fn root_link(
    role: Role,
    link: &ObservedLink,
    mark: Mark,
    intent: &NetworkIntent,
    host: &Host,
    indexes: &BTreeMap<Role, u32>,
) -> Result<LinkState, NetError> {
    let ours = match Mark::parse(&link.alias) {
        Some(found) if found.cluster != mark.cluster => {
            return Err(NetError::NameConflict { name: link.name.clone() });
        }
        Some(found) => found == mark,
        None if link.alias.is_empty() && link.group == MARK_GROUP => false,
        None => return Err(NetError::NameConflict { name: link.name.clone() }),
    };
    let spec = match (&link.kind, role) {
        _ if !ours => LinkSpec::Unusable,
        (ObservedKind::Vxlan { id, spec }, Role::Vxlan) if *id == intent.vxid.get() => {
            LinkSpec::Vxlan(spec.clone())
        }
        (ObservedKind::Bridge(spec), Role::Bridge) => LinkSpec::Bridge(*spec),
        (ObservedKind::Veth, Role::GatewayOuter | Role::EgressOuter) => LinkSpec::Veth,
        _ => LinkSpec::Unusable,
    };
    let master = link.master.map(|index| {
        if indexes.get(&Role::Bridge) == Some(&index) {
            Master::Network
        } else if host.egress_index == Some(index) {
            Master::Egress
        } else {
            Master::Other(index)
        }
    });
    Ok(LinkState { spec, mtu: link.mtu, up: link.up, master })
}

/// Names of the bridge's ports that are not ours. Asked only before a network is taken away.
fn guests(root: &mut Sockets, indexes: &BTreeMap<Role, u32>) -> Result<Vec<String>, NetError> {
    let Some(bridge) = indexes.get(&Role::Bridge) else { return Ok(Vec::new()) };
    let all = link::list(&mut root.route, false)?;
    let foreign = all
        .into_iter()
        .filter(|link| link.master == Some(*bridge) && !indexes.values().any(|i| *i == link.index));
    Ok(foreign.map(|link| link.name).collect())
}

fn ports(
    root: &mut Sockets,
    network: NetworkId,
    wanted: &NetworkModel,
    found: &mut Observed,
) -> Result<(), NetError> {
    let tag = port::tag(network);
    for set in PortSet::ALL {
        for (key, element) in set_elements(&mut root.nft, port::TABLE, set.name())? {
            let entry = PortElement { set, key: key.bytes };
            if element.tag == tag {
                found.model.ports.insert(entry);
            } else if wanted.ports.contains(&entry) {
                found.mistagged.insert(entry);
            }
        }
    }
    Ok(())
}

fn namespace(
    spaces: &dyn Namespaces,
    intent: &NetworkIntent,
    mark: Mark,
) -> Result<NamespaceModel, NetError> {
    let sockets = spaces.sockets(intent.network)?;
    let mut sockets = lock(&sockets);
    let mut space = NamespaceModel::default();
    let mut roles = BTreeMap::new();
    for link in link::list(&mut sockets.route, false)? {
        let Some((role, vxid)) = Role::parse(&link.name) else { continue };
        if vxid != intent.vxid {
            continue;
        }
        roles.insert(link.index, role);
        let state = InnerLink {
            mac: link.mac.unwrap_or(MacAddress::new([0; 6])),
            mtu: link.mtu,
            up: link.up,
            marked: Mark::parse(&link.alias) == Some(mark),
        };
        space.links.insert(role, state);
    }
    let role_of = |index: u32| roles.get(&index).copied();
    for (index, net) in addr::addresses(&mut sockets.route)? {
        space.addresses.extend(role_of(index).map(|role| (role, net)));
    }
    for route in addr::routes(&mut sockets.route)? {
        let Some(role) = role_of(route.index) else { continue };
        space.routes.insert(Route {
            destination: route.destination,
            role,
            via: route.via,
            source: route.source,
        });
    }
    for (index, address) in addr::proxies(&mut sockets.route)? {
        space.proxies.extend(role_of(index).map(|role| (role, address)));
    }
    space.table = table(&mut sockets.nft, net::TABLE)?;
    Ok(space)
}

//! Taking everything of ours off a node, for good.

use std::sync::Arc;

use sf_model::ClusterId;
use sf_netstate::NetError;
use sf_netstate::names::{Mark, Role};
use sf_netstate::netlink::link;
use sf_netstate::render::host::clear_host;
use sf_netstate::render::{Namespaces, Sockets};

use crate::announcer::Announcer;
use crate::error::PrivexecError;
use crate::helper::Helper;
use crate::inventory;
use crate::options::Options;
use crate::persist::Applied;
use crate::spaces::Spaces;
use crate::worker::Worker;

/// Removes the links, namespaces and tables that carry the mark of one cluster (`None`: of any), whatever network they
/// belong to; returns their names. The daemon must not run meanwhile. Links without a mark stay, whatever their name; the
/// host's tables stay while links of another cluster need them.
///
/// # Errors
/// The first removal the kernel refuses; what was removed before stays removed, and a second call goes on.
pub fn purge(options: &Options, cluster: Option<ClusterId>) -> Result<Vec<String>, PrivexecError> {
    let spaces = Arc::new(Spaces::new(Helper::start(&options.netns_dir)?, &options.netns_dir));
    let applied = Applied::load(&options.state_dir)?;
    let announcer = Announcer::start(Arc::clone(&spaces))?;
    let worker = Worker::new(Arc::clone(&spaces), applied, announcer);
    let found = inventory::inventory(&worker, cluster)?;
    let mut root = Sockets::open()?;
    let mut removed = remove_links(&mut root, cluster)?;
    for network in found.networks.iter().filter(|network| network.has_namespace) {
        if let Ok(id) = network.network_uuid.parse() {
            spaces.delete(id)?;
            removed.push(format!("namespace {id}"));
        }
    }
    removed.extend(clear_host(&mut root, cluster)?);
    worker.applied.clear();
    Ok(removed)
}

/// Egress first, bridges last: traffic stops before anything it depends on goes.
fn remove_links(root: &mut Sockets, cluster: Option<ClusterId>) -> Result<Vec<String>, NetError> {
    let mut links: Vec<(u8, link::ObservedLink)> = Vec::new();
    for found in link::list(&mut root.route, false)? {
        let ours =
            Mark::parse(&found.alias).is_some_and(|mark| mark.network.is_some() && mark.is_of(cluster));
        let order = match Role::parse(&found.name) {
            Some((Role::EgressOuter, _)) if ours => 0,
            Some((Role::GatewayOuter, _)) if ours => 1,
            Some((Role::Vxlan, _)) if ours => 2,
            Some((Role::Bridge, _)) if ours => 3,
            _ => continue,
        };
        links.push((order, found));
    }
    links.sort_by_key(|(order, _)| *order);
    let mut removed = Vec::new();
    for (_, found) in links {
        link::delete(&mut root.route, found.index)?;
        removed.push(format!("link {}", found.name));
    }
    Ok(removed)
}

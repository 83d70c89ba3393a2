//! What the kernel holds of ours, whoever asked for it.

use std::collections::BTreeMap;

use sf_model::{ClusterId, NetworkId};
use sf_netstate::NetError;
use sf_netstate::names::{Mark, Role};
use sf_netstate::netlink::conntrack;
use sf_netstate::netlink::link::{self, ObservedLink};
use sf_netstate::nft::observe::rules;
use sf_netstate::nft::tables::port;
use sf_netstate::render::{Namespaces, lock};
use sf_protos::net_privexec::{
    CountersReply, DropCounter, InventoryLink, InventoryNetwork, InventoryReply, LinkCounters,
    NetworkCounters,
};

use crate::worker::Worker;

/// Marked links of a cluster (`None`: of any), namespaces and their networks.
pub(crate) fn inventory(worker: &Worker, cluster: Option<ClusterId>) -> Result<InventoryReply, NetError> {
    let links = worker.with_root(|root| link::list(&mut root.route, false))?;
    let host = worker.host().ok();
    let mut networks: BTreeMap<NetworkId, InventoryNetwork> = BTreeMap::new();
    let mut reply = InventoryReply { host_rendered: host.is_some(), ..InventoryReply::default() };
    for found in &links {
        let Some((_, vxid)) = Role::parse(&found.name) else { continue };
        match Mark::parse(&found.alias) {
            Some(mark @ Mark { network: Some(network), .. }) if mark.is_of(cluster) => {
                let entry = networks.entry(network).or_default();
                entry.vxid = vxid.get();
                entry.links.push(InventoryLink { name: found.name.clone(), mtu: found.mtu, up: found.up });
            }
            _ => reply.foreign_links.push(found.name.clone()),
        }
    }
    for entry in networks.values_mut() {
        guests(entry, &links);
    }
    for network in worker.spaces.list()? {
        if let Some(entry) = networks.get_mut(&network) {
            entry.has_namespace = true;
        } else if let Some(vxid) = vxid_inside(worker, network, cluster)? {
            networks.insert(
                network,
                InventoryNetwork { vxid, has_namespace: true, ..InventoryNetwork::default() },
            );
        }
    }
    for (network, mut entry) in networks {
        let numbers = worker.applied.numbers(network);
        entry.network_uuid = network.to_string();
        (entry.generation, entry.epoch) = (numbers.generation, numbers.epoch);
        reply.networks.push(entry);
    }
    if let Some(host) = host {
        reply.conditions = host.conditions.iter().map(ToString::to_string).collect();
        reply.mesh_mtu = links.iter().find(|link| link.index == host.mesh_index).map_or(0, |link| link.mtu);
    }
    Ok(reply)
}

/// Traffic of carried networks and drops of the port security table.
pub(crate) fn counters(worker: &Worker, only: &[NetworkId]) -> Result<CountersReply, NetError> {
    let links = worker.with_root(|root| link::list(&mut root.route, true))?;
    let mut reply = CountersReply::default();
    for found in &links {
        let Some((Role::EgressOuter, _)) = Role::parse(&found.name) else { continue };
        let Some(Mark { network: Some(network), .. }) = Mark::parse(&found.alias) else { continue };
        if only.is_empty() || only.contains(&network) {
            reply.networks.push(traffic(worker, network, found));
        }
    }
    let mut drops: BTreeMap<String, u64> = BTreeMap::new();
    for rule in worker.with_root(|root| rules(&mut root.nft, port::TABLE))? {
        let reason = rule.comment.split(':').next().unwrap_or_default().to_owned();
        *drops.entry(reason).or_default() += rule.packets;
    }
    drops.retain(|_, packets| *packets > 0);
    reply.drops = drops.into_iter().map(|(reason, packets)| DropCounter { reason, packets }).collect();
    Ok(reply)
}

fn guests(entry: &mut InventoryNetwork, links: &[ObservedLink]) {
    let bridge = links.iter().find(|link| {
        entry.links.iter().any(|ours| ours.name == link.name)
            && matches!(Role::parse(&link.name), Some((Role::Bridge, _)))
    });
    let Some(bridge) = bridge else { return };
    entry.has_bridge = true;
    let ports = links.iter().filter(|link| link.master == Some(bridge.index));
    entry.guest_ports = ports
        .filter(|link| !entry.links.iter().any(|ours| ours.name == link.name))
        .map(|link| link.name.clone())
        .collect();
}

/// VXLAN id of a namespace that carries our mark inside; `None` for a namespace of somebody else.
fn vxid_inside(
    worker: &Worker,
    network: NetworkId,
    cluster: Option<ClusterId>,
) -> Result<Option<u32>, NetError> {
    let sockets = worker.spaces.sockets(network)?;
    let links = link::list(&mut lock(&sockets).route, false)?;
    let ours = links.iter().find(|link| {
        Mark::parse(&link.alias).is_some_and(|mark| mark.network == Some(network) && mark.is_of(cluster))
    });
    Ok(ours.and_then(|link| Role::parse(&link.name)).map(|(_, vxid)| vxid.get()))
}

/// Counters as seen from the network: what the outer end sends, the network receives.
fn traffic(worker: &Worker, network: NetworkId, outer: &ObservedLink) -> NetworkCounters {
    let stats = outer.stats.unwrap_or_default();
    let rx = LinkCounters {
        bytes: stats.tx_bytes,
        packets: stats.tx_packets,
        errors: stats.tx_errors,
        dropped: stats.tx_dropped,
        multicast: 0,
    };
    let tx = LinkCounters {
        bytes: stats.rx_bytes,
        packets: stats.rx_packets,
        errors: stats.rx_errors,
        dropped: stats.rx_dropped,
        multicast: stats.multicast,
    };
    let tracked =
        worker.spaces.sockets(network).and_then(|sockets| conntrack::count(&mut lock(&sockets).nft));
    NetworkCounters {
        network_uuid: network.to_string(),
        rx: Some(rx),
        tx: Some(tx),
        conntrack_entries: tracked.unwrap_or(0),
    }
}

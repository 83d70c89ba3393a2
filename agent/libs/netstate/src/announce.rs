//! Gratuitous ARP: telling neighbours where an address lives now (`networking.md` §7.5).

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, send};
use sf_model::{MacAddress, NetworkId};

use crate::error::NetError;
use crate::names::Role;
use crate::netlink::{addr, link};
use crate::packet::{BROADCAST, ETHERTYPE_ARP, ethernet, gratuitous_arp};
use crate::render::{Namespaces, lock};

/// Announces addresses of a network: those of the netblock towards members, all others towards the outside.
///
/// `open` supplies a raw packet socket bound to an interface of the namespace. No `only` means every address.
/// Returns how many announcements were sent and how many could not be.
pub fn announce(
    spaces: &dyn Namespaces,
    network: NetworkId,
    open: &dyn Fn(u32) -> Result<OwnedFd, NetError>,
    only: &[Ipv4Addr],
) -> Result<(u32, u32), NetError> {
    let mut targets = targets(spaces, network)?;
    targets.retain(|target| only.is_empty() || only.contains(&target.address));
    targets.sort_by_key(|target| target.index);
    let (mut sent, mut failed) = (0, 0);
    for group in targets.chunk_by(|a, b| a.index == b.index) {
        let Some(first) = group.first() else { continue };
        let socket = open(first.index)?;
        for target in group {
            let frame =
                ethernet(BROADCAST, target.mac, ETHERTYPE_ARP, &gratuitous_arp(target.mac, target.address));
            match send(socket.as_raw_fd(), &frame, MsgFlags::MSG_DONTWAIT) {
                Ok(_) => sent += 1,
                Err(_) => failed += 1,
            }
        }
    }
    Ok((sent, failed))
}

/// One address on one interface.
struct Target {
    index: u32,
    mac: MacAddress,
    address: Ipv4Addr,
}

fn targets(spaces: &dyn Namespaces, network: NetworkId) -> Result<Vec<Target>, NetError> {
    let sockets = spaces.sockets(network)?;
    let mut sockets = lock(&sockets);
    let links = link::list(&mut sockets.route, false)?;
    let on_links = addr::addresses(&mut sockets.route)?.into_iter().map(|(index, net)| (index, net.addr()));
    let answered: Vec<(u32, IpAddr)> = on_links.chain(addr::proxies(&mut sockets.route)?).collect();
    let target = |(index, address): (u32, IpAddr)| {
        let found = links.iter().find(|link| link.index == index && Role::parse(&link.name).is_some())?;
        let IpAddr::V4(address) = address else { return None };
        Some(Target { index, mac: found.mac?, address })
    };
    Ok(answered.into_iter().filter_map(target).collect())
}

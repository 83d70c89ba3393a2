//! Forwarding entries of a VXLAN device.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use sf_model::MacAddress;

use super::RouteSocket;
use crate::error::NetError;

/// The address that stands for broadcast, unknown and multicast frames.
const EVERYBODY: MacAddress = MacAddress::new([0; 6]);

/// A request for [`RouteSocket::batch`].
pub type Request = (RouteNetlinkMessage, u16, String);

/// Adds (or removes) a flood entry.
pub fn flood(index: u32, destination: IpAddr, add: bool) -> Request {
    let message = entry(index, EVERYBODY, Some(destination));
    let object = format!("flood entry {destination}");
    if add {
        (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_APPEND, object)
    } else {
        (RouteNetlinkMessage::DelNeighbour(message), 0, object)
    }
}

/// Points a station at a mesh address, replacing where it pointed before.
pub fn unicast(index: u32, mac: MacAddress, destination: IpAddr) -> Request {
    let message = entry(index, mac, Some(destination));
    (
        RouteNetlinkMessage::NewNeighbour(message),
        NLM_F_CREATE | NLM_F_REPLACE,
        format!("forwarding entry {mac}"),
    )
}

/// Removes a station's entry.
pub fn remove_unicast(index: u32, mac: MacAddress) -> Request {
    (RouteNetlinkMessage::DelNeighbour(entry(index, mac, None)), 0, format!("forwarding entry {mac}"))
}

/// Flood and static unicast entries of the device. Learned entries are left out: they age by themselves.
pub fn list(
    socket: &mut RouteSocket,
    index: u32,
) -> Result<(BTreeSet<IpAddr>, BTreeMap<MacAddress, IpAddr>), NetError> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    let replies =
        socket.dump(RouteNetlinkMessage::GetNeighbour(message), NLM_F_DUMP, "forwarding entries")?;
    let mut flood = BTreeSet::new();
    let mut unicast = BTreeMap::new();
    for reply in replies {
        let RouteNetlinkMessage::NewNeighbour(found) = reply else { continue };
        let learned = matches!(found.header.state, NeighbourState::Reachable | NeighbourState::Stale);
        if found.header.ifindex != index || learned || !found.header.flags.contains(NeighbourFlags::Own) {
            continue;
        }
        let Some((mac, destination)) = fields(&found.attributes) else { continue };
        if mac == EVERYBODY {
            flood.insert(destination);
        } else {
            unicast.insert(mac, destination);
        }
    }
    Ok((flood, unicast))
}

fn entry(index: u32, mac: MacAddress, destination: Option<IpAddr>) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
    message
        .attributes
        .extend(destination.map(|address| NeighbourAttribute::Destination(address_bytes(address))));
    message
}

/// In the bridge family the address is plain bytes.
fn address_bytes(address: IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(address) => NeighbourAddress::Other(address.octets().to_vec()),
        IpAddr::V6(address) => NeighbourAddress::Other(address.octets().to_vec()),
    }
}

fn fields(attributes: &[NeighbourAttribute]) -> Option<(MacAddress, IpAddr)> {
    let mut mac = None;
    let mut destination = None;
    for attribute in attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddress::new);
            }
            NeighbourAttribute::Destination(address) => destination = ip_of(address),
            _ => {}
        }
    }
    Some((mac?, destination?))
}

fn ip_of(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some((*address).into()),
        NeighbourAddress::Inet6(address) => Some((*address).into()),
        NeighbourAddress::Other(bytes) => match <[u8; 4]>::try_from(bytes.as_slice()) {
            Ok(octets) => Some(octets.into()),
            Err(_) => <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
        },
        _ => None,
    }
}

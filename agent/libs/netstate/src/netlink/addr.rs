//! Addresses, routes and proxied neighbours.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::RouteSocket;
use super::fdb::Request;
use crate::error::NetError;

/// Adds (or removes) an address.
pub fn address(index: u32, net: IpNet, add: bool) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(net.addr());
    message.header.prefix_len = net.prefix_len();
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
    if let (IpNet::V4(net), true) = (net, net.prefix_len() < 31) {
        message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
    }
    let object = format!("address {net}");
    if add {
        (RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL, object)
    } else {
        (RouteNetlinkMessage::DelAddress(message), 0, object)
    }
}

/// Addresses of every link: interface index and address with prefix.
pub fn addresses(socket: &mut RouteSocket) -> Result<Vec<(u32, IpNet)>, NetError> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    let replies = socket.dump(RouteNetlinkMessage::GetAddress(message), NLM_F_DUMP, "addresses")?;
    let found = replies.into_iter().filter_map(|reply| {
        let RouteNetlinkMessage::NewAddress(found) = reply else { return None };
        let local = found.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        Some((found.header.index, IpNet::new(local?, found.header.prefix_len).ok()?))
    });
    Ok(found.collect())
}

/// A route with interface indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedRoute {
    /// Destination.
    pub destination: IpNet,
    /// Outgoing interface.
    pub index: u32,
    /// Next hop.
    pub via: Option<IpAddr>,
    /// Preferred source.
    pub source: Option<IpAddr>,
}

/// Adds (or removes) a route of the main table. The next hop is taken as reachable on the interface.
pub fn route(route: &IndexedRoute, add: bool) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.destination.addr());
    message.header.destination_prefix_length = route.destination.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.kind = RouteType::Unicast;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    if route.via.is_some() && add {
        message.header.flags = RouteFlags::Onlink;
    }
    if route.destination.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(route_address(route.destination.network())));
    }
    message.attributes.extend(route.via.map(|via| RouteAttribute::Gateway(route_address(via))));
    message.attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(route_address(source))));
    message.attributes.push(RouteAttribute::Oif(route.index));
    let object = format!("route {}", route.destination);
    if add {
        (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE, object)
    } else {
        (RouteNetlinkMessage::DelRoute(message), 0, object)
    }
}

/// IPv4 routes of the main table that the kernel did not make by itself.
pub fn routes(socket: &mut RouteSocket) -> Result<Vec<IndexedRoute>, NetError> {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    let replies = socket.dump(RouteNetlinkMessage::GetRoute(message), NLM_F_DUMP, "routes")?;
    Ok(replies.into_iter().filter_map(observed_route).collect())
}

/// Adds (or removes) a proxied neighbour: the interface answers ARP for the address.
pub fn proxy(index: u32, address: IpAddr, add: bool) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Proxy;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    let object = format!("proxied address {address}");
    if add {
        (RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE, object)
    } else {
        (RouteNetlinkMessage::DelNeighbour(message), 0, object)
    }
}

/// Proxied neighbours: interface index and address.
pub fn proxies(socket: &mut RouteSocket) -> Result<Vec<(u32, IpAddr)>, NetError> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.flags = NeighbourFlags::Proxy;
    let replies = socket.dump(RouteNetlinkMessage::GetNeighbour(message), NLM_F_DUMP, "proxied addresses")?;
    let found = replies.into_iter().filter_map(|reply| {
        let RouteNetlinkMessage::NewNeighbour(found) = reply else { return None };
        let address = found.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
            _ => None,
        });
        Some((found.header.ifindex, address?))
    });
    Ok(found.collect())
}

fn observed_route(reply: RouteNetlinkMessage) -> Option<IndexedRoute> {
    let RouteNetlinkMessage::NewRoute(found) = reply else { return None };
    let header = &found.header;
    let ours = header.table == RouteHeader::RT_TABLE_MAIN
        && header.kind == RouteType::Unicast
        && header.protocol != RouteProtocol::Kernel;
    if !ours {
        return None;
    }
    let mut destination = IpAddr::from([0, 0, 0, 0]);
    let mut route = (None, None, None);
    for attribute in &found.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip_of(address)?,
            RouteAttribute::Gateway(address) => route.0 = ip_of(address),
            RouteAttribute::PrefSource(address) => route.1 = ip_of(address),
            RouteAttribute::Oif(index) => route.2 = Some(*index),
            _ => {}
        }
    }
    let (via, source, index) = route;
    let destination = IpNet::new(destination, header.destination_prefix_length).ok()?;
    Some(IndexedRoute { destination, index: index?, via, source })
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    }
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

//! DHCP from static reservations (`networking.md` §8.1). Pure: a packet and a snapshot give a reply.
//!
//! There is no lease table: a reservation never expires while the interface lives, so any carrier can answer any
//! renewal.

mod limit;
mod reply;
mod screen;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::v4::{DhcpOption, HType, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder};
use ipnet::Ipv4Net;
use sf_model::{InterfaceId, MacAddress};

use crate::intent::{Dhcp, Reservation};
pub use limit::Limiter;

/// What the server of one network answers from. Replaced as a whole by a render.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Server and router.
    pub gateway: Ipv4Addr,
    /// The network's block.
    pub netblock: Ipv4Net,
    /// MTU of guests.
    pub mtu: u16,
    /// Resolvers; empty leaves the option out.
    pub dns_servers: Vec<Ipv4Addr>,
    /// Domain of guests; empty leaves the option out.
    pub domain: String,
    reservations: HashMap<MacAddress, Reservation>,
}

impl Snapshot {
    /// The snapshot of a network.
    pub fn new(gateway: Ipv4Addr, netblock: Ipv4Net, mtu: u32, data: &Dhcp) -> Self {
        Self {
            gateway,
            netblock,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            dns_servers: data.dns_servers.clone(),
            domain: data.domain.clone(),
            reservations: data.reservations.iter().map(|row| (row.mac, row.clone())).collect(),
        }
    }
}

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// To a client that has its address.
    Unicast(SocketAddrV4),
    /// To every station.
    Broadcast,
    /// To a client that has no address yet: an Ethernet frame to its MAC.
    Ethernet(MacAddress, Ipv4Addr),
}

/// What to do about a packet. The texts are metric labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Send a reply.
    Reply {
        /// `offer`, `ack` or `nak`.
        kind: &'static str,
        /// Payload of the datagram.
        payload: Vec<u8>,
        /// Where to.
        target: Target,
    },
    /// The client found its address in use.
    Declined {
        /// Interface of the reservation.
        interface: InterfaceId,
        /// The address.
        address: Ipv4Addr,
    },
    /// Nothing, with the reason.
    Silent(&'static str),
}

/// Answers one packet.
pub fn handle(packet: &[u8], snapshot: &Snapshot) -> Outcome {
    let screened = screen::needed(packet);
    let Some(Ok(message)) = screened.map(|packet| Message::decode(&mut Decoder::new(&packet))) else {
        return Outcome::Silent("malformed");
    };
    let Some(mac) = client(&message) else { return Outcome::Silent("malformed") };
    if !message.giaddr().is_unspecified() {
        return Outcome::Silent("relayed");
    }
    let reservation = snapshot.reservations.get(&mac);
    let request = Incoming { message: &message, mac, snapshot };
    match message.opts().msg_type() {
        Some(MessageType::Discover) => match reservation {
            Some(found) => reply::lease(&request, MessageType::Offer, found),
            None => Outcome::Silent("unknown"),
        },
        Some(MessageType::Request) => answer_request(&request, reservation),
        Some(MessageType::Inform) => match reservation {
            Some(found) => reply::inform(&request, found),
            None => Outcome::Silent("unknown"),
        },
        Some(MessageType::Decline) => match reservation {
            Some(found) => Outcome::Declined { interface: found.interface, address: found.address },
            None => Outcome::Silent("unknown"),
        },
        Some(MessageType::Release) => Outcome::Silent("released"),
        _ => Outcome::Silent("unsupported"),
    }
}

/// The MAC a packet is from, for limits before anything else is looked at.
pub fn sender(packet: &[u8]) -> Option<MacAddress> {
    const HARDWARE_ADDRESS: usize = 28;
    let octets: [u8; 6] = packet.get(HARDWARE_ADDRESS..HARDWARE_ADDRESS + 6)?.try_into().ok()?;
    Some(MacAddress::new(octets))
}

/// A request with what it is answered from.
struct Incoming<'a> {
    message: &'a Message,
    mac: MacAddress,
    snapshot: &'a Snapshot,
}

fn client(message: &Message) -> Option<MacAddress> {
    // The length is checked before the address is asked for: the codec slices by it.
    let ethernet =
        message.opcode() == Opcode::BootRequest && message.htype() == HType::Eth && message.hlen() == 6;
    let octets: [u8; 6] = if ethernet { message.chaddr().try_into().ok()? } else { return None };
    Some(MacAddress::new(octets)).filter(|mac| mac.is_unicast())
}

fn answer_request(request: &Incoming<'_>, reservation: Option<&Reservation>) -> Outcome {
    let options = request.message.opts();
    if let Some(DhcpOption::ServerIdentifier(server)) = options.get(OptionCode::ServerIdentifier)
        && *server != request.snapshot.gateway
    {
        return Outcome::Silent("other-server");
    }
    let asked = match options.get(OptionCode::RequestedIpAddress) {
        Some(DhcpOption::RequestedIpAddress(address)) => *address,
        _ => request.message.ciaddr(),
    };
    match reservation {
        Some(found) if found.address == asked => reply::lease(request, MessageType::Ack, found),
        _ => reply::refuse(request),
    }
}

#[cfg(test)]
mod tests;

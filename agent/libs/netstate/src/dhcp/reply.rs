//! Building replies.

use std::net::{Ipv4Addr, SocketAddrV4};

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Encodable, Encoder};

use super::{Incoming, Outcome, Target};
use crate::intent::Reservation;

/// Seconds a lease is given for. The reservation outlives it: the time only decides how often clients ask again.
const LEASE: u32 = 3_600;
/// Shortest payload old clients take.
const MINIMUM: usize = 300;
const CLIENT_PORT: u16 = 68;

/// An offer or acknowledgement of the reservation.
pub(super) fn lease(request: &Incoming<'_>, kind: MessageType, reservation: &Reservation) -> Outcome {
    let mut reply = skeleton(request, kind);
    reply.set_yiaddr(reservation.address);
    reply.set_ciaddr(request.message.ciaddr());
    configuration(&mut reply, request, reservation);
    let options = reply.opts_mut();
    options.insert(DhcpOption::AddressLeaseTime(LEASE));
    options.insert(DhcpOption::Renewal(LEASE / 2));
    options.insert(DhcpOption::Rebinding(LEASE / 8 * 7));
    let label = if kind == MessageType::Offer { "offer" } else { "ack" };
    send(label, &reply, target(request, reservation.address))
}

/// Configuration without an address, for a client that has one.
pub(super) fn inform(request: &Incoming<'_>, reservation: &Reservation) -> Outcome {
    let mut reply = skeleton(request, MessageType::Ack);
    reply.set_ciaddr(request.message.ciaddr());
    configuration(&mut reply, request, reservation);
    send("ack", &reply, target(request, reservation.address))
}

/// A refusal. Always broadcast: the client's address is what is in doubt.
pub(super) fn refuse(request: &Incoming<'_>) -> Outcome {
    send("nak", &skeleton(request, MessageType::Nak), Target::Broadcast)
}

fn skeleton(request: &Incoming<'_>, kind: MessageType) -> Message {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut reply =
        Message::new_with_id(request.message.xid(), none, none, none, none, &request.mac.octets());
    reply.set_opcode(Opcode::BootReply);
    reply.set_flags(request.message.flags());
    let options = reply.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ServerIdentifier(request.snapshot.gateway));
    // Echoed, never used as a key (RFC 6842).
    if let Some(identifier) = request.message.opts().get(OptionCode::ClientIdentifier) {
        options.insert(identifier.clone());
    }
    reply
}

fn configuration(reply: &mut Message, request: &Incoming<'_>, reservation: &Reservation) {
    let snapshot = request.snapshot;
    let options = reply.opts_mut();
    options.insert(DhcpOption::SubnetMask(snapshot.netblock.netmask()));
    options.insert(DhcpOption::BroadcastAddr(snapshot.netblock.broadcast()));
    options.insert(DhcpOption::Router(vec![snapshot.gateway]));
    options.insert(DhcpOption::InterfaceMtu(snapshot.mtu));
    if !snapshot.dns_servers.is_empty() {
        options.insert(DhcpOption::DomainNameServer(snapshot.dns_servers.clone()));
    }
    if !reservation.hostname.is_empty() {
        options.insert(DhcpOption::Hostname(reservation.hostname.clone()));
    }
    if !snapshot.domain.is_empty() {
        options.insert(DhcpOption::DomainName(snapshot.domain.clone()));
    }
}

fn target(request: &Incoming<'_>, address: Ipv4Addr) -> Target {
    let message = request.message;
    // Whatever else a client calls its address: no packet leaves to an address that it was not given.
    if message.ciaddr() == address {
        Target::Unicast(SocketAddrV4::new(message.ciaddr(), CLIENT_PORT))
    } else if message.flags().broadcast() {
        Target::Broadcast
    } else {
        Target::Ethernet(request.mac, address)
    }
}

fn send(kind: &'static str, reply: &Message, target: Target) -> Outcome {
    let mut payload = Vec::with_capacity(MINIMUM);
    if reply.encode(&mut Encoder::new(&mut payload)).is_err() {
        return Outcome::Silent("unencodable");
    }
    if payload.len() < MINIMUM {
        payload.resize(MINIMUM, 0);
    }
    Outcome::Reply { kind, payload, target }
}

//! Forgetting tracked connections whose translation no longer stands.

use std::net::IpAddr;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_netfilter::conntrack::{
    ConntrackAttribute, ConntrackMessage, IPTuple, ProtoTuple, Protocol, Tuple,
};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use nix::errno::Errno;

use super::NftSocket;
use super::message::NfMessage;
use crate::error::NetError;

/// Which connections to forget: every field that is set must agree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowMatch {
    /// Destination the first packet named.
    pub original_destination: Option<IpAddr>,
    /// Source of the first packet.
    pub original_source: Option<IpAddr>,
    /// Source of the answers: the real target of a translated connection.
    pub reply_source: Option<IpAddr>,
    /// Destination port the first packet named.
    pub destination_port: Option<u16>,
    /// Transport protocol number.
    pub protocol: Option<u8>,
}

/// Deletes every connection of the socket's namespace that one of the matches describes; returns how many.
pub fn flush(socket: &mut NftSocket, matches: &[FlowMatch]) -> Result<u64, NetError> {
    let mut deleted = 0;
    for flow in list(socket)? {
        if !matches.iter().any(|wanted| wanted.fits(&flow)) {
            continue;
        }
        let request =
            message(ConntrackMessage::Delete(vec![ConntrackAttribute::CtaTupleOrig(flow.original)]));
        match socket.request(request.into(), 0, "tracked connection") {
            Ok(_) => deleted += 1,
            // It ended by itself meanwhile.
            Err(NetError::Kernel(error)) if error.is(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

/// Number of connections the socket's namespace tracks.
pub fn count(socket: &mut NftSocket) -> Result<u64, NetError> {
    Ok(list(socket)?.len() as u64)
}

struct Flow {
    original: Vec<Tuple>,
    reply: Vec<Tuple>,
}

impl FlowMatch {
    fn fits(&self, flow: &Flow) -> bool {
        let (source, destination) = addresses(&flow.original);
        let (answerer, _) = addresses(&flow.reply);
        let (protocol, port) = transport(&flow.original);
        agrees(self.original_destination, destination)
            && agrees(self.original_source, source)
            && agrees(self.reply_source, answerer)
            && agrees(self.destination_port, port)
            && agrees(self.protocol, protocol)
    }
}

fn agrees<T: PartialEq>(wanted: Option<T>, found: Option<T>) -> bool {
    wanted.is_none() || wanted == found
}

fn list(socket: &mut NftSocket) -> Result<Vec<Flow>, NetError> {
    let replies =
        socket.dump(message(ConntrackMessage::Get(Vec::new())).into(), NLM_F_DUMP, "tracked connections")?;
    let mut flows = Vec::new();
    for reply in replies {
        let NfMessage::Typed(reply) = reply else { continue };
        let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = reply.inner else {
            continue;
        };
        let mut flow = Flow { original: Vec::new(), reply: Vec::new() };
        for attribute in attributes {
            match attribute {
                ConntrackAttribute::CtaTupleOrig(tuple) => flow.original = tuple,
                ConntrackAttribute::CtaTupleReply(tuple) => flow.reply = tuple,
                _ => {}
            }
        }
        flows.push(flow);
    }
    Ok(flows)
}

fn message(inner: ConntrackMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0), inner)
}

fn addresses(tuples: &[Tuple]) -> (Option<IpAddr>, Option<IpAddr>) {
    let mut found = (None, None);
    for tuple in tuples {
        let Tuple::Ip(parts) = tuple else { continue };
        for part in parts {
            match part {
                IPTuple::SourceAddress(address) => found.0 = Some(*address),
                IPTuple::DestinationAddress(address) => found.1 = Some(*address),
                _ => {}
            }
        }
    }
    found
}

fn transport(tuples: &[Tuple]) -> (Option<u8>, Option<u16>) {
    let mut found = (None, None);
    for tuple in tuples {
        let Tuple::Proto(parts) = tuple else { continue };
        for part in parts {
            match part {
                ProtoTuple::Protocol(protocol) => found.0 = Some(protocol_number(*protocol)),
                ProtoTuple::DestinationPort(port) => found.1 = Some(*port),
                _ => {}
            }
        }
    }
    found
}

fn protocol_number(protocol: Protocol) -> u8 {
    protocol.into()
}

//! DNS for one network (`networking.md` §8.2). Pure: a query and a zone give a reply or the wish to ask elsewhere.

mod zone;

use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use zone::Found;
pub use zone::{Zone, sanitise};

/// Most bytes in a UDP answer, whatever the client offers.
pub const MAX_UDP: u16 = 1_232;
/// Seconds local answers may be kept.
const TTL: u32 = 30;
const CLASSIC_UDP: u16 = 512;

/// What to do about a query. The texts are metric labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Answer at once.
    Reply(Vec<u8>, &'static str),
    /// Ask a forwarder; the query is passed on unchanged.
    Forward,
    /// Say nothing.
    Drop,
}

/// Decides about one query. `udp` limits the size of an answer.
pub fn decide(query: &[u8], zone: &Zone, udp: bool) -> Decision {
    let Ok(query) = Message::from_vec(query) else { return malformed(query) };
    if query.metadata.message_type != MessageType::Query {
        return Decision::Drop;
    }
    if query.metadata.op_code != OpCode::Query {
        return reply(&query, ResponseCode::NotImp, udp, "refused");
    }
    let [question] = query.queries.as_slice() else {
        return reply(&query, ResponseCode::FormErr, udp, "malformed");
    };
    if question.query_class() != DNSClass::IN {
        return reply(&query, ResponseCode::Refused, udp, "refused");
    }
    match zone.find(question.name()) {
        Found::Elsewhere => Decision::Forward,
        Found::Nothing => negative(&query, zone, ResponseCode::NXDomain, udp),
        Found::Apex => match question.query_type() {
            RecordType::SOA => local(&query, vec![zone.soa()], udp),
            _ => negative(&query, zone, ResponseCode::NoError, udp),
        },
        Found::Addresses(addresses) => match question.query_type() {
            RecordType::A | RecordType::ANY => {
                let record = |address| Record::from_rdata(question.name().clone(), TTL, RData::A(address));
                local(&query, addresses.iter().map(|address| record((*address).into())).collect(), udp)
            }
            _ => negative(&query, zone, ResponseCode::NoError, udp),
        },
        Found::Pointer(name) => match question.query_type() {
            RecordType::PTR | RecordType::ANY => {
                let data = RData::PTR(hickory_proto::rr::rdata::PTR(name));
                local(&query, vec![Record::from_rdata(question.name().clone(), TTL, data)], udp)
            }
            _ => negative(&query, zone, ResponseCode::NoError, udp),
        },
    }
}

/// The answer when no forwarder answered.
pub fn failure(query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let mut answer = skeleton(&query);
    answer.metadata.response_code = ResponseCode::ServFail;
    answer.to_vec().ok()
}

/// A forwarder's answer as the client may have it: cut for UDP when it is larger than the client takes.
pub fn relay(query: &[u8], answer: Vec<u8>, udp: bool) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if !udp || answer.len() <= usize::from(limit(&query)) {
        return Some(answer);
    }
    let mut cut = Message::from_vec(&answer).ok()?.truncate();
    cut.metadata.id = query.metadata.id;
    cut.to_vec().ok()
}

/// Whether `answer` belongs to `query` as it was sent on: same question, and a response.
pub fn answers(query: &[u8], answer: &[u8]) -> bool {
    match (Message::from_vec(query), Message::from_vec(answer)) {
        (Ok(query), Ok(answer)) => {
            answer.metadata.message_type == MessageType::Response && answer.queries == query.queries
        }
        _ => false,
    }
}

/// Sets the identifier of a message in place.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(head) = message.get_mut(..2) {
        head.copy_from_slice(&id.to_be_bytes());
    }
}

/// The identifier of a message.
pub fn id(message: &[u8]) -> Option<u16> {
    message.get(..2)?.try_into().ok().map(u16::from_be_bytes)
}

/// Whether a reverse name for this address is never asked outside.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private()
                || address.is_link_local()
                || address.is_loopback()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

fn malformed(query: &[u8]) -> Decision {
    match id(query) {
        Some(id) if query.len() >= 12 => {
            let answer = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
            answer.to_vec().map_or(Decision::Drop, |bytes| Decision::Reply(bytes, "malformed"))
        }
        _ => Decision::Drop,
    }
}

fn local(query: &Message, records: Vec<Record>, udp: bool) -> Decision {
    let mut answer = skeleton(query);
    answer.metadata.authoritative = true;
    answer.add_answers(records);
    finish(query, answer, udp, "local")
}

/// "No such name" or "no such record", with the zone's authority so that it may be remembered.
fn negative(query: &Message, zone: &Zone, code: ResponseCode, udp: bool) -> Decision {
    let mut answer = skeleton(query);
    answer.metadata.authoritative = true;
    answer.metadata.response_code = code;
    answer.add_authority(zone.soa());
    finish(query, answer, udp, if code == ResponseCode::NXDomain { "nxdomain" } else { "nodata" })
}

fn reply(query: &Message, code: ResponseCode, udp: bool, label: &'static str) -> Decision {
    let mut answer = skeleton(query);
    answer.metadata.response_code = code;
    finish(query, answer, udp, label)
}

fn skeleton(query: &Message) -> Message {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = query.metadata.recursion_desired;
    answer.metadata.recursion_available = true;
    answer.add_queries(query.queries.iter().cloned());
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP);
        answer.set_edns(edns);
    }
    answer
}

fn finish(query: &Message, answer: Message, udp: bool, label: &'static str) -> Decision {
    let Ok(bytes) = answer.to_vec() else { return Decision::Drop };
    if !udp || bytes.len() <= usize::from(limit(query)) {
        return Decision::Reply(bytes, label);
    }
    answer.truncate().to_vec().map_or(Decision::Drop, |cut| Decision::Reply(cut, label))
}

fn limit(query: &Message) -> u16 {
    query.edns.as_ref().map_or(CLASSIC_UDP, |edns| edns.max_payload().clamp(CLASSIC_UDP, MAX_UDP))
}

/// A name from text, fully qualified.
pub(crate) fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

#[cfg(test)]
mod tests;

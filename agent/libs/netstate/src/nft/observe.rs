//! Reading tables back from the kernel. Attribute numbers are those of `include/uapi/linux/netfilter/nf_tables.h`.

use std::collections::BTreeMap;

use netlink_packet_core::NLM_F_DUMP;
use nix::errno::Errno;

use super::attr::{parse_comment, text as text_attribute};
use super::encode::{TableName, message};
use super::ir::{Element, ElementKey, Elements, Fingerprint, TableFamily, TableState, hook};
use crate::error::NetError;
use crate::names::EGRESS_PREFIX;
use crate::netlink::NftSocket;
use crate::netlink::message::{NfMessage, attribute, attributes, long, number, text};

const GETTABLE: u8 = 1;
const GETCHAIN: u8 = 4;
const GETRULE: u8 = 7;
const GETSET: u8 = 10;
const GETSETELEM: u8 = 13;

/// The table as the kernel holds it; `None` when there is none.
pub fn table(socket: &mut NftSocket, table: TableName) -> Result<Option<TableState>, NetError> {
    let Some(version) = version(socket, table)? else { return Ok(None) };
    let mut fingerprint = Fingerprint { version, ..Fingerprint::default() };
    for chain in chains(socket, table.family)?.into_iter().filter(|chain| chain.table == table.name) {
        fingerprint.chains.insert(chain.name, (chain.drop, Vec::new()));
    }
    for rule in rules(socket, table)? {
        fingerprint.chains.entry(rule.chain).or_default().1.push(rule.comment);
    }
    fingerprint.sets = sets(socket, table)?;
    fingerprint.sets.sort();
    let mut elements = Elements::new();
    for set in &fingerprint.sets {
        elements.insert(set.clone(), set_elements(socket, table, set)?);
    }
    Ok(Some(TableState { fingerprint, elements }))
}

/// The comment of a table, empty when it has none; `None` when there is no such table.
pub fn version(socket: &mut NftSocket, table: TableName) -> Result<Option<String>, NetError> {
    const USERDATA: u16 = 6;
    let request = message(table.family, GETTABLE, vec![text_attribute(1, table.name)]);
    let replies = match socket.request(request.into(), 0, &format!("table {}", table.name)) {
        Ok(replies) => replies,
        Err(NetError::Kernel(error)) if error.is(Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = bodies(&replies).next();
    Ok(found.map(|body| attribute(body, USERDATA).and_then(parse_comment).unwrap_or_default()))
}

/// Chains of others, as family, table and chain, by which forwarded IPv4 packets are dropped that no rule decides about:
/// Docker sets such a policy, and guests' packets are among them whatever our own tables say. A table with a rule about
/// the egress bridge is left out: there somebody decided.
pub fn foreign_forward_drops(socket: &mut NftSocket) -> Result<Vec<String>, NetError> {
    let mut found = Vec::new();
    for (family, name) in [(TableFamily::Ip, "ip"), (TableFamily::Inet, "inet")] {
        for chain in chains(socket, family)? {
            let drops = chain.drop && chain.hook == Some(hook::FORWARD) && !chain.table.starts_with("sf_");
            if drops && !decides_about_egress(socket, family, &chain.table)? {
                found.push(format!("{name} {} {}", chain.table, chain.name));
            }
        }
    }
    Ok(found)
}

/// Whether a rule of the table names an egress bridge, or all of them: names stand in rules as they are.
fn decides_about_egress(socket: &mut NftSocket, family: TableFamily, table: &str) -> Result<bool, NetError> {
    let request = message(family, GETRULE, vec![text_attribute(1, table)]);
    let replies = socket.dump(request.into(), NLM_F_DUMP, &format!("rules of {table}"))?;
    let prefix = EGRESS_PREFIX.as_bytes();
    let of_table = bodies(&replies).filter(|body| text(body, 1).as_deref() == Some(table));
    let named = of_table
        .filter_map(|body| attribute(body, 4))
        .any(|expressions| expressions.windows(prefix.len()).any(|window| window == prefix));
    Ok(named)
}

/// A base or plain chain.
struct Chain {
    table: String,
    name: String,
    /// Number, of a base chain.
    hook: Option<u32>,
    drop: bool,
}

/// Chains of every table of a family.
fn chains(socket: &mut NftSocket, family: TableFamily) -> Result<Vec<Chain>, NetError> {
    const POLICY_DROP: u32 = 0;
    let chain = |body| Chain {
        table: text(body, 1).unwrap_or_default(),
        name: text(body, 3).unwrap_or_default(),
        hook: attribute(body, 4).and_then(|hook| number(hook, 1)),
        drop: number(body, 5) == Some(POLICY_DROP),
    };
    let request = message(family, GETCHAIN, Vec::new());
    let replies = socket.dump(request.into(), NLM_F_DUMP, "chains")?;
    Ok(bodies(&replies).map(chain).collect())
}

/// A rule: chain, comment, and what its counter counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedRule {
    /// Chain it stands in.
    pub chain: String,
    /// Comment; empty for a rule that is not ours.
    pub comment: String,
    /// Packets counted, 0 without a counter.
    pub packets: u64,
}

/// Rules of one table, in order.
pub fn rules(socket: &mut NftSocket, table: TableName) -> Result<Vec<ObservedRule>, NetError> {
    let rule = |body| ObservedRule {
        chain: text(body, 2).unwrap_or_default(),
        comment: attribute(body, 7).and_then(parse_comment).unwrap_or_default(),
        packets: attribute(body, 4).and_then(counted_packets).unwrap_or(0),
    };
    let replies = dump(socket, table, GETRULE, vec![text_attribute(1, table.name)])?;
    let ours = bodies(&replies).filter(|body| text(body, 1).as_deref() == Some(table.name));
    Ok(ours.map(rule).collect())
}

/// Elements of one set; none when there is no such set.
pub fn set_elements(
    socket: &mut NftSocket,
    table: TableName,
    set: &str,
) -> Result<BTreeMap<ElementKey, Element>, NetError> {
    const ELEMENTS: u16 = 3;
    let of_set = vec![text_attribute(1, table.name), text_attribute(2, set)];
    let replies = match dump(socket, table, GETSETELEM, of_set) {
        Ok(replies) => replies,
        Err(NetError::Kernel(error)) if error.is(Errno::ENOENT) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let lists = bodies(&replies).filter_map(|body| attribute(body, ELEMENTS));
    Ok(lists.flat_map(attributes).filter_map(|(_, element)| element_of(element)).collect())
}

fn sets(socket: &mut NftSocket, table: TableName) -> Result<Vec<String>, NetError> {
    let replies = dump(socket, table, GETSET, vec![text_attribute(1, table.name)])?;
    Ok(bodies(&replies).filter_map(|body| text(body, 2)).collect())
}

fn dump(
    socket: &mut NftSocket,
    table: TableName,
    kind: u8,
    attributes: Vec<netlink_packet_core::DefaultNla>,
) -> Result<Vec<NfMessage>, NetError> {
    socket.dump(message(table.family, kind, attributes).into(), NLM_F_DUMP, &format!("table {}", table.name))
}

fn bodies(replies: &[NfMessage]) -> impl Iterator<Item = &[u8]> {
    replies.iter().filter_map(|reply| match reply {
        NfMessage::Nftables { attributes, .. } => Some(attributes.as_slice()),
        NfMessage::Typed(_) => None,
    })
}

fn element_of(bytes: &[u8]) -> Option<(ElementKey, Element)> {
    const VALUE: u16 = 1;
    const RANGE_END: u32 = 1;
    let key = attribute(bytes, 1).and_then(|key| attribute(key, VALUE))?;
    let data = attribute(bytes, 2).and_then(|data| attribute(data, VALUE)).unwrap_or_default();
    let element = Element {
        data: data.to_vec(),
        tag: attribute(bytes, 6).unwrap_or_default().to_vec(),
        timeout_ms: long(bytes, 5).unwrap_or(0),
    };
    let range_end = number(bytes, 3).is_some_and(|flags| flags & RANGE_END != 0);
    Some((ElementKey { bytes: key.to_vec(), range_end }, element))
}

fn counted_packets(expressions: &[u8]) -> Option<u64> {
    let counter = attributes(expressions).find(|(_, item)| text(item, 1).as_deref() == Some("counter"))?.1;
    long(attribute(counter, 2)?, 2)
}

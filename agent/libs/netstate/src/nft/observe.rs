//! Reading tables back from the kernel.

use std::collections::BTreeMap;

use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, DataAttribute, ExpressionAttribute, Expressions, Hook, ListAttribute, NfTablesMessage,
    RuleAttribute, SetAttribute, SetElementAttribute, SetElementFlags, SetElementList, TableAttribute,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};
use nix::errno::Errno;

use super::attr::{parse_comment, text};
use super::encode::{TableName, message};
use super::ir::{Element, ElementKey, Elements, Fingerprint, TableState};
use crate::error::NetError;
use crate::netlink::NftSocket;

const GETTABLE: u8 = 1;
const GETCHAIN: u8 = 4;
const GETRULE: u8 = 7;
const GETSET: u8 = 10;
const GETSETELEM: u8 = 13;

/// The table as the kernel holds it; `None` when there is none.
pub fn table(socket: &mut NftSocket, table: TableName) -> Result<Option<TableState>, NetError> {
    let Some(version) = version(socket, table)? else { return Ok(None) };
    let mut fingerprint = Fingerprint { version, ..Fingerprint::default() };
    for chain in chains(socket, table)? {
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
    let request = message(table.family, GETTABLE, vec![text(1, table.name)]);
    let replies = match socket.request(request, 0, &format!("table {}", table.name)) {
        Ok(replies) => replies,
        Err(NetError::Kernel(error)) if error.is(Errno::ENOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    for reply in replies {
        if let Some(NfTablesMessage::NewTable(found)) = nft(reply) {
            let comment = found.attributes.iter().find_map(|attr| match attr {
                TableAttribute::UserData(data) => parse_comment(data),
                _ => None,
            });
            return Ok(Some(comment.unwrap_or_default()));
        }
    }
    Ok(None)
}

/// A base or plain chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedChain {
    /// Table it belongs to.
    pub table: String,
    /// Name.
    pub name: String,
    /// Hook number of a base chain.
    pub hook: Option<u32>,
    /// Drops what no rule decides about.
    pub drop: bool,
}

/// Chains of one table.
pub fn chains(socket: &mut NftSocket, table: TableName) -> Result<Vec<ObservedChain>, NetError> {
    // The kernel lists the chains of every table of the family; the filter by table is ours.
    let mut found = all_chains(socket, table)?;
    found.retain(|chain| chain.table == table.name);
    Ok(found)
}

/// Chains of every table of the table's family.
pub fn all_chains(socket: &mut NftSocket, table: TableName) -> Result<Vec<ObservedChain>, NetError> {
    const POLICY_DROP: u32 = 0;
    let replies = dump(socket, table, GETCHAIN, false)?;
    let mut found = Vec::new();
    for reply in replies {
        let Some(NfTablesMessage::NewChain(chain)) = nft(reply) else { continue };
        let mut observed = ObservedChain::default();
        for attr in chain.attributes {
            match attr {
                ChainAttribute::Table(name) => observed.table = name,
                ChainAttribute::Name(name) => observed.name = name,
                ChainAttribute::Policy(policy) => observed.drop = policy == POLICY_DROP,
                ChainAttribute::Hook(hook) => observed.hook = Some(hook_number(&hook)),
                _ => {}
            }
        }
        found.push(observed);
    }
    Ok(found)
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
    let mut found = Vec::new();
    for reply in dump(socket, table, GETRULE, true)? {
        let Some(NfTablesMessage::NewRule(rule)) = nft(reply) else { continue };
        let mut observed = ObservedRule::default();
        let mut ours = true;
        for attr in rule.attributes {
            match attr {
                RuleAttribute::Table(name) => ours = name == table.name,
                RuleAttribute::Chain(name) => observed.chain = name,
                RuleAttribute::UserData(data) => observed.comment = parse_comment(&data).unwrap_or_default(),
                RuleAttribute::Expressions(list) => observed.packets = counted_packets(&list),
                _ => {}
            }
        }
        if ours {
            found.push(observed);
        }
    }
    Ok(found)
}

/// Elements of one set.
pub fn set_elements(
    socket: &mut NftSocket,
    table: TableName,
    set: &str,
) -> Result<BTreeMap<ElementKey, Element>, NetError> {
    let request = message(table.family, GETSETELEM, vec![text(1, table.name), text(2, set)]);
    let replies = match socket.dump(request, NLM_F_DUMP, &format!("elements of set {set}")) {
        Ok(replies) => replies,
        Err(NetError::Kernel(error)) if error.is(Errno::ENOENT) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for reply in replies {
        let Some(NfTablesMessage::NewSetElement(list)) = nft(reply) else { continue };
        for attr in list.attributes {
            let SetElementList::Elements(elements) = attr else { continue };
            for element in elements {
                if let ListAttribute::Element(attrs) = element {
                    found.extend(element_of(attrs));
                }
            }
        }
    }
    Ok(found)
}

fn sets(socket: &mut NftSocket, table: TableName) -> Result<Vec<String>, NetError> {
    let mut found = Vec::new();
    for reply in dump(socket, table, GETSET, true)? {
        let Some(NfTablesMessage::NewSet(set)) = nft(reply) else { continue };
        found.extend(set.attributes.into_iter().find_map(|attr| match attr {
            SetAttribute::Name(name) => Some(name),
            _ => None,
        }));
    }
    Ok(found)
}

fn dump(
    socket: &mut NftSocket,
    table: TableName,
    kind: u8,
    by_table: bool,
) -> Result<Vec<NetfilterMessage>, NetError> {
    let attrs = if by_table { vec![text(1, table.name)] } else { Vec::new() };
    socket.dump(message(table.family, kind, attrs), NLM_F_DUMP, &format!("table {}", table.name))
}

fn nft(message: NetfilterMessage) -> Option<NfTablesMessage> {
    match message.inner {
        NetfilterMessageInner::NfTables(message) => Some(message),
        _ => None,
    }
}

fn hook_number(attributes: &[Hook]) -> u32 {
    let number = attributes.iter().find_map(|attr| match attr {
        Hook::Number(number) => Some(u32::from(*number)),
        _ => None,
    });
    number.unwrap_or(u32::MAX)
}

fn element_of(attrs: Vec<SetElementAttribute>) -> Option<(ElementKey, Element)> {
    let mut key = None;
    let mut range_end = false;
    let mut element = Element::default();
    for attr in attrs {
        match attr {
            SetElementAttribute::Key(DataAttribute::Value(bytes)) => key = Some(bytes),
            SetElementAttribute::Data(DataAttribute::Value(bytes)) => element.data = bytes,
            SetElementAttribute::Flags(flags) => range_end = flags.contains(SetElementFlags::IntervalEnd),
            SetElementAttribute::UserData(bytes) => element.tag = bytes,
            SetElementAttribute::Expiration(left) => element.timeout_ms = left,
            _ => {}
        }
    }
    key.map(|bytes| (ElementKey { bytes, range_end }, element))
}

fn counted_packets(list: &[ListAttribute<ExpressionAttribute>]) -> u64 {
    list.iter().find_map(counter_of).unwrap_or(0)
}

fn counter_of(item: &ListAttribute<ExpressionAttribute>) -> Option<u64> {
    use netlink_packet_core::Nla;
    const PACKETS: u16 = 2;
    let ListAttribute::Element(attrs) = item else { return None };
    attrs.iter().find_map(|attr| match attr {
        ExpressionAttribute::Data(Expressions::Other { expression_type, attributes }) if expression_type == "counter" => {
            let packets = attributes.iter().find(|nla| nla.kind() == PACKETS && nla.value_len() == 8)?;
            let mut number = [0; 8];
            packets.emit_value(&mut number);
            Some(u64::from_be_bytes(number))
        }
        _ => None,
    })
}

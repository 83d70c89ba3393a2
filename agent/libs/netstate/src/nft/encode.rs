//! Tables, sets and elements as netlink messages.

use std::collections::BTreeMap;

use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::NfTablesMessage;
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};

use super::attr::{bytes, comment, nested, text, u32_, u64_};
use super::expr::value;
use super::ir::{
    Base, ChainSpec, Element, ElementKey, Elements, Field, RuleSpec, SetSpec, TableFamily, TableSpec,
};

const NEWTABLE: u8 = 0;
const DELTABLE: u8 = 2;
const NEWCHAIN: u8 = 3;
const NEWRULE: u8 = 6;
const NEWSET: u8 = 9;
const NEWSETELEM: u8 = 12;
const DELSETELEM: u8 = 14;

/// Most elements in one message: a nested attribute is limited to 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 500;

/// A message with its netlink flags and a name for errors.
pub struct NftRequest {
    /// The message.
    pub message: NetfilterMessage,
    /// Flags beside `NLM_F_REQUEST`.
    pub flags: u16,
    /// What it changes, for errors.
    pub object: String,
}

/// Which table a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableName {
    /// Family.
    pub family: TableFamily,
    /// Name.
    pub name: &'static str,
}

impl TableSpec {
    /// Family and name.
    pub fn table(&self) -> TableName {
        TableName { family: self.family, name: self.name }
    }
}

/// Replaces a table, whether it exists or not, with these elements.
pub fn replace_table(spec: &TableSpec, elements: &Elements) -> Vec<NftRequest> {
    let table = spec.table();
    let named = format!("table {}", spec.name);
    let head =
        |kind, flags, object: &str| request(table, kind, vec![text(1, spec.name)], flags, object.to_owned());
    // Deleting needs the table to exist; adding it first makes the pair work in both cases.
    let mut requests = vec![head(NEWTABLE, NLM_F_CREATE, &named), head(DELTABLE, 0, &named)];
    requests.push(request(
        table,
        NEWTABLE,
        vec![text(1, spec.name), comment(6, &spec.version())],
        NLM_F_CREATE,
        named,
    ));
    requests.extend((1u32..).zip(&spec.sets).map(|(id, set)| new_set(table, id, set)));
    requests.extend(spec.chains.iter().map(|chain| new_chain(table, chain)));
    for chain in &spec.chains {
        requests.extend(chain.rules.iter().map(|rule| new_rule(table, chain.name, rule)));
    }
    for (set, members) in elements {
        let is_map = spec.set(set).is_some_and(|set| !set.data.is_empty());
        requests.extend(add_elements(table, set, members, is_map));
    }
    requests
}

/// Deletes a table that exists.
pub fn delete_table(table: TableName) -> NftRequest {
    request(table, DELTABLE, vec![text(1, table.name)], 0, format!("table {}", table.name))
}

/// Adds elements to a set (or map).
pub fn add_elements(
    table: TableName,
    set: &str,
    members: &BTreeMap<ElementKey, Element>,
    is_map: bool,
) -> Vec<NftRequest> {
    let encoded = members.iter().map(|(key, element)| encode_element(key, Some(element), is_map)).collect();
    element_messages(table, NEWSETELEM, NLM_F_CREATE, set, encoded)
}

/// Removes elements from a set (or map).
pub fn remove_elements<'a>(
    table: TableName,
    set: &str,
    keys: impl IntoIterator<Item = &'a ElementKey>,
) -> Vec<NftRequest> {
    let encoded = keys.into_iter().map(|key| encode_element(key, None, false)).collect();
    element_messages(table, DELSETELEM, 0, set, encoded)
}

/// The message that opens a transaction.
pub fn batch_begin() -> NetfilterMessage {
    control(ControlMessage::BatchBegin)
}

/// The message that commits a transaction.
pub fn batch_end() -> NetfilterMessage {
    control(ControlMessage::BatchEnd)
}

/// A message of the nftables interface from bare attributes.
pub fn message(family: TableFamily, kind: u8, attributes: Vec<DefaultNla>) -> NetfilterMessage {
    let family = match family {
        TableFamily::Inet => NetfilterProtoFamily::Inet,
        TableFamily::Bridge => NetfilterProtoFamily::Bridge,
        TableFamily::Ip => NetfilterProtoFamily::IPv4,
    };
    NetfilterMessage::new(
        NetfilterHeader::new(family, 0, 0),
        NfTablesMessage::Other { message_type: kind, attributes },
    )
}

fn control(message: ControlMessage) -> NetfilterMessage {
    const NFTABLES_SUBSYSTEM: u16 = 10;
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES_SUBSYSTEM), message)
}

fn request(
    table: TableName,
    kind: u8,
    attributes: Vec<DefaultNla>,
    flags: u16,
    object: String,
) -> NftRequest {
    NftRequest { message: message(table.family, kind, attributes), flags, object }
}

fn new_set(table: TableName, id: u32, set: &SetSpec) -> NftRequest {
    const CONCATENATION: u32 = 0x80;
    let mut flags = 0;
    for (on, bit) in [(set.interval, 0x4), (!set.data.is_empty(), 0x8), (set.timeout, 0x10)] {
        flags |= if on { bit } else { 0 };
    }
    if set.interval && set.key.len() > 1 {
        flags |= CONCATENATION;
    }
    let mut attrs = vec![
        text(1, table.name),
        text(2, set.name),
        u32_(3, flags),
        u32_(4, type_id(&set.key)),
        u32_(5, fields_len(&set.key)),
        u32_(10, id),
    ];
    if !set.data.is_empty() {
        attrs.extend([u32_(6, type_id(&set.data)), u32_(7, fields_len(&set.data))]);
    }
    request(table, NEWSET, attrs, NLM_F_CREATE, format!("set {} of table {}", set.name, table.name))
}

fn new_chain(table: TableName, chain: &ChainSpec) -> NftRequest {
    let mut attrs = vec![text(1, table.name), text(3, chain.name)];
    if let Some(Base { kind, hook, priority, drop }) = &chain.base {
        attrs.push(nested(4, vec![u32_(1, *hook), bytes(2, &priority.to_be_bytes())]));
        attrs.push(u32_(5, u32::from(!drop)));
        attrs.push(text(7, kind));
    }
    request(table, NEWCHAIN, attrs, NLM_F_CREATE, format!("chain {} of table {}", chain.name, table.name))
}

fn new_rule(table: TableName, chain: &str, rule: &RuleSpec) -> NftRequest {
    let exprs = rule.exprs.iter().map(|expr| nested(1, expr.encode())).collect();
    let attrs = vec![text(1, table.name), text(2, chain), nested(4, exprs), comment(7, &rule.comment())];
    let object = format!("rule {} of chain {chain} of table {}", rule.label, table.name);
    request(table, NEWRULE, attrs, NLM_F_CREATE | NLM_F_APPEND, object)
}

fn encode_element(key: &ElementKey, element: Option<&Element>, is_map: bool) -> DefaultNla {
    let mut attrs = vec![value(1, &key.bytes)];
    if key.range_end {
        attrs.push(u32_(3, 1));
    }
    if let Some(element) = element {
        if is_map && !key.range_end {
            attrs.push(value(2, &element.data));
        }
        if element.timeout_ms > 0 {
            attrs.push(u64_(4, element.timeout_ms));
        }
        if !element.tag.is_empty() {
            attrs.push(bytes(6, &element.tag));
        }
    }
    nested(1, attrs)
}

fn element_messages(
    table: TableName,
    kind: u8,
    flags: u16,
    set: &str,
    elements: Vec<DefaultNla>,
) -> Vec<NftRequest> {
    let object = format!("elements of set {set} of table {}", table.name);
    let message = |chunk: &[DefaultNla]| {
        request(
            table,
            kind,
            vec![text(1, table.name), text(2, set), nested(3, chunk.to_vec())],
            flags,
            object.clone(),
        )
    };
    elements.chunks(ELEMENTS_PER_MESSAGE).map(message).collect()
}

/// Type number of a concatenation: six bits per field.
fn type_id(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |sum, field| (sum << 6) | field.type_id())
}

fn fields_len(fields: &[Field]) -> u32 {
    match fields {
        [one] => one.width(),
        many => many.iter().map(|field| field.padded_width()).sum(),
    }
}

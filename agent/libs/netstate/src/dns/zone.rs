//! The names of one network.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record};
use ipnet::Ipv4Net;

use super::{TTL, is_private, name};
use crate::intent::Dns;

/// The local zone: names to addresses and back. Replaced as a whole by a render.
#[derive(Debug, Clone)]
pub struct Zone {
    apex: Name,
    netblock: Ipv4Net,
    addresses: HashMap<String, Vec<Ipv4Addr>>,
    pointers: HashMap<Ipv4Addr, Name>,
    /// Where other names are asked, in order.
    pub forwarders: Vec<IpAddr>,
}

/// What is known about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// Addresses of a local name.
    Addresses(&'a [Ipv4Addr]),
    /// Name of a local address.
    Pointer(Name),
    /// The zone itself.
    Apex,
    /// Ours to know, and it does not exist.
    Nothing,
    /// Not ours to know.
    Elsewhere,
}

impl Zone {
    /// The zone of a network.
    pub fn new(netblock: Ipv4Net, data: &Dns) -> Self {
        let apex = name(&data.zone).unwrap_or_else(Name::root);
        let mut addresses: HashMap<String, Vec<Ipv4Addr>> = HashMap::new();
        let mut pointers = HashMap::new();
        for (label, address) in &data.records {
            addresses.entry(label.clone()).or_default().push(*address);
            if let Some(full) = name(&format!("{label}.{}", data.zone)) {
                // The first name of an address is its name; hosted entries come after instances.
                pointers.entry(*address).or_insert(full);
            }
        }
        Self { apex, netblock, addresses, pointers, forwarders: data.forwarders.clone() }
    }

    pub(super) fn find(&self, asked: &Name) -> Found<'_> {
        if let Some(found) = self.reverse(asked) {
            return found;
        }
        let asked = asked.to_lowercase();
        let text = asked.to_ascii();
        let text = text.trim_end_matches('.');
        if let Some(addresses) = self.addresses.get(text) {
            return Found::Addresses(addresses);
        }
        if self.apex.is_root() || !self.apex.zone_of(&asked) {
            // A bare name is never asked outside: it would tell others what our guests are called.
            return if asked.num_labels() == 1 { Found::Nothing } else { Found::Elsewhere };
        }
        let apex = self.apex.to_ascii();
        let label = text.strip_suffix(apex.trim_end_matches('.')).unwrap_or(text).trim_end_matches('.');
        if label.is_empty() {
            return Found::Apex;
        }
        self.addresses.get(label).map_or(Found::Nothing, |addresses| Found::Addresses(addresses))
    }

    pub(super) fn soa(&self) -> Record {
        let apex = if self.apex.is_root() { Name::root() } else { self.apex.clone() };
        let gateway = apex.prepend_label("ns").unwrap_or_else(|_| apex.clone());
        let keeper = apex.prepend_label("hostmaster").unwrap_or_else(|_| apex.clone());
        let seconds = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let soa = SOA::new(gateway, keeper, 1, seconds(3_600), seconds(600), seconds(86_400), TTL);
        Record::from_rdata(apex, TTL, RData::SOA(soa))
    }

    fn reverse(&self, asked: &Name) -> Option<Found<'_>> {
        let net = asked.parse_arpa_name().ok()?;
        let address = net.addr();
        if let (IpAddr::V4(v4), true) = (address, net.prefix_len() == net.max_prefix_len()) {
            if let Some(pointer) = self.pointers.get(&v4) {
                return Some(Found::Pointer(pointer.clone()));
            }
            if self.netblock.contains(&v4) {
                return Some(Found::Nothing);
            }
        }
        Some(if is_private(address) { Found::Nothing } else { Found::Elsewhere })
    }
}

/// A name a guest may have: lower case, other characters as `-`, trimmed, at most 63 octets; a name of which nothing is
/// left becomes `fallback`.
pub fn sanitise(text: &str, fallback: &str) -> String {
    let clean: String = text
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .collect();
    let short: String = clean.trim_matches('-').chars().take(63).collect();
    let short = short.trim_end_matches('-');
    if short.is_empty() { fallback.to_owned() } else { short.to_owned() }
}

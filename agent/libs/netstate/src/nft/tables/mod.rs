//! The three tables of the product. Rules depend on the feature set only; members live in sets and maps.

pub mod host;
pub mod net;
pub mod port;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::ir::{Element, ElementKey};

/// Elements of a set of single addresses.
pub(crate) fn address_set(addresses: impl IntoIterator<Item = Ipv4Addr>) -> BTreeMap<ElementKey, Element> {
    addresses.into_iter().map(|address| (key(address.octets().to_vec()), Element::default())).collect()
}

/// Elements of an interval set: the blocks, merged, as first address and first address after.
pub(crate) fn block_set(blocks: impl IntoIterator<Item = Ipv4Net>) -> BTreeMap<ElementKey, Element> {
    let mut ranges: Vec<(u32, u64)> = blocks
        .into_iter()
        .map(|block| (block.network().into(), u64::from(u32::from(block.broadcast())) + 1))
        .collect();
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u64)> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            // Neighbours are merged too: an end and a start at one place would be the same key twice.
            Some(last) if u64::from(start) <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    let mut elements = BTreeMap::new();
    for (start, end) in merged {
        elements.insert(key(start.to_be_bytes().to_vec()), Element::default());
        // A range up to the last address has no address after it and needs no end.
        if let Ok(end) = u32::try_from(end) {
            elements.insert(
                ElementKey { bytes: end.to_be_bytes().to_vec(), range_end: true },
                Element::default(),
            );
        }
    }
    elements
}

/// Key of an element that is not the end of a range.
pub(crate) fn key(bytes: Vec<u8>) -> ElementKey {
    ElementKey { bytes, range_end: false }
}

/// Address, transport protocol and port, each in its own register.
pub(crate) fn triple(address: Ipv4Addr, protocol: u8, port: u16) -> Vec<u8> {
    let mut bytes = address.octets().to_vec();
    bytes.extend([protocol, 0, 0, 0]);
    bytes.extend(port.to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_merged_into_ranges() {
        let blocks = ["10.0.0.0/25", "10.0.0.128/25", "10.0.0.64/26", "192.0.2.0/24", "255.0.0.0/8"];
        let elements = block_set(blocks.map(|block| block.parse().unwrap()));
        let found: Vec<(Vec<u8>, bool)> =
            elements.keys().map(|key| (key.bytes.clone(), key.range_end)).collect();
        assert_eq!(
            found,
            [
                (vec![10, 0, 0, 0], false),
                (vec![10, 0, 1, 0], true),
                (vec![192, 0, 2, 0], false),
                (vec![192, 0, 3, 0], true),
                (vec![255, 0, 0, 0], false),
            ]
        );
    }
}

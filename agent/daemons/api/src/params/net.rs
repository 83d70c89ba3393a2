//! Addresses and blocks.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;

use super::fault::Fault;
use super::scalars::string;

/// Blocks that no tenant network may lie in (`networking.md` §2.1).
const FORBIDDEN: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// A dotted quad.
///
/// # Errors
/// Any other text.
pub fn ipv4(value: Value) -> Result<Ipv4Addr, Fault> {
    let parsed = string(value).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Fault::new("must be an IPv4 address"))
}

/// The block of a tenant network; host bits are cleared.
///
/// # Errors
/// Not IPv4 CIDR, smaller than /29, larger than /8, or in a range that is not routable.
pub fn netblock(value: Value) -> Result<Ipv4Net, Fault> {
    let text = string(value)?;
    // A bare address would parse as nothing, but say so explicitly rather than guessing a prefix.
    let block: Ipv4Net = text.parse().map_err(|_| Fault::new("must be an IPv4 network in CIDR form"))?;
    let block = block.trunc();
    if block.prefix_len() > 29 || block.prefix_len() < 8 {
        return Err(Fault::new("must have a prefix length of 8 to 29"));
    }
    let forbidden = FORBIDDEN.iter().filter_map(|(address, length)| Ipv4Net::new(*address, *length).ok());
    for range in forbidden {
        if overlap(range, block) {
            return Err(Fault::new("must not lie in a reserved address range"));
        }
    }
    Ok(block)
}

/// Whether two blocks have an address in common.
pub(crate) fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn blocks() {
        assert_eq!(netblock(json!("192.168.1.1/24")).unwrap().to_string(), "192.168.1.0/24");
        for bad in [
            "10.0.0.0/30",
            "10.0.0.0/7",
            "127.0.0.0/24",
            "169.254.1.0/24",
            "224.0.0.0/8",
            "10.0.0.0",
            "fd00::/64",
            "0.0.0.0/8",
            "x",
        ] {
            assert!(netblock(json!(bad)).is_err(), "{bad}");
        }
    }
}

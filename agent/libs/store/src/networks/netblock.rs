//! Rules of blocks of addresses (`networking.md` §2.1, §14): pure.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Blocks that no network may touch.
const FORBIDDEN: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Reads and checks a block; `reserved` are the floating block and everything protected.
///
/// # Errors
/// A sentence for the user.
pub(super) fn parse(text: &str, reserved: &[Ipv4Net]) -> Result<Ipv4Net, String> {
    let block: Ipv4Net = text.parse().map_err(|_| "must be an IPv4 block such as 10.0.0.0/24".to_owned())?;
    let block = block.trunc();
    if block.prefix_len() > 29 || block.prefix_len() < 8 {
        return Err("must have a prefix length from 8 to 29".to_owned());
    }
    for (address, prefix) in FORBIDDEN {
        if Ipv4Net::new(address, prefix).is_ok_and(|forbidden| overlap(forbidden, block)) {
            return Err(format!("must not touch {address}/{prefix}"));
        }
    }
    match reserved.iter().find(|r| overlap(r.trunc(), block)) {
        Some(taken) => Err(format!("must not overlap {taken}, which the cluster uses")),
        None => Ok(block),
    }
}

/// The address at index 1 of a block.
pub(super) fn gateway(block: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(block.network()).saturating_add(1))
}

/// Whether a guest may have this address.
pub(super) fn is_host(block: Ipv4Net, address: Ipv4Addr) -> bool {
    block.contains(&address)
        && address != block.network()
        && address != block.broadcast()
        && address != gateway(block)
}

fn overlap(a: Ipv4Net, b: Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_checked() {
        let reserved = ["192.168.20.0/24".parse().unwrap(), "10.9.0.1/32".parse().unwrap()];
        for (text, good) in [
            ("10.0.0.0/24", Some("10.0.0.0/24")),
            ("192.168.1.1/24", Some("192.168.1.0/24")),
            ("10.0.0.0/29", Some("10.0.0.0/29")),
            ("10.0.0.0/30", None),
            ("8.0.0.0/7", None),
            ("127.0.0.0/16", None),
            ("169.254.1.0/24", None),
            ("240.0.0.0/24", None),
            ("192.168.0.0/16", None),
            ("10.9.0.0/16", None),
            ("10.0.0.0", None),
            ("fd00::/64", None),
        ] {
            assert_eq!(parse(text, &reserved).ok().map(|b| b.to_string()).as_deref(), good, "{text}");
        }
    }

    #[test]
    fn guests_never_get_the_addresses_of_the_network() {
        let block: Ipv4Net = "10.0.0.0/29".parse().unwrap();
        let hosts: Vec<String> =
            block.hosts().filter(|a| is_host(block, *a)).map(|a| a.to_string()).collect();
        assert_eq!(hosts, ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert!(!is_host(block, "10.0.0.0".parse().unwrap()) && !is_host(block, "10.0.1.2".parse().unwrap()));
    }
}

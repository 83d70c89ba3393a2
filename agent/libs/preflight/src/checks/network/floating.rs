//! The floating block against what the host uses already.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::with_interfaces;
use crate::finding::Finding;
use crate::subject::Subject;

/// The network that libvirt makes when it is installed.
const LIBVIRT_DEFAULT: &str = "192.168.122.0/24";
/// Devices that carriers give addresses of the block themselves.
const OURS: [&str; 3] = ["egr", "br-", "veth-"];

/// PF-FLOAT.
pub(in crate::checks) fn floating(subject: &Subject) -> Vec<Finding> {
    let Some(block) = subject.input.settings.floating_network else {
        return vec![Finding::skip("no floating network is given")];
    };
    with_interfaces(subject, |interfaces| {
        let foreign =
            interfaces.iter().filter(|interface| !OURS.iter().any(|ours| interface.name.starts_with(ours)));
        let mut found: Vec<Finding> = foreign
            .flat_map(|interface| {
                interface.addresses.iter().map(move |(address, prefix)| (interface, address, prefix))
            })
            .filter(|(_, address, prefix)| overlaps(block, **address, **prefix))
            .map(|(interface, address, prefix)| {
                conflict(block, &format!("{address}/{prefix} on {}", interface.name))
            })
            .collect();
        let default = LIBVIRT_DEFAULT.parse::<Ipv4Net>().ok();
        if found.is_empty() && default.is_some_and(|other| other.contains(&block) || block.contains(&other)) {
            found.push(conflict(block, "libvirt's default network 192.168.122.0/24"));
        }
        if found.is_empty() {
            found.push(Finding::pass(format!("{block} overlaps nothing here")));
        }
        found
    })
}

fn overlaps(block: Ipv4Net, address: IpAddr, prefix: u8) -> bool {
    match IpNet::new(address, prefix) {
        Ok(IpNet::V4(other)) => block.contains(&other.trunc()) || other.contains(&block),
        _ => false,
    }
}

fn conflict(block: Ipv4Net, with: &str) -> Finding {
    Finding::fail(format!("{block} overlaps {with}"))
        .want("a block that nothing else uses")
        .why("packets for floating addresses would go elsewhere")
        .fix("choose another sf_floating_network")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::fake::subject;

    #[test]
    fn a_block_of_its_own_is_wanted() {
        let with = |block: &str| {
            let mut subject = subject(&[]);
            subject.input.settings.floating_network = block.parse().ok();
            floating(&subject)[0].level
        };
        assert_eq!(with("192.168.20.0/24"), Level::Pass);
        for block in ["10.0.0.0/26", "192.0.0.0/8", "192.168.122.0/26", "192.0.2.0/24"] {
            assert_eq!(with(block), Level::Fail, "{block}");
        }
    }
}

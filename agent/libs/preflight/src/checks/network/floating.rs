//! The floating block against what the host uses already.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::with_interfaces;
use crate::finding::Finding;
use crate::subject::Subject;

/// The network that libvirt makes when it is installed.
const LIBVIRT_DEFAULT: &str = "192.168.122.0/24";

/// PF-FLOAT.
pub(in crate::checks) fn floating(subject: &Subject) -> Vec<Finding> {
    let Some(block) = subject.input.settings.floating_network else {
        return vec![Finding::skip("no floating network is given")];
    };
    with_interfaces(subject, |interfaces| {
        // A carrier gives its own devices addresses of the block.
        let foreign = interfaces.iter().filter(|interface| !subject.probes.is_ours(&interface.name));
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
    use crate::system::fake::{changed, subject};

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

    #[test]
    fn the_block_may_be_on_our_own_devices_and_on_no_other() {
        let on = |name: &str| {
            let subject = changed(|system| {
                system.interfaces[0].name = name.into();
                system.interfaces[0].addresses = vec![("192.168.20.1".parse().unwrap(), 24)];
            });
            floating(&subject)[0].level
        };
        assert_eq!(on("egr-br-eth0"), Level::Pass);
        assert_eq!(on("br-lan"), Level::Fail);
    }
}

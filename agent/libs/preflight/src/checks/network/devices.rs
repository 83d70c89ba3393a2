//! The devices of mesh and egress, and what the kernel can make.

use super::{has, mesh_device, with_interfaces};
use crate::finding::Finding;
use crate::subject::Subject;
use crate::system::Interface;

/// Bytes that VXLAN takes from what guests may send.
const OVERHEAD: u32 = 50;

/// PF-MESH.
pub(in crate::checks) fn mesh(subject: &Subject) -> Vec<Finding> {
    with_interfaces(subject, |interfaces| {
        let node = &subject.input.node;
        let listed = interfaces.iter().map(describe).collect::<Vec<_>>().join("; ");
        let mut found = Vec::new();
        let local = interfaces.iter().any(|interface| has(interface, node.node_mesh_ip));
        found.push(if local {
            Finding::pass(format!("{} is local", node.node_mesh_ip))
        } else {
            Finding::fail(format!("{} is on no device; there are {listed}", node.node_mesh_ip))
                .want("the mesh address on a device of this host")
                .why("nodes reach each other there")
                .fix("correct sf_node_mesh_ip, or give the address to a device")
        });
        for (name, setting) in
            [(&node.node_mesh_nic, "sf_node_mesh_nic"), (&node.node_egress_nic, "sf_node_egress_nic")]
        {
            if let Some(name) = name {
                found.push(device(interfaces, name, setting, &listed));
            }
        }
        found
    })
}

fn device(interfaces: &[Interface], name: &str, setting: &str, listed: &str) -> Finding {
    match interfaces.iter().find(|interface| interface.name == name) {
        Some(interface) if interface.up => Finding::pass(format!("{name} is up")),
        Some(_) => Finding::fail(format!("{name} is down"))
            .want("a device that is up")
            .why("traffic of guests goes through it")
            .fix(format!("bring {name} up in the network configuration of the host")),
        None => Finding::fail(format!("there is no {name}; there are {listed}"))
            .want("a device that exists")
            .why("traffic of guests goes through it")
            .fix(format!("correct {setting}")),
    }
}

fn describe(interface: &Interface) -> String {
    let addresses: Vec<String> = interface.addresses.iter().map(|(address, _)| address.to_string()).collect();
    format!("{} {}", interface.name, addresses.join(" "))
}

/// PF-MTU.
pub(in crate::checks) fn mtu(subject: &Subject) -> Vec<Finding> {
    let wanted = subject.input.settings.min_mesh_mtu;
    with_interfaces(subject, |interfaces| {
        let found = match mesh_device(subject, interfaces) {
            None => Finding::skip("the device of the mesh is not known"),
            Some(device) if device.mtu < wanted => {
                Finding::fail(format!("{} has {}", device.name, device.mtu))
                    .want(wanted.to_string())
                    .why(format!("guests of the cluster are told {}", wanted.saturating_sub(OVERHEAD)))
                    .fix(format!("raise the MTU of {}, or lower sf_min_mesh_mtu for all hosts", device.name))
            }
            Some(device) => Finding::pass(format!("{} has {}", device.name, device.mtu)),
        };
        vec![found]
    })
}

/// PF-NET.
pub(in crate::checks) fn kernel(subject: &Subject) -> Vec<Finding> {
    let found = match subject.probes.kernel() {
        Ok(()) => Finding::pass("the kernel makes bridges, VXLAN, veth, namespaces and nftables rules"),
        Err(missing) => Finding::fail(missing)
            .want("bridge, vxlan, veth, network namespaces, nftables with nat and conntrack")
            .why("networks of guests are made of these")
            .fix("load the kernel modules, or use a kernel that has them"),
    };
    vec![found]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::fake::{FakeProbes, FakeSystem, probes, subject, subject_of};

    #[test]
    fn the_mesh_address_is_on_a_device_that_is_up() {
        assert!(mesh(&subject(&[])).iter().all(|finding| finding.level == Level::Pass));
        let elsewhere = mesh(&subject(&[("node_mesh_ip", "10.9.9.9")]));
        assert!(elsewhere[0].level == Level::Fail && elsewhere[0].got.contains("eth0 192.0.2.1"));
        let mut system = FakeSystem::default();
        system.interfaces[0].up = false;
        let found = mesh(&subject_of(system, &[("node_mesh_nic", "eth7")]));
        let levels: Vec<Level> = found.iter().map(|finding| finding.level).collect();
        assert_eq!(levels, [Level::Pass, Level::Fail, Level::Fail]);
    }

    #[test]
    fn a_small_mtu_is_refused() {
        let mut system = FakeSystem::default();
        system.interfaces[1].mtu = 1450;
        let mut subject = subject_of(system, &[]);
        assert_eq!(mtu(&subject)[0].level, Level::Fail);
        subject.input.settings.min_mesh_mtu = 1450;
        assert_eq!(mtu(&subject)[0].level, Level::Pass);
    }

    #[test]
    fn what_the_kernel_lacks_is_named() {
        let mut subject = subject(&[]);
        subject.probes = Box::new(FakeProbes { kernel: Err("vxlan (not supported)".into()), ..probes() });
        assert_eq!(kernel(&subject)[0].got, "vxlan (not supported)");
    }
}

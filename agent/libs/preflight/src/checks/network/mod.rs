//! Devices, ports, and what else on the host touches packets.

mod conflicts;
mod devices;
mod floating;
mod path;
mod ports;

pub(super) use conflicts::conflicts;
pub(super) use devices::{kernel, mesh, mtu};
pub(super) use floating::floating;
pub(super) use path::path;
pub(super) use ports::ports;

use crate::finding::Finding;
use crate::subject::Subject;
use crate::system::Interface;

/// What a check of devices says when they cannot be listed.
fn with_interfaces(subject: &Subject, look: impl FnOnce(&[Interface]) -> Vec<Finding>) -> Vec<Finding> {
    match subject.system.interfaces() {
        Ok(interfaces) => look(&interfaces),
        Err(error) => vec![Finding::skip(format!("network devices cannot be listed: {error}"))],
    }
}

/// The device of the mesh: the named one, or the one that has the address.
fn mesh_device<'a>(subject: &Subject, interfaces: &'a [Interface]) -> Option<&'a Interface> {
    let node = &subject.input.node;
    match &node.node_mesh_nic {
        Some(name) => interfaces.iter().find(|interface| interface.name == *name),
        None => interfaces.iter().find(|interface| has(interface, node.node_mesh_ip)),
    }
}

fn has(interface: &Interface, address: std::net::IpAddr) -> bool {
    interface.addresses.iter().any(|(own, _)| *own == address)
}

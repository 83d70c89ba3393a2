//! Controllers, network cards and the devices every guest has.

use sf_model::disk::{DiskBus, MachineType};

use super::definition::{DomainDefinition, InterfaceDefinition};
use super::writer::{Xml, XmlError};

/// PCIe devices of every q35 guest beside disks and network cards: USB, SCSI and serial controllers, balloon, random
/// number generator, vsock.
const COMMON_PCIE_DEVICES: usize = 6;

pub(super) fn write_controllers(xml: &mut Xml, definition: &DomainDefinition) -> Result<(), XmlError> {
    if definition.machine_type == MachineType::Q35 {
        xml.empty("controller", &[("type", "pci"), ("index", "0"), ("model", "pcie-root")])?;
        for index in 1..=root_ports(definition) {
            let index = index.to_string();
            xml.empty("controller", &[("type", "pci"), ("index", &index), ("model", "pcie-root-port")])?;
        }
    }
    xml.empty("controller", &[("type", "usb"), ("index", "0"), ("model", "qemu-xhci"), ("ports", "15")])?;
    if definition.disks.iter().any(|disk| disk.bus == DiskBus::Scsi) {
        xml.empty("controller", &[("type", "scsi"), ("index", "0"), ("model", "virtio-scsi")])?;
    }
    xml.empty("controller", &[("type", "virtio-serial"), ("index", "0")])
}

fn root_ports(definition: &DomainDefinition) -> usize {
    let spare = usize::try_from(definition.spare_slots).unwrap_or(0);
    COMMON_PCIE_DEVICES + definition.disks.len() + definition.interfaces.len() + spare
}

/// One network card; the same element is used at define time and for hot plug.
pub(super) fn write_interface(xml: &mut Xml, interface: &InterfaceDefinition) -> Result<(), XmlError> {
    xml.element("interface", &[("type", "bridge")], |xml| {
        xml.empty("mac", &[("address", &interface.mac.to_string())])?;
        xml.empty("source", &[("bridge", &format!("br-vxlan-{}", interface.vxid.hex()))])?;
        xml.empty("target", &[("dev", &format!("tap{}", interface.mac.hex()))])?;
        xml.empty("model", &[("type", interface.model.into())])?;
        xml.empty("mtu", &[("size", &interface.mtu.to_string())])?;
        xml.empty("rom", &[("enabled", "no")])?;
        xml.empty("alias", &[("name", &format!("ua-net-{}", interface.interface))])
    })
}

pub(super) fn write_common(xml: &mut Xml, definition: &DomainDefinition) -> Result<(), XmlError> {
    xml.empty("input", &[("type", "tablet"), ("bus", "usb")])?;
    xml.empty("input", &[("type", "keyboard"), ("bus", "usb")])?;
    if definition.graphics.is_spice() {
        // The default sound device of SPICE guests performs badly on Windows 10.
        xml.empty("sound", &[("model", "ich6")])?;
    }
    if let Some(cid) = definition.vsock_cid {
        xml.element("vsock", &[("model", "virtio")], |xml| {
            xml.empty("cid", &[("auto", "no"), ("address", &cid.to_string())])
        })?;
    }
    xml.element("memballoon", &[("model", "virtio")], |xml| xml.empty("stats", &[("period", "10")]))?;
    xml.element("rng", &[("model", "virtio")], |xml| {
        xml.text("backend", &[("model", "random")], "/dev/urandom")
    })
}

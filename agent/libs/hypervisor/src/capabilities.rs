//! What guests on this host can be made of, read from libvirt's domain capabilities.

use std::collections::{BTreeMap, BTreeSet};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use sf_model::disk::{DiskBus, MachineType, VdiKind};

use crate::domain::Accelerator;

/// Capabilities for one acceleration, per machine family. A missing family is not offered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapabilitySnapshot {
    /// Capabilities of each offered family.
    pub machines: BTreeMap<MachineType, MachineCapabilities>,
}

/// Capabilities of one machine family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineCapabilities {
    /// Path of the emulator.
    pub emulator: String,
    /// The versioned machine the family's name stands for.
    pub machine: String,
    /// Largest number of virtual processors.
    pub max_vcpus: u32,
    /// Disk buses.
    pub disk_buses: BTreeSet<String>,
    /// Graphics card models.
    pub video_models: BTreeSet<String>,
    /// Graphical console protocols.
    pub graphics: BTreeSet<String>,
    /// Whether processor mode `maximum` is offered.
    pub cpu_maximum: bool,
}

/// What an instance needs of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs<'a> {
    /// Machine family.
    pub machine: MachineType,
    /// Virtual processors.
    pub cpus: u32,
    /// Buses of its disks.
    pub buses: &'a [DiskBus],
    /// Graphics card model.
    pub video: &'a str,
    /// Graphical console.
    pub vdi: VdiKind,
    /// QEMU command-line additions are allowed.
    pub extras: bool,
}

impl CapabilitySnapshot {
    /// Adds the capabilities document of one family; an unreadable one adds nothing.
    pub fn add(&mut self, family: MachineType, document: &str) {
        if let Some(capabilities) = parse(document) {
            self.machines.insert(family, capabilities);
        }
    }

    /// Whether a bus needs the command-line extension on this host.
    pub fn bus_through_extension(&self, family: MachineType, bus: DiskBus) -> bool {
        bus == DiskBus::Nvme
            && !self.machines.get(&family).is_some_and(|known| known.disk_buses.contains("nvme"))
    }

    /// The first thing this host lacks, as a sentence for the user.
    pub fn lacks(&self, needs: &Needs<'_>) -> Option<String> {
        let Some(known) = self.machines.get(&needs.machine) else {
            return Some(format!("this node does not offer machine type {}", needs.machine));
        };
        if needs.cpus > known.max_vcpus {
            return Some(format!("this node offers at most {} processors per instance", known.max_vcpus));
        }
        for bus in needs.buses {
            let native = known.disk_buses.contains(<&str>::from(bus));
            let extension = *bus == DiskBus::Nvme && needs.extras;
            if !native && !extension {
                return Some(format!("this node's QEMU has no disk bus {bus}"));
            }
        }
        if !known.video_models.contains(needs.video) {
            return Some(format!("this node's QEMU has no video model {}", needs.video));
        }
        let (protocol, shown) = match needs.vdi {
            VdiKind::Vnc => ("vnc", "VNC"),
            VdiKind::Spice | VdiKind::SpiceConcurrent | VdiKind::SpiceDebug => ("spice", "SPICE"),
        };
        if !known.graphics.contains(protocol) {
            return Some(format!("this node's QEMU has no {shown}"));
        }
        if !needs.extras && matches!(needs.vdi, VdiKind::SpiceConcurrent | VdiKind::SpiceDebug) {
            return Some(format!("this node does not allow {}", needs.vdi));
        }
        None
    }
}

impl CapabilitySnapshot {
    /// Family and emulator of the acceleration this snapshot was read for.
    pub fn emulator(&self, family: MachineType) -> Option<&str> {
        self.machines.get(&family).map(|known| known.emulator.as_str())
    }
}

/// The `virttype` argument of the capabilities call.
pub(crate) const fn virt_type(accelerator: Accelerator) -> &'static str {
    accelerator.domain_type()
}

/// Reads one document. `None` if it is not a capabilities document.
fn parse(document: &str) -> Option<MachineCapabilities> {
    let mut reader = Reader::from_str(document);
    let mut found = MachineCapabilities::default();
    let mut path: Vec<String> = Vec::new();
    let mut enumeration = String::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) => {
                if element.local_name().as_ref() == "enum" {
                    enumeration = attribute(&element, "name").unwrap_or_default();
                }
                note(&mut found, &path, &element);
                path.push(element.local_name().as_ref().to_owned());
            }
            Event::Empty(element) => note(&mut found, &path, &element),
            Event::Text(text) => {
                let text = text.trim().to_owned();
                if !text.is_empty() {
                    take_text(&mut found, &path, &enumeration, text);
                }
            }
            Event::End(_) => {
                path.pop();
            }
            Event::Eof => return (!found.emulator.is_empty()).then_some(found),
            _ => {}
        }
    }
}

fn note(found: &mut MachineCapabilities, path: &[String], element: &BytesStart<'_>) {
    let name = element.local_name();
    let inside = path.last().map(String::as_str);
    if name.as_ref() == "vcpu" {
        found.max_vcpus = attribute(element, "max").and_then(|max| max.parse().ok()).unwrap_or(0);
    } else if name.as_ref() == "mode" && inside == Some("cpu") {
        let is = |key, value: &str| attribute(element, key).as_deref() == Some(value);
        found.cpu_maximum |= is("name", "maximum") && is("supported", "yes");
    }
}

fn take_text(found: &mut MachineCapabilities, path: &[String], enumeration: &str, text: String) {
    let names: Vec<&str> = path.iter().map(String::as_str).collect();
    match names.as_slice() {
        [_, "path"] => found.emulator = text,
        [_, "machine"] => found.machine = text,
        [_, "devices", device, "enum", "value"] => {
            let set = match (*device, enumeration) {
                ("disk", "bus") => &mut found.disk_buses,
                ("video", "modelType") => &mut found.video_models,
                ("graphics", "type") => &mut found.graphics,
                _ => return,
            };
            set.insert(text);
        }
        _ => {}
    }
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
    Some(element.try_get_attribute(name).ok()??.value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<domainCapabilities>
  <path>/usr/bin/qemu-system-x86_64</path><domain>qemu</domain><machine>pc-i440fx-7.2</machine><arch>x86_64</arch>
  <vcpu max='255'/>
  <cpu><mode name='host-passthrough' supported='no'/><mode name='maximum' supported='yes'><enum name='maximumMigratable'><value>on</value></enum></mode></cpu>
  <devices>
    <disk supported='yes'><enum name='diskDevice'><value>disk</value></enum><enum name='bus'><value>virtio</value><value>scsi</value></enum></disk>
    <graphics supported='yes'><enum name='type'><value>vnc</value></enum></graphics>
    <video supported='yes'><enum name='modelType'><value>cirrus</value><value>vga</value></enum></video>
  </devices></domainCapabilities>"#;

    fn needs() -> Needs<'static> {
        let buses = &[DiskBus::Virtio];
        Needs { machine: MachineType::Pc, cpus: 2, buses, video: "cirrus", vdi: VdiKind::Vnc, extras: true }
    }

    #[test]
    fn reads_what_a_host_offers() {
        let found = parse(DOCUMENT).unwrap();
        assert_eq!(found.emulator, "/usr/bin/qemu-system-x86_64");
        assert_eq!(
            (found.machine.as_str(), found.max_vcpus, found.cpu_maximum),
            ("pc-i440fx-7.2", 255, true)
        );
        assert!(found.disk_buses.contains("scsi") && !found.disk_buses.contains("disk"));
        assert_eq!(parse("<capabilities/>"), None);
    }

    #[test]
    fn says_what_is_missing() {
        let mut snapshot = CapabilitySnapshot::default();
        snapshot.add(MachineType::Pc, DOCUMENT);
        let table = [
            (needs(), None),
            (Needs { machine: MachineType::Q35, ..needs() }, Some("machine type q35")),
            (Needs { cpus: 256, ..needs() }, Some("at most 255 processors")),
            (Needs { buses: &[DiskBus::Sata], ..needs() }, Some("no disk bus sata")),
            (Needs { buses: &[DiskBus::Nvme], ..needs() }, None),
            (Needs { buses: &[DiskBus::Nvme], extras: false, ..needs() }, Some("no disk bus nvme")),
            (Needs { video: "qxl", ..needs() }, Some("no video model qxl")),
            (Needs { vdi: VdiKind::Spice, ..needs() }, Some("this node's QEMU has no SPICE")),
        ];
        for (needs, expected) in table {
            let lacks = snapshot.lacks(&needs);
            match expected {
                None => assert_eq!(lacks, None, "{needs:?}"),
                Some(text) => {
                    assert!(lacks.as_deref().is_some_and(|found| found.contains(text)), "{lacks:?}")
                }
            }
        }
    }
}

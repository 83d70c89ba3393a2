//! The closed list of QEMU command-line additions. Every value comes from a typed field.

use sf_model::disk::VdiKind;

use super::definition::{DiskDefinition, DomainDefinition};
use super::writer::{Xml, XmlError};

/// Whether the definition uses the extension at all.
pub(super) fn needed(definition: &DomainDefinition) -> bool {
    environment(definition.graphics.kind).is_some()
        || definition.disks.iter().any(|disk| disk.through_extension)
}

pub(super) fn write(xml: &mut Xml, definition: &DomainDefinition) -> Result<(), XmlError> {
    if !needed(definition) {
        return Ok(());
    }
    xml.element("qemu:commandline", &[], |xml| {
        for disk in definition.disks.iter().filter(|disk| disk.through_extension) {
            for argument in nvme_arguments(disk, definition) {
                xml.empty("qemu:arg", &[("value", &argument)])?;
            }
        }
        match environment(definition.graphics.kind) {
            Some((name, value)) => xml.empty("qemu:env", &[("name", name), ("value", value)]),
            None => Ok(()),
        }
    })
}

fn environment(kind: VdiKind) -> Option<(&'static str, &'static str)> {
    match kind {
        VdiKind::SpiceConcurrent => Some(("SPICE_DEBUG_ALLOW_MC", "1")),
        VdiKind::SpiceDebug => Some(("G_MESSAGES_DEBUG", "all")),
        VdiKind::Spice | VdiKind::Vnc => None,
    }
}

/// Drive and device of an NVMe disk, for a libvirt without that bus.
fn nvme_arguments(disk: &DiskDefinition, definition: &DomainDefinition) -> Vec<String> {
    let Some(source) = &disk.source else { return Vec::new() };
    // A comma ends a QEMU option value unless it is doubled.
    let path = source.path.to_string_lossy().replace(',', ",,");
    let format: &str = source.format.into();
    let cache = definition.cache.as_str();
    let aio = if definition.cache.is_direct() { ",aio=native" } else { "" };
    let id = format!("nvme-drive-{}", disk.position);
    let boot = disk.boot_order.map(|order| format!(",bootindex={order}")).unwrap_or_default();
    vec![
        "-drive".into(),
        format!(
            "if=none,id={id},file={path},format={format},cache={cache}{aio},discard=unmap,werror=stop,rerror=stop"
        ),
        "-device".into(),
        format!("nvme,drive={id},serial={}{boot}", disk.serial),
    ]
}

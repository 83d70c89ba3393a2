//! Disk elements.

use std::path::Path;

use sf_model::disk::{DiskFormat, DiskType};

use super::definition::{DiskBacking, DiskCacheMode, DiskDefinition};
use super::writer::{Xml, XmlError};

/// One disk, with its backing chain spelled out so that QEMU never probes a format.
pub(super) fn write(xml: &mut Xml, disk: &DiskDefinition, cache: DiskCacheMode) -> Result<(), XmlError> {
    if disk.through_extension {
        return Ok(());
    }
    let kind = disk.kind.to_string();
    let kind_of_source = if disk.kind == DiskType::Cdrom { "cdrom" } else { kind.as_str() };
    xml.element("disk", &[("type", "file"), ("device", kind_of_source)], |xml| {
        let format = disk.source.as_ref().map_or("raw", |source| source.format.into());
        let mut driver = vec![
            ("name", "qemu"),
            ("type", format),
            ("cache", cache.as_str()),
            ("discard", "unmap"),
            ("error_policy", "stop"),
            ("rerror_policy", "stop"),
        ];
        if cache.is_direct() {
            driver.push(("io", "native"));
        }
        xml.empty("driver", &driver)?;
        if let Some(source) = &disk.source {
            write_source(xml, &source.path, source.shared)?;
            write_chain(xml, source.format, &source.backing)?;
        }
        let bus = disk.bus.to_string();
        xml.empty("target", &[("dev", &disk.device), ("bus", &bus)])?;
        if disk.read_only {
            xml.empty("readonly", &[])?;
        }
        xml.text("serial", &[], &disk.serial)?;
        if let Some(order) = disk.boot_order {
            xml.empty("boot", &[("order", &order.to_string())])?;
        }
        xml.empty("alias", &[("name", &format!("ua-disk-{}", disk.position))])
    })
}

/// The chain with its terminator.
fn write_chain(xml: &mut Xml, format: DiskFormat, chain: &[DiskBacking]) -> Result<(), XmlError> {
    let Some((backing, rest)) = chain.split_first() else {
        // Raw files cannot have a backing file, and libvirt refuses to be told so.
        return if format == DiskFormat::Raw { Ok(()) } else { xml.empty("backingStore", &[]) };
    };
    xml.element("backingStore", &[("type", "file")], |xml| {
        xml.empty("format", &[("type", backing.format.into())])?;
        write_source(xml, &backing.path, true)?;
        write_chain(xml, backing.format, rest)
    })
}

/// Shared files are never relabelled: a cached image shares its inode with a replica of the blob store.
fn write_source(xml: &mut Xml, path: &Path, shared: bool) -> Result<(), XmlError> {
    let path = path.to_string_lossy();
    if !shared {
        return xml.empty("source", &[("file", &path)]);
    }
    xml.element("source", &[("file", &path)], |xml| {
        xml.empty("seclabel", &[("model", "dac"), ("relabel", "no")])
    })
}

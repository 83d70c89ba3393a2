//! Domain definitions: typed values in, libvirt XML out, and the parts of libvirt's XML that are read back.

mod definition;
mod devices;
mod disks;
mod display;
mod extras;
mod identity;
mod machine;
mod readback;
mod writer;

pub use definition::{
    Accelerator, ConsoleDefinition, DiskBacking, DiskCacheMode, DiskDefinition, DiskSource, DomainDefinition,
    FirmwareDefinition, GraphicsDefinition, InterfaceDefinition, VideoDefinition, VideoModel,
};
pub use identity::{DomainIdentity, METADATA_NAMESPACE, domain_name, parse_identity};
pub use readback::{GraphicsEndpoint, graphics_endpoint, machine_version, without_secrets};
pub use writer::XmlError;

use sha2::{Digest, Sha256};
use writer::Xml;

/// Namespace of libvirt's QEMU command-line extension.
const QEMU_NAMESPACE: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

impl DomainDefinition {
    /// The document to hand to libvirt.
    ///
    /// # Errors
    /// Only if writing to memory fails.
    pub fn to_xml(&self) -> Result<String, XmlError> {
        let spec = self.spec_hash()?;
        self.render(&self.identity, &spec, true)
    }

    /// SHA-256 of the document without what changes at every start (boot id, ticket, placement, agent version).
    /// Equal hashes mean the guest would see the same machine.
    ///
    /// # Errors
    /// Only if writing to memory fails.
    pub fn spec_hash(&self) -> Result<String, XmlError> {
        let stable = DomainIdentity {
            boot: uuid::Uuid::nil(),
            placement: 0,
            agent: String::new(),
            ..self.identity.clone()
        };
        Ok(hex::encode(Sha256::digest(self.render(&stable, "", false)?)))
    }

    fn render(&self, identity: &DomainIdentity, spec: &str, with_ticket: bool) -> Result<String, XmlError> {
        let mut xml = Xml::new();
        let mut attributes = vec![("type", self.accelerator.domain_type())];
        if extras::needed(self) {
            attributes.push(("xmlns:qemu", QEMU_NAMESPACE));
        }
        xml.element("domain", &attributes, |xml| {
            identity.write(xml, spec)?;
            machine::write(xml, self)?;
            xml.element("devices", &[], |xml| {
                xml.text("emulator", &[], &self.emulator)?;
                devices::write_controllers(xml, self)?;
                for disk in &self.disks {
                    disks::write(xml, disk, self.cache)?;
                }
                for interface in &self.interfaces {
                    devices::write_interface(xml, interface)?;
                }
                display::write_console(xml, &self.console)?;
                display::write_graphics(xml, &self.graphics, with_ticket)?;
                display::write_video(xml, &self.video)?;
                devices::write_common(xml, self)
            })?;
            extras::write(xml, self)
        })?;
        xml.finish()
    }
}

#[cfg(test)]
mod tests;

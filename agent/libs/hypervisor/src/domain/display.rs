//! Serial and graphical consoles.

use super::definition::{ConsoleDefinition, GraphicsDefinition, VideoDefinition};
use super::writer::{Xml, XmlError};

/// Primary memory of a QXL card in KiB, beside the requested `vram`.
const QXL_RAM_KIB: &str = "65536";
/// Frame buffer of a QXL card in KiB; the default of QEMU.
const QXL_VGAMEM_KIB: &str = "16384";
/// Name of the SPICE guest agent's port.
const SPICE_AGENT_PORT: &str = "com.redhat.spice.0";

/// The serial port. libvirt adds the matching `console` element itself.
pub(super) fn write_console(xml: &mut Xml, console: &ConsoleDefinition) -> Result<(), XmlError> {
    let log = console.log.to_string_lossy();
    match console.listener {
        Some((address, port)) => xml.element("serial", &[("type", "tcp")], |xml| {
            let (host, service) = (address.to_string(), port.to_string());
            xml.empty("source", &[("mode", "bind"), ("host", &host), ("service", &service)])?;
            xml.empty("protocol", &[("type", "telnet")])?;
            xml.empty("log", &[("file", &log), ("append", "on")])?;
            write_isa_target(xml)
        }),
        None => xml.element("serial", &[("type", "file")], |xml| {
            xml.empty("source", &[("path", &log), ("append", "on")])?;
            write_isa_target(xml)
        }),
    }
}

fn write_isa_target(xml: &mut Xml) -> Result<(), XmlError> {
    xml.element("target", &[("type", "isa-serial"), ("port", "0")], |xml| {
        xml.empty("model", &[("name", "isa-serial")])
    })
}

pub(super) fn write_graphics(
    xml: &mut Xml,
    graphics: &GraphicsDefinition,
    with_ticket: bool,
) -> Result<(), XmlError> {
    let port = graphics.port.to_string();
    let tls_port = graphics.tls_port.filter(|_| graphics.is_spice()).map(|port| port.to_string());
    let mut attributes = vec![
        ("type", if graphics.is_spice() { "spice" } else { "vnc" }),
        ("port", &port),
        ("autoport", "no"),
    ];
    if let Some(tls_port) = &tls_port {
        attributes.extend([("tlsPort", tls_port.as_str()), ("defaultMode", "secure")]);
    }
    if let (true, Some(ticket)) = (with_ticket, &graphics.ticket) {
        attributes.push(("passwd", ticket.expose()));
    }
    xml.element("graphics", &attributes, |xml| {
        xml.empty("listen", &[("type", "address"), ("address", &graphics.listen.to_string())])?;
        if graphics.is_spice() { write_spice_options(xml, graphics.guest_integration) } else { Ok(()) }
    })?;
    if graphics.is_spice() {
        xml.element("channel", &[("type", "spicevmc")], |xml| {
            xml.empty("target", &[("type", "virtio"), ("name", SPICE_AGENT_PORT)])
        })?;
    }
    Ok(())
}

fn write_spice_options(xml: &mut Xml, guest_integration: bool) -> Result<(), XmlError> {
    let allowed = if guest_integration { "yes" } else { "no" };
    xml.empty("image", &[("compression", "auto_glz")])?;
    xml.empty("streaming", &[("mode", "filter")])?;
    xml.empty("clipboard", &[("copypaste", allowed)])?;
    xml.empty("filetransfer", &[("enable", allowed)])
}

pub(super) fn write_video(xml: &mut Xml, video: &VideoDefinition) -> Result<(), XmlError> {
    let memory = video.memory_kib.to_string();
    let mut attributes =
        vec![("type", video.model.as_str()), ("vram", &memory), ("heads", "1"), ("primary", "yes")];
    if video.model.as_str() == "qxl" {
        attributes.extend([("ram", QXL_RAM_KIB), ("vgamem", QXL_VGAMEM_KIB)]);
    }
    xml.element("video", &[], |xml| xml.empty("model", &attributes))
}

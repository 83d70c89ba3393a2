//! Processor, memory, firmware, clock and power behaviour.

use super::definition::{Accelerator, DomainDefinition};
use super::writer::{Xml, XmlError};

/// Memory of the secure-boot firmware's management mode, MiB: what distributions' secure firmware needs with many
/// processors.
const SMM_TSEG_MIB: &str = "48";

pub(super) fn write(xml: &mut Xml, definition: &DomainDefinition) -> Result<(), XmlError> {
    let memory = definition.memory.to_string();
    xml.text("memory", &[("unit", "MiB")], &memory)?;
    xml.text("currentMemory", &[("unit", "MiB")], &memory)?;
    xml.text("vcpu", &[("placement", "static")], &definition.cpus.to_string())?;
    write_os(xml, definition)?;
    write_features(xml, definition)?;
    write_cpu(xml, definition)?;
    xml.element("clock", &[("offset", "utc")], |xml| {
        xml.empty("timer", &[("name", "rtc"), ("tickpolicy", "catchup")])?;
        xml.empty("timer", &[("name", "pit"), ("tickpolicy", "delay")])?;
        xml.empty("timer", &[("name", "hpet"), ("present", "no")])
    })?;
    xml.text("on_poweroff", &[], "destroy")?;
    xml.text("on_reboot", &[], "restart")?;
    xml.text("on_crash", &[], "destroy")?;
    xml.element("pm", &[], |xml| {
        xml.empty("suspend-to-mem", &[("enabled", "no")])?;
        xml.empty("suspend-to-disk", &[("enabled", "no")])
    })
}

fn write_os(xml: &mut Xml, definition: &DomainDefinition) -> Result<(), XmlError> {
    let family = definition.machine_type.to_string();
    let machine = definition.machine_version.as_deref().unwrap_or(&family);
    xml.element("os", &[], |xml| {
        xml.text("type", &[("arch", std::env::consts::ARCH), ("machine", machine)], "hvm")?;
        if let Some(firmware) = &definition.firmware {
            let secure = if firmware.secure { "yes" } else { "no" };
            let attributes = [("readonly", "yes"), ("secure", secure), ("type", "pflash")];
            xml.text("loader", &attributes, &firmware.code.to_string_lossy())?;
            xml.text("nvram", &[], &firmware.nvram.to_string_lossy())?;
        }
        xml.empty("bootmenu", &[("enable", "no")])
    })
}

fn write_features(xml: &mut Xml, definition: &DomainDefinition) -> Result<(), XmlError> {
    let secure = definition.firmware.as_ref().is_some_and(|firmware| firmware.secure);
    xml.element("features", &[], |xml| {
        xml.empty("acpi", &[])?;
        xml.empty("apic", &[])?;
        if secure {
            xml.element("smm", &[("state", "on")], |xml| xml.text("tseg", &[("unit", "MiB")], SMM_TSEG_MIB))?;
        }
        Ok(())
    })
}

fn write_cpu(xml: &mut Xml, definition: &DomainDefinition) -> Result<(), XmlError> {
    let cores = definition.cpus.to_string();
    let mode: &[(&str, &str)] = match definition.accelerator {
        Accelerator::Kvm => &[("mode", "host-passthrough"), ("migratable", "off")],
        Accelerator::Qemu => &[("mode", "maximum")],
    };
    xml.element("cpu", mode, |xml| {
        xml.empty("topology", &[("sockets", "1"), ("dies", "1"), ("cores", &cores), ("threads", "1")])
    })
}

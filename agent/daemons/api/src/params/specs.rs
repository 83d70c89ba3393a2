//! The structured parts of an instance: disks, interfaces and video.

use std::net::Ipv4Addr;

use serde_json::Value;
use sf_images::policy::well_formed;
use sf_model::MacAddress;
use sf_model::disk::{DiskBus, DiskType, NicModel, VdiKind};

use super::fault::Fault;
use super::fields::Fields;
use super::scalars::{boolean, choice, reference, string, uint, uint_in};

/// A disk as requested; the four values are kept verbatim for the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpec {
    /// GiB; 0 and absence both mean the size of the base.
    pub size: Option<u64>,
    /// What the disk starts from.
    pub base: Option<String>,
    /// The bus as written.
    pub bus: Option<String>,
    /// The type as written.
    pub kind: Option<String>,
}

impl DiskSpec {
    /// The bus the disk gets.
    pub fn bus_or(&self, default: DiskBus) -> DiskBus {
        self.bus.as_deref().and_then(|bus| bus.parse().ok()).unwrap_or(default)
    }

    /// What the disk presents itself as.
    pub fn presented_as(&self) -> DiskType {
        self.kind.as_deref().and_then(|kind| kind.parse().ok()).unwrap_or(DiskType::Disk)
    }

    /// The base, unless the disk is blank.
    pub fn base_reference(&self) -> Option<&str> {
        self.base.as_deref().filter(|base| !base.is_empty() && *base != "none")
    }
}

/// Which address an interface should get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressWish {
    /// Any free one.
    Allocate,
    /// None at all.
    None,
    /// This one.
    Exact(Ipv4Addr),
}

/// An interface as requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSpec {
    /// UUID or name of the network.
    pub network: String,
    /// The address.
    pub address: AddressWish,
    /// The hardware address; generated when absent.
    pub mac: Option<MacAddress>,
    /// The card.
    pub model: NicModel,
    /// Give the interface a floating address.
    pub float: bool,
}

/// A display as requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoSpec {
    /// Model of the adapter.
    pub model: String,
    /// Video memory, KiB.
    pub memory: u32,
    /// Protocol.
    pub vdi: VdiKind,
}

impl Default for VideoSpec {
    fn default() -> Self {
        Self { model: "cirrus".to_owned(), memory: 16_384, vdi: VdiKind::Spice }
    }
}

/// Reads a disk. `max_size` is the largest disk in GiB.
pub fn disk_spec(max_size: u64) -> impl Fn(&mut Fields) -> Result<DiskSpec, Fault> {
    move |fields| {
        let spec = DiskSpec {
            size: fields.optional("size", uint_in(0..=max_size))?,
            base: fields.optional("base", base)?,
            bus: fields.optional("bus", bus)?,
            kind: fields.optional("type", kind)?,
        };
        if spec.size.unwrap_or(0) == 0 && spec.base_reference().is_none() {
            return Err(Fault::new("required for a disk without base").at("size"));
        }
        Ok(spec)
    }
}

fn base(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    let fits = text.len() <= 2048 && !text.chars().any(char::is_control);
    if !fits {
        return Err(Fault::new("must be at most 2048 bytes without control characters"));
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        well_formed(&text).map_err(|refusal| Fault::new(refusal.to_string()))?;
    }
    Ok(text)
}

fn bus(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    if text == "ide" {
        return Err(Fault::new("IDE disks are not supported"));
    }
    if text.is_empty() || text.parse::<DiskBus>().is_ok() {
        Ok(text)
    } else {
        Err(Fault::new("must be virtio, scsi, sata, usb or nvme"))
    }
}

fn kind(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    if text.is_empty() || text.parse::<DiskType>().is_ok() {
        Ok(text)
    } else {
        Err(Fault::new("must be disk or cdrom"))
    }
}

/// Reads an interface.
///
/// # Errors
/// The first problem.
pub fn network_spec(fields: &mut Fields) -> Result<NetworkSpec, Fault> {
    Ok(NetworkSpec {
        network: fields.required("network_uuid", reference)?,
        address: fields.blankable("address", address)?.unwrap_or(AddressWish::Allocate),
        mac: fields.blankable("macaddress", mac)?,
        model: fields
            .blankable("model", choice("must be virtio, e1000, e1000e or rtl8139"))?
            .unwrap_or(NicModel::Virtio),
        float: fields.or("float", false, boolean)?,
    })
}

fn address(value: Value) -> Result<AddressWish, Fault> {
    let text = string(value)?;
    if text.eq_ignore_ascii_case("none") {
        return Ok(AddressWish::None);
    }
    let parsed = text.parse().map(AddressWish::Exact);
    parsed.map_err(|_| Fault::new("must be an IPv4 address or the word none"))
}

fn mac(value: Value) -> Result<MacAddress, Fault> {
    let parsed: Option<MacAddress> = string(value)?.parse().ok();
    parsed
        .filter(|mac| mac.is_unicast() && !mac.is_reserved() && mac.as_u64() != 0)
        .ok_or_else(|| Fault::new("must be six hexadecimal octets, unicast, outside the reserved prefixes"))
}

/// Reads a display.
///
/// # Errors
/// The first problem.
pub fn video_spec(fields: &mut Fields) -> Result<VideoSpec, Fault> {
    let memory = fields.required("memory", uint)?;
    Ok(VideoSpec {
        model: fields.required("model", video_model)?,
        memory: u32::try_from(memory)
            .ok()
            .filter(|kib| *kib >= 1)
            .ok_or_else(|| Fault::new("must be at least 1 KiB").at("memory"))?,
        vdi: fields
            .blankable("vdi", choice("must be vnc, spice, spiceconcurrent or spicedebug"))?
            .unwrap_or(VdiKind::Spice),
    })
}

fn video_model(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    let fits = (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if fits { Ok(text) } else { Err(Fault::new("must be 1 to 32 letters, digits, hyphens and underscores")) }
}

#[cfg(test)]
mod tests {
    use super::super::scalars::nested;
    use super::*;
    use serde_json::json;

    #[test]
    fn disks() {
        let parse = nested(disk_spec(100));
        let disk = parse(json!({"size": "8", "base": "debian:12", "bus": null, "type": ""})).unwrap();
        assert_eq!(
            (disk.size, disk.bus_or(DiskBus::Sata), disk.presented_as()),
            (Some(8), DiskBus::Sata, DiskType::Disk)
        );
        assert!(parse(json!({"base": "x", "size": null})).is_ok());
        for (bad, words) in [
            (json!({"size": 0}), "size: required"),
            (json!({"base": "none"}), "size: required"),
            (json!({"size": 1, "bus": "ide"}), "bus: IDE disks are not supported"),
            (json!({"size": 1, "bus": "floppy"}), "bus: must be"),
            (json!({"size": 1, "type": "tape"}), "type: must be"),
            (json!({"base": "https://user:secret@example.com/a"}), "base: URLs with a user name"),
            (json!({"size": 1, "sise": 2}), "sise: not declared"),
            (json!({"size": 101}), "size: must be between"),
        ] {
            let text = parse(bad.clone()).unwrap_err().to_string();
            assert!(text.starts_with(words), "{bad}: {text}");
        }
    }

    #[test]
    fn interfaces() {
        let parse = nested(network_spec);
        let wish =
            |value: Value| parse(json!({"network_uuid": "n", "address": value})).map(|spec| spec.address);
        assert_eq!(wish(json!(null)), Ok(AddressWish::Allocate));
        assert_eq!(wish(json!("")), Ok(AddressWish::Allocate));
        assert_eq!(wish(json!("NONE")), Ok(AddressWish::None));
        assert_eq!(wish(json!("10.0.0.5")), Ok(AddressWish::Exact(Ipv4Addr::new(10, 0, 0, 5))));
        assert!(wish(json!("10.0.0.999")).is_err());
        for bad in ["01:00:00:00:00:01", "02:53:46:00:00:01", "zz:00:00:00:00:01", "00:00:00:00:00:00"] {
            assert!(parse(json!({"network_uuid": "n", "macaddress": bad})).is_err(), "{bad}");
        }
        assert!(parse(json!({"network_uuid": "n", "macaddress": "02:00:00:00:00:01", "model": ""})).is_ok());
    }

    #[test]
    fn video() {
        let parse = nested(video_spec);
        assert_eq!(parse(json!({"model": "qxl", "memory": "16384"})).unwrap().vdi, VdiKind::Spice);
        for bad in [
            json!({"model": "qxl"}),
            json!({"memory": 1}),
            json!({"model": "a b", "memory": 1}),
            json!({"model": "a", "memory": 0}),
        ] {
            assert!(parse(bad.clone()).is_err(), "{bad}");
        }
    }
}

//! The typed values a definition is rendered from. No field holds a string a user chose, except the video model,
//! whose type admits only letters, digits and hyphens.

use std::net::IpAddr;
use std::path::PathBuf;

use sf_model::disk::{DiskBus, DiskFormat, DiskType, MachineType, NicModel, VdiKind};
use sf_model::{InterfaceId, MacAddress, Mib, Secret, Vcpus, Vxid};

use super::DomainIdentity;

/// Everything libvirt is told about one instance.
#[derive(Debug)]
pub struct DomainDefinition {
    /// Who the domain belongs to.
    pub identity: DomainIdentity,
    /// Hardware acceleration or emulation.
    pub accelerator: Accelerator,
    /// Path of the emulator, as domain capabilities say.
    pub emulator: String,
    /// Machine family.
    pub machine_type: MachineType,
    /// Versioned machine; absent: the family's newest.
    pub machine_version: Option<String>,
    /// Virtual processors.
    pub cpus: Vcpus,
    /// Memory.
    pub memory: Mib,
    /// Firmware; absent: BIOS.
    pub firmware: Option<FirmwareDefinition>,
    /// Disks by position.
    pub disks: Vec<DiskDefinition>,
    /// Cache mode of all disks.
    pub cache: DiskCacheMode,
    /// Interfaces in guest order.
    pub interfaces: Vec<InterfaceDefinition>,
    /// Serial console.
    pub console: ConsoleDefinition,
    /// Graphical console.
    pub graphics: GraphicsDefinition,
    /// Graphics card.
    pub video: VideoDefinition,
    /// Vsock context identifier; absent: no device.
    pub vsock_cid: Option<u32>,
    /// Free PCIe root ports for later hot plug (q35 only).
    pub spare_slots: u32,
}

/// How guest instructions are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// By the processor.
    Kvm,
    /// By QEMU's translator.
    Qemu,
}

impl Accelerator {
    /// libvirt's domain type.
    pub const fn domain_type(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Qemu => "qemu",
        }
    }
}

/// UEFI firmware of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwareDefinition {
    /// Read-only code image.
    pub code: PathBuf,
    /// The instance's own variable store.
    pub nvram: PathBuf,
    /// Secure boot.
    pub secure: bool,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskDefinition {
    /// Overall position, 0 first.
    pub position: u32,
    /// Device name, for example `vda`.
    pub device: String,
    /// Bus.
    pub bus: DiskBus,
    /// Disk or optical drive.
    pub kind: DiskType,
    /// What it holds; absent: an empty optical drive.
    pub source: Option<DiskSource>,
    /// The guest may not write.
    pub read_only: bool,
    /// Twenty hexadecimal digits shown to the guest.
    pub serial: String,
    /// Place in the boot order, from 1; absent: never booted from.
    pub boot_order: Option<u32>,
    /// libvirt has no native bus for it, so it goes through the command-line extension.
    pub through_extension: bool,
}

/// A disk's file and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSource {
    /// The file the guest writes.
    pub path: PathBuf,
    /// Its format; never probed.
    pub format: DiskFormat,
    /// Files behind it, nearest first.
    pub backing: Vec<DiskBacking>,
    /// The file shares its inode with an image of the store, so its owner must stay.
    pub shared: bool,
}

/// One read-only file of a backing chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskBacking {
    /// Absolute path.
    pub path: PathBuf,
    /// Its format; never probed.
    pub format: DiskFormat,
}

/// How QEMU writes disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum DiskCacheMode {
    /// Past the host's page cache, with native asynchronous I/O.
    None,
    /// Through the host's page cache.
    Writeback,
    /// Through the host's page cache, every write flushed.
    Writethrough,
    /// Past the host's page cache, every write flushed.
    Directsync,
}

impl DiskCacheMode {
    /// libvirt's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Writeback => "writeback",
            Self::Writethrough => "writethrough",
            Self::Directsync => "directsync",
        }
    }

    /// Whether files are opened with `O_DIRECT`, which native asynchronous I/O needs.
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::None | Self::Directsync)
    }
}

/// One network card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceDefinition {
    /// The interface.
    pub interface: InterfaceId,
    /// Network identifier; the bridge is `br-vxlan-<hex>`.
    pub vxid: Vxid,
    /// Ethernet address; the tap is `tap<hex>`.
    pub mac: MacAddress,
    /// Card model.
    pub model: NicModel,
    /// Largest packet in bytes.
    pub mtu: u32,
}

/// Serial console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleDefinition {
    /// Telnet listener; absent: the console is only logged.
    pub listener: Option<(IpAddr, u16)>,
    /// Log of everything the guest prints.
    pub log: PathBuf,
}

/// Graphical console.
#[derive(Debug)]
pub struct GraphicsDefinition {
    /// Protocol.
    pub kind: VdiKind,
    /// Address it listens on.
    pub listen: IpAddr,
    /// Plain port.
    pub port: u16,
    /// TLS port; present: every SPICE channel is encrypted.
    pub tls_port: Option<u16>,
    /// Password of this boot.
    pub ticket: Option<Secret<String>>,
    /// Clipboard and file transfer.
    pub guest_integration: bool,
}

impl GraphicsDefinition {
    /// Whether the protocol is one of the SPICE kinds.
    pub const fn is_spice(&self) -> bool {
        !matches!(self.kind, VdiKind::Vnc)
    }
}

/// Graphics card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoDefinition {
    /// Model.
    pub model: VideoModel,
    /// Memory in KiB.
    pub memory_kib: u32,
}

/// Name of a graphics card model: 1 to 32 lower-case letters, digits and hyphens. Whether this node's QEMU has it is
/// asked of the capability snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoModel(String);

impl VideoModel {
    /// Accepts a well-formed name.
    pub fn new(name: &str) -> Option<Self> {
        let well_formed = (1..=32).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        well_formed.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

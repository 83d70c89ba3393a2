//! The disk planner: from what an instance's disks should be to files and devices.

use std::path::{Path, PathBuf};

use sf_model::disk::{DiskBus, DiskFormat, DiskType};
use sf_model::{BlobId, Gib, InstanceId};
use sha2::{Digest, Sha256};

use crate::domain::{DiskBacking, DiskDefinition, DiskSource};

/// One disk of an instance, as recorded with the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskRequest {
    /// Overall position; 1 is the config drive if there is one.
    pub position: u32,
    /// Bus.
    pub bus: DiskBus,
    /// Disk or optical drive.
    pub kind: DiskType,
    /// Requested size; absent: the base's.
    pub size: Option<Gib>,
    /// What it starts from.
    pub base: Option<DiskBase>,
    /// It is the config drive.
    pub config_drive: bool,
}

/// A cached image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskBase {
    /// The blob.
    pub blob: BlobId,
    /// It is an ISO 9660 image.
    pub iso: bool,
    /// Virtual size in bytes.
    pub virtual_size: u64,
    /// Blobs the cached image itself is built on, nearest first.
    pub chain: Vec<BlobId>,
}

/// Where files are.
#[derive(Debug, Clone)]
pub struct StorageLayout {
    root: PathBuf,
}

/// A planned disk: the file to make and the device to define.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskPlan {
    /// How the file comes into being.
    pub file: DiskFile,
    /// The device.
    pub definition: DiskDefinition,
}

/// How a disk's file comes into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFile {
    /// Empty overlay on a cached image, of the given virtual size.
    Overlay(BlobId, u64),
    /// Empty standalone file of the given virtual size.
    Blank(u64),
    /// Standalone copy of a cached image, grown to the given virtual size.
    Flat(BlobId, u64),
    /// Hard link of a cached ISO.
    Link(BlobId),
    /// Written by the config drive builder.
    ConfigDrive,
    /// None: an empty optical drive.
    Nothing,
}

/// Why disks cannot be planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiskError {
    /// The base does not fit.
    #[error("image cannot shrink: {virtual_gib} GiB into {size_gib} GiB")]
    Shrinks {
        /// Size of the base, rounded up.
        virtual_gib: u64,
        /// Requested size.
        size_gib: u64,
    },
    /// A disk has neither size nor base.
    #[error("disk {position} has neither a size nor a base")]
    NoSize {
        /// Its position.
        position: u32,
    },
    /// More disks on one bus than names.
    #[error("disk {position} is beyond the last device name of its bus")]
    TooMany {
        /// Its position.
        position: u32,
    },
}

impl StorageLayout {
    /// The layout below a storage root.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The instance's own directory.
    pub fn instance_dir(&self, instance: InstanceId) -> PathBuf {
        self.root.join("instances").join(instance.to_string())
    }

    /// All instance directories.
    pub fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    /// A disk of the instance.
    pub fn disk(&self, instance: InstanceId, device: &str) -> PathBuf {
        self.instance_dir(instance).join(device)
    }

    /// The instance's console log.
    pub fn console_log(&self, instance: InstanceId) -> PathBuf {
        self.instance_dir(instance).join("console.log")
    }

    /// The instance's firmware variables.
    pub fn nvram(&self, instance: InstanceId) -> PathBuf {
        self.instance_dir(instance).join("nvram")
    }

    /// A blob's cached image.
    pub fn cached(&self, blob: BlobId, iso: bool) -> PathBuf {
        let extension = if iso { "iso" } else { "qcow2" };
        self.root.join("image_cache").join(format!("{blob}.{extension}"))
    }

    /// The storage root.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// The device name of a disk: the bus's prefix and the overall position, so that names are unique across buses.
pub fn device_name(bus: DiskBus, position: u32) -> Option<String> {
    let prefix = match bus {
        DiskBus::Virtio => "vd",
        DiskBus::Sata | DiskBus::Scsi | DiskBus::Usb => "sd",
        DiskBus::Nvme => return (position < 100).then(|| format!("nvme{position}")),
    };
    let letter = u8::try_from(position).ok().filter(|position| *position < 26)?;
    Some(format!("{prefix}{}", char::from(b'a' + letter)))
}

/// The serial number a guest sees: stable for the life of the instance.
pub fn serial(instance: InstanceId, position: u32) -> String {
    let digest =
        Sha256::new().chain_update(instance.to_string()).chain_update(position.to_string()).finalize();
    hex::encode(digest).chars().take(20).collect()
}

/// Plans every disk of an instance. `through_extension` says whether a bus has no native libvirt support here.
///
/// # Errors
/// [`DiskError`] when a disk cannot exist as asked.
pub fn plan(
    instance: InstanceId,
    requests: &[DiskRequest],
    layout: &StorageLayout,
    through_extension: impl Fn(DiskBus) -> bool,
) -> Result<Vec<DiskPlan>, DiskError> {
    let mut requests: Vec<&DiskRequest> = requests.iter().collect();
    requests.sort_by_key(|request| request.position);
    let mut plans = requests
        .into_iter()
        .map(|request| plan_one(instance, request, layout, &through_extension))
        .collect::<Result<Vec<_>, _>>()?;
    number_boot_order(&mut plans);
    Ok(plans)
}

fn plan_one(
    instance: InstanceId,
    request: &DiskRequest,
    layout: &StorageLayout,
    through_extension: &impl Fn(DiskBus) -> bool,
) -> Result<DiskPlan, DiskError> {
    let position = request.position;
    let optical = request.kind == DiskType::Cdrom || request.base.as_ref().is_some_and(|base| base.iso);
    let device = device_name(request.bus, position).ok_or(DiskError::TooMany { position })?;
    // There is no virtio optical drive. The device keeps the name of the bus it was asked for, as released clients
    // show it; libvirt accepts only names of the bus, so the letter is kept and the prefix follows.
    let (bus, device) = match (optical, request.bus) {
        (true, DiskBus::Virtio | DiskBus::Nvme) => {
            (DiskBus::Usb, device_name(DiskBus::Usb, position).ok_or(DiskError::TooMany { position })?)
        }
        (_, bus) => (bus, device),
    };
    let extension = through_extension(bus);
    let file = file_of(request, optical, extension)?;
    let path = layout.disk(instance, &device);
    let source = match file {
        DiskFile::Nothing => None,
        DiskFile::Link(_) => Some(file_source(path, DiskFormat::Raw, Vec::new(), true)),
        DiskFile::ConfigDrive => Some(file_source(path, DiskFormat::Raw, Vec::new(), false)),
        DiskFile::Blank(_) | DiskFile::Flat(..) => {
            Some(file_source(path, DiskFormat::Qcow2, Vec::new(), false))
        }
        DiskFile::Overlay(..) => Some(file_source(path, DiskFormat::Qcow2, chain(request, layout), false)),
    };
    // SATA and NVMe disks cannot be read-only in QEMU.
    let read_only = optical || (request.config_drive && !matches!(bus, DiskBus::Sata | DiskBus::Nvme));
    let definition = DiskDefinition {
        position,
        device,
        bus,
        kind: if optical { DiskType::Cdrom } else { DiskType::Disk },
        source,
        read_only,
        serial: serial(instance, position),
        boot_order: None,
        through_extension: extension,
    };
    Ok(DiskPlan { file, definition })
}

fn file_source(path: PathBuf, format: DiskFormat, backing: Vec<DiskBacking>, shared: bool) -> DiskSource {
    DiskSource { path, format, backing, shared }
}

fn file_of(request: &DiskRequest, optical: bool, extension: bool) -> Result<DiskFile, DiskError> {
    if request.config_drive {
        return Ok(DiskFile::ConfigDrive);
    }
    match (&request.base, optical) {
        (Some(base), true) => Ok(DiskFile::Link(base.blob)),
        (None, true) => Ok(DiskFile::Nothing),
        (Some(base), false) => {
            let size = request.size.map_or(base.virtual_size, Gib::bytes);
            if size < base.virtual_size {
                return Err(DiskError::Shrinks {
                    virtual_gib: Gib::ceil_from_bytes(base.virtual_size).0,
                    size_gib: Gib::floor_from_bytes(size).0,
                });
            }
            Ok(if extension { DiskFile::Flat(base.blob, size) } else { DiskFile::Overlay(base.blob, size) })
        }
        (None, false) => {
            let size = request.size.ok_or(DiskError::NoSize { position: request.position })?;
            Ok(DiskFile::Blank(size.bytes()))
        }
    }
}

fn chain(request: &DiskRequest, layout: &StorageLayout) -> Vec<DiskBacking> {
    let Some(base) = &request.base else { return Vec::new() };
    std::iter::once(base.blob)
        .chain(base.chain.iter().copied())
        .map(|blob| DiskBacking { path: layout.cached(blob, false), format: DiskFormat::Qcow2 })
        .collect()
}

/// Disks by position without the config drive, then optical drives.
fn number_boot_order(plans: &mut [DiskPlan]) {
    let mut order = 0;
    for optical in [DiskType::Disk, DiskType::Cdrom] {
        for plan in plans.iter_mut().filter(|plan| plan.definition.kind == optical) {
            if plan.file != DiskFile::ConfigDrive {
                order += 1;
                plan.definition.boot_order = Some(order);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(position: u32, bus: DiskBus) -> DiskRequest {
        DiskRequest {
            position,
            bus,
            kind: DiskType::Disk,
            size: Some(Gib(2)),
            base: None,
            config_drive: false,
        }
    }

    fn base(iso: bool, gib: u64) -> Option<DiskBase> {
        let chain = vec![BlobId::random()];
        Some(DiskBase { blob: BlobId::random(), iso, virtual_size: gib << 30, chain })
    }

    fn plan_all(requests: &[DiskRequest]) -> Result<Vec<DiskPlan>, DiskError> {
        let layout = StorageLayout::new("/store");
        plan(InstanceId::random(), requests, &layout, |bus| bus == DiskBus::Nvme)
    }

    #[test]
    fn names_are_unique_across_buses() {
        let table = [
            (DiskBus::Virtio, 0, Some("vda")),
            (DiskBus::Sata, 2, Some("sdc")),
            (DiskBus::Scsi, 3, Some("sdd")),
            (DiskBus::Nvme, 4, Some("nvme4")),
            (DiskBus::Usb, 25, Some("sdz")),
            (DiskBus::Usb, 26, None),
        ];
        for (bus, position, name) in table {
            assert_eq!(device_name(bus, position).as_deref(), name);
        }
    }

    #[test]
    fn the_config_drive_is_never_booted_and_optical_drives_come_last() {
        let config_drive = DiskRequest { config_drive: true, size: None, ..request(1, DiskBus::Virtio) };
        let iso = DiskRequest { base: base(true, 1), ..request(0, DiskBus::Virtio) };
        let plans = plan_all(&[request(2, DiskBus::Virtio), config_drive, iso]).unwrap();
        let shown: Vec<_> = plans
            .iter()
            .map(|plan| {
                (plan.definition.device.as_str(), plan.definition.boot_order, plan.definition.read_only)
            })
            .collect();
        assert_eq!(shown, [("sda", Some(2), true), ("vdb", None, true), ("vdc", Some(1), false)]);
    }

    #[test]
    fn overlays_name_their_whole_chain_and_grow_but_never_shrink() {
        let wanted = DiskRequest { base: base(false, 1), ..request(0, DiskBus::Virtio) };
        let plans = plan_all(std::slice::from_ref(&wanted)).unwrap();
        assert!(matches!(plans[0].file, DiskFile::Overlay(_, size) if size == 2 << 30));
        assert_eq!(plans[0].definition.source.as_ref().unwrap().backing.len(), 2);
        let unsized_disk = DiskRequest { size: None, ..wanted.clone() };
        assert!(
            matches!(plan_all(&[unsized_disk]).unwrap()[0].file, DiskFile::Overlay(_, size) if size == 1 << 30)
        );
        let too_big = DiskRequest { base: base(false, 3), ..wanted };
        assert_eq!(plan_all(&[too_big]).unwrap_err().to_string(), "image cannot shrink: 3 GiB into 2 GiB");
    }

    #[test]
    fn a_bus_libvirt_does_not_know_gets_a_flat_copy() {
        let nvme = DiskRequest { base: base(false, 1), ..request(0, DiskBus::Nvme) };
        let plans = plan_all(&[nvme]).unwrap();
        assert!(matches!(plans[0].file, DiskFile::Flat(..)));
        assert!(plans[0].definition.through_extension);
    }

    #[test]
    fn serials_are_stable_and_differ() {
        let instance = InstanceId::random();
        assert_eq!(serial(instance, 0), serial(instance, 0));
        assert_ne!(serial(instance, 0), serial(instance, 1));
        assert_eq!(serial(instance, 0).len(), 20);
    }
}

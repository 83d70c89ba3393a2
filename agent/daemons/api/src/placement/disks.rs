//! The disks of a new instance: positions, device names and what each is charged (`instances.md` §6).

use sf_model::disk::{ConfigDrive, DiskBus, DiskType};
use sf_protos::artifacts::ResolvedBase;
use sf_protos::instances::Disk;

use crate::params::{DiskSpec, Fault};

/// Position of the config drive.
const CONFIG_DRIVE: u32 = 1;

/// Lays out requested disks and their resolved bases, with the config drive at its place.
///
/// # Errors
/// More disks than a bus has names for; an image that is known to be larger than its disk.
pub fn lay_out(
    specs: &[DiskSpec],
    bases: &[ResolvedBase],
    configdrive: ConfigDrive,
    default_bus: DiskBus,
) -> Result<Vec<Disk>, Fault> {
    let has_drive = configdrive == ConfigDrive::OpenstackDisk;
    let mut disks = Vec::with_capacity(specs.len() + 1);
    for (index, (spec, base)) in (0_u32..).zip(specs.iter().zip(bases)) {
        // The config drive takes the second place, so every disk but the first moves on.
        let position = if has_drive && index >= CONFIG_DRIVE { index + 1 } else { index };
        let bus = spec.bus_or(default_bus);
        holds(spec, base).map_err(|fault| fault.at("size").at_index(index as usize).at("disk"))?;
        disks.push(Disk {
            position,
            device: device_name(bus, position).ok_or_else(|| Fault::new("too many disks").at("disk"))?,
            bus: bus.to_string(),
            present_as: spec.presented_as().to_string(),
            size_gb: spec.size.filter(|size| *size > 0),
            base: spec.base_reference().map(str::to_owned),
            blob_uuid: base.blob_uuid.clone(),
            format: "qcow2".to_owned(),
            snapshot_ignores: false,
            is_configdrive: false,
            resolved: Some(base.resolved.clone()).filter(|resolved| !resolved.is_empty()),
            artifact_uuid: base.artifact_uuid.clone(),
            fetch_url: base.fetch_url.clone(),
        });
    }
    if has_drive {
        let bus = specs.first().map_or(default_bus, |spec| spec.bus_or(default_bus));
        disks.push(Disk {
            position: CONFIG_DRIVE,
            device: device_name(bus, CONFIG_DRIVE).unwrap_or_default(),
            bus: bus.to_string(),
            present_as: "disk".to_owned(),
            format: "raw".to_owned(),
            snapshot_ignores: true,
            is_configdrive: true,
            ..Disk::default()
        });
        disks.sort_by_key(|disk| disk.position);
    }
    Ok(disks)
}

/// Prefix of the bus and the overall position, as a letter, or as a number for NVMe.
fn device_name(bus: DiskBus, position: u32) -> Option<String> {
    let letter = || char::from_u32(u32::from('a') + position).filter(char::is_ascii_lowercase);
    match bus {
        DiskBus::Virtio => letter().map(|letter| format!("vd{letter}")),
        DiskBus::Sata | DiskBus::Scsi | DiskBus::Usb => letter().map(|letter| format!("sd{letter}")),
        DiskBus::Nvme => Some(format!("nvme{position}")),
    }
}

/// Nothing shrinks an image, so one that is known to be larger is refused before anything is made.
fn holds(spec: &DiskSpec, base: &ResolvedBase) -> Result<(), Fault> {
    let room = spec.size.filter(|size| *size > 0).map(|size| size.saturating_mul(1 << 30));
    let image = base.virtual_size.filter(|_| spec.presented_as() == DiskType::Disk);
    match (room, image) {
        (Some(room), Some(image)) if image > room => {
            Err(Fault::new(format!("the image needs {} GiB", image.div_ceil(1 << 30))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(bus: Option<&str>) -> DiskSpec {
        DiskSpec { size: Some(8), base: None, bus: bus.map(str::to_owned), kind: None }
    }

    fn names(specs: &[DiskSpec], configdrive: ConfigDrive) -> Vec<String> {
        let bases = vec![ResolvedBase::default(); specs.len()];
        let disks = lay_out(specs, &bases, configdrive, DiskBus::Virtio).unwrap();
        disks.into_iter().map(|disk| disk.device).collect()
    }

    #[test]
    fn the_config_drive_is_second() {
        let specs = [spec(None), spec(Some("scsi")), spec(Some("nvme"))];
        assert_eq!(names(&specs, ConfigDrive::OpenstackDisk), ["vda", "vdb", "sdc", "nvme3"]);
        assert_eq!(names(&specs, ConfigDrive::None), ["vda", "sdb", "nvme2"]);
        assert_eq!(names(&specs[1..2], ConfigDrive::OpenstackDisk), ["sda", "sdb"]);
    }

    #[test]
    fn a_bus_runs_out_of_letters() {
        let specs = vec![spec(None); 26];
        let bases = vec![ResolvedBase::default(); 26];
        assert!(lay_out(&specs, &bases, ConfigDrive::OpenstackDisk, DiskBus::Virtio).is_err());
    }

    #[test]
    fn an_image_fits_its_disk() {
        let lay = |size: Option<u64>, gib: Option<u64>| {
            let base = ResolvedBase { virtual_size: gib.map(|gib| gib << 30), ..ResolvedBase::default() };
            lay_out(&[DiskSpec { size, ..spec(None) }], &[base], ConfigDrive::None, DiskBus::Virtio)
        };
        assert!(lay(Some(8), Some(8)).is_ok() && lay(None, Some(9)).is_ok() && lay(Some(8), None).is_ok());
        assert_eq!(lay(Some(8), Some(9)).unwrap_err().to_string(), "disk[0].size: the image needs 9 GiB");
    }
}

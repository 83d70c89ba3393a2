//! Names both sides derive files from.

use sf_protos::privexec::{ImageFormat, StagingPurpose};

/// Whether `name` is a disk of an instance: `^(vd|sd)[a-z]$|^nvme[0-9]{1,2}$`.
pub fn is_device(name: &str) -> bool {
    if let Some(number) = name.strip_prefix("nvme") {
        return (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    }
    let letter = name.strip_prefix("vd").or_else(|| name.strip_prefix("sd"));
    letter.is_some_and(|letter| letter.len() == 1 && letter.bytes().all(|b| b.is_ascii_lowercase()))
}

/// The word a staged file's name starts with.
pub fn staging_prefix(purpose: StagingPurpose) -> Option<&'static str> {
    Some(match purpose {
        StagingPurpose::Unspecified => return None,
        StagingPurpose::Fetch => "fetch",
        StagingPurpose::Upload => "upload",
        StagingPurpose::Pull => "pull",
        StagingPurpose::Snap => "snap",
        StagingPurpose::Xcode => "xcode",
        StagingPurpose::Mem => "mem",
    })
}

/// The image tool's name of a format.
pub fn format_name(format: ImageFormat) -> Option<&'static str> {
    Some(match format {
        ImageFormat::Unspecified => return None,
        ImageFormat::Raw => "raw",
        ImageFormat::Qcow2 => "qcow2",
        ImageFormat::Vmdk => "vmdk",
        ImageFormat::Vpc => "vpc",
        ImageFormat::Vhdx => "vhdx",
        ImageFormat::Vdi => "vdi",
        ImageFormat::Qed => "qed",
        ImageFormat::Parallels => "parallels",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_device_names_are_devices() {
        for good in ["vda", "vdz", "sda", "nvme0", "nvme23"] {
            assert!(is_device(good), "{good}");
        }
        for bad in
            ["", "vd", "vdaa", "vdA", "hda", "nvme", "nvme100", "nvme-1", "../vda", "vda/", "vd\0", "nvram"]
        {
            assert!(!is_device(bad), "{bad}");
        }
    }
}

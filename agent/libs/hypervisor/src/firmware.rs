//! Firmware, chosen from QEMU's descriptor files. Paths differ between distributions, so none is built in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Directories searched for descriptors, most important first; a file name found earlier hides later ones.
pub const DESCRIPTOR_DIRECTORIES: [&str; 2] = ["/etc/qemu/firmware", "/usr/share/qemu/firmware"];

/// A usable pair of firmware code and variable-store template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirmwarePair {
    /// Read-only code image.
    pub code: PathBuf,
    /// Template every instance's variable store is copied from.
    pub vars_template: PathBuf,
}

/// What is needed of the firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirmwareRequest {
    /// Machine family: `pc` or `q35`.
    pub machine: sf_model::disk::MachineType,
    /// Secure boot with the vendor's keys enrolled.
    pub secure_boot: bool,
    /// The variable store must have this length, because a given one replaces the template.
    pub vars_length: Option<u64>,
}

/// One descriptor file, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub struct FirmwareDescriptor {
    #[serde(rename = "interface-types")]
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Mapping {
    device: String,
    executable: Option<Image>,
    #[serde(rename = "nvram-template")]
    nvram_template: Option<Image>,
}

#[derive(Debug, Clone, Deserialize)]
struct Image {
    filename: PathBuf,
    #[serde(default)]
    format: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Target {
    architecture: String,
    #[serde(default)]
    machines: Vec<String>,
}

/// Reads the descriptors of this host, in QEMU's order of preference. Unreadable files are skipped with a warning.
pub fn installed() -> Vec<FirmwareDescriptor> {
    read_descriptors(&DESCRIPTOR_DIRECTORIES.map(PathBuf::from))
}

/// As [`installed`], from the given directories.
pub fn read_descriptors(directories: &[PathBuf]) -> Vec<FirmwareDescriptor> {
    let mut files = BTreeMap::new();
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                files.entry(entry.file_name()).or_insert(path);
            }
        }
    }
    files.into_values().filter_map(|path| read_descriptor(&path)).collect()
}

/// The first pair that fits. `None`: this host has no such firmware.
pub fn choose(
    descriptors: &[FirmwareDescriptor],
    request: FirmwareRequest,
    length_of: impl Fn(&Path) -> Option<u64>,
) -> Option<FirmwarePair> {
    descriptors.iter().find_map(|descriptor| {
        let pair = descriptor.pair_for(request)?;
        let length = length_of(&pair.vars_template)?;
        let fits =
            length_of(&pair.code).is_some() && request.vars_length.is_none_or(|wanted| wanted == length);
        fits.then_some(pair)
    })
}

impl FirmwareDescriptor {
    fn pair_for(&self, request: FirmwareRequest) -> Option<FirmwarePair> {
        let machine = match request.machine {
            sf_model::disk::MachineType::Pc => "pc-i440fx",
            sf_model::disk::MachineType::Q35 => "pc-q35",
        };
        let has = |feature: &str| self.features.iter().any(|known| known == feature);
        let fits = self.interface_types.iter().any(|kind| kind == "uefi")
            && self.mapping.device == "flash"
            && self.targets.iter().any(|target| {
                target.architecture == std::env::consts::ARCH
                    && target.machines.iter().any(|pattern| pattern.starts_with(machine))
            })
            && has("secure-boot") == request.secure_boot
            && has("enrolled-keys") == request.secure_boot;
        let raw = |image: &Option<Image>| {
            image.as_ref().filter(|image| image.format == "raw").map(|image| image.filename.clone())
        };
        fits.then(|| {
            Some(FirmwarePair {
                code: raw(&self.mapping.executable)?,
                vars_template: raw(&self.mapping.nvram_template)?,
            })
        })?
    }
}

fn read_descriptor(path: &Path) -> Option<FirmwareDescriptor> {
    let text = std::fs::read_to_string(path).ok()?;
    match serde_json::from_str(&text) {
        Ok(descriptor) => Some(descriptor),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "firmware descriptor is not readable and is ignored");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_model::disk::MachineType;

    fn descriptor(name: &str, machine: &str, features: &str) -> FirmwareDescriptor {
        let text = format!(
            r#"{{"interface-types":["uefi"],"mapping":{{"device":"flash","executable":{{"filename":"/fw/{name}.code","format":"raw"}},
            "nvram-template":{{"filename":"/fw/{name}.vars","format":"raw"}}}},
            "targets":[{{"architecture":"{}","machines":["{machine}-*"]}}],"features":{features},"tags":[]}}"#,
            std::env::consts::ARCH
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn chooses_by_machine_secure_boot_and_size() {
        let all = [
            descriptor("secure", "pc-q35", r#"["secure-boot","enrolled-keys","requires-smm"]"#),
            descriptor("secure-empty", "pc-q35", r#"["secure-boot"]"#),
            descriptor("small", "pc-q35", "[]"),
            descriptor("big", "pc-q35", r#"["acpi-s3"]"#),
            descriptor("old", "pc-i440fx", "[]"),
        ];
        let length = |path: &Path| Some(if path.starts_with("/fw/big.vars") { 4 } else { 2 });
        let pick = |machine, secure_boot, vars_length| {
            choose(&all, FirmwareRequest { machine, secure_boot, vars_length }, length)
                .map(|pair| pair.code.to_string_lossy().into_owned())
        };
        assert_eq!(pick(MachineType::Q35, true, None).as_deref(), Some("/fw/secure.code"));
        assert_eq!(pick(MachineType::Q35, false, None).as_deref(), Some("/fw/small.code"));
        assert_eq!(pick(MachineType::Q35, false, Some(4)).as_deref(), Some("/fw/big.code"));
        assert_eq!(pick(MachineType::Q35, false, Some(9)), None);
        assert_eq!(pick(MachineType::Pc, false, None).as_deref(), Some("/fw/old.code"));
        assert_eq!(pick(MachineType::Pc, true, None), None);
    }

    #[test]
    fn a_broken_descriptor_hides_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("10-broken.json"), "{").unwrap();
        std::fs::write(dir.path().join("readme.txt"), "{").unwrap();
        assert!(read_descriptors(&[dir.path().to_path_buf(), "/does/not/exist".into()]).is_empty());
    }
}

//! Whether hardware acceleration really works here. libvirt's advertisement, the device node and the interface number
//! prove nothing: only a guest that ran does.

mod canary;
mod levels;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sf_model::disk::MachineType;

use crate::domain::Accelerator;

/// How the tests that need an emulator are called, before the machine type.
const CANARY: &str = "canary-";

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum VirtPolicy {
    /// Acceleration if it works, else emulation if that is allowed.
    Auto,
    /// Acceleration or nothing.
    Kvm,
    /// Emulation.
    Qemu,
}

/// What to probe.
#[derive(Debug, Clone)]
pub struct ProbeRequest {
    /// The operator's choice.
    pub policy: VirtPolicy,
    /// Emulation may replace acceleration.
    pub allow_emulation: bool,
    /// The emulator.
    pub qemu: PathBuf,
    /// Where results are kept between starts; absent: nowhere.
    pub cache: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// `kvm`, `qemu`, or nothing: no instance may run here.
    pub virt_type: Option<String>,
    /// The tests, in the order they were made.
    pub levels: Vec<LevelReport>,
    /// The answer came from the cache.
    #[serde(default)]
    pub cached: bool,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelReport {
    /// `flags`, `device`, `canary-pc` or `canary-q35`.
    pub level: String,
    /// It passed.
    pub passed: bool,
    /// Why not, or a detail.
    pub detail: String,
}

/// The key under which a result stays valid: another kernel, boot or emulator is probed again.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CacheKey {
    boot_id: String,
    kernel: String,
    qemu: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct CacheFile {
    key: CacheKey,
    levels: Vec<LevelReport>,
}

impl ProbeReport {
    /// The acceleration guests get.
    pub fn accelerator(&self) -> Option<Accelerator> {
        match self.virt_type.as_deref() {
            Some("kvm") => Some(Accelerator::Kvm),
            Some("qemu") => Some(Accelerator::Qemu),
            _ => None,
        }
    }

    /// What can be tried without an emulator works, and a guest of it did not.
    pub fn only_the_canary_failed(&self) -> bool {
        let failed = self.levels.iter().find(|level| !level.passed);
        failed.is_some_and(|level| level.level.starts_with(CANARY))
    }

    /// The first failed test, for the log.
    pub fn failure(&self) -> Option<String> {
        self.levels
            .iter()
            .find(|level| !level.passed)
            .map(|level| format!("{}: {}", level.level, level.detail))
    }
}

/// Probes, or answers from the cache. Blocks for up to 10 s.
pub fn probe(request: &ProbeRequest) -> ProbeReport {
    if request.policy == VirtPolicy::Qemu {
        return ProbeReport { virt_type: Some("qemu".into()), levels: Vec::new(), cached: false };
    }
    let key = cache_key(&request.qemu);
    let (levels, cached) = match request.cache.as_deref().and_then(|path| read_cache(path, &key)) {
        Some(levels) => (levels, true),
        None => {
            let levels = run_levels(&request.qemu);
            if let Some(path) = &request.cache {
                write_cache(path, &CacheFile { key, levels: levels.clone() });
            }
            (levels, false)
        }
    };
    let usable = !levels.is_empty() && levels.iter().all(|level| level.passed);
    let virt_type =
        choose(request.policy, usable, request.allow_emulation).map(|it| it.domain_type().to_owned());
    ProbeReport { virt_type, levels, cached }
}

fn choose(policy: VirtPolicy, usable: bool, allow_emulation: bool) -> Option<Accelerator> {
    match policy {
        VirtPolicy::Qemu => Some(Accelerator::Qemu),
        VirtPolicy::Kvm => usable.then_some(Accelerator::Kvm),
        VirtPolicy::Auto if usable => Some(Accelerator::Kvm),
        VirtPolicy::Auto => allow_emulation.then_some(Accelerator::Qemu),
    }
}

/// Level by level, cheapest first; the first failure ends it.
fn run_levels(qemu: &Path) -> Vec<LevelReport> {
    let mut levels = Vec::new();
    let mut note = |level: &str, outcome: Result<String, String>| {
        let passed = outcome.is_ok();
        levels.push(LevelReport { level: level.into(), passed, detail: outcome.unwrap_or_else(|why| why) });
        passed
    };
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if note("flags", levels::flags(std::env::consts::ARCH, &cpuinfo)) && note("device", levels::device()) {
        for machine in [MachineType::Pc, MachineType::Q35] {
            let outcome = canary::run(qemu, machine, Accelerator::Kvm, canary::LIMIT);
            if !note(&format!("{CANARY}{machine}"), outcome.map(|took| format!("{} ms", took.as_millis()))) {
                break;
            }
        }
    }
    levels
}

fn cache_key(qemu: &Path) -> CacheKey {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    CacheKey {
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        kernel: read("/proc/sys/kernel/osrelease"),
        qemu: hash_file(qemu).unwrap_or_default(),
    }
}

fn hash_file(path: &Path) -> Option<String> {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path).ok()?, &mut hash).ok()?;
    Some(hex::encode(hash.finalize()))
}

fn read_cache(path: &Path, key: &CacheKey) -> Option<Vec<LevelReport>> {
    let file: CacheFile = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (file.key == *key).then_some(file.levels)
}

fn write_cache(path: &Path, file: &CacheFile) {
    let written = serde_json::to_vec(file).map_err(std::io::Error::other).and_then(|text| {
        let draft = path.with_extension("new");
        std::fs::write(&draft, text)?;
        std::fs::rename(&draft, path)
    });
    if let Err(error) = written {
        tracing::warn!(path = %path.display(), %error, "probe result is not kept; the next start probes again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_decides_what_a_failed_probe_means() {
        use Accelerator::{Kvm, Qemu};
        let table = [
            (VirtPolicy::Auto, true, false, Some(Kvm)),
            (VirtPolicy::Auto, false, true, Some(Qemu)),
            (VirtPolicy::Auto, false, false, None),
            (VirtPolicy::Kvm, false, true, None),
            (VirtPolicy::Kvm, true, true, Some(Kvm)),
            (VirtPolicy::Qemu, true, false, Some(Qemu)),
        ];
        for (policy, usable, allow, expected) in table {
            assert_eq!(choose(policy, usable, allow), expected, "{policy} {usable} {allow}");
        }
    }

    #[test]
    fn a_result_is_reused_for_the_same_machine_only() {
        let dir = tempfile::tempdir().unwrap();
        let qemu = dir.path().join("qemu");
        std::fs::write(&qemu, "one").unwrap();
        let cache = dir.path().join("virt.json");
        let levels = vec![LevelReport { level: "flags".into(), passed: true, detail: String::new() }];
        write_cache(&cache, &CacheFile { key: cache_key(&qemu), levels: levels.clone() });
        let request = ProbeRequest {
            policy: VirtPolicy::Auto,
            allow_emulation: false,
            qemu: qemu.clone(),
            cache: Some(cache.clone()),
        };
        assert_eq!(probe(&request), ProbeReport { virt_type: Some("kvm".into()), levels, cached: true });
        std::fs::write(&qemu, "two").unwrap();
        assert_eq!(read_cache(&cache, &cache_key(&qemu)), None);
    }
}

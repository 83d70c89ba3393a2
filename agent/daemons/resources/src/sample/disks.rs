//! Space below the storage path, file systems counted once.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use sf_config::NodeConfig;
use walkdir::WalkDir;

use super::Sample;
use super::patient::Patient;

/// Folders whose free space is reported, by the name in the contract.
const FOLDERS: [(&str, &str); 6] = [
    ("sfroot", ""),
    ("blobs", "blobs"),
    ("events", "spool"),
    ("image_cache", "image_cache"),
    ("instances", "instances"),
    ("uploads", "uploads"),
];

/// How long a check-in waits for the figures.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads the figures, on a thread because a hung mount never answers.
pub(super) struct Disks {
    figures: Patient<Figures>,
    reservation_gb: f64,
}

/// What the file systems say.
#[derive(Debug, Default)]
struct Figures {
    /// Free bytes by name.
    free: Vec<(&'static str, u64)>,
    /// Size and free bytes of each file system, by its id.
    distinct: BTreeMap<u64, (u64, u64)>,
    allocated: u64,
    problem: Option<String>,
}

impl Disks {
    pub(super) fn new(config: &NodeConfig) -> Self {
        let storage = config.storage_path.clone();
        Self {
            figures: Patient::new(move || measure(&storage)),
            reservation_gb: config.node_disk_reservation_gb,
        }
    }

    /// Fills in the disk figures. When they are late the sample goes without them.
    pub(super) async fn collect(&mut self, sample: &mut Sample) -> Result<(), String> {
        let figures = self.figures.ask(PATIENCE).await?;
        for (name, free) in &figures.free {
            sample.put(&format!("disk_free_{name}"), *free);
            if *name == "instances" {
                sample.typed.disk_free_instances = *free;
            }
        }
        let total: u64 = figures.distinct.values().map(|(total, _)| total).sum();
        let free = figures.distinct.values().map(|(_, free)| *free).min().unwrap_or(0);
        let used: u64 = figures.distinct.values().map(|(total, free)| total.saturating_sub(*free)).sum();
        sample.put("disk_total", total);
        sample.put("disk_used", used);
        sample.put("disk_free", free);
        sample.typed.disk_instances_allocated = figures.allocated;
        sample.typed.disk_reservation_gb = self.reservation_gb;
        sample.put("disk_instances_allocated", figures.allocated);
        sample.put("disk_reservation_gb", self.reservation_gb);
        sample.disks_measured = true;
        figures.problem.map_or(Ok(()), Err)
    }
}

fn measure(storage: &Path) -> Figures {
    let mut figures = Figures::default();
    for (name, folder) in FOLDERS {
        let path = storage.join(folder);
        match space(&path) {
            Ok((id, total, free)) => {
                figures.free.push((name, free));
                figures.distinct.insert(id, (total, free));
            }
            // A node that hosts no instances has no folder for them.
            Err(error) if path.exists() => figures.problem = Some(error),
            Err(_) => {}
        }
    }
    figures.allocated = allocated(&storage.join("instances"));
    figures
}

/// File system id, bytes in all, bytes a user may still take.
fn space(path: &Path) -> Result<(u64, u64, u64), String> {
    let facts = statvfs(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let id = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.dev();
    let unit = facts.fragment_size();
    Ok((id, facts.blocks().saturating_mul(unit), facts.blocks_available().saturating_mul(unit)))
}

/// Bytes of blocks that files below a folder really occupy. Files that vanish meanwhile count nothing.
fn allocated(folder: &Path) -> u64 {
    let files = WalkDir::new(folder).into_iter().flatten();
    files
        .filter_map(|entry| entry.metadata().ok())
        .filter(|facts| facts.is_file())
        .map(|facts| facts.blocks() * 512)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_files_count_what_they_occupy() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 30).unwrap();
        assert!(allocated(dir.path()) < 1 << 20);
        let (_, total, free) = space(dir.path()).unwrap();
        assert!(total >= free && total > 0);
    }
}

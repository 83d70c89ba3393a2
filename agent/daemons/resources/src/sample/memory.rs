//! Memory and its deduplication.

use sf_config::NodeConfig;
use sf_scheduler::limits::memory_reserved_mb;

use super::{Sample, read};

const KSM: &str = "/sys/kernel/mm/ksm";

/// Fills in the memory figures.
pub(super) fn collect(config: &NodeConfig, sample: &mut Sample) -> Result<(), String> {
    let text = read("/proc/meminfo")?;
    let total = mebibytes(&text, "MemTotal").ok_or("/proc/meminfo has no MemTotal")?;
    let available = mebibytes(&text, "MemAvailable").ok_or("/proc/meminfo has no MemAvailable")?;
    let reserved = memory_reserved_mb(config.node_ram_reservation_gb, total);
    sample.typed.memory_max_mb = total;
    sample.typed.memory_available_mb = available;
    sample.typed.memory_reserved_mb = reserved;
    sample.put("memory_max", total);
    sample.put("memory_available", available);
    sample.put("memory_reserved_mb", reserved);
    // A kernel without KSM has no such directory, and then nothing is shared.
    for entry in std::fs::read_dir(KSM).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let value =
            std::fs::read_to_string(entry.path()).ok().and_then(|text| text.trim().parse::<i64>().ok());
        if let Some(value) = value {
            if name == "run" {
                sample.typed.ksm_active = value == 1;
            }
            sample.put(&format!("memory_ksm_{name}"), value);
        }
    }
    Ok(())
}

fn mebibytes(meminfo: &str, key: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_the_prefix_of_another() {
        let text = "MemTotal:        2048 kB\nMemTotalX: 1 kB\nMemAvailable:    1048576 kB\n";
        assert_eq!(mebibytes(text, "MemTotal"), Some(2));
        assert_eq!(mebibytes(text, "MemAvailable"), Some(1024));
        assert_eq!(mebibytes(text, "Mem"), None);
    }
}

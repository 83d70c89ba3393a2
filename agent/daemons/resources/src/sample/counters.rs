//! Counters of the kernel, and how fast they move.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Sample, read};

/// The previous reading.
#[derive(Default)]
pub(super) struct Counters {
    previous: Option<(Instant, BTreeMap<&'static str, u64>)>,
}

impl Counters {
    /// Fills in the counters, and their deltas when there is a reading to compare with.
    pub(super) fn collect(&mut self, sample: &mut Sample) -> Result<(), String> {
        let now = Instant::now();
        let mut values = disk_counters(&read("/proc/diskstats")?, is_whole_disk);
        values.extend(network_counters(&read("/proc/net/dev")?));
        for (name, value) in &values {
            sample.put(name, *value);
        }
        if let Some((at, previous)) = &self.previous {
            let spacing = now.duration_since(*at).as_secs_f64();
            sample.put("timestamp_spacing", spacing);
            for (name, delta) in deltas(previous, &values).into_iter().filter(|_| spacing >= 1.0) {
                #[expect(clippy::cast_precision_loss, reason = "a rate, not a count")]
                let rate = delta as f64 / spacing;
                sample.put(&format!("{name}_delta"), delta);
                sample.put(&format!("{name}_delta_per_second"), rate);
                if name == "disk_busy_time" {
                    sample.typed.disk_busy_time_delta_per_second = rate;
                }
            }
        }
        self.previous = Some((now, values));
        Ok(())
    }
}

/// Growth of each counter; one that went backwards was reset and says nothing.
fn deltas(
    before: &BTreeMap<&'static str, u64>,
    after: &BTreeMap<&'static str, u64>,
) -> Vec<(&'static str, u64)> {
    after.iter().filter_map(|(name, value)| Some((*name, value.checked_sub(*before.get(name)?)?))).collect()
}

/// Sums over whole disks: partitions, device mapper and loop devices would count the same bytes again.
fn disk_counters(diskstats: &str, whole: impl Fn(&str) -> bool) -> BTreeMap<&'static str, u64> {
    let (mut read_bytes, mut written, mut busy) = (0_u64, 0_u64, 0_u64);
    for line in diskstats.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words.get(2).is_some_and(|name| whole(name)) {
            continue;
        }
        let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        read_bytes = read_bytes.saturating_add(number(5).saturating_mul(512));
        written = written.saturating_add(number(9).saturating_mul(512));
        busy = busy.saturating_add(number(12));
    }
    BTreeMap::from([("disk_read_bytes", read_bytes), ("disk_write_bytes", written), ("disk_busy_time", busy)])
}

fn network_counters(net_dev: &str) -> BTreeMap<&'static str, u64> {
    let (mut received, mut sent) = (0_u64, 0_u64);
    for line in net_dev.lines() {
        let Some((_, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_whitespace().map(|word| word.parse::<u64>().unwrap_or(0));
        received = received.saturating_add(words.next().unwrap_or(0));
        sent = sent.saturating_add(words.nth(7).unwrap_or(0));
    }
    BTreeMap::from([("network_read_bytes", received), ("network_write_bytes", sent)])
}

fn is_whole_disk(name: &str) -> bool {
    let virtual_disk = ["dm-", "loop", "ram", "zram", "md"].iter().any(|prefix| name.starts_with(prefix));
    !virtual_disk && std::path::Path::new("/sys/block").join(name).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_disks_count() {
        let text = "   8  0 sda 10 0 8 1 20 0 16 2 0 7 3\n   8  1 sda1 10 0 800 1 20 0 1600 2 0 700 3\n";
        let values = disk_counters(text, |name| name == "sda");
        assert_eq!(values["disk_read_bytes"], 8 * 512);
        assert_eq!(values["disk_write_bytes"], 16 * 512);
        assert_eq!(values["disk_busy_time"], 7);
    }

    #[test]
    fn network_columns() {
        let text = "Inter-| Receive\n face |bytes\n  lo: 100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0\neth0: 1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        let values = network_counters(text);
        assert_eq!((values["network_read_bytes"], values["network_write_bytes"]), (101, 202));
    }

    #[test]
    fn a_reset_counter_has_no_delta() {
        let before = BTreeMap::from([("a", 5), ("b", 5)]);
        let after = BTreeMap::from([("a", 7), ("b", 1), ("c", 3)]);
        assert_eq!(deltas(&before, &after), [("a", 2)]);
    }
}

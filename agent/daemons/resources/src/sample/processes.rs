//! What the node's own daemons cost.

use std::collections::BTreeMap;
use std::time::Instant;

use sf_protos::nodes::ProcessMetric;

use super::Sample;

/// Clock ticks of `/proc/<pid>/stat` per second; fixed at 100 by the kernel's interface to user space.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes of a page, the unit of resident memory there.
const PAGE: u64 = 4096;

/// Processor time at the previous reading, by process.
#[derive(Default)]
pub(super) struct ProcessTimes {
    previous: BTreeMap<i32, (Instant, u64)>,
}

/// One process of the agent.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    name: String,
    ticks: u64,
    resident: u64,
}

impl ProcessTimes {
    /// Fills in processor fraction and memory of every process of the agent on this node.
    pub(super) fn collect(&mut self, sample: &mut Sample) -> Result<(), String> {
        let now = Instant::now();
        let mut seen = BTreeMap::new();
        let processes = std::fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?;
        for pid in processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
            // A process may end while it is looked at.
            let Some(reading) = reading(pid) else { continue };
            if let Some((at, ticks)) = self.previous.get(&pid) {
                let seconds = now.duration_since(*at).as_secs_f64().max(0.001);
                #[expect(clippy::cast_precision_loss, reason = "a fraction, not a count")]
                let used = reading.ticks.saturating_sub(*ticks) as f64 / TICKS_PER_SECOND;
                sample.put(&format!("process_cpu_fraction_{}", reading.name), used / seconds);
                sample.processes.push(ProcessMetric {
                    process: reading.name.clone(),
                    cpu_fraction: used / seconds,
                    rss_bytes: reading.resident,
                });
            }
            seen.insert(pid, (now, reading.ticks));
        }
        self.previous = seen;
        Ok(())
    }
}

fn reading(pid: i32) -> Option<Reading> {
    let cmdline = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let name = daemon_of(&cmdline)?;
    parse(name, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The daemon a command line of ours runs: `sf-node run api` is `sf-api`.
fn daemon_of(cmdline: &[u8]) -> Option<String> {
    let mut words = cmdline.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    if !words.next()?.ends_with("sf-node") {
        return None;
    }
    match words.next()?.as_ref() {
        "run" => Some(format!("sf-{}", words.next()?)),
        "standalone" => Some("sf-standalone".to_owned()),
        _ => None,
    }
}

fn parse(name: String, stat: &str) -> Option<Reading> {
    // The second field is the command in brackets and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| words.get(index)?.parse::<u64>().ok();
    Some(Reading {
        name,
        ticks: number(11)?.checked_add(number(12)?)?,
        resident: number(21)?.saturating_mul(PAGE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_command_lines_are_recognised() {
        assert_eq!(daemon_of(b"/usr/bin/sf-node\0run\0net-privexec\0").as_deref(), Some("sf-net-privexec"));
        assert_eq!(daemon_of(b"sf-node\0standalone\0--data-dir\0x\0").as_deref(), Some("sf-standalone"));
        assert_eq!(daemon_of(b"/usr/bin/bash\0run\0api\0"), None);
        assert_eq!(daemon_of(b""), None);
    }

    #[test]
    fn a_bracket_in_the_command_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 50 25 0 0 20 0 9 0 100 1000 30 184467 1 1";
        let reading = parse("sf-api".into(), stat).unwrap();
        assert_eq!((reading.ticks, reading.resident), (75, 30 * PAGE));
    }
}

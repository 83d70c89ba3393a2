//! Memory and processors against what is reserved.

use super::{read, value};
use crate::finding::Finding;
use crate::subject::Subject;

const KIB_PER_GIB: f64 = 1_048_576.0;

/// PF-RAM.
pub(in crate::checks) fn memory(subject: &Subject) -> Vec<Finding> {
    let reserved = subject.input.node.node_ram_reservation_gb;
    let total = read(subject, "/proc/meminfo").ok().and_then(|text| {
        let kib = value(&text, "MemTotal", ':')?.split_whitespace().next()?.parse::<f64>().ok()?;
        Some(kib / KIB_PER_GIB)
    });
    vec![compare(total, reserved, "GiB of memory", "sf_ram_reservation_gb")]
}

/// PF-CPU.
pub(in crate::checks) fn processors(subject: &Subject) -> Vec<Finding> {
    let reserved = f64::from(subject.input.node.node_cpu_reservation_threads);
    let text = read(subject, "/proc/cpuinfo").ok();
    let total = text.map(|text| text.lines().filter(|line| line.starts_with("processor")).count() as f64);
    vec![compare(total.filter(|total| *total > 0.0), reserved, "threads", "sf_cpu_reservation_threads")]
}

fn compare(total: Option<f64>, reserved: f64, what: &str, setting: &str) -> Finding {
    match total {
        None => Finding::skip(format!("the number of {what} could not be read")),
        Some(total) if reserved >= total => {
            Finding::fail(format!("{total:.1} {what}, {reserved:.1} reserved"))
                .want("more than is reserved")
                .why("nothing is left for guests")
                .fix(format!("lower {setting}, or use a larger machine"))
        }
        Some(total) => Finding::pass(format!("{total:.1} {what}, {reserved:.1} reserved")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;
    use crate::system::fake::{FakeSystem, subject, subject_of};

    #[test]
    fn a_reservation_leaves_something() {
        assert_eq!(memory(&subject(&[("node_ram_reservation_gb", "15")]))[0].level, Level::Pass);
        assert_eq!(memory(&subject(&[("node_ram_reservation_gb", "16")]))[0].level, Level::Fail);
        assert_eq!(processors(&subject(&[("node_cpu_reservation_threads", "3")]))[0].level, Level::Pass);
        assert_eq!(processors(&subject(&[("node_cpu_reservation_threads", "4")]))[0].level, Level::Fail);
        let blind = subject_of(FakeSystem { files: Default::default(), ..FakeSystem::default() }, &[]);
        assert_eq!((memory(&blind)[0].level, processors(&blind)[0].level), (Level::Skip, Level::Skip));
    }
}

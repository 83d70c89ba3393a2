//! Processors and load.

use std::collections::BTreeSet;

use sf_config::NodeConfig;

use super::{Sample, read};

/// Fills in the processor figures.
pub(super) fn collect(config: &NodeConfig, sample: &mut Sample) -> Result<(), String> {
    let (threads, cores) = topology(&read("/proc/cpuinfo")?);
    let schedulable = threads.saturating_sub(config.node_cpu_reservation_threads).max(1);
    sample.typed.cpu_threads = threads;
    sample.typed.cpu_schedulable = schedulable;
    sample.put("cpu_max", threads);
    sample.put("cpu_available", threads);
    sample.put("cpu_threads", threads);
    sample.put("cpu_cores", cores);
    sample.put("cpu_schedulable", schedulable);
    let per_core = threads.div_ceil(cores.max(1)).max(1);
    let reserved = config.node_cpu_reservation_threads.div_ceil(per_core);
    sample.put("cpu_cores_reserved", reserved);
    sample.put("cpu_cores_schedulable", cores.saturating_sub(reserved).max(1));
    let loads = load_averages(&read("/proc/loadavg")?).ok_or("/proc/loadavg has another form")?;
    (sample.typed.cpu_load_1, sample.typed.cpu_load_5, sample.typed.cpu_load_15) = loads;
    sample.put("cpu_load_1", loads.0);
    sample.put("cpu_load_5", loads.1);
    sample.put("cpu_load_15", loads.2);
    if let Some(pressure) = read("/proc/pressure/cpu").ok().as_deref().and_then(some_avg10) {
        sample.put("cpu_pressure_some_10", pressure);
    }
    Ok(())
}

/// Hardware threads, and distinct (package, core) pairs; a machine that names none has one core per thread.
fn topology(cpuinfo: &str) -> (u32, u32) {
    let mut threads = 0;
    let mut cores = BTreeSet::new();
    let (mut package, mut core) = (None, None);
    for line in cpuinfo.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key.trim() {
            "processor" => {
                threads += 1;
                (package, core) = (None, None);
            }
            "physical id" => package = Some(value.trim().to_owned()),
            "core id" => core = Some(value.trim().to_owned()),
            _ => continue,
        }
        if let (Some(package), Some(core)) = (&package, &core) {
            cores.insert((package.clone(), core.clone()));
        }
    }
    let cores = u32::try_from(cores.len()).unwrap_or(u32::MAX);
    (threads, if cores == 0 { threads } else { cores })
}

fn load_averages(text: &str) -> Option<(f64, f64, f64)> {
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn some_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_one_core_are_one_core() {
        let text = "processor\t: 0\nphysical id\t: 0\ncore id\t\t: 0\n\nprocessor\t: 1\nphysical id\t: 0\ncore id\t\t: 0\n\n\
                    processor\t: 2\nphysical id\t: 1\ncore id\t\t: 0\n";
        assert_eq!(topology(text), (3, 2));
        assert_eq!(topology("processor : 0\nprocessor : 1\n"), (2, 2));
    }

    #[test]
    fn kernel_texts() {
        assert_eq!(load_averages("0.52 0.58 0.59 1/917 1234\n"), Some((0.52, 0.58, 0.59)));
        assert_eq!(load_averages("x"), None);
        assert_eq!(some_avg10("some avg10=1.25 avg60=0.00 avg300=0.00 total=1\n"), Some(1.25));
    }
}

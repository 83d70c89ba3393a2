//! One usage sample per running instance, from one call for the whole node.

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sf_events::event;
use sf_hypervisor::DomainStats;
use sf_model::MacAddress;
use sf_model::event::EventType;
use sf_model::object::ObjectType;
use sf_runtime::{Loop, Pass};

use crate::worker::Worker;

/// Bytes of a block as the kernel counts allocation.
const BLOCK: u64 = 512;

/// Samples until shutdown.
pub(crate) async fn run(worker: Arc<Worker>) {
    let (shutdown, liveness) = (worker.context.shutdown.clone(), worker.context.liveness.clone());
    let pausing = worker.clone();
    let interval = move || pausing.cluster().usage_event_frequency;
    let pass = |_tick| {
        let worker = worker.clone();
        async move { sample(&worker).await.map(|()| Pass::Done) }
    };
    Loop::every_with("usage", interval)
        .max_silence(Duration::from_secs(120))
        .jittered()
        .run(shutdown, liveness, pass)
        .await;
}

async fn sample(worker: &Worker) -> Result<(), sf_hypervisor::HypervisorError> {
    let Some(host) = worker.host.as_ref().filter(|host| host.hypervisor.connected()) else { return Ok(()) };
    let began = Instant::now();
    let all = host.hypervisor.stats().await?;
    metrics::histogram!("sf_usage_sample_seconds").record(began.elapsed().as_secs_f64());
    for stats in &all {
        let directory = worker.layout.instance_dir(stats.instance);
        let allocated =
            |name: &str| std::fs::metadata(directory.join(name)).map(|it| it.blocks() * BLOCK).ok();
        let length = |name: &str| std::fs::metadata(directory.join(name)).map(|it| it.len()).ok();
        let extra = describe(stats, allocated, length("console.log"));
        let sample = event(EventType::Usage, "usage").object(ObjectType::Instance, stats.instance).quiet();
        worker.record(sample.extra(extra)).await;
    }
    Ok(())
}

/// The sample under the keys that existing consumers read.
fn describe(stats: &DomainStats, allocated: impl Fn(&str) -> Option<u64>, console: Option<u64>) -> Value {
    let disks: Map<String, Value> = stats
        .disks
        .iter()
        .map(|disk| {
            let counters = json!({
                "read requests": disk.read_requests,
                "read bytes": disk.read_bytes,
                "write requests": disk.write_requests,
                "write bytes": disk.write_bytes,
                "errors": disk.errors,
                "actual bytes on disk": allocated(&disk.device).unwrap_or(0),
            });
            (disk.device.clone(), counters)
        })
        .collect();
    let names = ["bytes", "packets", "errors", "drops"];
    let interfaces: Map<String, Value> = stats
        .interfaces
        .iter()
        .filter_map(|card| {
            let mut counters = Map::new();
            for (way, values) in [("read", &card.rx), ("write", &card.tx)] {
                for (name, value) in names.iter().zip(values) {
                    counters.insert(format!("{way} {name}"), json!(value));
                }
            }
            Some((mac_of(&card.tap)?, Value::Object(counters)))
        })
        .collect();
    json!({
        "cpu usage": {
            "cpu time ns": stats.cpu_time_ns,
            "system time ns": stats.cpu_system_ns,
            "user time ns": stats.cpu_user_ns,
        },
        "disk usage": disks,
        "network usage": interfaces,
        "power_state": if stats.raw_state == 3 { "paused" } else { "on" },
        "libvirt_raw_power_state": stats.raw_state,
        "console_log_size": console.unwrap_or(0),
    })
}

/// The MAC address in a tap's name.
fn mac_of(tap: &str) -> Option<String> {
    let value = u64::from_str_radix(tap.strip_prefix("tap")?, 16).ok()?;
    Some(MacAddress::from_u64(value).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_hypervisor::{DiskStats, InterfaceStats};
    use sf_model::InstanceId;

    #[test]
    fn a_sample_has_the_keys_consumers_read() {
        let stats = DomainStats {
            instance: InstanceId::random(),
            raw_state: 1,
            cpu_time_ns: 5,
            cpu_user_ns: 3,
            cpu_system_ns: 2,
            disks: vec![DiskStats { device: "vda".into(), write_bytes: 7, ..DiskStats::default() }],
            interfaces: vec![InterfaceStats {
                tap: "tap0200000000ab".into(),
                rx: [1, 2, 3, 4],
                tx: [5, 6, 7, 8],
            }],
        };
        let sample = describe(&stats, |_| Some(4096), Some(99));
        assert_eq!(sample["cpu usage"]["system time ns"], 2);
        assert_eq!(sample["disk usage"]["vda"]["actual bytes on disk"], 4096);
        assert_eq!(sample["network usage"]["02:00:00:00:00:ab"]["read packets"], 2);
        assert_eq!(sample["network usage"]["02:00:00:00:00:ab"]["write drops"], 8);
        assert_eq!(sample["console_log_size"], 99);
    }
}

//! Figures that only a leader has. They are dropped on the way back to standby, so that a graph never shows two truths.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use sf_protos::operations::QueueDepth;

use crate::lease::LOCK;

/// The condition of rows that a worker has.
const CLAIMED: &str = "claimed";

/// This daemon leads.
pub(crate) fn leading() {
    metrics::gauge!("cluster_is_leader").set(1.0);
    metrics::gauge!("cluster_lock_held", "lock" => LOCK).set(1.0);
}

/// This daemon stands by.
pub(crate) fn standby() {
    metrics::gauge!("cluster_is_leader").set(0.0);
    metrics::gauge!("cluster_lock_held", "lock" => LOCK).set(0.0);
    queues(&[]);
}

/// The leader's lock was granted, so many seconds after it was asked for.
pub(crate) fn lock_acquired(seconds: f64) {
    metrics::histogram!("cluster_lock_acquire_seconds").record(seconds);
}

/// Leadership ended against the will of this daemon.
pub(crate) fn lock_lost() {
    metrics::counter!("cluster_lock_lost_total", "lock" => LOCK).increment(1);
}

/// A task ended.
pub(crate) fn task_ended(task: &'static str, seconds: f64, ok: bool) {
    metrics::histogram!("maintenance_duration_seconds", "task" => task).record(seconds);
    if ok {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        metrics::gauge!("maintenance_last_success_timestamp", "task" => task).set(now);
    } else {
        metrics::counter!("maintenance_failures_total", "task" => task).increment(1);
    }
}

/// What waits in the queues of the whole cluster. What is not named is empty.
#[expect(clippy::cast_precision_loss, reason = "queue depths are far below 2^52")]
pub(crate) fn queues(depths: &[QueueDepth]) {
    let mut lanes: BTreeMap<(String, u32), Lane> = BTreeMap::new();
    for family in ["general", "network"] {
        for priority in 0..4 {
            lanes.insert((family.to_owned(), priority), Lane::default());
        }
    }
    for depth in depths {
        let lane = lanes.entry((depth.family.clone(), depth.priority)).or_default();
        *lane.rows.entry(depth.condition.clone()).or_default() += depth.rows;
        // What is claimed is worked on and waits no more.
        if depth.condition != CLAIMED {
            lane.oldest_age = lane.oldest_age.max(depth.oldest_age_seconds);
        }
    }
    for ((family, priority), lane) in lanes {
        for (condition, rows) in &lane.rows {
            depth_gauge(&family, priority, condition).set(*rows as f64);
        }
        let labels = [("family", family), ("priority", priority.to_string())];
        metrics::gauge!("work_queue_oldest_age_seconds", &labels).set(lane.oldest_age);
    }
}

/// One lane of a queue.
struct Lane {
    rows: BTreeMap<String, u64>,
    oldest_age: f64,
}

impl Default for Lane {
    fn default() -> Self {
        let conditions = ["ready", "deferred", "blocked", CLAIMED];
        Self { rows: conditions.map(|condition| (condition.to_owned(), 0)).into(), oldest_age: 0.0 }
    }
}

fn depth_gauge(family: &str, priority: u32, condition: &str) -> metrics::Gauge {
    let labels = [
        ("family", family.to_owned()),
        ("priority", priority.to_string()),
        ("condition", condition.to_owned()),
    ];
    metrics::gauge!("work_queue_depth", &labels)
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    fn depth(condition: &str, rows: u64, oldest_age_seconds: f64) -> QueueDepth {
        QueueDepth {
            family: "general".into(),
            priority: 1,
            condition: condition.into(),
            rows,
            oldest_age_seconds,
            node_uuid: None,
        }
    }

    #[test]
    fn a_lane_is_as_old_as_the_oldest_that_waits_and_leadership_is_not_touched() {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            leading();
            queues(&[depth("ready", 2, 700.0), depth("claimed", 1, 900.0)]);
            let shown = recorder.handle().render();
            for line in [
                "cluster_is_leader 1",
                "cluster_lock_held{lock=\"cluster\"} 1",
                "work_queue_oldest_age_seconds{family=\"general\",priority=\"1\"} 700",
                "work_queue_depth{family=\"general\",priority=\"1\",condition=\"ready\"} 2",
                "work_queue_depth{family=\"network\",priority=\"3\",condition=\"blocked\"} 0",
            ] {
                assert!(shown.contains(line), "{line} is missing from {shown}");
            }
            queues(&[]);
            let emptied = recorder.handle().render();
            assert!(emptied.contains("condition=\"ready\"} 0") && !emptied.contains("} 700"), "{emptied}");
            standby();
            let shown = recorder.handle().render();
            assert!(shown.contains("cluster_is_leader 0"), "{shown}");
            assert!(shown.contains("cluster_lock_held{lock=\"cluster\"} 0"), "{shown}");
        });
    }
}

//! Figures that only a leader has. They are dropped on the way back to standby, so that a graph never shows two truths.

use std::time::{SystemTime, UNIX_EPOCH};

use sf_protos::operations::QueueDepth;

/// This daemon leads.
pub(crate) fn leading() {
    metrics::gauge!("cluster_is_leader").set(1.0);
}

/// This daemon stands by.
pub(crate) fn standby() {
    metrics::gauge!("cluster_is_leader").set(0.0);
    for lane in 0..4_u8 {
        for family in ["general", "network"] {
            let labels = [("family", family.to_owned()), ("priority", lane.to_string())];
            metrics::gauge!("work_queue_oldest_age_seconds", &labels).set(0.0);
            for condition in ["ready", "deferred", "blocked", "claimed"] {
                depth_gauge(family, u32::from(lane), condition).set(0.0);
            }
        }
    }
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

/// What waits in the queues of the whole cluster.
#[expect(clippy::cast_precision_loss, reason = "queue depths are far below 2^52")]
pub(crate) fn queues(depths: &[QueueDepth]) {
    standby();
    leading();
    for depth in depths {
        depth_gauge(&depth.family, depth.priority, &depth.condition).increment(depth.rows as f64);
        let labels = [("family", depth.family.clone()), ("priority", depth.priority.to_string())];
        metrics::gauge!("work_queue_oldest_age_seconds", &labels).set(depth.oldest_age_seconds);
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

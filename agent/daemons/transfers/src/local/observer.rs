//! Turns the progress of bytes on their way here into events and metrics.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;
use sf_events::{Recorder, event};
use sf_images::fetch::{FetchError, Observer};
use sf_model::event::EventType;
use sf_model::{InstanceId, ObjectType};

use super::ensure_image::with_instance;

/// A progress event at least this often while bytes arrive.
const EVERY: Duration = Duration::from_secs(30);

/// Reports one transfer.
pub(crate) struct Progress {
    events: Recorder,
    subject: (ObjectType, String),
    /// What is going on: `fetch` or `pull`.
    what: &'static str,
    instance: Option<InstanceId>,
    reported: Mutex<Reported>,
}

struct Reported {
    at: Instant,
    tenths: Option<u64>,
}

impl Progress {
    pub(crate) fn new(
        events: Recorder,
        subject: (ObjectType, String),
        what: &'static str,
        instance: Option<InstanceId>,
    ) -> Self {
        Self {
            events,
            subject,
            what,
            instance,
            reported: Mutex::new(Reported { at: Instant::now(), tenths: None }),
        }
    }

    /// Records one step. Recording never holds the bytes up.
    pub(crate) fn tell(&self, message: &str, extra: serde_json::Value) {
        let told = event(EventType::Status, message).object(self.subject.0, &self.subject.1).extra(extra);
        self.events.record_detached(with_instance(told, self.instance));
    }

    fn is_due(&self, received: u64, total: Option<u64>) -> bool {
        let tenths = total.filter(|total| *total > 0).map(|total| received.saturating_mul(10) / total);
        let mut reported = self.reported.lock();
        let due =
            reported.at.elapsed() >= EVERY || tenths.is_some_and(|now| now > reported.tenths.unwrap_or(0));
        if due {
            *reported = Reported { at: Instant::now(), tenths };
        }
        due
    }
}

impl Observer for Progress {
    fn progress(&self, received: u64, total: Option<u64>) {
        if self.is_due(received, total) {
            self.tell(&format!("{} progress", self.what), json!({ "bytes": received, "total": total }));
        }
    }

    fn retrying(&self, delay: Duration, cause: &FetchError) {
        metrics::counter!("image_fetch_retries_total", "class" => cause.class().as_str()).increment(1);
        self.tell("fetch retry scheduled", json!({ "delay": delay.as_secs(), "cause": cause.to_string() }));
    }
}

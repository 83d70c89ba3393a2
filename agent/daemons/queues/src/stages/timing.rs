//! How long each stage took.

use std::time::Instant;

use serde_json::{Map, Value, json};

/// Durations by stage, in order.
#[derive(Debug, Default)]
pub(crate) struct Timings(Vec<(&'static str, f64)>);

impl Timings {
    /// Runs a stage and notes its duration.
    pub(crate) async fn stage<T>(&mut self, name: &'static str, work: impl Future<Output = T>) -> T {
        let began = Instant::now();
        let output = work.await;
        let seconds = began.elapsed().as_secs_f64();
        metrics::histogram!("sf_instance_stage_seconds", "stage" => name).record(seconds);
        self.0.push((name, seconds));
        output
    }

    /// The stage that ran last, for the failure metric.
    pub(crate) fn last(&self) -> &'static str {
        self.0.last().map_or("guard", |(name, _)| *name)
    }

    /// For the event, seconds rounded to milliseconds.
    pub(crate) fn as_json(&self) -> Value {
        let stages = self
            .0
            .iter()
            .map(|(name, seconds)| ((*name).to_owned(), json!((seconds * 1000.0).round() / 1000.0)));
        Value::Object(stages.collect::<Map<_, _>>())
    }
}

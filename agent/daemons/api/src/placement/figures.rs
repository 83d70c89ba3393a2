//! The figures of placement (`scheduler.md` §14).

use std::time::Instant;

use http::StatusCode;
use sf_protos::instances::CreateInstanceReply;
use sf_scheduler::{Refusal, Snapshot};

use crate::error::ApiError;

/// A snapshot was read.
#[expect(clippy::cast_precision_loss, reason = "a number of nodes")]
pub(super) fn snapshot_read(snapshot: &Snapshot) {
    metrics::gauge!("sf_scheduler_snapshot_nodes").set(snapshot.nodes.len() as f64);
}

/// A decision is about to be made on a snapshot of this age.
pub(super) fn snapshot_used(read: Instant) {
    metrics::gauge!("sf_scheduler_snapshot_age_seconds").set(read.elapsed().as_secs_f64());
}

/// A decision was made.
pub(super) fn decided(began: Instant) {
    metrics::histogram!("sf_scheduler_decide_seconds").record(began.elapsed().as_secs_f64());
}

/// The admission transaction went over its candidates.
#[expect(clippy::cast_precision_loss, reason = "at most 32 candidates")]
pub(super) fn walked(began: Instant, reply: &CreateInstanceReply) {
    let placed = reply.instance.is_some();
    let length = reply.refusals.len() + usize::from(placed);
    metrics::histogram!("sf_scheduler_walk_length").record(length as f64);
    admitted(began, if placed { "placed" } else { "refused" });
    if placed {
        count("placed".to_owned());
    }
}

/// The admission transaction ended with an error.
pub(super) fn admission_failed(began: Instant, error: &ApiError) {
    admitted(began, if error.status() == StatusCode::CONFLICT { "conflict" } else { "error" });
    failed(error);
}

/// A decision could not be made or carried out.
pub(super) fn failed(error: &ApiError) {
    match error.status() {
        StatusCode::SERVICE_UNAVAILABLE => count("unavailable".to_owned()),
        StatusCode::CONFLICT => count("conflict".to_owned()),
        // The request names something that does not exist or may not be used: nothing about placement.
        _ => {}
    }
}

/// No node takes the instance.
pub(super) fn refused(account: &Refusal) {
    count(format!("refused_{}", account.stage.as_str()));
}

fn admitted(began: Instant, result: &'static str) {
    metrics::histogram!("sf_scheduler_admit_seconds", "result" => result)
        .record(began.elapsed().as_secs_f64());
}

fn count(result: String) {
    metrics::counter!("sf_scheduler_decisions_total", "result" => result).increment(1);
}

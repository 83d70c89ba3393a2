//! Brings an image from its source into the blob store. The storage service does the work and records the outcome;
//! this operation is its place in the queue.

use sf_model::{ArtifactId, InstanceId};
use sf_protos::storage_local::{FetchArtifactRequest, FetchOutcome};
use tonic::Code;

use crate::error::Stop;
use crate::queue::Job;
use crate::worker::Worker;

pub(super) async fn run(
    worker: &Worker,
    job: &Job,
    artifact: ArtifactId,
    url: &str,
    instance: Option<InstanceId>,
) -> Result<(), Stop> {
    let request = FetchArtifactRequest {
        operation_uuid: job.operation.clone(),
        artifact_uuid: artifact.to_string(),
        source_url: url.to_owned(),
        checksum: String::new(),
        instance_uuid: instance.map(|instance| instance.to_string()).unwrap_or_default(),
        namespace: job.namespace.clone().unwrap_or_default(),
    };
    let mut client = worker.storage.clone();
    // Giving the call up ends the fetch, unless another caller waits for the same image.
    let reply = match job.unless_lost(client.fetch_artifact(request)).await? {
        Ok(reply) => reply.into_inner(),
        Err(status) => return Err(storage_stop(&status, "fetch")),
    };
    match reply.outcome() {
        FetchOutcome::Failed => Err(Stop::permanent("fetch-failed", reply.message)),
        _ => Ok(()),
    }
}

/// What a failed call to the storage service means for the operation.
pub(super) fn storage_stop(status: &tonic::Status, code: &'static str) -> Stop {
    match status.code() {
        Code::Unavailable | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded => {
            Stop::defer(format!("the storage service of this node does not answer: {}", status.message()))
        }
        Code::ResourceExhausted => Stop::defer(status.message()),
        _ => Stop::permanent(code, status.message()),
    }
}

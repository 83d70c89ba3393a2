//! Asks the storage service for a hash of a blob that nobody needed so far.

use sf_model::BlobId;
use sf_protos::storage_local::RequestHashRequest;

use super::artifact_fetch::storage_stop;
use crate::error::Stop;
use crate::queue::Job;
use crate::worker::Worker;

pub(super) async fn run(worker: &Worker, job: &Job, blob: BlobId, algorithm: &str) -> Result<(), Stop> {
    let request = RequestHashRequest { blob_uuid: blob.to_string(), algorithm: algorithm.to_owned() };
    let mut client = worker.storage.clone();
    match job.unless_lost(client.request_hash(request)).await? {
        Ok(_) => Ok(()),
        Err(status) => Err(storage_stop(&status, "hash")),
    }
}

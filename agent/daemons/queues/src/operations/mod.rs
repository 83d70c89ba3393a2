//! What is done for each type of operation.

mod artifact_fetch;
mod blob_hash;
mod instance_create;
mod instance_delete;
mod instance_power;
mod instance_preflight;

use sf_model::operation::OperationArgs;

use crate::error::Stop;
use crate::queue::Job;
use crate::worker::Worker;

/// Runs one operation.
pub(crate) async fn run(worker: &Worker, job: &Job, args: &OperationArgs) -> Result<(), Stop> {
    match args {
        OperationArgs::InstancePreflight { instance, placement_seq } => {
            instance_preflight::run(worker, *instance, *placement_seq).await
        }
        OperationArgs::InstanceCreate { instance, placement_seq } => {
            instance_create::run(worker, job, *instance, *placement_seq).await
        }
        OperationArgs::InstancePower { instance, action } => {
            instance_power::run(worker, job, *instance, *action).await
        }
        OperationArgs::InstanceDelete { instance } => instance_delete::run(worker, *instance).await,
        OperationArgs::ArtifactFetch { artifact, url, instance } => {
            artifact_fetch::run(worker, job, *artifact, url, *instance).await
        }
        OperationArgs::BlobHash { blob, algorithm } => blob_hash::run(worker, job, *blob, algorithm).await,
        OperationArgs::NetOp { .. } => {
            Err(Stop::permanent("unsupported", format!("this node cannot do {}", args.operation_type())))
        }
    }
}

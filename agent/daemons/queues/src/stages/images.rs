//! Stage C2: every base image is in the cache.

use std::time::Duration;

use sf_hypervisor::disks::{DiskBase, DiskPlan, DiskRequest, plan as plan_disks};
use sf_model::BlobId;
use sf_protos::storage_local::{CacheFormat, EnsureImageReply, EnsureImageRequest};
use tonic::Code;

use super::Plan;
use crate::error::Stop;
use crate::queue::Job;
use crate::worker::Worker;

/// Pauses before further tries of an image that could not be brought here.
const RETRIES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];

/// Brings every base here and plans the disks over them.
pub(crate) async fn plan_over_images(worker: &Worker, job: &Job, plan: &Plan) -> Result<Vec<DiskPlan>, Stop> {
    let mut requests = Vec::with_capacity(plan.disks.len());
    for disk in &plan.disks {
        let base = match (disk.blob, disk.has_base) {
            (Some(blob), _) => Some(ensure(worker, job, plan, blob).await?),
            (None, true) => {
                let message = format!("the image of disk {} was never fetched", disk.position);
                return Err(Stop::permanent("image-missing", message));
            }
            (None, false) => None,
        };
        requests.push(DiskRequest {
            position: disk.position,
            bus: disk.bus,
            kind: disk.kind,
            size: disk.size,
            base,
            config_drive: disk.config_drive,
        });
    }
    let capabilities = worker.host()?.capabilities().await?;
    let machine = plan.machine;
    plan_disks(plan.instance, &requests, &worker.layout, |bus| {
        capabilities.bus_through_extension(machine, bus)
    })
    .map_err(|error| Stop::permanent("disks", error.to_string()))
}

async fn ensure(worker: &Worker, job: &Job, plan: &Plan, blob: BlobId) -> Result<DiskBase, Stop> {
    let request =
        EnsureImageRequest { blob_uuid: blob.to_string(), instance_uuid: plan.instance.to_string() };
    let mut pauses = RETRIES.iter();
    loop {
        let mut client = worker.storage.clone();
        let status = match job.unless_lost(client.ensure_image(request.clone())).await? {
            Ok(reply) => return base(blob, &reply.into_inner()),
            Err(status) => status,
        };
        let Some(pause) = pauses.next().filter(|_| is_retryable(status.code())) else {
            return Err(match status.code() {
                Code::Unavailable => {
                    Stop::defer(format!("image {blob} is not here yet: {}", status.message()))
                }
                _ => Stop::permanent("image", format!("image {blob} cannot be used: {}", status.message())),
            });
        };
        tracing::info!(%blob, status = status.message(), "the image is not here yet; trying again");
        job.unless_lost(tokio::time::sleep(*pause)).await?;
    }
}

fn is_retryable(code: Code) -> bool {
    !matches!(code, Code::InvalidArgument | Code::FailedPrecondition | Code::Unimplemented)
}

fn base(blob: BlobId, reply: &EnsureImageReply) -> Result<DiskBase, Stop> {
    let [image, backing @ ..] = reply.chain.as_slice() else {
        return Err(Stop::permanent("image", format!("the storage service knows nothing of image {blob}")));
    };
    let chain = backing
        .iter()
        .map(|image| image.blob_uuid.parse())
        .collect::<Result<Vec<BlobId>, _>>()
        .map_err(|error| Stop::permanent("image", format!("image {blob} has a broken chain: {error}")))?;
    Ok(DiskBase { blob, iso: image.format() == CacheFormat::Iso, virtual_size: image.virtual_size, chain })
}

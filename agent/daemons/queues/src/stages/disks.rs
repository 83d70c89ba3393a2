//! Stages C5 and C6: directory and disk files.

use sf_hypervisor::disks::{DiskFile, DiskPlan};
use sf_privileged::DiskOrder;
use sf_protos::privexec::DiskKind;

use super::{Plan, with_helper};
use crate::error::Stop;
use crate::queue::Job;
use crate::worker::Worker;

/// Makes the instance's directory.
pub(crate) async fn prepare_directory(worker: &Worker, job: &Job, plan: &Plan) -> Result<(), Stop> {
    let helper = worker.helper();
    with_helper(job, || helper.prepare_instance_dir(plan.instance)).await
}

/// Makes every disk file, or confirms it. A file that differs is made again only if the instance never booted.
pub(crate) async fn make_disks(
    worker: &Worker,
    job: &Job,
    plan: &Plan,
    disks: &[DiskPlan],
) -> Result<(), Stop> {
    let helper = worker.helper();
    for disk in disks {
        let (kind, blob, virtual_size) = match disk.file {
            DiskFile::Overlay(blob, size) => (DiskKind::Overlay, Some(blob), size),
            DiskFile::Flat(blob, size) => (DiskKind::Flat, Some(blob), size),
            DiskFile::Blank(size) => (DiskKind::Blank, None, size),
            DiskFile::Link(blob) => (DiskKind::Link, Some(blob), 0),
            DiskFile::ConfigDrive | DiskFile::Nothing => continue,
        };
        job.check()?;
        let order = DiskOrder {
            instance: plan.instance,
            device: disk.definition.device.clone(),
            kind,
            blob,
            virtual_size,
            replace: plan.boot_id.is_none(),
        };
        with_helper(job, || helper.create_instance_disk(&order)).await?;
    }
    Ok(())
}

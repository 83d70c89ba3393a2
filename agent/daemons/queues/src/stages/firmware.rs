//! Stage C7: firmware and its variable store.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use sf_hypervisor::domain::FirmwareDefinition;
use sf_hypervisor::firmware::{FirmwareDescriptor, FirmwarePair, FirmwareRequest, choose, installed};
use sf_model::BlobId;

use super::{Plan, with_helper};
use crate::error::Stop;
use crate::queue::Job;
use crate::worker::Worker;

/// The firmware this instance would get here, or why it cannot run here. `None`: it uses BIOS.
pub(crate) fn choose_for(worker: &Worker, plan: &Plan) -> Result<Option<FirmwarePair>, Stop> {
    if !plan.uefi {
        return Ok(None);
    }
    let descriptors: Vec<FirmwareDescriptor> = installed();
    let template = plan.nvram_blob.map(|blob| blob_path(worker, blob));
    let vars_length = template.as_deref().and_then(length);
    let request = FirmwareRequest { machine: plan.machine, secure_boot: plan.secure_boot, vars_length };
    match choose(&descriptors, request, length) {
        Some(pair) => Ok(Some(pair)),
        None if vars_length.is_some() => {
            Err(Stop::Placement("capability: nvram template does not fit any installed firmware".into()))
        }
        None => Err(Stop::Placement(format!(
            "capability: this node has no UEFI firmware for machine type {}{}",
            plan.machine,
            if plan.secure_boot { " with secure boot" } else { "" }
        ))),
    }
}

/// Copies the template as the instance's variable store; never over one that was booted with.
pub(crate) async fn install(
    worker: &Worker,
    job: &Job,
    plan: &Plan,
) -> Result<Option<FirmwareDefinition>, Stop> {
    let Some(pair) = choose_for(worker, plan)? else { return Ok(None) };
    let template = match plan.nvram_blob {
        Some(blob) => blob_path(worker, blob),
        None => pair.vars_template,
    };
    let unreadable = |error: std::io::Error| {
        Stop::permanent(
            "nvram",
            format!("the firmware template {} cannot be read: {error}", template.display()),
        )
    };
    let file = File::open(&template).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    let helper = worker.helper();
    with_helper(job, || helper.install_nvram(plan.instance, file.as_fd(), size, plan.boot_id.is_none()))
        .await?;
    let nvram = worker.layout.nvram(plan.instance);
    Ok(Some(FirmwareDefinition { code: pair.code, nvram, secure: plan.secure_boot }))
}

fn blob_path(worker: &Worker, blob: BlobId) -> PathBuf {
    let name = blob.to_string();
    let shard: String = name.chars().take(2).collect();
    worker.layout.root().join("blobs").join(shard).join(name)
}

fn length(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.len())
}

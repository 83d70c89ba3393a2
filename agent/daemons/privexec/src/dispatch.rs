//! From a typed request to its handler.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use sf_model::InstanceId;
use sf_protos::privexec as pb;
use sf_protos::privexec::reply::Result as Answer;
use sf_protos::privexec::request::Operation;

use crate::blocking::blocking;
use crate::failure::{OperationError, Outcome};
use crate::root::StorageRoot;
use crate::settings::Settings;
use crate::{console, copy, directory, disks, images, process};

/// What every handler may use.
pub(crate) struct Context {
    pub(crate) root: StorageRoot,
    pub(crate) settings: Settings,
}

/// An answer with the descriptors that travel beside it.
pub(crate) struct Handled {
    pub(crate) result: Answer,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// Largest config drive in bytes: user data is at most 3 MiB.
const CONFIG_DRIVE_MAX: u64 = 16 << 20;
/// Largest firmware variable store in bytes.
const NVRAM_MAX: u64 = 64 << 20;

/// Name of an operation and its object, for the log.
pub(crate) fn describe(operation: &Operation) -> (&'static str, String) {
    match operation {
        Operation::PrepareInstanceDir(it) => ("PrepareInstanceDir", it.instance_uuid.clone()),
        Operation::CreateInstanceDisk(it) => ("CreateInstanceDisk", it.instance_uuid.clone()),
        Operation::WriteConfigDrive(it) => ("WriteConfigDrive", it.instance_uuid.clone()),
        Operation::InstallNvram(it) => ("InstallNvram", it.instance_uuid.clone()),
        Operation::ReadConsole(it) => ("ReadConsole", it.instance_uuid.clone()),
        Operation::TruncateConsole(it) => ("TruncateConsole", it.instance_uuid.clone()),
        Operation::RemoveInstanceDir(it) => ("RemoveInstanceDir", it.instance_uuid.clone()),
        Operation::KillDomainProcess(it) => ("KillDomainProcess", it.instance_uuid.clone()),
        Operation::QemuLogTail(it) => ("QemuLogTail", it.instance_uuid.clone()),
        Operation::ListQemuLogs(it) => ("ListQemuLogs", it.after.clone()),
        Operation::RemoveQemuLogs(it) => ("RemoveQemuLogs", it.instance_uuid.clone()),
        Operation::InspectImage(it) => ("InspectImage", images::describe(it.image.as_ref())),
        Operation::ConvertImage(it) => ("ConvertImage", images::describe(it.source.as_ref())),
    }
}

/// Runs one operation. `uid` and `gid` are the caller's and own what is made for it.
pub(crate) async fn handle(
    context: Arc<Context>,
    operation: Operation,
    descriptors: Vec<OwnedFd>,
    uid: u32,
    gid: u32,
) -> Outcome<Handled> {
    match operation {
        Operation::CreateInstanceDisk(request) => {
            let made = disks::create(&context, &request).await?;
            Ok(plain(Answer::DiskCreated(made)))
        }
        Operation::InspectImage(request) => {
            let facts = images::inspect(&context, &request).await?;
            Ok(plain(Answer::ImageInspected(facts)))
        }
        Operation::ConvertImage(request) => {
            let size = images::convert(&context, &request, uid, gid).await?;
            Ok(plain(Answer::ImageConverted(pb::ImageConverted { size })))
        }
        // Everything else is short file work.
        other => blocking(move || handle_blocking(&context, other, descriptors)).await,
    }
}

fn handle_blocking(context: &Context, operation: Operation, descriptors: Vec<OwnedFd>) -> Outcome<Handled> {
    let done = || plain(Answer::Done(pb::Done {}));
    match operation {
        Operation::PrepareInstanceDir(request) => {
            directory::prepare(&context.root, instance(&request.instance_uuid)?).map(|()| done())
        }
        Operation::RemoveInstanceDir(request) => {
            directory::remove(&context.root, instance(&request.instance_uuid)?).map(|()| done())
        }
        Operation::WriteConfigDrive(request) => {
            if !sf_privileged::names::is_device(&request.device) {
                return Err(OperationError::invalid("the device name"));
            }
            let incoming = copy::Incoming::new(descriptors, request.size, CONFIG_DRIVE_MAX)?;
            let directory = context.root.instance(instance(&request.instance_uuid)?)?;
            copy::replace(&directory, &request.device, incoming)?;
            Ok(plain(Answer::FileWritten(pb::FileWritten { written: true })))
        }
        Operation::InstallNvram(request) => {
            let incoming = copy::Incoming::new(descriptors, request.size, NVRAM_MAX)?;
            let directory = context.root.instance(instance(&request.instance_uuid)?)?;
            let written = request.replace || directory.length("nvram")? != Some(request.size);
            if written {
                copy::replace(&directory, "nvram", incoming)?;
            }
            Ok(plain(Answer::FileWritten(pb::FileWritten { written })))
        }
        Operation::ReadConsole(request) => {
            let (sizes, descriptors) = console::open(&context.root, instance(&request.instance_uuid)?)?;
            Ok(Handled { result: Answer::ConsoleParts(pb::ConsoleParts { sizes }), descriptors })
        }
        Operation::TruncateConsole(request) => {
            console::truncate(&context.root, instance(&request.instance_uuid)?).map(|()| done())
        }
        Operation::KillDomainProcess(request) => {
            let killed = process::kill(&context.settings, instance(&request.instance_uuid)?)?;
            Ok(plain(Answer::ProcessKilled(pb::ProcessKilled { killed })))
        }
        Operation::QemuLogTail(request) => {
            let lines =
                process::log_tail(&context.settings, instance(&request.instance_uuid)?, request.lines)?;
            Ok(plain(Answer::LogTail(pb::LogTail { lines })))
        }
        Operation::ListQemuLogs(request) => {
            let after = Some(request.after).filter(|after| !after.is_empty());
            let after = after.map(|after| instance(&after)).transpose()?;
            let (instances, more) = process::logs(&context.settings, after)?;
            let instance_uuids = instances.iter().map(ToString::to_string).collect();
            Ok(plain(Answer::QemuLogs(pb::QemuLogs { instance_uuids, more })))
        }
        Operation::RemoveQemuLogs(request) => {
            process::remove_logs(&context.settings, instance(&request.instance_uuid)?).map(|()| done())
        }
        Operation::CreateInstanceDisk(_) | Operation::InspectImage(_) | Operation::ConvertImage(_) => {
            Err(OperationError::invalid("the operation"))
        }
    }
}

fn plain(result: Answer) -> Handled {
    Handled { result, descriptors: Vec::new() }
}

pub(crate) fn instance(text: &str) -> Outcome<InstanceId> {
    text.parse().map_err(|_| OperationError::invalid("the instance uuid"))
}

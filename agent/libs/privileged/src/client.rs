//! The client: one connection per call, so that giving up a call ends what the helper does for it.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use sf_model::{BlobId, InstanceId};
use sf_protos::privexec as pb;
use sf_protos::privexec::reply::Result as Answer;
use sf_protos::privexec::request::Operation;
use tokio::net::UnixStream;

use crate::error::PrivilegedError;
use crate::frame;

/// What every operation but image conversion gets.
const DEADLINE: Duration = Duration::from_secs(30);
/// Conversion gets at least this long, and else one second per [`CONVERT_BYTES_PER_SECOND`].
const CONVERT_DEADLINE: u64 = 900;
const CONVERT_BYTES_PER_SECOND: u64 = 16 << 20;
/// Beyond the helper's own limit, so that its explanation arrives.
const GRACE: u64 = 30;

/// A way to the root helper of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PrivexecClient {
    socket: PathBuf,
    request_id: String,
}

/// A disk file to make.
#[derive(Debug, Clone)]
pub struct DiskOrder {
    /// The instance.
    pub instance: InstanceId,
    /// Device name.
    pub device: String,
    /// How it comes into being.
    pub kind: pb::DiskKind,
    /// Base image, for all kinds but blank.
    pub blob: Option<BlobId>,
    /// Virtual size in bytes.
    pub virtual_size: u64,
    /// The instance never booted, so a file of another shape may be thrown away.
    pub replace: bool,
}

/// A disk that is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskOutcome {
    /// False when a matching file was there before.
    pub created: bool,
    /// Virtual size in its header, bytes.
    pub virtual_size: u64,
}

/// What the image tool said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageFacts {
    /// Bytes a guest would see.
    pub virtual_size: u64,
    /// Bytes allocated on disk.
    pub actual_size: u64,
    /// Cluster size in bytes, 0 if the format has none.
    pub cluster_size: u64,
}

/// One open part of a console log.
#[derive(Debug)]
pub struct ConsolePart {
    /// Open for reading at its start.
    pub file: File,
    /// Its length when it was opened; it may have grown since.
    pub size: u64,
}

impl PrivexecClient {
    /// A client of the helper behind `socket`. Nothing is connected yet.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), request_id: String::new() }
    }

    /// The same client, naming `request_id` in the helper's log.
    pub fn for_request(&self, request_id: &str) -> Self {
        Self { socket: self.socket.clone(), request_id: request_id.chars().take(128).collect() }
    }

    /// Makes the instance's directory, or repairs its owner and mode.
    ///
    /// # Errors
    /// As all methods here: [`PrivilegedError`] says what to do.
    pub async fn prepare_instance_dir(&self, instance: InstanceId) -> Result<(), PrivilegedError> {
        let operation = pb::PrepareInstanceDir { instance_uuid: instance.to_string() };
        self.done(Operation::PrepareInstanceDir(operation)).await
    }

    /// Makes a disk file, or confirms that the right one is there.
    pub async fn create_instance_disk(&self, order: &DiskOrder) -> Result<DiskOutcome, PrivilegedError> {
        let operation = Operation::CreateInstanceDisk(pb::CreateInstanceDisk {
            instance_uuid: order.instance.to_string(),
            device: order.device.clone(),
            kind: order.kind.into(),
            blob_uuid: order.blob.map(|blob| blob.to_string()).unwrap_or_default(),
            virtual_size: order.virtual_size,
            replace: order.replace,
        });
        let deadline = match order.kind {
            pb::DiskKind::Flat => convert_deadline(order.virtual_size),
            _ => DEADLINE,
        };
        match self.call(operation, &[], deadline).await? {
            (Answer::DiskCreated(disk), _) => {
                Ok(DiskOutcome { created: disk.created, virtual_size: disk.virtual_size })
            }
            _ => Err(PrivilegedError::Protocol),
        }
    }

    /// Writes the whole of `content` as the instance's config drive.
    pub async fn write_config_drive(
        &self,
        instance: InstanceId,
        device: &str,
        content: BorrowedFd<'_>,
        size: u64,
    ) -> Result<(), PrivilegedError> {
        let (instance_uuid, device) = (instance.to_string(), device.to_owned());
        let operation = Operation::WriteConfigDrive(pb::WriteConfigDrive { instance_uuid, device, size });
        match self.call(operation, &[content], DEADLINE).await? {
            (Answer::FileWritten(_), _) => Ok(()),
            _ => Err(PrivilegedError::Protocol),
        }
    }

    /// Copies `template` as the instance's firmware variables. False: a file of that size was there and stays.
    pub async fn install_nvram(
        &self,
        instance: InstanceId,
        template: BorrowedFd<'_>,
        size: u64,
        replace: bool,
    ) -> Result<bool, PrivilegedError> {
        let operation = pb::InstallNvram { instance_uuid: instance.to_string(), size, replace };
        match self.call(Operation::InstallNvram(operation), &[template], DEADLINE).await? {
            (Answer::FileWritten(file), _) => Ok(file.written),
            _ => Err(PrivilegedError::Protocol),
        }
    }

    /// Opens the console log, oldest part first; empty when there is none.
    pub async fn read_console(&self, instance: InstanceId) -> Result<Vec<ConsolePart>, PrivilegedError> {
        let operation = Operation::ReadConsole(pb::ReadConsole { instance_uuid: instance.to_string() });
        match self.call(operation, &[], DEADLINE).await? {
            (Answer::ConsoleParts(parts), files) if parts.sizes.len() == files.len() => Ok(files
                .into_iter()
                .zip(parts.sizes)
                .map(|(file, size)| ConsolePart { file: File::from(file), size })
                .collect()),
            _ => Err(PrivilegedError::Protocol),
        }
    }

    /// Empties the console log in place and removes its rotated parts.
    pub async fn truncate_console(&self, instance: InstanceId) -> Result<(), PrivilegedError> {
        let operation = pb::TruncateConsole { instance_uuid: instance.to_string() };
        self.done(Operation::TruncateConsole(operation)).await
    }

    /// Removes the instance's directory; absent is success.
    pub async fn remove_instance_dir(&self, instance: InstanceId) -> Result<(), PrivilegedError> {
        let operation = pb::RemoveInstanceDir { instance_uuid: instance.to_string() };
        self.done(Operation::RemoveInstanceDir(operation)).await
    }

    /// Kills the instance's QEMU process. False: there was none.
    pub async fn kill_domain_process(&self, instance: InstanceId) -> Result<bool, PrivilegedError> {
        let operation = pb::KillDomainProcess { instance_uuid: instance.to_string() };
        match self.call(Operation::KillDomainProcess(operation), &[], DEADLINE).await? {
            (Answer::ProcessKilled(process), _) => Ok(process.killed),
            _ => Err(PrivilegedError::Protocol),
        }
    }

    /// The last lines of the domain's QEMU log, at most 100.
    pub async fn qemu_log_tail(
        &self,
        instance: InstanceId,
        lines: u32,
    ) -> Result<Vec<String>, PrivilegedError> {
        let operation = pb::QemuLogTail { instance_uuid: instance.to_string(), lines };
        match self.call(Operation::QemuLogTail(operation), &[], DEADLINE).await? {
            (Answer::LogTail(tail), _) => Ok(tail.lines),
            _ => Err(PrivilegedError::Protocol),
        }
    }

    /// Instances of whose domains libvirt has kept QEMU logs, in order, and whether there are more after them.
    pub async fn list_qemu_logs(
        &self,
        after: Option<InstanceId>,
    ) -> Result<(Vec<InstanceId>, bool), PrivilegedError> {
        let after = after.map(|after| after.to_string()).unwrap_or_default();
        match self.call(Operation::ListQemuLogs(pb::ListQemuLogs { after }), &[], DEADLINE).await? {
            (Answer::QemuLogs(logs), _) => {
                let instances: Result<_, _> = logs.instance_uuids.iter().map(|uuid| uuid.parse()).collect();
                Ok((instances.map_err(|_| PrivilegedError::Protocol)?, logs.more))
            }
            _ => Err(PrivilegedError::Protocol),
        }
    }

    /// Removes the QEMU logs of a domain that does not run; absent is success.
    pub async fn remove_qemu_logs(&self, instance: InstanceId) -> Result<(), PrivilegedError> {
        let operation = pb::RemoveQemuLogs { instance_uuid: instance.to_string() };
        self.done(Operation::RemoveQemuLogs(operation)).await
    }

    /// What the image tool says about a file of the given format.
    pub async fn inspect_image(
        &self,
        image: pb::image_file::Place,
        format: pb::ImageFormat,
    ) -> Result<ImageFacts, PrivilegedError> {
        let image = Some(pb::ImageFile { place: Some(image) });
        let operation = Operation::InspectImage(pb::InspectImage { image, format: format.into() });
        match self.call(operation, &[], DEADLINE + Duration::from_secs(GRACE)).await? {
            (Answer::ImageInspected(facts), _) => Ok(ImageFacts {
                virtual_size: facts.virtual_size,
                actual_size: facts.actual_size,
                cluster_size: facts.cluster_size,
            }),
            _ => Err(PrivilegedError::Protocol),
        }
    }

    /// Converts an image to a standard disk base of at most `output_limit` bytes of data in staging. Answers the new file's length in bytes; it belongs to
    /// this process's user. Dropping the future stops the conversion.
    pub async fn convert_image(
        &self,
        source: pb::image_file::Place,
        source_format: pb::ImageFormat,
        target: pb::StagedFile,
        virtual_size: u64,
        output_limit: u64,
    ) -> Result<u64, PrivilegedError> {
        let operation = Operation::ConvertImage(pb::ConvertImage {
            source: Some(pb::ImageFile { place: Some(source) }),
            source_format: source_format.into(),
            target: Some(target),
            virtual_size,
            output_limit,
        });
        match self.call(operation, &[], convert_deadline(virtual_size)).await? {
            (Answer::ImageConverted(image), _) => Ok(image.size),
            _ => Err(PrivilegedError::Protocol),
        }
    }

    async fn done(&self, operation: Operation) -> Result<(), PrivilegedError> {
        match self.call(operation, &[], DEADLINE).await? {
            (Answer::Done(_), _) => Ok(()),
            _ => Err(PrivilegedError::Protocol),
        }
    }

    async fn call(
        &self,
        operation: Operation,
        descriptors: &[BorrowedFd<'_>],
        deadline: Duration,
    ) -> Result<(Answer, Vec<OwnedFd>), PrivilegedError> {
        let request = pb::Request { request_id: self.request_id.clone(), operation: Some(operation) };
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let exchange = async {
            let stream = UnixStream::connect(&self.socket).await?;
            frame::send(&stream, &request, &descriptors).await?;
            frame::receive::<pb::Reply>(&stream).await
        };
        let unavailable =
            |source| PrivilegedError::Unavailable { socket: self.socket.display().to_string(), source };
        let reply = tokio::time::timeout(deadline, exchange)
            .await
            .map_err(|_| PrivilegedError::Timeout { seconds: deadline.as_secs() })?
            .map_err(unavailable)?;
        match reply {
            Some((pb::Reply { result: Some(Answer::Failure(failure)) }, _)) => {
                Err(PrivilegedError::Failed { code: failure.code(), message: failure.message })
            }
            Some((pb::Reply { result: Some(answer) }, received)) => Ok((answer, received)),
            Some((pb::Reply { result: None }, _)) => Err(PrivilegedError::Protocol),
            None => Err(unavailable(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

fn convert_deadline(virtual_size: u64) -> Duration {
    Duration::from_secs(CONVERT_DEADLINE.max(virtual_size / CONVERT_BYTES_PER_SECOND) + GRACE)
}

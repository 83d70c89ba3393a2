//! Inspecting and converting images with the image tool.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, User, fchown};
use sf_model::{BlobId, UploadId};
use sf_privileged::names::{format_name, staging_prefix};
use sf_protos::privexec as pb;
use sf_protos::privexec::image_file::Place;

use crate::blocking::make_durable;
use crate::dispatch::Context;
use crate::failure::{Doing, OperationError, Outcome};
use crate::sandbox::{self, Tool, child_path};

/// Largest disk of this cloud: 64 TiB.
const VIRTUAL_MAX: u64 = 64 << 40;
const INSPECT_SECONDS: u64 = 30;
/// Conversion gets at least this long, and else a second per this many bytes.
const CONVERT_SECONDS: u64 = 900;
const CONVERT_BYTES_PER_SECOND: u64 = 16 << 20;
/// Metadata of an empty image beside its data.
const OVERHEAD: u64 = 64 << 20;

/// A file as the log shows it.
pub(crate) fn describe(file: Option<&pb::ImageFile>) -> String {
    match file.and_then(|file| file.place.as_ref()) {
        Some(Place::BlobUuid(uuid)) => format!("blob {uuid}"),
        Some(Place::Staged(staged)) => format!("staged {}", staged.uuid),
        Some(Place::UploadUuid(uuid)) => format!("upload {uuid}"),
        Some(Place::CachedUuid(uuid)) => format!("cached {uuid}"),
        None => String::new(),
    }
}

/// What the tool says about an image.
pub(crate) async fn inspect(context: &Context, request: &pb::InspectImage) -> Outcome<pb::ImageInspected> {
    let format = format_name(request.format()).ok_or_else(|| OperationError::invalid("the image format"))?;
    let file = open(context, request.image.as_ref())?;
    let _readable = Readable::new(&file)?;
    let user = sandbox::user(&context.settings.image_users);
    let arguments = ["info".into(), "--output=json".into(), "--image-opts".into(), image_options(format, 0)];
    let tool = Tool {
        program: &context.settings.qemu_img,
        arguments: &arguments,
        files: &[&file],
        user: user.as_ref(),
        cpu_seconds: INSPECT_SECONDS,
        file_size: 0,
        wall: Duration::from_secs(INSPECT_SECONDS),
    };
    let output = sandbox::run(&tool).await?;
    facts(&output)
        .ok_or_else(|| OperationError::new(pb::FailureCode::Tool, "the image tool's answer is not readable"))
}

/// Converts an image into staging; answers the length of the new file, which belongs to the caller.
pub(crate) async fn convert(
    context: &Context,
    request: &pb::ConvertImage,
    uid: u32,
    gid: u32,
) -> Outcome<u64> {
    let format =
        format_name(request.source_format()).ok_or_else(|| OperationError::invalid("the image format"))?;
    let name = staged_name(request.target.as_ref())?;
    let source = open(context, request.source.as_ref())?;
    let directory = context.root.directory();
    let target = directory.create(&name).doing("make the converted file")?;
    let converted = async {
        // Proto3 knows no absent number: a caller of the release before sends none.
        let output_limit = if request.output_limit == 0 { u64::MAX } else { request.output_limit };
        let limits = (request.virtual_size, output_limit);
        run_convert(context, &source, format, &target, limits).await?;
        fchown(target.as_fd(), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .doing("hand the file over")?;
        fchmod(target.as_fd(), Mode::from_bits_truncate(0o640)).doing("set the file's mode")?;
        make_durable(&target).await?;
        Ok(target.metadata().doing("measure the file")?.len())
    };
    // A caller that goes away leaves nothing behind.
    let guard = RemoveUnlessDone { context, name: &name, done: false };
    let size = converted.await?;
    guard.done();
    Ok(size)
}

/// Converts `source`, of a virtual size, into the empty file `target`: standalone, uncompressed, standard clusters, and no more
/// bytes of data than the limit.
pub(crate) async fn run_convert(
    context: &Context,
    source: &File,
    format: &str,
    target: &File,
    (virtual_size, output_limit): (u64, u64),
) -> Outcome<()> {
    if virtual_size == 0 || virtual_size > VIRTUAL_MAX {
        return Err(OperationError::invalid("the virtual size"));
    }
    let _readable = Readable::new(source)?;
    let user = sandbox::user(&context.settings.image_users);
    give_to(target, user.as_ref())?;
    let seconds = CONVERT_SECONDS.max(virtual_size / CONVERT_BYTES_PER_SECOND);
    let arguments = [
        "convert".into(),
        "--image-opts".into(),
        image_options(format, 0),
        "-O".into(),
        "qcow2".into(),
        "-o".into(),
        "cluster_size=2097152,compat=1.1".into(),
        child_path(1),
    ];
    let tool = Tool {
        program: &context.settings.qemu_img,
        arguments: &arguments,
        files: &[source, target],
        user: user.as_ref(),
        cpu_seconds: seconds,
        file_size: output_limit.min(virtual_size.saturating_add(virtual_size / 10)).saturating_add(OVERHEAD),
        wall: Duration::from_secs(seconds),
    };
    sandbox::run(&tool).await.map(drop)
}

/// Grows a standalone image to `virtual_size`.
pub(crate) async fn grow(context: &Context, target: &File, virtual_size: u64) -> Outcome<()> {
    let user = sandbox::user(&context.settings.image_users);
    give_to(target, user.as_ref())?;
    let arguments =
        ["resize".into(), "--image-opts".into(), image_options("qcow2", 0), virtual_size.to_string()];
    let tool = Tool {
        program: &context.settings.qemu_img,
        arguments: &arguments,
        files: &[target],
        user: user.as_ref(),
        cpu_seconds: INSPECT_SECONDS,
        file_size: virtual_size.saturating_add(OVERHEAD),
        wall: Duration::from_secs(INSPECT_SECONDS),
    };
    sandbox::run(&tool).await.map(drop)
}

/// The tool opens exactly this file, as exactly this format, and never anything a header names.
fn image_options(format: &str, index: usize) -> String {
    let backing = if format == "qcow2" || format == "qed" { ",backing=" } else { "" };
    format!("driver={format},file.driver=file,file.locking=off,file.filename={}{backing}", child_path(index))
}

/// The tool opens its output anew through `/proc`, for which it must own it.
fn give_to(target: &File, user: Option<&User>) -> Outcome<()> {
    match user {
        Some(user) => {
            fchown(target.as_fd(), Some(user.uid), Some(user.gid)).doing("lend the file to the image tool")
        }
        None => Ok(()),
    }
}

fn open(context: &Context, file: Option<&pb::ImageFile>) -> Outcome<File> {
    let invalid = || OperationError::invalid("the image's uuid");
    let name = match file.and_then(|file| file.place.as_ref()) {
        Some(Place::BlobUuid(text)) => {
            let blob = text.parse::<BlobId>().map_err(|_| invalid())?.to_string();
            format!("blobs/{}/{blob}", blob.chars().take(2).collect::<String>())
        }
        Some(Place::Staged(staged)) => staged_name(Some(staged))?,
        Some(Place::UploadUuid(text)) => {
            format!("uploads/{}.data", text.parse::<UploadId>().map_err(|_| invalid())?)
        }
        Some(Place::CachedUuid(text)) => cached_name(text, "qcow2")?,
        None => return Err(invalid()),
    };
    context.root.directory().read(&name).doing("open the image")
}

/// Name of a cached image below the storage root.
pub(crate) fn cached_name(blob: &str, extension: &str) -> Outcome<String> {
    let blob: BlobId = blob.parse().map_err(|_| OperationError::invalid("the blob uuid"))?;
    Ok(format!("image_cache/{blob}.{extension}"))
}

fn staged_name(staged: Option<&pb::StagedFile>) -> Outcome<String> {
    let invalid = || OperationError::invalid("the staged file");
    let staged = staged.ok_or_else(invalid)?;
    let prefix = staging_prefix(staged.purpose()).ok_or_else(invalid)?;
    let uuid = sf_model::id::parse_hyphenated(&staged.uuid).ok_or_else(invalid)?;
    Ok(format!("blobs/.staging/{prefix}-{uuid}.partial"))
}

fn facts(output: &[u8]) -> Option<pb::ImageInspected> {
    let value: serde_json::Value = serde_json::from_slice(output).ok()?;
    let number = |name: &str| value.get(name).and_then(serde_json::Value::as_u64);
    Some(pb::ImageInspected {
        virtual_size: number("virtual-size")?,
        actual_size: number("actual-size").unwrap_or(0),
        cluster_size: number("cluster-size").unwrap_or(0),
    })
}

/// While it lives, the image tool's user may read the file. Its directory keeps everybody else out.
struct Readable<'a> {
    file: &'a File,
    restore: Option<u32>,
}

impl<'a> Readable<'a> {
    fn new(file: &'a File) -> Outcome<Self> {
        let mode = file.metadata().doing("look at the image")?.mode() & 0o7777;
        let restore = (mode & 0o004 == 0).then_some(mode);
        if restore.is_some() {
            fchmod(file.as_fd(), Mode::from_bits_truncate(mode | 0o004))
                .doing("lend the image to the tool")?;
        }
        Ok(Self { file, restore })
    }
}

impl Drop for Readable<'_> {
    fn drop(&mut self) {
        if let Some(mode) = self.restore {
            let _ = fchmod(self.file.as_fd(), Mode::from_bits_truncate(mode));
        }
    }
}

/// Removes a half-made file when its maker fails or is dropped.
struct RemoveUnlessDone<'a> {
    context: &'a Context,
    name: &'a str,
    done: bool,
}

impl RemoveUnlessDone<'_> {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for RemoveUnlessDone<'_> {
    fn drop(&mut self) {
        if !self.done {
            let _ = self.context.root.directory().remove_file(self.name);
        }
    }
}

//! Disk files of instances.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Gid, Uid, fchown, linkat};
use sf_privileged::names::is_device;
use sf_protos::privexec::{CreateInstanceDisk, DiskCreated, DiskKind, FailureCode};

use crate::blocking::make_durable;
use crate::dispatch::{Context, instance};
use crate::failure::{Doing, OperationError, Outcome};
use crate::images::{cached_name, grow, run_convert};
use crate::qcow2::{self, Header};
use crate::root::Directory;

/// Bytes that hold any header with its backing file name.
const HEADER_BYTES: u64 = 64 * 1024;

/// Makes a disk file, or confirms the one that is there.
pub(crate) async fn create(context: &Context, request: &CreateInstanceDisk) -> Outcome<DiskCreated> {
    if !is_device(&request.device) {
        return Err(OperationError::invalid("the device name"));
    }
    let directory = context.root.instance(instance(&request.instance_uuid)?)?;
    match request.kind() {
        DiskKind::Unspecified => Err(OperationError::invalid("the kind of disk")),
        DiskKind::Link => link(context, request, &directory),
        kind => create_qcow2(context, request, &directory, kind).await,
    }
}

async fn create_qcow2(
    context: &Context,
    request: &CreateInstanceDisk,
    directory: &Directory,
    kind: DiskKind,
) -> Outcome<DiskCreated> {
    let base = match kind {
        DiskKind::Blank => None,
        _ => Some(Base::open(context, request)?),
    };
    let backing = match (&base, kind) {
        (Some(base), DiskKind::Overlay) => Some(base.path.clone()),
        _ => None,
    };
    let wanted = Header {
        virtual_size: request.virtual_size,
        backing_format: backing.as_ref().map(|_| "qcow2".to_owned()),
        backing,
    };
    if let Some(done) = confirm(directory, request, &wanted)? {
        return Ok(done);
    }
    let draft = format!("{}.new", request.device);
    let file = directory.create(&draft).doing("make the disk")?;
    let made = match (&base, kind) {
        (Some(base), DiskKind::Flat) => copy_base(context, base, &file, request.virtual_size).await,
        _ => write_empty(&file, &wanted).await,
    };
    let placed = made.and_then(|()| directory.rename(&draft, &request.device).doing("put the disk in place"));
    if let Err(error) = placed {
        let _ = directory.remove_file(&draft);
        return Err(error);
    }
    Ok(DiskCreated { created: true, virtual_size: request.virtual_size })
}

/// The cached image a disk starts from.
struct Base {
    path: String,
    file: File,
    virtual_size: u64,
}

impl Base {
    fn open(context: &Context, request: &CreateInstanceDisk) -> Outcome<Self> {
        let name = cached_name(&request.blob_uuid, "qcow2")?;
        let file = context.root.directory().read(&name).doing("open the cached image")?;
        let header = header_of(&file)?
            .ok_or_else(|| OperationError::new(FailureCode::Mismatch, "the cached image is not qcow2"))?;
        if header.virtual_size > request.virtual_size {
            return Err(OperationError::invalid("a size below that of the base"));
        }
        let path = context.root.path().join(&name).to_string_lossy().into_owned();
        Ok(Self { path, file, virtual_size: header.virtual_size })
    }
}

/// Whether the right file is there already. An error: another one is, and may not be replaced.
fn confirm(
    directory: &Directory,
    request: &CreateInstanceDisk,
    wanted: &Header,
) -> Outcome<Option<DiskCreated>> {
    if directory.length(&request.device)?.is_none() {
        return Ok(None);
    }
    let file = directory.read(&request.device).doing("open the disk")?;
    if header_of(&file)?.as_ref() == Some(wanted) {
        return Ok(Some(DiskCreated { created: false, virtual_size: wanted.virtual_size }));
    }
    if request.replace {
        return Ok(None);
    }
    let message = format!("disk {} exists with other contents and is not overwritten", request.device);
    Err(OperationError::new(FailureCode::Mismatch, message))
}

fn header_of(file: &File) -> Outcome<Option<Header>> {
    let mut bytes = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut bytes).doing("read the disk's header")?;
    Ok(qcow2::parse(&bytes))
}

async fn write_empty(file: &File, wanted: &Header) -> Outcome<()> {
    let draft = qcow2::empty(wanted.virtual_size, wanted.backing.as_deref())
        .ok_or_else(|| OperationError::invalid("the disk's size"))?;
    file.set_len(draft.length).doing("size the disk")?;
    for (offset, piece) in &draft.pieces {
        file.write_all_at(piece, *offset).doing("write the disk")?;
    }
    make_durable(file).await
}

async fn copy_base(context: &Context, base: &Base, file: &File, virtual_size: u64) -> Outcome<()> {
    run_convert(context, &base.file, "qcow2", file, (base.virtual_size, u64::MAX)).await?;
    if virtual_size > base.virtual_size {
        grow(context, file, virtual_size).await?;
    }
    // Back from the tool's user: libvirt gives it to QEMU's when the guest starts.
    if Uid::effective().is_root() {
        fchown(file.as_fd(), Some(Uid::from_raw(0)), Some(Gid::from_raw(0))).doing("own the disk")?;
    }
    fchmod(file.as_fd(), Mode::from_bits_truncate(0o600)).doing("set the disk's mode")?;
    make_durable(file).await
}

/// A disc is a hard link of the cached image: never written, never resized.
fn link(context: &Context, request: &CreateInstanceDisk, directory: &Directory) -> Outcome<DiskCreated> {
    let name = cached_name(&request.blob_uuid, "iso")?;
    let root = context.root.directory();
    let source = root
        .status(&name)
        .doing("look at the cached image")?
        .ok_or_else(|| OperationError::new(FailureCode::Missing, "the cached image is not there"))?;
    let size = u64::try_from(source.st_size).unwrap_or(0);
    if let Some(existing) = directory.status(&request.device).doing("look at the disc")? {
        if (existing.st_dev, existing.st_ino) == (source.st_dev, source.st_ino) {
            return Ok(DiskCreated { created: false, virtual_size: size });
        }
        if !request.replace {
            return Err(OperationError::new(
                FailureCode::Mismatch,
                "another disc is there and is not replaced",
            ));
        }
    }
    let draft = format!("{}.new", request.device);
    directory.remove_file(&draft).doing("remove a stale draft")?;
    linkat(root.descriptor(), name.as_str(), directory.descriptor(), draft.as_str(), AtFlags::empty())
        .doing("link the disc")?;
    directory.rename(&draft, &request.device).doing("put the disc in place")?;
    Ok(DiskCreated { created: true, virtual_size: size })
}

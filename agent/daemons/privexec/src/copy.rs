//! Files whose content arrives as a descriptor.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use crate::failure::{Doing, OperationError, Outcome};
use crate::root::Directory;

/// Content a caller handed over.
pub(crate) struct Incoming {
    file: File,
    size: u64,
}

impl Incoming {
    /// Accepts exactly one regular file of the announced length.
    pub(crate) fn new(descriptors: Vec<OwnedFd>, size: u64, limit: u64) -> Outcome<Self> {
        let [descriptor]: [OwnedFd; 1] = descriptors
            .try_into()
            .map_err(|_| OperationError::invalid("a request without exactly one descriptor"))?;
        let mut file = File::from(descriptor);
        let metadata = file.metadata().doing("look at the passed descriptor")?;
        let regular = metadata.mode() & libc::S_IFMT == libc::S_IFREG;
        if !regular || metadata.len() != size || size > limit {
            return Err(OperationError::invalid("the passed descriptor"));
        }
        file.rewind().doing("rewind the passed descriptor")?;
        Ok(Self { file, size })
    }
}

/// Writes the content under `name`, whole or not at all.
pub(crate) fn replace(directory: &Directory, name: &str, incoming: Incoming) -> Outcome<()> {
    let draft = format!("{name}.new");
    let written = write(directory, &draft, incoming)
        .and_then(|()| directory.rename(&draft, name).doing("put the file in place"));
    if written.is_err() {
        let _ = directory.remove_file(&draft);
    }
    written
}

fn write(directory: &Directory, draft: &str, incoming: Incoming) -> Outcome<()> {
    let mut target = directory.create(draft).doing("make the file")?;
    let copied = io::copy(&mut incoming.file.take(incoming.size), &mut target).doing("write the file")?;
    if copied != incoming.size {
        return Err(OperationError::invalid("a descriptor that shrank while it was read"));
    }
    target.sync_data().doing("make the file durable")
}

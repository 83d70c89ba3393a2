//! What can go wrong with bytes on disk.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use sf_model::BlobId;

use crate::hashing::Algorithm;

/// An error of the blob store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed. `step` names it, so that the report says where in the sequence it was.
    #[error("cannot {step} {path}: {source}")]
    Io {
        /// What was being done, as a verb.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The store was written by a newer program.
    #[error(
        "the store at {root} has layout {found}, this program knows layouts up to {known}: upgrade this node"
    )]
    LayoutTooNew {
        /// Where the store is.
        root: PathBuf,
        /// The number in its `layout` file.
        found: u32,
        /// The newest number this program knows.
        known: u32,
    },
    /// The `layout` file holds something that is not a number.
    #[error("{path} does not hold a layout number: restore it (the current layout is 1) or empty the store")]
    LayoutUnreadable {
        /// The file.
        path: PathBuf,
    },
    /// Two directories that must share a file system do not.
    #[error(
        "{first} and {second} are on different file systems: rename between them is not atomic, put them on one"
    )]
    SplitFileSystem {
        /// One directory.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Another program writes to this store.
    #[error("another storage service uses the store at {root}: only one may run")]
    InUse {
        /// Where the store is.
        root: PathBuf,
    },
    /// The bytes that arrived are not as many as were announced.
    #[error("expected {expected} bytes and got {found}")]
    WrongSize {
        /// Announced size.
        expected: u64,
        /// Size on disk.
        found: u64,
    },
    /// The bytes that arrived are not the announced ones.
    #[error("{algorithm} is {found} where {expected} was expected")]
    WrongDigest {
        /// The hash function.
        algorithm: Algorithm,
        /// The announced value.
        expected: String,
        /// The computed value.
        found: String,
    },
    /// The blob has no replica on this node.
    #[error("blob {0} is not on this node")]
    NotHere(BlobId),
    /// A resume journal cannot be read.
    #[error("the journal {path} cannot be read: {reason}")]
    BadJournal {
        /// The journal.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// The producer went away before it was done.
    #[error("the source ended after {received} bytes before its announced end")]
    EndedEarly {
        /// Bytes that did arrive.
        received: u64,
    },
    /// More bytes came than are allowed.
    #[error("more than the permitted {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// There is no room and none may be taken.
    #[error(
        "not enough free space: {needed} bytes are needed and {available} are available above the reservation"
    )]
    NoSpace {
        /// Bytes the caller wants to write.
        needed: u64,
        /// Bytes it may write.
        available: u64,
    },
    /// A worker thread ended without an answer.
    #[error("the {0} thread ended unexpectedly")]
    ThreadGone(&'static str),
}

impl StoreError {
    /// Wraps an I/O error with the step it happened in.
    pub fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { step, path: path.to_owned(), source }
    }

    /// Wraps an errno with the step it happened in.
    pub fn errno(step: &'static str, path: &Path) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::Io { step, path: path.to_owned(), source: errno.into() }
    }

    /// True when the file system is full (or its quota is).
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::NoSpace { .. } => true,
            _ => false,
        }
    }
}

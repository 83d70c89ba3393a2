//! What can go wrong with a client upload, in the terms of the API.

use crate::error::StoreError;

/// An error of an upload.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Another request is writing to it.
    #[error("another request is writing to this upload: try again")]
    Busy,
    /// Its bytes are gone.
    #[error("the bytes of this upload are gone: start a new one")]
    Lost,
    /// The client and the node disagree about how much has arrived.
    #[error("this upload holds {size} bytes: truncate it or continue there")]
    OffsetMismatch {
        /// Bytes that are in the file.
        size: u64,
    },
    /// A truncation beyond the end.
    #[error("this upload holds only {size} bytes")]
    BeyondEnd {
        /// Bytes that are in the file.
        size: u64,
    },
    /// The chunk or the whole is larger than permitted.
    #[error("more than the permitted {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The request ended before its body did; nothing of it was kept.
    #[error("the request ended after {received} bytes of its body; nothing of it was kept")]
    Cut {
        /// Bytes of the body that did arrive.
        received: u64,
    },
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UploadError {
    /// The stable code of the API error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Busy => "upload_busy",
            Self::Lost => "upload_lost",
            Self::OffsetMismatch { .. } => "offset_mismatch",
            Self::BeyondEnd { .. } => "beyond_end",
            Self::TooLarge { .. } => "too_large",
            Self::Cut { .. } => "body_cut",
            Self::Store(_) => "storage_failed",
        }
    }
}

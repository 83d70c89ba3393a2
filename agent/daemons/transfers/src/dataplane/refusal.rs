//! Answers that are not what was asked for: a status and a body of one form.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::RETRY_AFTER;
use sf_blobs::StoreError;
use sf_blobs::token::TokenError;
use sf_blobs::uploads::UploadError;
use sf_blobs::wire::Refusal;

use crate::error::WorkError;

/// A refused request.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    body: Refusal,
    retry_after: Option<u32>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &str, error: impl ToString) -> Self {
        let body = Refusal { error: error.to_string(), code: code.to_owned(), size: None };
        Self { status, body, retry_after: None }
    }

    /// The client should come back.
    pub(super) fn later(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    fn with_size(mut self, size: u64) -> Self {
        self.body.size = Some(size);
        self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<TokenError> for Refused {
    fn from(error: TokenError) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "bad_token", error)
    }
}

impl From<UploadError> for Refused {
    fn from(error: UploadError) -> Self {
        let code = error.code();
        match error {
            UploadError::Busy | UploadError::Lost => Self::new(StatusCode::CONFLICT, code, error),
            UploadError::OffsetMismatch { size } => {
                Self::new(StatusCode::CONFLICT, code, error).with_size(size)
            }
            UploadError::BeyondEnd { size } => {
                Self::new(StatusCode::BAD_REQUEST, code, error).with_size(size)
            }
            UploadError::Cut { .. } => Self::new(StatusCode::BAD_REQUEST, code, error),
            UploadError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, code, error),
            UploadError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::NotHere(_) => Self::new(StatusCode::NOT_FOUND, "not_here", error),
            _ if error.is_disk_full() => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "insufficient_space", error)
            }
            _ => {
                // The path and errno are for the operator's log.
                tracing::error!(%error, "a storage request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "storage_failed", "the node's storage failed")
            }
        }
    }
}

impl From<WorkError> for Refused {
    fn from(error: WorkError) -> Self {
        match &error {
            WorkError::Unsafe(reason) => Self::new(StatusCode::BAD_REQUEST, "unsafe_image", reason),
            WorkError::NotABase(_) => Self::new(StatusCode::BAD_REQUEST, "not_an_image", error),
            WorkError::NotHere(_) => Self::new(StatusCode::NOT_FOUND, "not_here", error),
            WorkError::Missing(_) => Self::new(StatusCode::NOT_FOUND, "not_found", error),
            WorkError::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "refused", error),
            WorkError::NoSpace(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, "insufficient_space", error),
            WorkError::Refused { reason, message } => Self::new(StatusCode::CONFLICT, reason, message),
            WorkError::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error).later(10)
            }
            WorkError::Failed(text) | WorkError::TierFailed(text) => {
                tracing::error!(error = %text, "a storage request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "storage_failed", "the node's storage failed")
            }
        }
    }
}

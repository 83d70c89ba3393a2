//! A bound on requests served at a time; more are told to come back.

use tokio::sync::SemaphorePermit;

use crate::api::Api;
use crate::error::ApiError;

pub(super) fn enter(api: &Api) -> Result<SemaphorePermit<'_>, ApiError> {
    api.inflight.try_acquire().map_err(|_| ApiError::unavailable("too many requests are being served", 1))
}

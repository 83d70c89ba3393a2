//! A bound on requests served at a time; more are told to come back.

use tokio::sync::OwnedSemaphorePermit;

use crate::api::Api;
use crate::error::ApiError;

pub(super) fn enter(api: &Api) -> Result<OwnedSemaphorePermit, ApiError> {
    api.inflight
        .clone()
        .try_acquire_owned()
        .map_err(|_| ApiError::unavailable("too many requests are being served", 1))
}

//! A panic is our defect: counted, logged, and answered 500; the connection and the process live on.

use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use crate::error::ApiError;

pub(super) async fn catch(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            metrics::counter!("api_panics_total").increment(1);
            // The panic itself stands in the journal with its place: Rust says it on standard error.
            tracing::error!("a request handler panicked");
            ApiError::internal().into_response()
        }
    }
}

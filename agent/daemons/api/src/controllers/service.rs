//! The root page and the probes. They do no I/O.

use std::time::Instant;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use crate::api::Api;

/// `GET /`.
pub fn root(api: &Api) -> Response {
    let mut response = api.page.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    response
}

/// `GET /livez`: answers while the process serves.
pub fn live(_: &Api) -> Response {
    "ok".into_response()
}

/// `GET /readyz` and `GET /healthz`: whether requests should be sent here.
pub fn ready(api: &Api) -> Response {
    if api.readiness.is_ready(Instant::now()) {
        "ready".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready").into_response()
    }
}

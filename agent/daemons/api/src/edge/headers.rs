//! Headers of every answer, and the answers for paths and verbs that do not exist.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};

use crate::api::Api;
use crate::error::ApiError;

pub(super) async fn add(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && response.headers().contains_key(ALLOW) {
        response = not_allowed(&response);
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if api.readiness.is_draining() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer for a path that no route has.
pub async fn unknown_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not found: there is no such path")
}

/// The router's own answer has the verbs but no body.
fn not_allowed(response: &Response) -> Response {
    let verbs = response.headers().get(ALLOW).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ApiError::method_not_allowed(verbs.to_owned()).into_response()
}

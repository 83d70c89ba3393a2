//! Everything a request can end with besides an answer, and the one place where that becomes a status and a body.

mod tier;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use sf_runtime::context;

use crate::params::Fault;

/// A refusal or failure as the client sees it. The text names no other tenant's objects, paths or addresses.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiError {
    status: StatusCode,
    /// Boxed, because every handler's result has room for it.
    parts: Box<Parts>,
}

#[derive(Debug, Clone, PartialEq)]
struct Parts {
    error: Value,
    more: Map<String, Value>,
    retry_after: Option<u64>,
    header: Option<(HeaderName, String)>,
}

impl ApiError {
    /// A refusal with a status and one sentence.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let error = Value::String(message.into());
        Self { status, parts: Box::new(Parts { error, more: Map::new(), retry_after: None, header: None }) }
    }

    /// 400.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: the same for every cause.
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized")
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// 404 with the text that clients match on. The same for missing and hidden objects.
    pub fn not_found(kind: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{kind} not found"))
    }

    /// 406: not yet, but soon.
    pub fn not_ready(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, message)
    }

    /// 409.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    /// 413.
    pub fn too_large(limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the request body is larger than {limit} bytes"))
    }

    /// 429 with the time after which to come back.
    pub fn throttled(seconds: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests").retry_after(seconds)
    }

    /// 500. What happened belongs into the log, not into the answer.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server error")
    }

    /// 503 with a time after which trying again may help.
    pub fn unavailable(message: impl Into<String>, retry_after: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(retry_after)
    }

    /// 507.
    pub fn no_room(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, message)
    }

    /// Adds a key to the body.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.parts.more.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a stable word for programs, the `code`.
    #[must_use]
    pub fn code(self, code: &str) -> Self {
        self.with("code", code)
    }

    /// Puts another value than a sentence into `error`. One route does so.
    #[must_use]
    pub fn with_error(mut self, error: Value) -> Self {
        self.parts.error = error;
        self
    }

    /// Asks to come back after so many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.parts.retry_after = Some(seconds);
        self
    }

    /// 405 with the verbs that exist.
    pub fn method_not_allowed(allow: String) -> Self {
        let message = "this method does not exist on this path";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message).header(ALLOW, allow)
    }

    /// 416 with the size there is.
    pub fn range_not_satisfiable(size: u64) -> Self {
        let message = "the range is beyond the end";
        let range = format!("bytes */{size}");
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, message).header(CONTENT_RANGE, range)
    }

    fn header(mut self, name: HeaderName, value: String) -> Self {
        self.parts.header = Some((name, value));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The body, with the id of the present request.
    pub fn body(&self) -> Value {
        let mut body = json!({ "error": self.parts.error, "status": self.status.as_u16() });
        if let Value::Object(map) = &mut body {
            map.extend(self.parts.more.clone());
            if let Some(id) = context::current().request_id {
                map.insert("request_id".to_owned(), Value::String(id));
            }
        }
        body
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self::malformed(fault.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.parts.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = self.parts.header
            && let Ok(value) = HeaderValue::from_str(&value)
        {
            headers.insert(name, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_shape_clients_read() {
        let error = ApiError::not_found("instance").with("extra", 1);
        assert_eq!(error.body(), json!({"error": "instance not found", "status": 404, "extra": 1}));
        let response = ApiError::unauthorized().into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(ApiError::throttled(7).into_response().headers()[RETRY_AFTER], "7");
    }

    #[tokio::test]
    async fn the_request_id_is_in_the_body() {
        let request = context::RequestContext::new(Some("r-1".to_owned()), None);
        let body = context::scope(request, async { ApiError::internal().body() }).await;
        assert_eq!(body["request_id"], "r-1");
    }
}

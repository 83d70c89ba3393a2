//! One answer, read whole.

use axum::response::Response;
use http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::Value;

/// Status, headers and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// Null when the body is not JSON.
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status: parts.status.as_u16(), headers: parts.headers, text, body }
    }

    /// The sentence of a refusal.
    pub(crate) fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// Fails unless this is a refusal of the contract's shape with this status.
    pub(crate) fn refused(&self, what: &str, status: u16) -> &str {
        assert_eq!(self.status, status, "{what}: {}", self.text);
        assert_eq!(self.body["status"], status, "{what}: {}", self.text);
        assert!(self.body["error"].is_string(), "{what}: {}", self.text);
        assert_eq!(self.headers["content-type"], "application/json", "{what}");
        assert_eq!(self.headers["cache-control"], "no-store", "{what}");
        assert!(self.headers.contains_key("x-request-id"), "{what}");
        self.error()
    }

    /// Fails unless this is a success.
    pub(crate) fn ok(self, what: &str) -> Value {
        assert!(matches!(self.status, 200 | 202), "{what}: {} {}", self.status, self.text);
        self.body
    }
}

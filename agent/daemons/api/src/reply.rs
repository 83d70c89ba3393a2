//! What a handler answers: a status and content.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use sf_protos::common::OperationHandle;

use crate::error::ApiError;

/// Result of every handler.
pub type ApiResult = Result<Reply, ApiError>;

/// The bytes of an answer.
#[derive(Debug)]
pub enum Content {
    /// A JSON document.
    Json(Value),
    /// Other bytes, with their type.
    Bytes(&'static str, Bytes),
    /// Bytes that are made while they are sent.
    Stream(Body),
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// 200, 202 or 206.
    pub status: StatusCode,
    /// The body.
    pub content: Content,
    /// More headers.
    pub headers: HeaderMap,
}

impl Reply {
    /// 200 with a JSON document.
    pub fn json(body: Value) -> Self {
        Self::of(Content::Json(body))
    }

    /// 200 with a view.
    pub fn view(view: impl Serialize) -> Self {
        Self::json(crate::views::value(view))
    }

    /// 200 with a list of views.
    pub fn list<T: Serialize>(views: impl IntoIterator<Item = T>) -> Self {
        Self::json(Value::Array(views.into_iter().map(crate::views::value).collect()))
    }

    /// 200 with null.
    pub fn null() -> Self {
        Self::json(Value::Null)
    }

    /// 200 with bytes of a type.
    pub fn bytes(content_type: &'static str, bytes: impl Into<Bytes>) -> Self {
        Self::of(Content::Bytes(content_type, bytes.into()))
    }

    /// 200 with bytes of no known type that are made while they are sent.
    pub fn stream(body: Body) -> Self {
        Self::of(Content::Stream(body))
    }

    /// 202 with the handle of the operation that does the work.
    pub fn accepted(handle: &OperationHandle) -> Self {
        Self::accepted_with(json!({ "op_type": handle.op_type, "op_uuid": handle.op_uuid }))
    }

    /// 202 with a JSON document.
    pub fn accepted_with(body: Value) -> Self {
        Self { status: StatusCode::ACCEPTED, ..Self::json(body) }
    }

    fn of(content: Content) -> Self {
        Self { status: StatusCode::OK, content, headers: HeaderMap::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let (content_type, body) = match self.content {
            Content::Json(value) => ("application/json", Body::from(value.to_string())),
            Content::Bytes(content_type, bytes) => (content_type, Body::from(bytes)),
            Content::Stream(body) => ("application/octet-stream", body),
        };
        let mut response = (self.status, body).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response.headers_mut().extend(self.headers);
        response
    }
}

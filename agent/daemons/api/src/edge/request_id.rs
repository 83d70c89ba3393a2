//! The request id and trace: taken from the client when well formed, carried in the context, returned with every answer.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use sf_runtime::context::{self, RequestContext};
use uuid::Uuid;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

pub(super) async fn carry(request: Request, next: Next) -> Response {
    let (id, current) = begin(request.headers());
    let mut response = context::scope(current, next.run(request)).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

fn begin(headers: &HeaderMap) -> (String, RequestContext) {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let id = text(HEADER.as_str()).filter(|id| context::is_request_id(id)).map(str::to_owned);
    let id = id.unwrap_or_else(|| Uuid::new_v4().to_string());
    let current = RequestContext::new(Some(id.clone()), text("traceparent"));
    (id, current)
}

//! One line and one measurement per request. Probes are lines of level debug. Never a header, never a body.

use std::time::Instant;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::Method;

use crate::routes::Route;

/// The route a request was matched to.
#[derive(Debug, Clone)]
struct Matched(&'static str);

/// Leaves the route of an answer for the log.
pub(super) fn note(response: &mut Response, route: &Route) {
    response.extensions_mut().insert(Matched(route.path));
}

pub(super) async fn write(request: Request, next: Next) -> Response {
    let (method, began) = (request.method().clone(), Instant::now());
    let response = next.run(request).await;
    let route = response.extensions().get::<Matched>().map_or("unknown", |matched| matched.0);
    let (status, seconds) = (response.status().as_u16(), began.elapsed().as_secs_f64());
    let verb = known_verb(&method);
    metrics::counter!("api_requests_total", "method" => verb, "route" => route, "status" => status.to_string())
        .increment(1);
    metrics::histogram!("api_request_seconds", "method" => verb, "route" => route).record(seconds);
    if matches!(route, "/" | "/livez" | "/readyz" | "/healthz") {
        tracing::debug!(method = verb, route, status, duration = seconds, "request");
    } else {
        tracing::info!(method = verb, route, status, duration = seconds, "request");
    }
    response
}

/// Labels come from a closed set, whatever clients send.
fn known_verb(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

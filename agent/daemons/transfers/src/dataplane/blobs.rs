//! `GET` and `HEAD /v1/blobs/{uuid}`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use futures::StreamExt;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE,
};
use http::{HeaderMap, Method, StatusCode};
use sf_blobs::ByteRange;
use sf_blobs::range::{Requested, parse_range};
use sf_blobs::read::Replica;
use sf_blobs::token::{TokenObject, TokenPurpose};
use sf_model::BlobId;

use super::refusal::Refused;
use crate::service::Service;
use crate::streaming::Active;

/// Sends a replica, or a part of it. The length is always announced.
pub(super) async fn read(
    State(service): State<Arc<Service>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(blob): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let blob: BlobId =
        blob.parse().map_err(|error| Refused::new(StatusCode::BAD_REQUEST, "bad_reference", error))?;
    let purposes = [TokenPurpose::Read, TokenPurpose::Pull];
    let claims = service.authorise(&headers, peer, TokenObject::Blob(blob), &purposes).await?;
    if service.ctx.shutdown.is_requested() {
        return Err(
            Refused::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "this node is shutting down").later(5)
        );
    }
    let replica = Replica::open(&service.store, blob).await?;
    let size = replica.size();
    let tag = format!("\"{blob}\"");
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let current = text(IF_RANGE).is_none_or(|known| known == tag);
    let (status, range) = match parse_range(text(RANGE).filter(|_| current), size) {
        Requested::Whole => (StatusCode::OK, ByteRange::whole(size)),
        Requested::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Requested::Unsatisfiable => return unsatisfiable(size),
    };
    let mut answer = Response::builder()
        .status(status)
        .header(ACCEPT_RANGES, "bytes")
        .header(CACHE_CONTROL, "no-store")
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(CONTENT_LENGTH, range.length)
        .header(ETAG, &tag);
    if status == StatusCode::PARTIAL_CONTENT {
        answer = answer.header(CONTENT_RANGE, range.content_range(size));
    }
    if method == Method::HEAD {
        return answer.body(Body::empty()).map_err(broken);
    }
    let Ok(permit) = Arc::clone(&service.streams).try_acquire_owned() else {
        return Err(Refused::new(
            StatusCode::TOO_MANY_REQUESTS,
            "no_slot",
            "all streams of this node are in use",
        )
        .later(1));
    };
    let purpose = if claims.purpose == TokenPurpose::Pull { "pull" } else { "proxy" };
    let active = Active::new("out", purpose);
    let bytes = replica.stream(range).map(move |item| {
        // The permit and the gauge live as long as the stream.
        let _held = (&permit, &active);
        if let Ok(bytes) = &item {
            metrics::counter!("transfer_bytes_total", "direction" => "out", "purpose" => purpose)
                .increment(bytes.len() as u64);
        }
        item
    });
    answer.body(Body::from_stream(bytes)).map_err(broken)
}

fn unsatisfiable(size: u64) -> Result<Response, Refused> {
    Response::builder()
        .status(StatusCode::RANGE_NOT_SATISFIABLE)
        .header(CONTENT_RANGE, format!("bytes */{size}"))
        .body(Body::empty())
        .map_err(broken)
}

fn broken(error: http::Error) -> Refused {
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "storage_failed", error)
}

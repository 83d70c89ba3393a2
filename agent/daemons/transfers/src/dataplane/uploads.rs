//! `/v1/uploads/{uuid}`: create, append, size, truncate, discard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sf_blobs::token::{TokenObject, TokenPurpose};
use sf_blobs::uploads::AppendOptions;
use sf_blobs::wire::{PREVIOUS_UNDELIVERED, UPLOAD_OFFSET};
use sf_model::UploadId;

use super::delivery::Delivered;
use super::refusal::Refused;
use crate::service::Service;

type Shared = State<Arc<Service>>;
type Peer = ConnectInfo<SocketAddr>;

impl Service {
    /// Lets a request for an upload in.
    pub(super) async fn admit_upload(
        &self,
        headers: &HeaderMap,
        peer: SocketAddr,
        upload: &str,
    ) -> Result<UploadId, Refused> {
        let upload =
            upload.parse().map_err(|error| Refused::new(StatusCode::BAD_REQUEST, "bad_reference", error))?;
        self.authorise(headers, peer, TokenObject::Upload(upload), &[TokenPurpose::Upload]).await?;
        Ok(upload)
    }
}

/// Which upload a request is about, and who asks.
type Target = (Shared, Peer, Path<String>);

/// Makes the empty file of a new upload.
pub(super) async fn create(
    (State(service), ConnectInfo(peer), Path(upload)): Target,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let upload = service.admit_upload(&headers, peer, &upload).await?;
    // Measured only: an upload without a hint promises nothing.
    drop(service.ledger.promise(service.store.root(), service.reservation(), 0)?);
    service.uploads.create(upload).await?;
    Ok(StatusCode::OK)
}

/// Appends the body as one chunk; the answer is the new size, sent only when all of it is in the file.
pub(super) async fn append(
    (State(service), ConnectInfo(peer), Path(upload)): Target,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let started = Instant::now();
    let upload = service.admit_upload(&headers, peer, &upload).await?;
    let options = AppendOptions {
        length: number(&headers, CONTENT_LENGTH)?,
        offset: number(&headers, HeaderName::from_static(UPLOAD_OFFSET))?,
        previous_undelivered: headers.get(PREVIOUS_UNDELIVERED).is_some_and(|value| value == "1"),
    };
    let limits = service.upload_limits();
    let needed = options.length.unwrap_or(limits.chunk).min(limits.chunk);
    let promise = service.ledger.promise(service.store.root(), service.reservation(), needed)?;
    let appended = service.uploads.append(upload, options, limits, body.into_data_stream()).await;
    drop(promise);
    let result = if appended.is_ok() { "ok" } else { "refused" };
    metrics::counter!("upload_chunks_total", "path" => "owner", "result" => result).increment(1);
    metrics::histogram!("upload_chunk_seconds").record(started.elapsed().as_secs_f64());
    let appended = appended?;
    metrics::counter!("upload_bytes_total").increment(options.length.unwrap_or(0));
    let mut response = Response::new(Body::new(Delivered::new(appended.size.to_string(), appended.receipt)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The number of bytes in the upload.
pub(super) async fn size(
    (State(service), ConnectInfo(peer), Path(upload)): Target,
    headers: HeaderMap,
) -> Result<String, Refused> {
    let upload = service.admit_upload(&headers, peer, &upload).await?;
    Ok(service.uploads.size(upload).await?.to_string())
}

/// Cuts the upload back.
pub(super) async fn truncate(
    State(service): Shared,
    ConnectInfo(peer): Peer,
    Path((upload, length)): Path<(String, u64)>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let upload = service.admit_upload(&headers, peer, &upload).await?;
    service.uploads.truncate(upload, length).await?;
    Ok(StatusCode::OK)
}

/// Removes the upload's bytes.
pub(super) async fn discard(
    (State(service), ConnectInfo(peer), Path(upload)): Target,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let upload = service.admit_upload(&headers, peer, &upload).await?;
    service.uploads.discard(upload).await?;
    Ok(StatusCode::OK)
}

fn number(headers: &HeaderMap, name: HeaderName) -> Result<Option<u64>, Refused> {
    let Some(value) = headers.get(&name) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed
        .map(Some)
        .ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, "bad_header", format!("{name} is not a number")))
}

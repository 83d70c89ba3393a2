//! `GET /blobs/{blob_uuid}/data`: the bytes, with constant memory, from here or through here.

use axum::body::Body;
use http::StatusCode;
use sf_blobs::ByteRange;
use sf_blobs::range::{Requested, parse_range};
use sf_model::BlobId;
use sf_model::state::ResourceState;
use sf_protos::blobs::{BlobSource, OpenBlobForReadReply, OpenBlobForReadRequest};

use crate::call::Call;
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::nodes::peer;
use crate::params::{Fault, uint, uuid};
use crate::reply::{ApiResult, Reply};
use crate::streams::{self, Reading, Source};

/// Which bytes of which blob.
pub struct Data {
    blob: BlobId,
    offset: u64,
    limit: u64,
    range: Option<String>,
}

impl Request for Data {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            blob: input.path("blob_uuid", uuid)?,
            offset: input.fields.or("offset", 0, uint)?,
            limit: input.fields.or("limit", 0, uint)?,
            range: input.raw().and_then(|raw| raw.range),
        })
    }
}

/// Answers the bytes without announcing their number, so that clients notice a broken transfer. Only a client that asks
/// for a `Range` is told lengths.
///
/// # Errors
/// 404 when unknown or no copy is left; 406 while the blob is being made; 416; 503 when no copy can be reached.
pub async fn handle(call: Call, request: Data) -> ApiResult {
    let place = streams::admit(&call.api)?;
    let open = OpenBlobForReadRequest { caller: call.wire(), blob_uuid: request.blob.to_string() };
    let opened = call.tier(open).await?;
    check_state(&opened, request.blob)?;
    let size = opened.size;
    let (status, window) = match parse_range(request.range.as_deref(), size) {
        Requested::Whole => (StatusCode::OK, ByteRange::window(request.offset, request.limit, size)),
        Requested::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Requested::Unsatisfiable => return Err(ApiError::range_not_satisfiable(size)),
    };
    let body = if window.length == 0 {
        Body::empty()
    } else {
        let plane = call.api.nodes.data_plane(&call.api)?;
        let reading = Reading::open(plane, request.blob, sources(&call, &opened.sources), window).await?;
        streams::body(reading, call.api.daemon.config.api_stream_idle_timeout, place)
    };
    let reply = Reply { status, ..Reply::stream(body) }
        .header("etag", &format!("\"{}\"", request.blob))
        .header("accept-ranges", "bytes")
        .header("x-blob-size", &size.to_string());
    Ok(match status {
        StatusCode::PARTIAL_CONTENT => reply
            .header("content-range", &window.content_range(size))
            .header("content-length", &window.length.to_string()),
        _ => reply,
    })
}

/// This node's copy first, then the others in the order given.
fn sources(call: &Call, known: &[BlobSource]) -> Vec<Source> {
    let here = call.node().to_string();
    let local = call.api.store.clone().filter(|_| known.iter().any(|source| source.node_uuid == here));
    let remote = known.iter().filter(|source| source.node_uuid != here || local.is_none());
    let remote = remote.filter_map(|source| {
        peer(&call.api, &source.node_uuid, &source.node_name, &source.mesh_ip).ok().map(Source::Remote)
    });
    local.clone().map(Source::Local).into_iter().chain(remote).collect()
}

fn check_state(opened: &OpenBlobForReadReply, blob: BlobId) -> Result<(), ApiError> {
    match opened.state.parse() {
        Ok(ResourceState::Created) if opened.sources.is_empty() => Err(ApiError::not_found("blob")),
        Ok(ResourceState::Created) => Ok(()),
        Ok(ResourceState::Initial) => Err(ApiError::not_ready(format!("blob {blob} is not ready (initial)"))),
        Ok(ResourceState::Error) => Err(ApiError::conflict(format!("blob {blob} is in error"))),
        _ => Err(ApiError::not_found("blob")),
    }
}

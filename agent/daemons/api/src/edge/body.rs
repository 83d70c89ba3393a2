//! The size and the parameters of a request: body and query become the fields of its typed struct.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{CONTENT_LENGTH, EXPECT, RANGE};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::path::Parameters;
use crate::api::Api;
use crate::error::ApiError;
use crate::input::{Input, RawBody};
use crate::params::{self, Fields};
use crate::routes::{BodyRule, Route};

/// Bytes of a log-in.
const LOGIN: u64 = 4 * 1024;
/// Bytes of a request that carries a credential.
const CREDENTIAL: u64 = 16 * 1024;
/// Bytes taken from a client whose request is refused already, and the time for it.
const MOST_DISCARDED: usize = 16 << 20;
const DISCARD_PATIENCE: Duration = Duration::from_secs(5);
/// Time for a whole JSON body.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the body of a route may have, in bytes.
fn limit(route: &Route, api: &Api) -> u64 {
    let cluster = api.daemon.cluster.current();
    match route.body {
        BodyRule::Login => LOGIN,
        BodyRule::Credential => CREDENTIAL,
        BodyRule::Json | BodyRule::Ranged => cluster.api_max_json_bytes,
        BodyRule::Raw => cluster.api_max_upload_chunk_bytes,
    }
}

/// Refuses an announced length that is too large.
pub(super) fn check_length(route: &Route, api: &Api, headers: &HeaderMap) -> Result<(), ApiError> {
    let limit = limit(route, api);
    match content_length(headers) {
        Some(length) if length > limit => Err(ApiError::too_large(limit)),
        _ => Ok(()),
    }
}

/// Takes what a refused client is still sending, within bounds. A connection that is closed under a client that writes
/// shows it a broken pipe instead of the answer, and old clients then repeat with the same dead token.
pub(super) async fn discard(headers: &HeaderMap, body: Body) {
    if headers.contains_key(EXPECT) {
        // It waits for a word before it sends, and the answer is that word.
        return;
    }
    let mut pieces = body.into_data_stream();
    let mut left = MOST_DISCARDED;
    let reading = async {
        while let Some(Ok(piece)) = pieces.next().await {
            left = left.saturating_sub(piece.len());
            if left == 0 {
                break;
            }
        }
    };
    // Whether it ended or ran out of time, the answer follows.
    let _ = tokio::time::timeout(DISCARD_PATIENCE, reading).await;
}

/// The fields, and for some routes more, of an admitted request.
pub(super) async fn input(
    route: &Route,
    api: &Api,
    parameters: Parameters,
    parts: &Parts,
    body: Body,
) -> Result<Input, ApiError> {
    let length = content_length(&parts.headers);
    let limit = limit(route, api);
    let (document, raw) = match route.body {
        BodyRule::Raw => {
            let offset = header_number(&parts.headers, "upload-offset")?;
            // A body of unannounced length is cut off by the store that takes it.
            (Bytes::new(), Some(RawBody { body, length, offset, range: None }))
        }
        BodyRule::Ranged => {
            let range = parts.headers.get(RANGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
            let raw = RawBody { body: Body::empty(), length, offset: None, range };
            (read(body, limit).await?, Some(raw))
        }
        _ => (read(body, limit).await?, None),
    };
    let parameters = parameters?;
    let mut fields = Fields::new(params::object(&document)?);
    fields.merge(params::pairs(parts.uri.query().unwrap_or_default())?);
    fields.forbid(parameters.iter().map(|(name, _)| name))?;
    Ok(Input::new(parameters, fields, raw, api.daemon.cluster.current()))
}

async fn read(body: Body, limit: u64) -> Result<Bytes, ApiError> {
    let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    match tokio::time::timeout(PATIENCE, limited.collect()).await {
        Err(_) => Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "the request body did not come in time")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
        Ok(Err(_)) => Err(ApiError::malformed("the request body could not be read")),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn header_number(headers: &HeaderMap, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| ApiError::malformed(format!("header {name}: must be an integer")))
}

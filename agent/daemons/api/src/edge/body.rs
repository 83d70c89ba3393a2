//! The size and the parameters of a request: body and query become the fields of its typed struct.

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, RANGE};
use http::request::Parts;
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

pub(super) async fn input(
    route: &Route,
    api: &Api,
    parameters: Parameters,
    parts: &Parts,
    body: Body,
) -> Result<Input, ApiError> {
    let cluster = api.daemon.cluster.current();
    let length = content_length(&parts.headers);
    let limit = match route.body {
        BodyRule::Login => LOGIN,
        BodyRule::Credential => CREDENTIAL,
        BodyRule::Json | BodyRule::Ranged => cluster.api_max_json_bytes,
        BodyRule::Raw => cluster.api_max_upload_chunk_bytes,
    };
    if length.is_some_and(|length| length > limit) {
        return Err(ApiError::too_large(limit));
    }
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
    Ok(Input::new(parameters, fields, raw, cluster))
}

async fn read(body: Body, limit: u64) -> Result<Bytes, ApiError> {
    let limited = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    match limited.collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
        Err(_) => Err(ApiError::malformed("the request body could not be read")),
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

//! `POST /artifacts`: have an image fetched. The answer precedes the fetch.

use serde_json::Value;
use sf_images::policy::well_formed;
use sf_model::{ArtifactId, OperationId, name};
use sf_protos::artifacts::RequestFetchRequest;

use super::get::changed;
use crate::call::Call;
use crate::caller::Caller;
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::{Fault, boolean, string, text_of};
use crate::reply::ApiResult;

/// What to fetch.
pub struct Cache {
    url: String,
    shared: bool,
    namespace: Option<String>,
}

impl Request for Cache {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let fields = &mut input.fields;
        Ok(Self {
            url: fields.required("url", url)?,
            shared: fields.or("shared", false, boolean)?,
            namespace: fields.blankable("namespace", text_of(name::namespace))?,
        })
    }
}

/// A URL or the short name of an image.
pub(super) fn url(value: Value) -> Result<String, Fault> {
    let text = string(value)?;
    let fits = (1..=2048).contains(&text.len()) && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if !fits {
        return Err(Fault::new("must be a URL or the name of an image, at most 2048 bytes"));
    }
    if text.contains("://") {
        well_formed(&text).map_err(|refusal| Fault::new(refusal.to_string()))?;
    }
    Ok(text)
}

/// Answers the artifact.
///
/// # Errors
/// 403 for sharing by others than administrators; 404 for a namespace that does not trust the caller.
pub async fn handle(call: Call, request: Cache) -> ApiResult {
    may_share(&call, request.shared)?;
    let namespace = call.target_namespace(request.namespace, Caller::may_create_in)?;
    let wanted = RequestFetchRequest {
        context: None,
        caller: call.wire(),
        artifact_uuid: ArtifactId::random().to_string(),
        namespace,
        url: request.url,
        shared: request.shared,
        operation_uuid: OperationId::ordered().to_string(),
    };
    let artifact = call.tier(wanted).await?.artifact;
    Ok(changed(&call, artifact, "image fetch requested"))
}

/// Only administrators share.
///
/// # Errors
/// 403.
pub(super) fn may_share(call: &Call, shared: bool) -> Result<(), ApiError> {
    if shared && !call.caller.is_system() {
        return Err(ApiError::forbidden("only the system namespace may share artifacts"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn addresses_are_judged_before_they_are_kept() {
        for good in ["debian:12", "https://example.com/a.qcow2", "http://10.0.0.1/a"] {
            assert_eq!(url(json!(good)), Ok(good.to_owned()));
        }
        for bad in
            ["", "a b", "sf://blob/1", "ftp://example.com/a", "http://", "https://user:secret@example.com/a"]
        {
            let text = url(json!(bad)).unwrap_err().to_string();
            assert!(!text.contains("secret"), "{text}");
        }
    }
}

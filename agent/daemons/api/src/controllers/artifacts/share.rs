//! `POST /artifacts/{artifact_ref}/share` and `/unshare`: whether every namespace may read it.

use sf_model::ObjectType;
use sf_protos::artifacts::SetSharedRequest;

use super::get::changed;
use crate::call::Call;
use crate::controllers::objects::{Artifacts, Plain};
use crate::reply::ApiResult;

/// Answers the artifact.
///
/// # Errors
/// 403 unless it belongs to `system`; 404.
pub async fn share(call: Call, request: Plain<Artifacts>) -> ApiResult {
    set(call, request, true, "shared").await
}

/// Answers the artifact.
///
/// # Errors
/// 403 when it is not shared; 404.
pub async fn unshare(call: Call, request: Plain<Artifacts>) -> ApiResult {
    set(call, request, false, "unshared").await
}

async fn set(call: Call, request: Plain<Artifacts>, shared: bool, action: &'static str) -> ApiResult {
    let selector = call.select(ObjectType::Artifact, request.reference, None)?;
    let wanted = SetSharedRequest { context: None, caller: call.wire(), selector, shared };
    let artifact = call.tier(wanted).await?.artifact;
    Ok(changed(&call, artifact, action))
}

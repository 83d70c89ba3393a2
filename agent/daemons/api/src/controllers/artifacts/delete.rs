//! `DELETE /artifacts/{artifact_ref}`: done when answered; again is the same answer.

use sf_model::ObjectType;
use sf_protos::artifacts::DeleteArtifactRequest;

use super::get::changed;
use crate::call::Call;
use crate::controllers::objects::{Artifacts, Named};
use crate::reply::ApiResult;

/// Answers the deleted artifact.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Named<Artifacts>) -> ApiResult {
    let selector = call.select(ObjectType::Artifact, request.reference, request.namespace)?;
    let wanted = DeleteArtifactRequest { context: None, caller: call.wire(), selector };
    let artifact = call.tier(wanted).await?.artifact;
    Ok(changed(&call, artifact, "artifact deleted"))
}

//! `GET /artifacts/{artifact_ref}`.

use sf_model::ObjectType;
use sf_protos::artifacts::{Artifact, GetArtifactRequest};

use crate::call::Call;
use crate::controllers::objects::{Artifacts, Named};
use crate::error::ApiError;
use crate::reply::{ApiResult, Reply};
use crate::views::ArtifactView;

/// Answers the artifact.
///
/// # Errors
/// 404; 400 for an ambiguous name.
pub async fn handle(call: Call, request: Named<Artifacts>) -> ApiResult {
    let artifact = find(&call, request.reference, request.namespace).await?;
    Ok(Reply::view(ArtifactView::from(artifact)))
}

/// An artifact the caller may read.
///
/// # Errors
/// 404; 400 for an ambiguous name.
pub(super) async fn find(
    call: &Call,
    reference: String,
    namespace: Option<String>,
) -> Result<Artifact, ApiError> {
    let selector = call.select(ObjectType::Artifact, reference, namespace)?;
    let request = GetArtifactRequest { caller: call.wire(), selector, owned: false };
    Ok(call.tier(request).await?.artifact.unwrap_or_default())
}

/// The answer of a route that changed an artifact.
pub(super) fn changed(call: &Call, artifact: Option<Artifact>, action: &'static str) -> Reply {
    let artifact = artifact.unwrap_or_default();
    call.audit(ObjectType::Artifact, &artifact.uuid, action);
    Reply::view(ArtifactView::from(artifact))
}

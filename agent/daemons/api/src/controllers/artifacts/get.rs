//! `GET /artifacts/{artifact_ref}`.

use sf_model::{ObjectType, name};
use sf_protos::artifacts::{Artifact, GetArtifactRequest};

use crate::call::Call;
use crate::controllers::objects::{Artifacts, Kind};
use crate::error::ApiError;
use crate::input::{Input, Request};
use crate::params::{Fault, text_of};
use crate::reply::{ApiResult, Reply};
use crate::views::ArtifactView;

/// An artifact, perhaps of one namespace.
pub struct Named {
    pub(super) reference: String,
    pub(super) namespace: Option<String>,
}

impl Request for Named {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            reference: input.path(Artifacts::PARAMETER, Artifacts::parse)?,
            namespace: input.fields.blankable("namespace", text_of(name::namespace))?,
        })
    }
}

/// An artifact on a route that knows no namespace.
pub struct Plain {
    pub(super) reference: String,
}

impl Request for Plain {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { reference: input.path(Artifacts::PARAMETER, Artifacts::parse)? })
    }
}

/// Answers the artifact.
///
/// # Errors
/// 404; 400 for an ambiguous name.
pub async fn handle(call: Call, request: Named) -> ApiResult {
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
pub(super) fn changed(artifact: Option<Artifact>, action: &'static str) -> Reply {
    let artifact = artifact.unwrap_or_default();
    let uuid = artifact.uuid.clone();
    Reply::view(ArtifactView::from(artifact)).audit(ObjectType::Artifact, uuid, action)
}

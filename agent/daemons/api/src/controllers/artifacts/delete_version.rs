//! `DELETE /artifacts/{artifact_ref}/versions/{index}`: deleting the last one deletes the artifact.

use sf_model::ObjectType;
use sf_protos::artifacts::DeleteArtifactVersionRequest;

use super::get::changed;
use crate::call::Call;
use crate::controllers::objects::{Artifacts, Plain};
use crate::input::{Input, Request};
use crate::params::{Fault, uint_in};
use crate::reply::ApiResult;

/// Which version.
pub struct DeleteVersion {
    artifact: Plain<Artifacts>,
    index: u32,
}

impl Request for DeleteVersion {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let index = input.path("index", uint_in(0..=u64::from(u32::MAX)))?;
        Ok(Self { artifact: Plain::read(input)?, index: u32::try_from(index).unwrap_or(u32::MAX) })
    }
}

/// Answers the artifact.
///
/// # Errors
/// 404 for artifact or index.
pub async fn handle(call: Call, request: DeleteVersion) -> ApiResult {
    let selector = call.select(ObjectType::Artifact, request.artifact.reference, None)?;
    let wanted =
        DeleteArtifactVersionRequest { context: None, caller: call.wire(), selector, index: request.index };
    let artifact = call.tier(wanted).await?.artifact;
    Ok(changed(&call, artifact, "version deleted"))
}

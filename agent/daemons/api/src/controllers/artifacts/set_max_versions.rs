//! `POST /artifacts/{artifact_ref}/versions`: how many versions are kept; the surplus goes at once.

use sf_model::ObjectType;
use sf_protos::artifacts::SetMaxVersionsRequest;

use crate::call::Call;
use crate::controllers::objects::{Artifacts, Plain};
use crate::input::{Input, Request};
use crate::params::{Fault, uint_in};
use crate::reply::{ApiResult, Reply};

/// How many of which.
pub struct SetMaxVersions {
    artifact: Plain<Artifacts>,
    max_versions: u32,
}

impl Request for SetMaxVersions {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        let most = input.fields.or("max_versions", 3, uint_in(0..=10_000))?;
        Ok(Self { artifact: Plain::read(input)?, max_versions: u32::try_from(most).unwrap_or(0) })
    }
}

/// Answers null. 0 means the configured default.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: SetMaxVersions) -> ApiResult {
    let selector = call.select(ObjectType::Artifact, request.artifact.reference, None)?;
    let wanted = SetMaxVersionsRequest {
        context: None,
        caller: call.wire(),
        selector,
        max_versions: request.max_versions,
    };
    let artifact = call.tier(wanted).await?.artifact.unwrap_or_default();
    call.audit(ObjectType::Artifact, artifact.uuid, "number of versions set");
    Ok(Reply::null())
}

//! `DELETE /artifacts`: all artifacts of a namespace, done when answered.

use sf_model::{ObjectType, name};
use sf_protos::artifacts::DeleteNamespaceArtifactsRequest;

use crate::call::Call;
use crate::input::{Input, Request};
use crate::params::{Fault, confirmed, text_of};
use crate::reply::{ApiResult, Reply};

/// A namespace to empty, named twice: by its name and by saying so.
pub struct Confirmed {
    pub(crate) namespace: Option<String>,
}

impl Request for Confirmed {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        input.fields.required("confirm", confirmed)?;
        Ok(Self { namespace: input.fields.blankable("namespace", text_of(name::namespace))? })
    }
}

/// Answers the UUIDs.
///
/// # Errors
/// 400 for an administrator who does not say which namespace; 403 for a foreign one.
pub async fn handle(call: Call, request: Confirmed) -> ApiResult {
    let namespace = call.namespace_to_empty(request.namespace)?;
    let next = || DeleteNamespaceArtifactsRequest { context: None, namespace: namespace.clone() };
    let change = (ObjectType::Artifact, "artifact deleted");
    let deleted = call.until_none_left(change, next, |reply| (reply.artifact_uuids, reply.more)).await?;
    Ok(Reply::list(deleted))
}

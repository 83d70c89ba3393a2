//! `GET …/keys`: the names of a namespace's keys.

use sf_protos::namespaces::GetNamespaceRequest;

use crate::call::Call;
use crate::controllers::objects::{Kind, Namespaces};
use crate::input::{Input, Request};
use crate::params::Fault;
use crate::reply::{ApiResult, Reply};

/// Of which namespace.
pub struct List {
    namespace: String,
}

impl Request for List {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { namespace: input.path(Namespaces::PARAMETER, Namespaces::parse)? })
    }
}

/// Answers a list of strings.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: List) -> ApiResult {
    let request = GetNamespaceRequest { caller: call.wire(), name: request.namespace };
    let namespace = call.tier(request).await?.namespace.unwrap_or_default();
    Ok(Reply::list(namespace.keys))
}

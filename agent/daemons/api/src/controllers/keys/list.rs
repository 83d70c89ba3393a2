//! `GET …/keys`: the names of a namespace's keys.

use sf_protos::namespaces::GetNamespaceRequest;

use crate::call::Call;
use crate::controllers::objects::{Namespaces, Plain};
use crate::reply::{ApiResult, Reply};

/// Answers a list of strings.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Plain<Namespaces>) -> ApiResult {
    let request = GetNamespaceRequest { caller: call.wire(), name: request.reference };
    let namespace = call.tier(request).await?.namespace.unwrap_or_default();
    Ok(Reply::list(namespace.keys))
}

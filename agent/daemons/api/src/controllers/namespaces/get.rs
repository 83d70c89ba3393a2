//! `GET /auth/namespaces/{namespace}`.

use sf_protos::namespaces::GetNamespaceRequest;

use crate::call::Call;
use crate::controllers::objects::{Namespaces, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::NamespaceView;

/// Answers the namespace.
///
/// # Errors
/// 404, also for deleted ones.
pub async fn handle(call: Call, request: Plain<Namespaces>) -> ApiResult {
    let request = GetNamespaceRequest { caller: call.wire(), name: request.reference };
    let namespace = call.tier(request).await?.namespace.unwrap_or_default();
    Ok(Reply::view(NamespaceView::from(namespace)))
}

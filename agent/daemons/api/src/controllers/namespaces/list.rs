//! `GET /auth/namespaces`: those the caller has sight of.

use sf_protos::namespaces::ListNamespacesRequest;

use crate::call::Call;
use crate::input::Nothing;
use crate::reply::{ApiResult, Reply};
use crate::views::NamespaceView;

/// Answers the list.
///
/// # Errors
/// 503.
pub async fn handle(call: Call, _: Nothing) -> ApiResult {
    let namespaces = call
        .all(
            |page| ListNamespacesRequest { caller: call.wire(), page: Some(page) },
            |reply| (reply.namespaces, reply.page),
        )
        .await?;
    Ok(Reply::list(namespaces.into_iter().map(NamespaceView::from)))
}

//! `GET /networks`.

use sf_protos::networks::ListNetworksRequest;

use crate::call::Call;
use crate::controllers::objects::All;
use crate::reply::{ApiResult, Reply};
use crate::views::NetworkView;

/// Answers the caller's networks, deleted ones too when asked for.
///
/// # Errors
/// 503.
pub async fn handle(call: Call, request: All) -> ApiResult {
    let administrator = call.caller.is_system();
    let networks = call
        .all(
            |page| ListNetworksRequest { caller: call.wire(), all: request.all, page: Some(page) },
            |reply| (reply.networks, reply.page),
        )
        .await?;
    Ok(Reply::list(networks.into_iter().map(|network| NetworkView::of(network, administrator))))
}

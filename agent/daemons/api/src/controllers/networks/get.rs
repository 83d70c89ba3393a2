//! `GET /networks/{network_ref}`.

use sf_model::ObjectType;
use sf_protos::networks::GetNetworkRequest;

use crate::call::Call;
use crate::controllers::objects::{Named, Networks};
use crate::reply::{ApiResult, Reply};
use crate::views::NetworkView;

/// Answers the network.
///
/// # Errors
/// 404; 400 for an ambiguous name.
pub async fn handle(call: Call, request: Named<Networks>) -> ApiResult {
    let selector = call.select(ObjectType::Network, request.reference, request.namespace)?;
    let reply = call.tier(GetNetworkRequest { caller: call.wire(), selector }).await?;
    Ok(Reply::view(NetworkView::of(reply.network.unwrap_or_default(), call.caller.is_system())))
}

//! `GET /networks/{network_ref}/interfaces`.

use sf_model::ObjectType;
use sf_protos::networks::ListInterfacesRequest;
use sf_protos::networks::list_interfaces_request::Of;

use crate::call::Call;
use crate::controllers::objects::{Networks, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::InterfaceView;

/// Answers the active interfaces.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Plain<Networks>) -> ApiResult {
    let network = call.select(ObjectType::Network, request.reference, None)?;
    let interfaces = call
        .all(
            |page| ListInterfacesRequest {
                caller: call.wire(),
                of: network.clone().map(Of::Network),
                page: Some(page),
            },
            |reply| (reply.interfaces, reply.page),
        )
        .await?;
    Ok(Reply::list(interfaces.into_iter().map(InterfaceView::from)))
}

//! `GET /instances/{instance_ref}/interfaces`.

use sf_model::ObjectType;
use sf_protos::networks::ListInterfacesRequest;
use sf_protos::networks::list_interfaces_request::Of;

use crate::call::Call;
use crate::controllers::objects::{Instances, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::InterfaceView;

/// Answers the active interfaces in their order.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Plain<Instances>) -> ApiResult {
    let instance = call.select(ObjectType::Instance, request.reference, None)?;
    // An instance has at most 24, so they are on the first page.
    let wanted = ListInterfacesRequest { caller: call.wire(), of: instance.map(Of::Instance), page: None };
    let mut interfaces = call.tier(wanted).await?.interfaces;
    interfaces.sort_by_key(|interface| interface.order);
    Ok(Reply::list(interfaces.into_iter().map(InterfaceView::from)))
}

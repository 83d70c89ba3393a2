//! `GET /interfaces/{interface_uuid}`: for whoever owns both its network and its instance.

use sf_protos::networks::GetInterfaceRequest;

use crate::call::Call;
use crate::controllers::objects::{Interfaces, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::InterfaceView;

/// Answers the interface.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Plain<Interfaces>) -> ApiResult {
    let request = GetInterfaceRequest { caller: call.wire(), interface_uuid: request.reference };
    let interface = call.tier(request).await?.interface.unwrap_or_default();
    Ok(Reply::view(InterfaceView::from(interface)))
}

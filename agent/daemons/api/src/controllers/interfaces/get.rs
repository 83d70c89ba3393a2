//! `GET /interfaces/{interface_uuid}`: for whoever owns both its network and its instance.

use sf_protos::networks::GetInterfaceRequest;

use crate::call::Call;
use crate::controllers::objects::{Interfaces, Kind};
use crate::input::{Input, Request};
use crate::params::Fault;
use crate::reply::{ApiResult, Reply};
use crate::views::InterfaceView;

/// Which interface.
pub struct Get {
    interface_uuid: String,
}

impl Request for Get {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { interface_uuid: input.path(Interfaces::PARAMETER, Interfaces::parse)? })
    }
}

/// Answers the interface.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Get) -> ApiResult {
    let request = GetInterfaceRequest { caller: call.wire(), interface_uuid: request.interface_uuid };
    let interface = call.tier(request).await?.interface.unwrap_or_default();
    Ok(Reply::view(InterfaceView::from(interface)))
}

//! `GET /networks/{network_ref}/interfaces`.

use sf_model::ObjectType;
use sf_protos::networks::ListInterfacesRequest;
use sf_protos::networks::list_interfaces_request::Of;

use crate::call::Call;
use crate::controllers::objects::{Kind, Networks};
use crate::input::{Input, Request};
use crate::params::Fault;
use crate::reply::{ApiResult, Reply};
use crate::views::InterfaceView;

/// Of which network.
pub struct Interfaces {
    reference: String,
}

impl Request for Interfaces {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { reference: input.path(Networks::PARAMETER, Networks::parse)? })
    }
}

/// Answers the active interfaces.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Interfaces) -> ApiResult {
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

//! `GET /networks/{network_ref}`.

use sf_model::{ObjectType, name};
use sf_protos::networks::GetNetworkRequest;

use crate::call::Call;
use crate::controllers::objects::{Kind, Networks};
use crate::input::{Input, Request};
use crate::params::{Fault, text_of};
use crate::reply::{ApiResult, Reply};
use crate::views::NetworkView;

/// A network, perhaps of one namespace.
pub struct Named {
    pub(super) reference: String,
    pub(super) namespace: Option<String>,
}

impl Request for Named {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            reference: input.path(Networks::PARAMETER, Networks::parse)?,
            namespace: input.fields.blankable("namespace", text_of(name::namespace))?,
        })
    }
}

/// Answers the network.
///
/// # Errors
/// 404; 400 for an ambiguous name.
pub async fn handle(call: Call, request: Named) -> ApiResult {
    let selector = call.select(ObjectType::Network, request.reference, request.namespace)?;
    let reply = call.tier(GetNetworkRequest { caller: call.wire(), selector }).await?;
    Ok(Reply::view(NetworkView::of(reply.network.unwrap_or_default(), call.caller.is_system())))
}

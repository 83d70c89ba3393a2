//! `GET /nodes/{node}`.

use sf_protos::nodes::GetNodeRequest;

use crate::call::Call;
use crate::controllers::objects::{Kind, Nodes};
use crate::input::{Input, Request};
use crate::params::Fault;
use crate::reply::{ApiResult, Reply};
use crate::views::NodeView;

/// Which node, by name or UUID.
pub struct Named {
    pub(super) reference: String,
}

impl Request for Named {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self { reference: input.path(Nodes::PARAMETER, Nodes::parse)? })
    }
}

/// Answers the node.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Named) -> ApiResult {
    let reply = call.tier(GetNodeRequest { reference: request.reference }).await?;
    Ok(Reply::view(NodeView::from(reply.node.unwrap_or_default())))
}

//! `DELETE /nodes/{node}`: the leader then removes what was on it.

use sf_model::ObjectType;
use sf_protos::nodes::DeleteNodeRequest;

use crate::call::Call;
use crate::controllers::objects::{Kind, Nodes};
use crate::input::{Input, Request};
use crate::params::{Fault, boolean};
use crate::reply::{ApiResult, Reply};
use crate::views::NodeView;

/// Which node, and whether although it is alive.
pub struct Delete {
    reference: String,
    force: bool,
}

impl Request for Delete {
    fn read(input: &mut Input) -> Result<Self, Fault> {
        Ok(Self {
            reference: input.path(Nodes::PARAMETER, Nodes::parse)?,
            force: input.fields.or("force", false, boolean)?,
        })
    }
}

/// Answers the deleted node.
///
/// # Errors
/// 404; 409 for a live node with instances.
pub async fn handle(call: Call, request: Delete) -> ApiResult {
    let wanted = DeleteNodeRequest {
        context: None,
        reference: request.reference,
        force: request.force,
        planned: false,
    };
    let node = call.tier(wanted).await?.node.unwrap_or_default();
    call.audit(ObjectType::Node, &node.uuid, "node deleted");
    Ok(Reply::view(NodeView::from(node)))
}

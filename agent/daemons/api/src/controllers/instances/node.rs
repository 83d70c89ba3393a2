//! The worker of the node that an instance is on.

use sf_protos::instance_node::instance_node_client::InstanceNodeClient;
use sf_protos::instances::Instance;

use crate::call::Call;
use crate::error::ApiError;
use crate::nodes::NodeChannel;

/// A client of that worker and the node's name; `None` for an instance that was never placed.
///
/// # Errors
/// 503 when nobody knows where the node is.
pub(super) async fn worker(
    call: &Call,
    instance: &Instance,
) -> Result<Option<(InstanceNodeClient<NodeChannel>, String)>, ApiError> {
    let Some(node) = instance.node_uuid.as_deref() else { return Ok(None) };
    let place = call.api.nodes.place(&call.api, node).await?;
    let channel = call.api.nodes.channel(&call.api, &place, call.api.daemon.config.node_rpc_port)?;
    Ok(Some((InstanceNodeClient::new(channel), place.name)))
}

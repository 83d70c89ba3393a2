//! `GET /nodes/{node}/processmetrics`: what the daemons of a node use.

use sf_protos::nodes::GetNodeMetricsRequest;

use crate::call::Call;
use crate::controllers::objects::{Nodes, Plain};
use crate::reply::{ApiResult, Reply};
use crate::views::process_metrics;

/// Answers metric names and numbers.
///
/// # Errors
/// 404.
pub async fn handle(call: Call, request: Plain<Nodes>) -> ApiResult {
    let reply = call.tier(GetNodeMetricsRequest { reference: request.reference }).await?;
    Ok(Reply::json(process_metrics(reply.processes)))
}

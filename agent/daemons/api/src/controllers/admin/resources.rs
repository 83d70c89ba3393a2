//! `GET /admin/resources`: what the hypervisors have and have left.

use sf_protos::scheduler::GetCapacityRequest;

use crate::call::Call;
use crate::input::Nothing;
use crate::reply::{ApiResult, Reply};
use crate::views::resources;

/// Answers one document; zeros are never shown for figures that could not be read.
///
/// # Errors
/// 503.
pub async fn handle(call: Call, _: Nothing) -> ApiResult {
    let reply = call.tier(GetCapacityRequest::default()).await?;
    Ok(Reply::json(resources(reply, call.cluster().cpu_overcommit_ratio)))
}

//! `GET /admin/locks`.

use sf_protos::locks::ListLocksRequest;

use crate::call::Call;
use crate::input::Nothing;
use crate::reply::{ApiResult, Reply};
use crate::views::locks;

/// Answers the locks by name.
///
/// # Errors
/// 503.
pub async fn handle(call: Call, _: Nothing) -> ApiResult {
    let reply = call.tier(ListLocksRequest {}).await?;
    Ok(Reply::json(locks(reply.locks)))
}

//! `GET /admin/cacert`: the certificate of the cluster's own authority; empty while there is none.

use crate::call::Call;
use crate::input::Nothing;
use crate::reply::{ApiResult, Reply};

/// Answers PEM text.
///
/// # Errors
/// None.
pub async fn handle(_: Call, _: Nothing) -> ApiResult {
    Ok(Reply::bytes("text/plain; charset=utf-8", ""))
}

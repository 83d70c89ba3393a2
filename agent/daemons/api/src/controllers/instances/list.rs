//! `GET /instances`.

use sf_protos::instances::{InstanceFilter, ListInstancesRequest};

use crate::call::Call;
use crate::controllers::objects::All;
use crate::reply::{ApiResult, Reply};
use crate::views::InstanceView;

/// Answers the caller's instances, deleted ones too when asked for.
///
/// # Errors
/// 503.
pub async fn handle(call: Call, request: All) -> ApiResult {
    let filter = InstanceFilter { all: request.all, ..InstanceFilter::default() };
    let instances = call
        .all(
            |page| ListInstancesRequest {
                caller: call.wire(),
                filter: Some(filter.clone()),
                page: Some(page),
            },
            |reply| (reply.instances, reply.page),
        )
        .await?;
    Ok(Reply::list(instances.into_iter().map(InstanceView::from)))
}

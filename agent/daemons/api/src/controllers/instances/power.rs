//! The six power actions: queued, and waited for as long as a user is willing to.

use std::time::{Duration, Instant};

use sf_gateway::CallClass;
use sf_model::ObjectType;
use sf_model::state::{OperationState, PowerAction};
use sf_protos::common::OperationHandle;
use sf_protos::instances::RequestPowerRequest;
use sf_protos::operations::{OperationOutcome, WaitOperationsRequest};

use crate::call::Call;
use crate::controllers::objects::{Instances, Plain};
use crate::error::ApiError;
use crate::reply::{ApiResult, Reply};

/// Longest wait of one call to the tier.
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// `POST …/poweron`.
///
/// # Errors
/// As [`act`].
pub async fn power_on(call: Call, request: Plain<Instances>) -> ApiResult {
    act(call, request, PowerAction::Poweron).await
}

/// `POST …/poweroff`.
///
/// # Errors
/// As [`act`].
pub async fn power_off(call: Call, request: Plain<Instances>) -> ApiResult {
    act(call, request, PowerAction::Poweroff).await
}

/// `POST …/rebootsoft`.
///
/// # Errors
/// As [`act`].
pub async fn reboot_soft(call: Call, request: Plain<Instances>) -> ApiResult {
    act(call, request, PowerAction::Rebootsoft).await
}

/// `POST …/reboothard`.
///
/// # Errors
/// As [`act`].
pub async fn reboot_hard(call: Call, request: Plain<Instances>) -> ApiResult {
    act(call, request, PowerAction::Reboothard).await
}

/// `POST …/pause`.
///
/// # Errors
/// As [`act`].
pub async fn pause(call: Call, request: Plain<Instances>) -> ApiResult {
    act(call, request, PowerAction::Pause).await
}

/// `POST …/unpause`.
///
/// # Errors
/// As [`act`].
pub async fn unpause(call: Call, request: Plain<Instances>) -> ApiResult {
    act(call, request, PowerAction::Unpause).await
}

/// Answers null when done, or the handle of the operation when it takes longer than a request should.
///
/// # Errors
/// 406 or 409 by state and power state.
async fn act(call: Call, request: Plain<Instances>, action: PowerAction) -> ApiResult {
    let selector = call.select(ObjectType::Instance, request.reference, None)?;
    let wanted =
        RequestPowerRequest { context: None, caller: call.wire(), selector, action: action.to_string() };
    let reply = call.tier(wanted).await?;
    call.audit(ObjectType::Instance, reply.instance_uuid, message(action));
    match reply.operation {
        None => Ok(Reply::null()),
        Some(handle) => finish(&call, handle).await,
    }
}

async fn finish(call: &Call, handle: OperationHandle) -> Result<Reply, ApiError> {
    let patience = call.cluster().api_async_wait;
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now()).min(LONGEST_POLL);
        if left.is_zero() {
            return Ok(Reply::accepted(&handle));
        }
        let wanted = WaitOperationsRequest {
            operation_uuids: vec![handle.op_uuid.clone()],
            timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
        };
        let outcome = call.api.tier(CallClass::Wait, wanted).await?.outcomes.into_iter().next();
        if let Some(ended) = outcome.and_then(ended) {
            return ended;
        }
    }
}

/// `None` while the operation runs.
fn ended(outcome: OperationOutcome) -> Option<Result<Reply, ApiError>> {
    let state: OperationState = outcome.state.parse().ok()?;
    if !state.is_terminal() {
        return None;
    }
    Some(match (state, outcome.error) {
        (OperationState::Complete, _) => Ok(Reply::null()),
        (_, Some(error)) => Err(ApiError::conflict(error.message).code(&error.code)),
        (_, None) => Err(ApiError::conflict("the power action did not succeed")),
    })
}

fn message(action: PowerAction) -> &'static str {
    match action {
        PowerAction::Poweron => "power on requested",
        PowerAction::Poweroff => "power off requested",
        PowerAction::Rebootsoft => "soft reboot requested",
        PowerAction::Reboothard => "hard reboot requested",
        PowerAction::Pause => "pause requested",
        PowerAction::Unpause => "unpause requested",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sf_protos::operations::OperationError;

    #[test]
    fn only_an_ended_operation_ends_the_wait() {
        let outcome = |state: &str, error: Option<OperationError>| {
            ended(OperationOutcome { state: state.into(), error, ..OperationOutcome::default() })
        };
        assert!(outcome("executing", None).is_none());
        assert!(matches!(outcome("complete", None), Some(Ok(_))));
        let error = OperationError { code: "powered-off".into(), message: "cannot pause".into() };
        let refused = outcome("error", Some(error)).unwrap().unwrap_err();
        assert_eq!((refused.status().as_u16(), &refused.body()["error"]), (409, &"cannot pause".into()));
    }
}

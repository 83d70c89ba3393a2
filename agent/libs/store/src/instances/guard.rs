//! Why a guarded statement on an instance matched nothing.

use sf_model::InstanceId;
use sf_model::state::{InstanceState, Readiness};

use super::rows::Guard;
use crate::conn::Conn;
use crate::error::{StoreError, reason};
use crate::lookup::NOT_READY;

/// Reason of a refusal because the work belongs to an earlier placement.
pub const STALE_PLACEMENT: &str = "stale-placement";

/// Explains a lost race to a worker: the instance is gone, was placed elsewhere, or is in another state. `expected`
/// names the placement the worker acts for.
pub(super) async fn lost(conn: &mut Conn, instance: InstanceId, expected: u32) -> StoreError {
    match Guard::read(conn, instance).await {
        Err(error) => error,
        Ok(row) if row.placement_seq != expected => {
            let text = format!("instance {instance} has been placed again since");
            StoreError::precondition(STALE_PLACEMENT, text).with("placement_seq", row.placement_seq)
        }
        Ok(row) => in_state(instance, &row.state),
    }
}

/// The instance is in a state in which this cannot be done.
pub(super) fn in_state(instance: InstanceId, state: &str) -> StoreError {
    StoreError::precondition(reason::BAD_STATE, format!("instance {instance} is {state}"))
        .with("state", state)
}

/// Refuses what needs an instance in service, telling "not yet" from "never".
pub(super) fn require_ready(instance: InstanceId, state: InstanceState) -> Result<(), StoreError> {
    match state.readiness() {
        Readiness::Ready => Ok(()),
        Readiness::Gone => Err(StoreError::missing(sf_model::ObjectType::Instance, instance)),
        Readiness::Never => Err(in_state(instance, state.as_str())),
        Readiness::NotYet => {
            let text = format!("instance {instance} is not ready: it is {state}");
            Err(StoreError::precondition(NOT_READY, text).with("state", state))
        }
    }
}

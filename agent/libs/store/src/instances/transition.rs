//! Milestones of a worker: each is one guarded statement, so a lost race changes nothing (`instances.md` §4).

use serde_json::json;
use sf_model::event::EventType;
use sf_model::state::{InstanceState, PowerReason, PowerState};
use sf_model::{InstanceId, ObjectRef, ObjectType};
use sf_protos::instances::{
    RecordBootReply, RecordBootRequest, RecordCreatedReply, RecordCreatedRequest, SettleErrorReply,
    SettleErrorRequest, TransitionInstanceReply, TransitionInstanceRequest,
};
use uuid::Uuid;

use super::disks;
use super::guard::lost;
use super::rows::Guard;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::sql::{Sql, sql};
use crate::wire::{parse, state_message};

/// Moves an instance along an edge of the table. `created`, `delete-wait` and `deleted` are reached through the calls
/// that also do what belongs to them.
///
/// # Errors
/// [`StoreError::Invalid`] for an edge that does not exist; a precondition when the instance is in another state or
/// was placed again.
pub async fn transition(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &TransitionInstanceRequest,
) -> StoreResult<TransitionInstanceReply> {
    let instance: InstanceId = parse("instance_uuid", &request.instance_uuid)?;
    let to: InstanceState = parse("to", &request.to)?;
    let expected: Vec<InstanceState> =
        request.expected.iter().map(|state| parse("expected", state)).collect::<StoreResult<_>>()?;
    check_edges(&expected, to)?;
    if to == InstanceState::Creating {
        // Images are local by now, so disks without size are charged what they really are. Before the guarded
        // statement, because the ledger's rows are locked first in every transaction.
        disks::correct_charge(conn, ctx, instance, request.placement_seq).await?;
    }
    let change = Change { instance, expected: &expected, placement_seq: Some(request.placement_seq), to };
    if change.apply(conn, ctx, request.message.as_deref(), None).await? {
        Ok(TransitionInstanceReply {})
    } else {
        Err(lost(conn, instance, request.placement_seq).await)
    }
}

/// An instance whose failure was cleaned up on its node waits for its user from now on.
///
/// # Errors
/// As [`transition`].
pub async fn settle_error(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &SettleErrorRequest,
) -> StoreResult<SettleErrorReply> {
    let instance: InstanceId = parse("instance_uuid", &request.instance_uuid)?;
    let to = InstanceState::Error;
    let change = Change { instance, expected: &SETTLING, placement_seq: Some(request.placement_seq), to };
    if change.apply(conn, ctx, None, None).await? || is_in(conn, instance, to).await? {
        Ok(SettleErrorReply {})
    } else {
        Err(lost(conn, instance, request.placement_seq).await)
    }
}

/// States in which clean-up on the node is pending.
pub(super) const SETTLING: [InstanceState; 5] = [
    InstanceState::InitialError,
    InstanceState::PreflightError,
    InstanceState::CreatingError,
    InstanceState::CreatedError,
    InstanceState::DeleteWaitError,
];

/// A new life of the QEMU process is about to begin: observations of earlier ones stop counting.
///
/// # Errors
/// As [`transition`].
pub async fn record_boot(conn: &mut Conn, request: &RecordBootRequest) -> StoreResult<RecordBootReply> {
    let instance: InstanceId = parse("instance_uuid", &request.instance_uuid)?;
    let changed = sql("UPDATE instances SET boot_id = ?, machine_version = COALESCE(?, machine_version), \
         row_version = row_version + 1 WHERE uuid = ? AND placement_seq = ? AND state IN ('creating', 'created')")
    .bind(parse::<Uuid>("boot_id", &request.boot_id)?)
    .bind(request.machine_version.clone())
    .bind(instance)
    .bind(request.placement_seq)
    .run(conn)
    .await?;
    if changed > 0 { Ok(RecordBootReply {}) } else { Err(lost(conn, instance, request.placement_seq).await) }
}

/// The domain was seen running: `creating` becomes `created`, with what is known of the first boot.
///
/// # Errors
/// As [`transition`]. Recording the same boot twice is success.
pub async fn record_created(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &RecordCreatedRequest,
) -> StoreResult<RecordCreatedReply> {
    let instance: InstanceId = parse("instance_uuid", &request.instance_uuid)?;
    let boot: Uuid = parse("boot_id", &request.boot_id)?;
    let power: PowerState = parse("power_state", &request.power_state)?;
    let facts = sql("power_state = ?, power_reason = ?, power_changed_at = UTC_TIMESTAMP(6), boot_id = ?, \
         machine_version = COALESCE(?, machine_version), kvm_pid = ?")
    .bind(power.as_str())
    .bind(PowerReason::User.as_str())
    .bind(boot)
    .bind(request.machine_version.clone())
    .bind(request.pid);
    let change = Change {
        instance,
        expected: &[InstanceState::Creating],
        placement_seq: Some(request.placement_seq),
        to: InstanceState::Created,
    };
    if change.apply(conn, ctx, None, Some(facts)).await? {
        return Ok(RecordCreatedReply {});
    }
    let row = Guard::read(conn, instance).await?;
    let done = row.state()? == InstanceState::Created
        && row.boot_id == Some(boot)
        && row.placement_seq == request.placement_seq;
    if done { Ok(RecordCreatedReply {}) } else { Err(lost(conn, instance, request.placement_seq).await) }
}

/// One guarded change of state with its event.
pub(super) struct Change<'a> {
    pub(super) instance: InstanceId,
    pub(super) expected: &'a [InstanceState],
    /// None: whatever the placement.
    pub(super) placement_seq: Option<u32>,
    pub(super) to: InstanceState,
}

impl Change<'_> {
    /// Applies the change, with further assignments if given, and says whether the guard matched. A message is kept
    /// only with a state that says something failed; reaching `error` keeps the one there is.
    pub(super) async fn apply(
        &self,
        conn: &mut Conn,
        ctx: &TxContext,
        message: Option<&str>,
        more: Option<Sql>,
    ) -> StoreResult<bool> {
        let message = message.map(state_message);
        let keeps = self.to == InstanceState::Error && message.is_none();
        let update = sql("UPDATE instances SET state = ?, state_changed_at = UTC_TIMESTAMP(6), \
             row_version = row_version + 1")
        .bind(self.to.as_str());
        let update = if keeps { update } else { update.push(", state_message = ?").bind(message) };
        let update = match more {
            Some(more) => update.push(", ").append(more),
            None => update,
        };
        let update = update
            .push(" WHERE uuid = ? AND state IN ")
            .bind(self.instance)
            .list(self.expected.iter().map(|state| state.as_str()));
        let update = match self.placement_seq {
            Some(sequence) => update.push(" AND placement_seq = ?").bind(sequence),
            None => update,
        };
        if update.run(conn).await? == 0 {
            return Ok(false);
        }
        let object = ObjectRef::new(ObjectType::Instance, self.instance);
        let extra = json!({"state": self.to.as_str(), "message": message});
        ctx.event_with(EventType::Mutate, format!("instance is {}", self.to), &[object], Some(&extra));
        Ok(true)
    }
}

fn check_edges(expected: &[InstanceState], to: InstanceState) -> StoreResult<()> {
    let elsewhere = [InstanceState::Created, InstanceState::DeleteWait, InstanceState::Deleted];
    if elsewhere.contains(&to) {
        return Err(StoreError::invalid(format!("to: {to} is reached through a call of its own")));
    }
    if expected.is_empty() {
        return Err(StoreError::invalid("expected: at least one state is required"));
    }
    match expected.iter().find(|from| **from == to || !from.may_become(to)) {
        Some(from) => Err(StoreError::invalid(format!("an instance never goes from {from} to {to}"))),
        None => Ok(()),
    }
}

async fn is_in(conn: &mut Conn, instance: InstanceId, state: InstanceState) -> StoreResult<bool> {
    Ok(Guard::read(conn, instance).await?.state()? == state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn only_edges_of_the_table_pass() {
        for from in InstanceState::iter() {
            for to in InstanceState::iter() {
                let own_call =
                    matches!(to, InstanceState::Created | InstanceState::DeleteWait | InstanceState::Deleted);
                let expected = from.may_become(to) && from != to && !own_call;
                assert_eq!(check_edges(&[from], to).is_ok(), expected, "{from} -> {to}");
            }
        }
        assert!(check_edges(&[], InstanceState::Creating).is_err());
    }
}

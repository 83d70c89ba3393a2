//! Power: what users ask for and what nodes observe (`instances.md` §10).

use std::str::FromStr;

use sf_model::event::EventType;
use sf_model::operation::{OperationArgs, OperationType, Priority};
use sf_model::state::{PowerAction, PowerDesired, PowerReason, PowerState, PowerVerdict};
use sf_model::{InstanceId, ObjectRef, ObjectType, OperationId};
use sf_protos::common::OperationHandle;
use sf_protos::instances::{
    PowerRecord, RecordPowerStatesReply, RecordPowerStatesRequest, RequestPowerReply, RequestPowerRequest,
};
use uuid::Uuid;

use super::guard::require_ready;
use super::read;
use super::rows::Guard;
use crate::conn::Conn;
use crate::context::TxContext;
use crate::error::{StoreError, StoreResult};
use crate::lookup::Viewer;
use crate::operations::{self, Dependency, EnqueueOperation, Kind};
use crate::sql::sql;
use crate::wire::parse;

/// Reason of a refusal because of the power state: 409.
pub const WRONG_POWER_STATE: &str = "wrong-power-state";
/// Actions that may be queued for one instance.
const MAX_QUEUED: i64 = 4;
/// Records of one call.
const MAX_RECORDS: usize = 500;
/// How long an action may wait for its worker.
const DEADLINE_SECONDS: u32 = 600;

/// Queues a power action, or finds that nothing is to be done.
///
/// # Errors
/// [`StoreError::Missing`]; a precondition when the instance is not in service, is in the wrong power state, or has
/// too many actions queued.
pub async fn request(
    conn: &mut Conn,
    ctx: &TxContext,
    request: &RequestPowerRequest,
) -> StoreResult<RequestPowerReply> {
    let viewer = Viewer::new(request.caller.as_ref())?;
    let action: PowerAction = parse("action", &request.action)?;
    let instance = read::resolve(conn, &viewer, request.selector.as_ref()).await?;
    let row = Guard::lock(conn, instance).await?;
    require_ready(instance, row.state()?)?;
    let node =
        row.node_uuid.ok_or_else(|| StoreError::Corrupt(format!("instance {instance} without node")))?;
    let instance_uuid = instance.to_string();
    let power = row.power()?;
    let pending = pending(conn, instance).await?;
    match action.from_state(settled(power)) {
        // What is on its way is not there yet: whoever asks again waits for the action that leads there.
        PowerVerdict::AlreadyDone => {
            let operation = pending.last().map(|last| handle(*last));
            return Ok(RequestPowerReply { instance_uuid, operation });
        }
        PowerVerdict::Refused => return Err(wrong_state(action, power)),
        PowerVerdict::Allowed => {}
    }
    if i64::try_from(pending.len()).unwrap_or(i64::MAX) >= MAX_QUEUED {
        let text = format!("instance {instance} has {MAX_QUEUED} power actions queued already");
        return Err(StoreError::precondition(WRONG_POWER_STATE, text));
    }
    sql("UPDATE instances SET power_state = ?, power_desired = ?, power_reason = ?, \
         power_changed_at = UTC_TIMESTAMP(6), row_version = row_version + 1 WHERE uuid = ?")
    .bind(action.transition().as_str())
    .bind(action.desired().as_str())
    .bind(PowerReason::User.as_str())
    .bind(instance)
    .run(conn)
    .await?;
    let operation = EnqueueOperation {
        uuid: OperationId::ordered(),
        node,
        namespace: Some(row.namespace),
        priority: Priority::UserWaiting,
        args: OperationArgs::InstancePower { instance, action },
        dependencies: pending
            .last()
            .map(|last| Dependency { operation: *last, kind: Kind::After, wait_seconds: None })
            .into_iter()
            .collect(),
        deadline_seconds: DEADLINE_SECONDS,
        observational: false,
    };
    let handle = handle(operation.uuid);
    operations::enqueue(conn, ctx, &[operation]).await?;
    let object = ObjectRef::new(ObjectType::Instance, instance);
    ctx.event(EventType::Audit, format!("{action} requested"), &[object]);
    Ok(RequestPowerReply { instance_uuid, operation: Some(handle) })
}

/// Power actions that have not ended, in the order in which they will be carried out.
async fn pending(conn: &mut Conn, instance: InstanceId) -> StoreResult<Vec<OperationId>> {
    sql("SELECT uuid AS value FROM cluster_operations WHERE instance_uuid = ? AND operation_type = ? \
         AND state IN ('queued', 'executing') ORDER BY created_at, uuid")
    .bind(instance)
    .bind(OperationType::InstancePower.to_string())
    .values(conn)
    .await
}

fn handle(operation: OperationId) -> OperationHandle {
    OperationHandle { op_type: OperationType::InstancePower.to_string(), op_uuid: operation.to_string() }
}

/// Records what a node observed. Observations of another boot or placement are dropped, unchanged values are not
/// written, and a state that a queued action is heading for is left alone until the last such action says so.
///
/// # Errors
/// [`StoreError::Invalid`] for words that are not power states and for more than 500 records.
pub async fn record_states(
    conn: &mut Conn,
    request: &RecordPowerStatesRequest,
) -> StoreResult<RecordPowerStatesReply> {
    if request.records.len() > MAX_RECORDS {
        return Err(StoreError::invalid(format!("records: at most {MAX_RECORDS}")));
    }
    let mut records =
        request.records.iter().map(Observation::parse).collect::<StoreResult<Vec<Observation>>>()?;
    // In the order in which every transaction locks rows of one table.
    records.sort_by_key(|record| record.instance);
    let mut changed = 0;
    for record in &records {
        changed += u32::from(record.write(conn).await?);
    }
    Ok(RecordPowerStatesReply { changed })
}

/// The power state to show again when an action failed without its worker being able to say what it saw. The next
/// observation replaces it.
pub(super) fn before(action: PowerAction) -> PowerState {
    match action {
        PowerAction::Poweron => PowerState::Off,
        PowerAction::Unpause => PowerState::Paused,
        PowerAction::Poweroff | PowerAction::Pause | PowerAction::Rebootsoft | PowerAction::Reboothard => {
            PowerState::On
        }
    }
}

struct Observation {
    instance: InstanceId,
    boot: Option<Uuid>,
    placement_seq: u32,
    power: PowerState,
    reason: Option<&'static str>,
    desired: Option<&'static str>,
    settles: bool,
    settled_by: Option<OperationId>,
}

impl Observation {
    fn parse(record: &PowerRecord) -> StoreResult<Self> {
        Ok(Self {
            instance: parse("instance_uuid", &record.instance_uuid)?,
            boot: optional("boot_id", record.boot_id.as_deref())?,
            placement_seq: record.placement_seq,
            power: parse("power_state", &record.power_state)?,
            reason: optional::<PowerReason>("power_reason", record.power_reason.as_deref())?
                .map(PowerReason::as_str),
            desired: optional::<PowerDesired>("power_desired", record.power_desired.as_deref())?
                .map(PowerDesired::as_str),
            settles: record.settles_transition,
            settled_by: optional("settled_by", record.settled_by.as_deref())?,
        })
    }

    /// Whether a `transition-to-*` state may be replaced: it belongs to the last action asked for, so only when nothing
    /// is queued beside the one that ends here. A request that came between this and the statement that writes would be
    /// overlooked, so the row is held from here on, as a request holds it.
    async fn ends_transition(&self, conn: &mut Conn) -> StoreResult<bool> {
        if !self.settles {
            return Ok(false);
        }
        let held: Option<InstanceId> = sql("SELECT uuid AS value FROM instances WHERE uuid = ? FOR UPDATE")
            .bind(self.instance)
            .value(conn)
            .await?;
        let pending = pending(conn, self.instance).await?;
        Ok(held.is_some() && pending.into_iter().all(|operation| Some(operation) == self.settled_by))
    }

    async fn write(&self, conn: &mut Conn) -> StoreResult<bool> {
        let ends_transition = self.ends_transition(conn).await?;
        let update = sql("UPDATE instances SET power_changed_at = IF(power_state = ?, power_changed_at, \
             UTC_TIMESTAMP(6)), power_state = ?, power_reason = COALESCE(?, power_reason), \
             power_desired = COALESCE(?, power_desired), row_version = row_version + 1 \
             WHERE uuid = ? AND placement_seq = ? AND state <> 'deleted' \
             AND (? OR power_state NOT LIKE 'transition-to-%') \
             AND NOT (power_state = ? AND power_reason <=> COALESCE(?, power_reason) \
                      AND power_desired = COALESCE(?, power_desired))")
        .bind(self.power.as_str())
        .bind(self.power.as_str())
        .bind(self.reason)
        .bind(self.desired)
        .bind(self.instance)
        .bind(self.placement_seq)
        .bind(ends_transition)
        .bind(self.power.as_str())
        .bind(self.reason)
        .bind(self.desired);
        let update = match self.boot {
            Some(boot) => update.push(" AND boot_id = ?").bind(boot),
            None => update,
        };
        Ok(update.run(conn).await? > 0)
    }
}

/// What an instance will be once the actions queued for it are done.
fn settled(power: PowerState) -> PowerState {
    match power {
        PowerState::TransitionToOn => PowerState::On,
        PowerState::TransitionToOff => PowerState::Off,
        PowerState::TransitionToPaused => PowerState::Paused,
        other => other,
    }
}

fn wrong_state(action: PowerAction, power: PowerState) -> StoreError {
    let verb = match action {
        PowerAction::Poweron => "power on",
        PowerAction::Poweroff => "power off",
        PowerAction::Rebootsoft | PowerAction::Reboothard => "reboot",
        PowerAction::Pause => "pause",
        PowerAction::Unpause => "unpause",
    };
    let text = match settled(power) {
        PowerState::Off => format!("you cannot {verb} a powered off instance"),
        PowerState::Paused => format!("you cannot {verb} a paused instance"),
        PowerState::Crashed => format!("you cannot {verb} a crashed instance"),
        PowerState::Initial => format!("you cannot {verb} an instance that has not started yet"),
        _ => format!("you cannot {verb} a running instance"),
    };
    StoreError::precondition(WRONG_POWER_STATE, text).with("power_state", power)
}

fn optional<T: FromStr>(field: &str, text: Option<&str>) -> StoreResult<Option<T>> {
    text.map(|text| parse(field, text)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn an_action_is_judged_by_what_the_queued_ones_lead_to() {
        let verdict = |action: PowerAction, power| action.from_state(settled(power));
        assert_eq!(verdict(PowerAction::Poweron, PowerState::TransitionToOff), PowerVerdict::Allowed);
        assert_eq!(verdict(PowerAction::Poweron, PowerState::TransitionToOn), PowerVerdict::AlreadyDone);
        assert_eq!(verdict(PowerAction::Pause, PowerState::TransitionToOff), PowerVerdict::Refused);
    }

    #[test]
    fn a_failed_action_shows_a_state_from_which_it_can_be_asked_again() {
        for action in PowerAction::iter() {
            assert_eq!(action.from_state(before(action)), PowerVerdict::Allowed, "{action}");
        }
    }
}

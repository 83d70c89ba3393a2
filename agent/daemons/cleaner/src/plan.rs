//! What follows from the comparison. Pure, so that every rule can be tested without a hypervisor.

use std::collections::BTreeSet;
use std::time::Duration;

use sf_model::InstanceId;
use sf_model::state::InstanceState;

use crate::world::{Elsewhere, Record, World};

/// Time the worker has to do by itself what is done here otherwise.
const GRACE: Duration = Duration::from_secs(300);

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Remove domain and files of an instance that is certainly gone. One step of the ladder.
    RemoveStray(InstanceId),
    /// As above for an instance whose teardown is stuck, and see that its teardown goes on.
    PushDelete(InstanceId, u32),
    /// Queue the teardown again; nothing is left here.
    QueueDelete(InstanceId),
    /// Remove what a failed create left, and settle the error.
    RollBack(InstanceId, u32),
    /// Stop the domain of an instance that failed after it was created. Its disks stay.
    StopFailed(InstanceId, u32),
    /// Finish the removal of a directory.
    FinishRemoval(InstanceId),
    /// The node is clear of a tombstoned instance.
    ClearTombstone(InstanceId),
    /// Something of an instance that the database does not know. Left alone.
    ReportUnknown(InstanceId),
}

/// Everything to do, in a fixed order.
pub(crate) fn plan(world: &World) -> Vec<Action> {
    let mut actions: BTreeSet<Action> = BTreeSet::new();
    actions.extend(world.records.iter().filter_map(|(instance, record)| of_record(world, *instance, record)));
    actions.extend(world.tombstones.iter().map(|instance| {
        if world.is_clear_of(*instance) {
            Action::ClearTombstone(*instance)
        } else {
            Action::RemoveStray(*instance)
        }
    }));
    actions.extend(world.elsewhere.iter().filter_map(|(instance, said)| match said {
        Elsewhere::Unknown => Some(Action::ReportUnknown(*instance)),
        Elsewhere::Deleted => Some(Action::RemoveStray(*instance)),
        // The worker compares placements and removes stale copies.
        Elsewhere::Placed => None,
    }));
    // A removal that began is finished for whoever is not alive here.
    let alive =
        |instance: &InstanceId| world.records.get(instance).is_some_and(|record| record.state.is_active());
    actions
        .extend(world.directories.doomed.iter().filter(|id| !alive(id)).map(|id| Action::FinishRemoval(*id)));
    actions.into_iter().collect()
}

fn of_record(world: &World, instance: InstanceId, record: &Record) -> Option<Action> {
    if record.age <= GRACE {
        return None;
    }
    let clear = world.is_clear_of(instance);
    match record.state {
        InstanceState::Deleted if !clear => Some(Action::RemoveStray(instance)),
        InstanceState::DeleteWait if record.pending => None,
        InstanceState::DeleteWait if clear => Some(Action::QueueDelete(instance)),
        InstanceState::DeleteWait => Some(Action::PushDelete(instance, record.placement_seq)),
        InstanceState::InitialError | InstanceState::PreflightError | InstanceState::CreatingError => {
            Some(Action::RollBack(instance, record.placement_seq))
        }
        InstanceState::CreatedError => Some(Action::StopFailed(instance, record.placement_seq)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    fn id() -> InstanceId {
        InstanceId::random()
    }

    fn record(state: InstanceState, seconds: u64, pending: bool) -> Record {
        Record { state, age: Duration::from_secs(seconds), pending, placement_seq: 3 }
    }

    fn world_of(
        instance: InstanceId,
        state: InstanceState,
        seconds: u64,
        pending: bool,
        domain: bool,
    ) -> World {
        let mut world = World::default();
        world.records.insert(instance, record(state, seconds, pending));
        if domain {
            world.domains.insert(instance);
        }
        world
    }

    #[test]
    fn recorded_instances() {
        use InstanceState::{
            Created, CreatedError, Creating, CreatingError, DeleteWait, Deleted, Error, InitialError,
        };
        let i = id();
        for (state, seconds, pending, domain, expected) in [
            (Deleted, 301, false, true, Some(Action::RemoveStray(i))),
            (Deleted, 301, false, false, None),
            (Deleted, 300, false, true, None),
            (DeleteWait, 301, true, true, None),
            (DeleteWait, 301, false, true, Some(Action::PushDelete(i, 3))),
            (DeleteWait, 301, false, false, Some(Action::QueueDelete(i))),
            (InitialError, 301, false, false, Some(Action::RollBack(i, 3))),
            (CreatingError, 301, false, true, Some(Action::RollBack(i, 3))),
            (CreatingError, 10, false, true, None),
            (CreatedError, 301, false, true, Some(Action::StopFailed(i, 3))),
            (Created, 9999, false, true, None),
            (Creating, 9999, false, true, None),
            (Error, 9999, false, true, None),
        ] {
            let actions = plan(&world_of(i, state, seconds, pending, domain));
            assert_eq!(actions, Vec::from_iter(expected), "{state} {seconds} {pending} {domain}");
        }
    }

    #[test]
    fn a_live_instance_is_never_touched() {
        for state in
            InstanceState::iter().filter(|state| state.is_healthy() || *state == InstanceState::Error)
        {
            let i = id();
            let mut world = world_of(i, state, 1_000_000, false, true);
            world.directories.whole.insert(i);
            world.directories.doomed.insert(i);
            assert_eq!(plan(&world), [], "{state}");
        }
    }

    #[test]
    fn what_the_database_does_not_know_is_reported_only() {
        let (unknown, elsewhere, deleted) = (id(), id(), id());
        let mut world = World::default();
        for (instance, said) in
            [(unknown, Elsewhere::Unknown), (elsewhere, Elsewhere::Placed), (deleted, Elsewhere::Deleted)]
        {
            world.domains.insert(instance);
            world.directories.whole.insert(instance);
            world.elsewhere.insert(instance, said);
        }
        assert_eq!(plan(&world), [Action::RemoveStray(deleted), Action::ReportUnknown(unknown)]);
    }

    #[test]
    fn a_tombstone_is_cleared_once_nothing_is_left() {
        let i = id();
        let mut world = World::default();
        world.tombstones.insert(i);
        assert_eq!(plan(&world), [Action::ClearTombstone(i)]);
        world.directories.whole.insert(i);
        assert_eq!(plan(&world), [Action::RemoveStray(i)]);
    }

    #[test]
    fn an_empty_database_removes_nothing() {
        let mut world = World::default();
        for _ in 0..5 {
            let i = id();
            world.domains.insert(i);
            world.directories.whole.insert(i);
            world.elsewhere.insert(i, Elsewhere::Unknown);
        }
        assert!(plan(&world).iter().all(|action| matches!(action, Action::ReportUnknown(_))));
    }
}

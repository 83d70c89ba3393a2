//! The table of `instances.md` §15: what follows from what is recorded and what is found. Pure.

use sf_hypervisor::power::power_of;
use sf_hypervisor::{DomainState, DomainSummary};
use sf_model::ClusterId;
use sf_model::state::{InstanceState, PowerDesired, PowerState};
use sf_protos::instances::Instance;

/// What the database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) state: InstanceState,
    pub(super) desired: PowerDesired,
    pub(super) power: PowerState,
    pub(super) placement_seq: u32,
    /// An operation is queued or running.
    pub(super) pending: bool,
}

/// What the hypervisor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// It carries our metadata with this cluster's id.
    pub(super) ours: bool,
    pub(super) active: bool,
    pub(super) state: DomainState,
    pub(super) placement: u32,
}

/// What the disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disk {
    /// The directory of all instances is there; without it nothing follows from a missing one.
    pub(super) store: bool,
    /// The instance's directory is there.
    pub(super) directory: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Tell the database what is seen.
    Observe(PowerState),
    /// It runs although nobody asked for it: respected, never killed.
    StartedOutside,
    /// Start it again.
    Restore,
    /// Its memory is lost with the host; it stays off.
    PauseLost,
    FilesMissing,
    RollBack,
    EnsureDelete,
    /// The database let it go; so does the node.
    Remove,
    /// A domain of an earlier placement: destroyed and undefined here.
    StaleCopy,
    /// Somebody else's domain under this instance's name.
    Foreign,
}

impl Row {
    /// `None`: a word this build does not know.
    pub(super) fn of(row: &Instance) -> Option<Self> {
        Some(Self {
            state: row.state.as_ref()?.state.parse().ok()?,
            desired: row.power_desired.parse().ok()?,
            power: row.power_state.parse().ok()?,
            placement_seq: row.placement_seq,
            pending: row.has_pending_operations,
        })
    }
}

impl Found {
    pub(super) fn of(domain: &DomainSummary, cluster: Option<ClusterId>) -> Self {
        let identity = domain
            .identity
            .as_ref()
            .filter(|identity| Some(identity.cluster) == cluster && identity.instance == domain.instance);
        Self {
            ours: identity.is_some(),
            active: domain.active,
            state: domain.state,
            placement: identity.map_or(0, |identity| identity.placement),
        }
    }
}

/// One line of the table. `full`: at start or after a reconnect; otherwise observation only.
pub(super) fn decide(row: &Row, found: Option<&Found>, disk: Disk, full: bool) -> Action {
    if found.is_some_and(|found| !found.ours) {
        return Action::Foreign;
    }
    if found.is_some_and(|found| found.placement < row.placement_seq) {
        return Action::StaleCopy;
    }
    match row.state {
        InstanceState::Created => created(row, found, disk, full),
        InstanceState::Initial | InstanceState::Preflight | InstanceState::Creating => Action::Nothing,
        // Nothing is done behind the back of an operation that is doing it.
        _ if row.pending => Action::Nothing,
        InstanceState::InitialError | InstanceState::PreflightError | InstanceState::CreatingError => {
            Action::RollBack
        }
        InstanceState::DeleteWait => Action::EnsureDelete,
        InstanceState::Deleted if found.is_some() || disk.directory => Action::Remove,
        InstanceState::Deleted
        | InstanceState::CreatedError
        | InstanceState::DeleteWaitError
        | InstanceState::Error => Action::Nothing,
    }
}

fn created(row: &Row, found: Option<&Found>, disk: Disk, full: bool) -> Action {
    if row.pending {
        return Action::Nothing;
    }
    if let Some(found) = found.filter(|found| found.active) {
        let seen = power_of(found.state);
        return match row.desired {
            PowerDesired::Off => Action::StartedOutside,
            _ if seen != row.power => Action::Observe(seen),
            _ => Action::Nothing,
        };
    }
    // A guest that runs has its files open, whatever the directory looks like: only one that does not run is lost.
    if disk.store && !disk.directory {
        return Action::FilesMissing;
    }
    match row.desired {
        PowerDesired::On if full => Action::Restore,
        PowerDesired::Paused if full && row.power != PowerState::Off => Action::PauseLost,
        // A stop whose event was missed. A crash that was noticed stays one.
        _ if !matches!(row.power, PowerState::Off | PowerState::Crashed) => Action::Observe(PowerState::Off),
        _ => Action::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row {
        state: InstanceState::Created,
        desired: PowerDesired::On,
        power: PowerState::On,
        placement_seq: 2,
        pending: false,
    };
    const RUNNING: Found = Found { ours: true, active: true, state: DomainState::Running, placement: 2 };
    const STOPPED: Found = Found { active: false, state: DomainState::ShutOff, ..RUNNING };
    const FILES: Disk = Disk { store: true, directory: true };
    const NO_FILES: Disk = Disk { store: true, directory: false };

    #[test]
    fn the_table() {
        use Action::*;
        let off = Row { desired: PowerDesired::Off, power: PowerState::Off, ..ROW };
        let paused = Row { desired: PowerDesired::Paused, power: PowerState::Paused, ..ROW };
        let state = |state| Row { state, ..ROW };
        let foreign = Found { ours: false, ..RUNNING };
        let stale = Found { placement: 1, ..RUNNING };
        let crashed = Row { power: PowerState::Crashed, ..ROW };
        let table = [
            // Row, found, disk, full, action.
            (ROW, Some(RUNNING), FILES, true, Nothing),
            (Row { power: PowerState::Off, ..ROW }, Some(RUNNING), FILES, false, Observe(PowerState::On)),
            (ROW, Some(STOPPED), FILES, true, Restore),
            (ROW, None, FILES, true, Restore),
            (Row { pending: true, ..ROW }, None, FILES, true, Nothing),
            (ROW, Some(STOPPED), FILES, false, Observe(PowerState::Off)),
            (crashed, Some(STOPPED), FILES, false, Nothing),
            (off, Some(STOPPED), FILES, true, Nothing),
            (off, None, FILES, true, Nothing),
            (off, Some(RUNNING), FILES, true, StartedOutside),
            (paused, None, FILES, true, PauseLost),
            (paused, Some(Found { state: DomainState::Paused, ..RUNNING }), FILES, true, Nothing),
            (ROW, None, NO_FILES, true, FilesMissing),
            (ROW, Some(STOPPED), NO_FILES, false, FilesMissing),
            (ROW, Some(RUNNING), NO_FILES, true, Nothing),
            (Row { pending: true, ..ROW }, None, NO_FILES, true, Nothing),
            (ROW, None, Disk { store: false, directory: false }, true, Restore),
            (state(InstanceState::Initial), None, NO_FILES, true, Nothing),
            (state(InstanceState::Preflight), None, NO_FILES, true, Nothing),
            (state(InstanceState::Creating), Some(RUNNING), FILES, true, Nothing),
            (state(InstanceState::CreatingError), Some(RUNNING), FILES, false, RollBack),
            (state(InstanceState::PreflightError), None, NO_FILES, false, RollBack),
            (state(InstanceState::DeleteWait), Some(RUNNING), FILES, false, EnsureDelete),
            (Row { pending: true, ..state(InstanceState::DeleteWait) }, None, FILES, true, Nothing),
            (state(InstanceState::Deleted), Some(RUNNING), NO_FILES, false, Remove),
            (state(InstanceState::Deleted), None, FILES, false, Remove),
            (state(InstanceState::Deleted), None, NO_FILES, true, Nothing),
            (state(InstanceState::Error), Some(STOPPED), FILES, true, Nothing),
            (ROW, Some(stale), FILES, false, StaleCopy),
            (ROW, Some(foreign), FILES, true, Foreign),
            (state(InstanceState::Deleted), Some(foreign), FILES, true, Foreign),
        ];
        for (row, found, disk, full, action) in table {
            assert_eq!(
                decide(&row, found.as_ref(), disk, full),
                action,
                "{row:?} {found:?} {disk:?} full={full}"
            );
        }
    }

    #[test]
    fn a_domain_is_ours_only_with_this_clusters_metadata() {
        let instance = sf_model::InstanceId::random();
        let bare = DomainSummary {
            instance,
            state: DomainState::Running,
            io_error: false,
            active: true,
            identity: None,
            defined_spec: None,
        };
        let cluster = ClusterId::random();
        assert!(!Found::of(&bare, Some(cluster)).ours);
        let identity = sf_hypervisor::domain::DomainIdentity {
            cluster,
            instance,
            placement: 1,
            boot: uuid::Uuid::nil(),
            spec: String::new(),
            agent: String::new(),
        };
        let domain = DomainSummary { identity: Some(identity), ..bare };
        assert!(Found::of(&domain, Some(cluster)).ours);
        assert!(!Found::of(&domain, Some(ClusterId::random())).ours);
        assert!(!Found::of(&domain, None).ours);
    }
}

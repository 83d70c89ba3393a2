//! Closed sets of states, each with the one function that says which transitions exist.
//!
//! A state read from the database that this build does not know is an error of the reader, never a default.

use strum::{Display, EnumIter, EnumString, IntoStaticStr};

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident $(= $text:literal)?),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, EnumIter, IntoStaticStr)]
        #[strum(serialize_all = "kebab-case")]
        pub enum $name {
            $($(#[$vdoc])* $(#[strum(serialize = $text)])? $variant),*
        }

        impl $name {
            /// The text stored in the database and shown by the API.
            pub fn as_str(self) -> &'static str {
                self.into()
            }
        }
    )*};
}

states! {
    /// States of an instance (`instances.md` §4).
    InstanceState {
        /// Created in the database; work queued.
        Initial,
        /// The target node has accepted the instance.
        Preflight,
        /// Disks, devices and the domain are being made.
        Creating,
        /// The domain exists and has run once.
        Created,
        /// Teardown queued or running.
        DeleteWait,
        /// Nothing is left.
        Deleted,
        /// Failed in `initial`; node-side clean-up pending.
        InitialError,
        /// Failed in `preflight`; node-side clean-up pending.
        PreflightError,
        /// Failed in `creating`; node-side clean-up pending.
        CreatingError,
        /// Failed in `created`; the domain is being stopped.
        CreatedError,
        /// Teardown failed.
        DeleteWaitError,
        /// Failed and settled; waits for the user's delete.
        Error,
    }
    /// States of a network (`networking.md` §2.1).
    NetworkState {
        /// Rows exist; the carrier has not rendered it yet.
        Initial,
        /// Usable.
        Created,
        /// Being torn down.
        DeleteWait,
        /// Gone.
        Deleted,
        /// Could not be rendered.
        Error,
    }
    /// States of interfaces, artifacts and blobs.
    ResourceState {
        /// Being produced.
        Initial,
        /// Usable.
        Created,
        /// Gone.
        Deleted,
        /// Failed.
        Error,
    }
    /// States of a node (`scheduler.md` §1.3).
    NodeState {
        /// Healthy.
        Created,
        /// No check-in for too long.
        Missing,
        /// The operator is stopping its daemons.
        Stopping,
        /// The operator stopped its daemons.
        Stopped,
        /// A storage path it depends on failed.
        Error,
        /// Removed.
        Deleted,
    }
    /// States of namespaces and keys.
    LifeState {
        /// Live.
        Created,
        /// Gone.
        Deleted,
    }
    /// States of an upload; `committing` is shown as `created`.
    UploadState {
        /// Collects bytes.
        Created,
        /// Being turned into a blob.
        Committing,
        /// Consumed or discarded.
        Deleted,
    }
    /// States of a cluster operation (`database-tier.md` §13.1).
    OperationState {
        /// Waits in a queue.
        Queued,
        /// A worker holds it.
        Executing,
        /// Ended well.
        Complete,
        /// Ended badly.
        Error,
        /// Never to be executed.
        Abort,
        /// Reaped.
        Deleted,
    }
    /// Observed power state of a domain (`instances.md` §10.1).
    PowerState {
        /// Never started.
        Initial,
        /// Running.
        On,
        /// Shut off or absent.
        Off,
        /// Suspended.
        Paused,
        /// The hypervisor process died.
        Crashed,
        /// An action towards `on` is queued.
        TransitionToOn,
        /// An action towards `off` is queued.
        TransitionToOff,
        /// An action towards `paused` is queued.
        TransitionToPaused,
    }
    /// What recovery restores.
    PowerDesired {
        /// Running.
        On,
        /// Shut off.
        Off,
        /// Suspended.
        Paused,
    }
    /// Why a power state was reached.
    PowerReason {
        /// Asked for through the API.
        User,
        /// The guest did it.
        Guest,
        /// The guest was stopped by a disk error.
        IoError,
        /// The host shut down.
        Host,
        /// The hypervisor process died.
        Crash,
        /// Somebody used other tools.
        Outside,
        /// The agent restored the desired state.
        Restore,
    }
    /// What a user may ask of a running or stopped instance.
    PowerAction {
        /// Start.
        Poweron,
        /// Immediate stop.
        Poweroff,
        /// ACPI reboot request.
        Rebootsoft,
        /// Reset.
        Reboothard,
        /// Suspend.
        Pause,
        /// Resume.
        Unpause,
    }
    /// State of one network on one node.
    RenderState {
        /// The kernel has it.
        Present,
        /// The kernel does not have it.
        Absent,
        /// The last render failed.
        Error,
        /// Repeated failure; retried rarely.
        Quiesced,
    }
    /// State of a node's copy of a blob (`storage.md` §2).
    ReplicaState {
        /// Being received.
        Incoming,
        /// Durable.
        Present,
        /// Being removed.
        Removing,
        /// Failed a check.
        Suspect,
        /// Set aside.
        Quarantined,
    }
}

impl InstanceState {
    /// Whether the edge exists in the table of `instances.md` §4.
    pub fn may_become(self, next: Self) -> bool {
        use InstanceState::{
            Created, CreatedError, Creating, CreatingError, DeleteWait, DeleteWaitError, Deleted, Error,
            Initial, InitialError, Preflight, PreflightError,
        };
        match self {
            Initial => matches!(next, Preflight | InitialError | DeleteWait),
            Preflight => matches!(next, Preflight | Creating | PreflightError | DeleteWait),
            Creating => matches!(next, Created | CreatingError | DeleteWait),
            Created => matches!(next, CreatedError | DeleteWait),
            DeleteWait => matches!(next, Deleted | DeleteWaitError),
            Deleted => false,
            InitialError | PreflightError | CreatingError | CreatedError | DeleteWaitError => {
                matches!(next, Error | DeleteWait)
            }
            Error => matches!(next, DeleteWait),
        }
    }

    /// The failure state that belongs to this state, if it can fail.
    pub fn failed(self) -> Option<Self> {
        Some(match self {
            Self::Initial => Self::InitialError,
            Self::Preflight => Self::PreflightError,
            Self::Creating => Self::CreatingError,
            Self::Created => Self::CreatedError,
            Self::DeleteWait => Self::DeleteWaitError,
            _ => return None,
        })
    }

    /// Every state but `deleted`: the instance holds capacity, addresses and ports.
    pub fn is_active(self) -> bool {
        self != Self::Deleted
    }

    /// Whether the instance is on its way to, or in, normal service.
    pub fn is_healthy(self) -> bool {
        matches!(self, Self::Initial | Self::Preflight | Self::Creating | Self::Created)
    }

    /// What an operation that needs a live object answers in this state (`rest-api.md` §1.7).
    pub fn readiness(self) -> Readiness {
        match self {
            Self::Created => Readiness::Ready,
            Self::Initial | Self::Preflight | Self::Creating => Readiness::NotYet,
            Self::Deleted => Readiness::Gone,
            _ => Readiness::Never,
        }
    }
}

impl NetworkState {
    /// Whether the edge exists in the state machine of `networking.md` §2.1.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Initial => matches!(next, Self::Created | Self::DeleteWait | Self::Error),
            Self::Created => matches!(next, Self::DeleteWait | Self::Error),
            Self::DeleteWait => matches!(next, Self::Deleted | Self::Error),
            Self::Error => matches!(next, Self::DeleteWait | Self::Deleted),
            Self::Deleted => false,
        }
    }

    /// What an operation that needs a live network answers in this state.
    pub fn readiness(self) -> Readiness {
        match self {
            Self::Created => Readiness::Ready,
            Self::Initial => Readiness::NotYet,
            Self::DeleteWait | Self::Error => Readiness::Never,
            Self::Deleted => Readiness::Gone,
        }
    }
}

impl NodeState {
    /// Whether the edge exists in the table of `scheduler.md` §1.3.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Created => matches!(next, Self::Missing | Self::Stopping | Self::Error | Self::Deleted),
            Self::Stopping => matches!(next, Self::Stopped | Self::Created | Self::Error | Self::Deleted),
            Self::Stopped | Self::Missing => matches!(next, Self::Created | Self::Error | Self::Deleted),
            Self::Error => matches!(next, Self::Created | Self::Deleted),
            Self::Deleted => false,
        }
    }
}

impl OperationState {
    /// Whether the operation will not change any more.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Complete | Self::Error | Self::Abort | Self::Deleted)
    }
}

/// How ready an object is for an operation that needs it alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Go on.
    Ready,
    /// Expected to become ready: the one case for status 406.
    NotYet,
    /// Will never become ready in this state: 409.
    Never,
    /// Deleted: 404.
    Gone,
}

impl PowerAction {
    /// The power state this action leads to, as shown while it is queued.
    pub fn transition(self) -> PowerState {
        match self {
            Self::Poweron | Self::Rebootsoft | Self::Reboothard | Self::Unpause => PowerState::TransitionToOn,
            Self::Poweroff => PowerState::TransitionToOff,
            Self::Pause => PowerState::TransitionToPaused,
        }
    }

    /// The desired power after the action.
    pub fn desired(self) -> PowerDesired {
        match self {
            Self::Poweron | Self::Rebootsoft | Self::Reboothard | Self::Unpause => PowerDesired::On,
            Self::Poweroff => PowerDesired::Off,
            Self::Pause => PowerDesired::Paused,
        }
    }

    /// What the action does from an observed power state (`rest-api.md` §4.3).
    pub fn from_state(self, state: PowerState) -> PowerVerdict {
        use PowerState::{Crashed, Off, On, Paused};
        let (valid, done): (&[PowerState], &[PowerState]) = match self {
            Self::Rebootsoft | Self::Reboothard => (&[On], &[]),
            Self::Poweroff => (&[On, Paused, Crashed], &[Off]),
            Self::Poweron => (&[Off, Crashed], &[On]),
            Self::Pause => (&[On], &[Paused]),
            Self::Unpause => (&[Paused], &[On]),
        };
        if done.contains(&state) {
            PowerVerdict::AlreadyDone
        } else if valid.contains(&state) {
            PowerVerdict::Allowed
        } else {
            PowerVerdict::Refused
        }
    }
}

/// Whether a power action applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerVerdict {
    /// Queue it.
    Allowed,
    /// The instance is already there: success without work.
    AlreadyDone,
    /// Wrong power state: 409.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn deleted_is_reached_only_from_delete_wait() {
        for state in InstanceState::iter() {
            assert_eq!(
                state.may_become(InstanceState::Deleted),
                state == InstanceState::DeleteWait,
                "{state}"
            );
        }
    }

    #[test]
    fn every_failure_settles_or_is_deleted() {
        for failed in InstanceState::iter().filter_map(InstanceState::failed) {
            assert!(failed.may_become(InstanceState::Error) && failed.may_become(InstanceState::DeleteWait));
            assert!(!failed.may_become(InstanceState::Created));
        }
    }

    #[test]
    fn texts_are_the_contract() {
        assert_eq!(InstanceState::DeleteWaitError.as_str(), "delete-wait-error");
        assert_eq!(PowerState::TransitionToPaused.as_str(), "transition-to-paused");
        assert_eq!("io-error".parse(), Ok(PowerReason::IoError));
        assert_eq!(PowerAction::Rebootsoft.as_str(), "rebootsoft");
    }

    #[test]
    fn power_table() {
        use PowerState::{Crashed, Off, On, Paused};
        use PowerVerdict::{Allowed, AlreadyDone, Refused};
        let table = [
            (PowerAction::Rebootsoft, [Allowed, Refused, Refused, Refused]),
            (PowerAction::Reboothard, [Allowed, Refused, Refused, Refused]),
            (PowerAction::Poweroff, [Allowed, AlreadyDone, Allowed, Allowed]),
            (PowerAction::Poweron, [AlreadyDone, Allowed, Refused, Allowed]),
            (PowerAction::Pause, [Allowed, Refused, AlreadyDone, Refused]),
            (PowerAction::Unpause, [AlreadyDone, Refused, Allowed, Refused]),
        ];
        for (action, expected) in table {
            for (state, verdict) in [On, Off, Paused, Crashed].into_iter().zip(expected) {
                assert_eq!(action.from_state(state), verdict, "{action} from {state}");
            }
        }
    }
}

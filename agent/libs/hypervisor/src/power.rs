//! Power: what a domain's state and events mean for an instance.

use sf_model::state::{PowerDesired, PowerReason, PowerState};

use crate::api::{DomainEventKind, DomainState, StopDetail};

/// The power state that stands for a hypervisor state.
pub const fn power_of(state: DomainState) -> PowerState {
    match state {
        DomainState::Running | DomainState::Blocked | DomainState::NoState | DomainState::ShuttingDown => {
            PowerState::On
        }
        DomainState::Paused | DomainState::PmSuspended => PowerState::Paused,
        DomainState::ShutOff => PowerState::Off,
        DomainState::Crashed => PowerState::Crashed,
    }
}

/// What the agent knows when an event arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PowerContext {
    /// What the database says should be.
    pub desired: PowerDesired,
    /// We are acting on this domain right now, so its changes are ours.
    pub ours: bool,
    /// The host is going down: guests stop because of that.
    pub host_stopping: bool,
}

/// What an event means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// New power state.
    pub state: PowerState,
    /// Why.
    pub reason: PowerReason,
    /// A desired power that follows from what happened.
    pub desired: Option<PowerDesired>,
    /// Text of the audit event, if one belongs to it.
    pub event: Option<&'static str>,
}

/// Interprets an event (`instances.md` §10.4). `None`: nothing about power changed.
pub fn observe(kind: &DomainEventKind, context: PowerContext) -> Option<Observation> {
    let quiet = |state, reason| Some(Observation { state, reason, desired: None, event: None });
    match kind {
        DomainEventKind::Started | DomainEventKind::Resumed => {
            if context.ours || context.desired == PowerDesired::On {
                quiet(PowerState::On, PowerReason::User)
            } else {
                Some(Observation {
                    state: PowerState::On,
                    reason: PowerReason::Outside,
                    desired: Some(PowerDesired::On),
                    event: Some("started outside Shaken Fist"),
                })
            }
        }
        DomainEventKind::Suspended { io_error: true } => Some(Observation {
            state: PowerState::Paused,
            reason: PowerReason::IoError,
            desired: None,
            event: Some("paused by I/O error"),
        }),
        DomainEventKind::Suspended { io_error: false } => {
            let reason = if context.ours { PowerReason::User } else { PowerReason::Outside };
            quiet(PowerState::Paused, reason)
        }
        DomainEventKind::PmSuspended => quiet(PowerState::Paused, PowerReason::Guest),
        DomainEventKind::Stopped(detail) => stopped(*detail, context),
        DomainEventKind::Crashed => crashed(),
        DomainEventKind::Defined
        | DomainEventKind::Undefined
        | DomainEventKind::Rebooted
        | DomainEventKind::IoError { .. } => None,
    }
}

fn stopped(detail: StopDetail, context: PowerContext) -> Option<Observation> {
    let off = |reason, desired, event| Some(Observation { state: PowerState::Off, reason, desired, event });
    match detail {
        StopDetail::Crashed => crashed(),
        // A host that goes down takes its guests along; they are wanted again after it is back.
        _ if context.host_stopping => off(PowerReason::Host, None, None),
        StopDetail::Shutdown => off(PowerReason::Guest, Some(PowerDesired::Off), Some("detected poweroff")),
        StopDetail::Destroyed if context.ours => off(PowerReason::User, None, None),
        StopDetail::Destroyed => {
            off(PowerReason::Outside, Some(PowerDesired::Off), Some("detected poweroff"))
        }
        StopDetail::Saved => off(PowerReason::Host, None, None),
    }
}

fn crashed() -> Option<Observation> {
    Some(Observation {
        state: PowerState::Crashed,
        reason: PowerReason::Crash,
        desired: None,
        event: Some("detected crash"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: PowerContext = PowerContext { desired: PowerDesired::On, ours: false, host_stopping: false };

    #[test]
    fn every_hypervisor_state_has_a_power_state() {
        let table = [
            (DomainState::Running, PowerState::On),
            (DomainState::Blocked, PowerState::On),
            (DomainState::NoState, PowerState::On),
            (DomainState::ShuttingDown, PowerState::On),
            (DomainState::Paused, PowerState::Paused),
            (DomainState::PmSuspended, PowerState::Paused),
            (DomainState::ShutOff, PowerState::Off),
            (DomainState::Crashed, PowerState::Crashed),
        ];
        for (state, power) in table {
            assert_eq!(power_of(state), power, "{state}");
        }
    }

    #[test]
    fn what_stops_a_guest_decides_whether_it_comes_back() {
        use StopDetail::{Crashed, Destroyed, Saved, Shutdown};
        let ours = PowerContext { ours: true, ..IDLE };
        let host = PowerContext { host_stopping: true, ..IDLE };
        let off = Some(PowerDesired::Off);
        let table = [
            (Shutdown, IDLE, PowerState::Off, PowerReason::Guest, off),
            (Destroyed, IDLE, PowerState::Off, PowerReason::Outside, off),
            (Destroyed, ours, PowerState::Off, PowerReason::User, None),
            (Shutdown, ours, PowerState::Off, PowerReason::Guest, off),
            (Shutdown, host, PowerState::Off, PowerReason::Host, None),
            (Destroyed, host, PowerState::Off, PowerReason::Host, None),
            (Saved, IDLE, PowerState::Off, PowerReason::Host, None),
            (Crashed, IDLE, PowerState::Crashed, PowerReason::Crash, None),
            (Crashed, ours, PowerState::Crashed, PowerReason::Crash, None),
        ];
        for (detail, context, state, reason, desired) in table {
            let seen = observe(&DomainEventKind::Stopped(detail), context).unwrap();
            assert_eq!(
                (seen.state, seen.reason, seen.desired),
                (state, reason, desired),
                "{detail} {context:?}"
            );
        }
    }

    #[test]
    fn a_start_nobody_asked_for_is_respected_and_told() {
        let unwanted = PowerContext { desired: PowerDesired::Off, ..IDLE };
        let seen = observe(&DomainEventKind::Started, unwanted).unwrap();
        assert_eq!((seen.reason, seen.desired), (PowerReason::Outside, Some(PowerDesired::On)));
        assert_eq!(observe(&DomainEventKind::Started, IDLE).unwrap().event, None);
    }

    #[test]
    fn an_io_error_pauses_without_changing_what_is_wanted() {
        let seen = observe(&DomainEventKind::Suspended { io_error: true }, IDLE).unwrap();
        assert_eq!((seen.state, seen.reason, seen.desired), (PowerState::Paused, PowerReason::IoError, None));
        assert_eq!(observe(&DomainEventKind::Rebooted, IDLE), None);
    }
}

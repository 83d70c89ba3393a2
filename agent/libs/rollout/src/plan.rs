//! What to do with a daemon, from what it is and what it should be.

use serde::Serialize;
use sf_config::Fingerprint;
use sf_systemd::{Active, UnitState};

use crate::record::Record;

/// What a daemon should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Build of the executable.
    pub build_id: String,
    /// Its configuration.
    pub config: Fingerprint,
    /// Digest of its unit files.
    pub unit: String,
}

/// What a daemon is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// Its unit.
    pub state: UnitState,
    /// Build of the executable of its process.
    pub build_id: Option<String>,
    /// What its process was started with.
    pub record: Option<Record>,
    /// Whether its process was given the credentials of now.
    pub same_credentials: bool,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Action {
    /// Nothing, but for enabling the unit when that is the reason.
    None,
    /// It is started.
    Start,
    /// It is stopped and started.
    Restart,
    /// It reads its configuration again.
    Reload,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Reason {
    /// It does not run.
    Stopped,
    /// It does not run because it failed.
    Failed,
    /// Its executable is of another build.
    Build,
    /// Its configuration is another.
    Config,
    /// Its unit is another.
    Unit,
    /// A secret it was given is another.
    Credential,
    /// Its process says nothing about itself.
    Unknown,
    /// A key changed that takes effect when it is read again.
    Live,
    /// It would not be started at boot.
    Disabled,
}

/// What is done with a daemon, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// Every reason, strongest first.
    pub reasons: Vec<Reason>,
    /// Whether the unit is enabled as well.
    pub enable: bool,
}

impl Step {
    /// Whether anything is done.
    pub fn changes(&self) -> bool {
        self.action != Action::None || self.enable
    }

    /// Whether a process that may serve somebody is ended.
    pub fn interrupts(&self) -> bool {
        self.action == Action::Restart
    }
}

/// Decides.
pub fn decide(wanted: &Wanted, observed: &Observed) -> Step {
    let enable = !observed.state.enabled;
    let (action, mut reasons) = match standing(&observed.state) {
        Standing::Down(reason) => (Action::Start, vec![reason]),
        Standing::Up => running(wanted, observed),
    };
    if enable {
        reasons.push(Reason::Disabled);
    }
    Step { action, reasons, enable }
}

enum Standing {
    Up,
    Down(Reason),
}

/// A unit that waits before its next try has no process: starting it now is what it would do later.
fn standing(state: &UnitState) -> Standing {
    match (state.active, state.pid) {
        (Active::Failed, _) => Standing::Down(Reason::Failed),
        (Active::Active | Active::Reloading, Some(_)) | (Active::Activating, Some(_)) => Standing::Up,
        (Active::Activating, None) => Standing::Down(Reason::Failed),
        _ => Standing::Down(Reason::Stopped),
    }
}

fn running(wanted: &Wanted, observed: &Observed) -> (Action, Vec<Reason>) {
    let mut reasons = Vec::new();
    if observed.build_id.as_ref() != Some(&wanted.build_id) {
        reasons.push(Reason::Build);
    }
    let mut live = false;
    match &observed.record {
        None => reasons.push(Reason::Unknown),
        Some(record) => {
            if record.fixed != wanted.config.fixed {
                reasons.push(Reason::Config);
            }
            // A unit that changed since it was read was not started from its files of now, whatever its process saw.
            if record.unit != wanted.unit || observed.state.stale {
                reasons.push(Reason::Unit);
            }
            if !observed.same_credentials {
                reasons.push(Reason::Credential);
            }
            live = record.live != wanted.config.live;
        }
    }
    match (reasons.is_empty(), live) {
        (false, _) => (Action::Restart, reasons),
        (true, true) => (Action::Reload, vec![Reason::Live]),
        (true, false) => (Action::None, reasons),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let config = Fingerprint { fixed: "f".into(), live: "l".into() };
        Wanted { build_id: "b".into(), config, unit: "u".into() }
    }

    /// A daemon that is as it should be.
    fn well() -> Observed {
        let state = UnitState {
            installed: true,
            enabled: true,
            active: Active::Active,
            pid: Some(7),
            ..UnitState::default()
        };
        Observed {
            state,
            build_id: Some("b".into()),
            record: Some(crate::record::tests::record()),
            same_credentials: true,
        }
    }

    fn with_state(change: impl FnOnce(&mut UnitState)) -> Observed {
        let mut observed = well();
        change(&mut observed.state);
        observed
    }

    fn with_record(change: impl FnOnce(&mut Record)) -> Observed {
        let mut observed = well();
        change(observed.record.as_mut().unwrap());
        observed
    }

    #[test]
    fn every_difference_has_its_action_and_its_reason() {
        let cases: Vec<(&str, Observed, Action, Vec<Reason>)> = vec![
            ("well", well(), Action::None, vec![]),
            (
                "another build",
                Observed { build_id: Some("old".into()), ..well() },
                Action::Restart,
                vec![Reason::Build],
            ),
            (
                "an executable that cannot be read",
                Observed { build_id: None, ..well() },
                Action::Restart,
                vec![Reason::Build],
            ),
            (
                "another configuration",
                with_record(|r| r.fixed = "x".into()),
                Action::Restart,
                vec![Reason::Config],
            ),
            ("another unit", with_record(|r| r.unit = "x".into()), Action::Restart, vec![Reason::Unit]),
            ("a unit not read yet", with_state(|s| s.stale = true), Action::Restart, vec![Reason::Unit]),
            (
                "another secret",
                Observed { same_credentials: false, ..well() },
                Action::Restart,
                vec![Reason::Credential],
            ),
            ("no record", Observed { record: None, ..well() }, Action::Restart, vec![Reason::Unknown]),
            ("a log level", with_record(|r| r.live = "x".into()), Action::Reload, vec![Reason::Live]),
            (
                "a log level beside more",
                with_record(|r| (r.live, r.unit) = ("x".into(), "x".into())),
                Action::Restart,
                vec![Reason::Unit],
            ),
            ("not enabled", with_state(|s| s.enabled = false), Action::None, vec![Reason::Disabled]),
            (
                "stopped",
                with_state(|s| (s.active, s.pid) = (Active::Inactive, None)),
                Action::Start,
                vec![Reason::Stopped],
            ),
            (
                "failed",
                with_state(|s| (s.active, s.pid) = (Active::Failed, None)),
                Action::Start,
                vec![Reason::Failed],
            ),
            (
                "between two tries",
                with_state(|s| (s.active, s.pid) = (Active::Activating, None)),
                Action::Start,
                vec![Reason::Failed],
            ),
            ("on its way up", with_state(|s| s.active = Active::Activating), Action::None, vec![]),
        ];
        for (name, observed, action, reasons) in cases {
            let step = decide(&wanted(), &observed);
            assert_eq!((step.action, step.reasons), (action, reasons), "{name}");
        }
    }
}

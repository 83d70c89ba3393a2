//! Doing what is planned: one daemon after another, each well before the next.

mod outcome;
mod run;
#[cfg(test)]
mod tests;
mod wait;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use sf_model::DaemonName;
use sf_systemd::ServiceManager;

pub use outcome::{ConvergeError, Current, Done, Failed, Outcome, Stopped};
pub use run::converge;

use crate::observe::ObserveError;
use crate::plan::{Observed, Wanted};
use crate::release::Releases;
use crate::slots::Slots;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The daemons to converge, and no others.
    pub daemons: Vec<DaemonName>,
    /// The release that `current` is to name; `None` where a package owns the executable.
    pub staged: Option<PathBuf>,
    /// Time for each gate, and for a slot.
    pub wait_ready: Duration,
    /// Pause after a gateway came back, in which its clients find it again.
    pub settle: Duration,
    /// Whether hosts take turns.
    pub coordinated: bool,
    /// Restart nothing that runs; say what should be.
    pub report: bool,
    /// Releases that are kept.
    pub keep: usize,
    /// Change nothing.
    pub check: bool,
    /// What the roll leads to, the same on every host that takes part.
    pub target: String,
}

/// Looking at the daemons of a host.
#[async_trait]
pub trait View: Send {
    /// What a daemon should be, and what it is.
    async fn look(&mut self, daemon: DaemonName) -> Result<(Wanted, Observed), ObserveError>;
}

/// Asking a daemon whether it is well.
#[async_trait]
pub trait Gates: Send + Sync {
    /// One question. `pid` is the process that should answer.
    ///
    /// # Errors
    /// It is not well, as a sentence.
    async fn check(&self, daemon: DaemonName, pid: u32) -> Result<(), String>;
}

/// What converging works with.
pub struct Host<'a> {
    /// Looking.
    pub view: &'a mut dyn View,
    /// Acting.
    pub services: &'a dyn ServiceManager,
    /// Asking.
    pub gates: &'a dyn Gates,
    /// Taking turns.
    pub slots: &'a dyn Slots,
    /// Releases on disk.
    pub releases: &'a Releases,
}

//! What came of it.

use std::path::PathBuf;

use serde::Serialize;
use sf_model::DaemonName;
use sf_systemd::ServiceError;

use crate::observe::ObserveError;
use crate::plan::{Action, Reason};

/// The link to the release that runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Current {
    /// What it named.
    pub from: Option<PathBuf>,
    /// What it names.
    pub to: Option<PathBuf>,
    /// Whether that is a change.
    pub flipped: bool,
}

/// What was done with one daemon.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Done {
    /// Its name.
    pub daemon: String,
    /// What was done.
    pub action: Action,
    /// Why.
    pub reasons: Vec<Reason>,
    /// How long it took, its gate included.
    pub seconds: f64,
}

/// A daemon that did not pass its gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its name.
    pub daemon: String,
    /// What its gate said last.
    pub reason: String,
    /// The line it last reported.
    pub status: String,
    /// Its last words.
    pub journal: Vec<String>,
}

/// Everything that was done, or would be.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// The release.
    pub current: Current,
    /// Whether unit files were read again.
    pub units_reloaded: bool,
    /// Every daemon, in the order in which they were looked at.
    pub daemons: Vec<Done>,
    /// Daemons that should be restarted and were left alone.
    pub pending: Vec<String>,
    /// Releases that were removed.
    pub removed_releases: Vec<PathBuf>,
    /// Whether anything changed, or would.
    #[serde(skip)]
    pub changed: bool,
}

/// Why it stopped, and what had been done until then.
#[derive(Debug)]
pub struct Stopped {
    /// What was done.
    pub outcome: Outcome,
    /// Why it stopped.
    pub why: ConvergeError,
}

/// Why it stopped.
#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    /// Units are missing.
    #[error("these units are not installed: {}; render them first", .0.join(", "))]
    NotInstalled(Vec<String>),
    /// Another host failed at the same.
    #[error(
        "sf-{daemon} failed on {node} in the same roll: {reason}; repair {node} first, or ignore failed rolls"
    )]
    RollFailed {
        /// The daemon.
        daemon: DaemonName,
        /// Where.
        node: String,
        /// What went wrong there.
        reason: String,
    },
    /// Other hosts were at it the whole time.
    #[error("sf-{daemon} is being restarted on {}: run again when that is over", .holders.join(", "))]
    Busy {
        /// The daemon.
        daemon: DaemonName,
        /// Where.
        holders: Vec<String>,
    },
    /// Nobody can be asked whose turn it is.
    #[error(
        "sf-{daemon} is healthy and no gateway answers, so hosts cannot take turns ({why}); bring sf-database up first"
    )]
    Uncoordinated {
        /// The daemon.
        daemon: DaemonName,
        /// What was met.
        why: String,
    },
    /// A daemon did not pass its gate.
    #[error("sf-{} is not healthy: {}; it last reported {:?}\n{}", .0.daemon, .0.reason, .0.status, .0.journal.join("\n"))]
    Unhealthy(Failed),
    /// Something could not be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The service manager refused.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A release could not be switched or removed.
    #[error("the release {} cannot be changed: {source}", .path.display())]
    Release {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

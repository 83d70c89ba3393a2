//! Failures of commands and the exit codes that automation relies on.

use std::fmt::Display;

use serde_json::{Map, Value};
use sf_config::ConfigError;
use sf_daemon::DaemonError;
use sf_events::SpoolError;
use sf_gateway::DbError;

use crate::answer::Answer;

/// Why a command failed, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Something broke inside.
    Internal = 1,
    /// A rule forbids it.
    Refused = 3,
    /// Something that is needed cannot be reached.
    Unreachable = 4,
    /// Not healthy in time.
    Unhealthy = 5,
    /// Somebody else is at it: try again later.
    Busy = 75,
    /// The configuration is wrong: trying again cannot help.
    Config = 78,
}

/// A failure with its exit code. `{:#}` of the error is what the operator reads.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: u8,
    pub(crate) error: anyhow::Error,
    /// What there is to show besides, for automation.
    pub(crate) fields: Map<String, Value>,
    /// Whether something had been changed before it failed.
    pub(crate) changed: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self::with_code(exit as u8, error)
    }

    fn with_code(exit: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), fields: Map::new(), changed: false }
    }

    /// Adds the answer of a command that failed although it has something to show.
    pub(crate) fn showing(self, answer: Answer) -> Self {
        Self { fields: answer.fields, changed: answer.changed, ..self }
    }

    /// A failure that is only a sentence.
    pub(crate) fn say(exit: Exit, message: impl Display) -> Self {
        Self::new(exit, anyhow::anyhow!("{message}"))
    }
}

/// What could not be told apart is internal.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Internal, error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let lines: Vec<String> = error.problems.iter().map(|problem| format!("  {problem}")).collect();
        Self::say(Exit::Config, format!("the configuration is refused:\n{}", lines.join("\n")))
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match error {
            DaemonError::Config(config) => config.into(),
            other => Self::with_code(other.exit_code(), other),
        }
    }
}

impl From<SpoolError> for Failure {
    fn from(error: SpoolError) -> Self {
        let exit = if matches!(error, SpoolError::Busy { .. }) { Exit::Busy } else { Exit::Internal };
        Self::new(exit, error)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let exit = match &error {
            DbError::DatabaseUnavailable { .. } => Exit::Unreachable,
            DbError::GatewayTooOld { .. } | DbError::Bug { .. } => Exit::Internal,
            _ => Exit::Refused,
        };
        Self::new(exit, error)
    }
}

//! Failures of commands and the exit codes that automation relies on.

use std::fmt::Display;

use sf_config::ConfigError;
use sf_daemon::DaemonError;
use sf_events::SpoolError;
use sf_gateway::DbError;

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
}

impl Failure {
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit: exit as u8, error: error.into() }
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
            other => Self { exit: other.exit_code(), error: other.into() },
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

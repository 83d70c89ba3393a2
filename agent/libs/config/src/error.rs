//! What can be wrong with a configuration. Problems are collected, never reported one at a time.

use std::fmt;

/// Exit code of a process that refuses its configuration; systemd is told not to restart on it.
pub const EXIT_CONFIG: u8 = 78;

/// One thing that is wrong, with where it was found and what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: a file with line, an environment variable, a command line option, `default`.
    pub origin: String,
    /// The key as written in YAML, or empty when the whole source is unreadable.
    pub key: String,
    /// What is wrong and what is accepted.
    pub message: String,
}

impl Problem {
    /// A problem of `key` found at `origin`.
    pub fn new(origin: impl Into<String>, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { origin: origin.into(), key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.origin.is_empty(), self.key.is_empty()) {
            (true, _) => write!(f, "{}: {}", self.key, self.message),
            (false, true) => write!(f, "{}: {}", self.origin, self.message),
            (false, false) => write!(f, "{}: {}: {}", self.origin, self.key, self.message),
        }
    }
}

/// A configuration that is refused, with every problem found. Maps to exit code [`EXIT_CONFIG`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("configuration refused: {}", join(problems))]
pub struct ConfigError {
    /// Every problem, in the order found. Never empty.
    pub problems: Vec<Problem>,
}

impl From<Vec<Problem>> for ConfigError {
    fn from(problems: Vec<Problem>) -> Self {
        Self { problems }
    }
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

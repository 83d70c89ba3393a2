//! How long a call may take, by what it is for.

use std::time::Duration;

/// The time budget of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallClass {
    /// Lock refresh, claim renewal, check-in: 6 s, attempts of 2 s.
    Lease,
    /// While a user waits: 10 s, attempts of 4 s.
    Interactive,
    /// Workers and sweeps: 30 s, attempts of 10 s.
    Background,
    /// Pruning and reconciliation in chunks: 60 s, attempts of 20 s.
    Bulk,
    /// One attempt of 10 s, for callers that repeat by themselves.
    Once,
    /// Long polls of at most 20 s: 30 s, attempts of 25 s.
    Wait,
}

impl CallClass {
    /// All attempts and the pauses between them.
    pub const fn total(self) -> Duration {
        Duration::from_secs(match self {
            Self::Lease => 6,
            Self::Interactive | Self::Once => 10,
            Self::Background | Self::Wait => 30,
            Self::Bulk => 60,
        })
    }

    /// One attempt.
    pub const fn attempt(self) -> Duration {
        Duration::from_secs(match self {
            Self::Lease => 2,
            Self::Interactive => 4,
            Self::Background | Self::Once => 10,
            Self::Bulk => 20,
            Self::Wait => 25,
        })
    }

    /// Whether a failed attempt is followed by another.
    pub const fn retries(self) -> bool {
        !matches!(self, Self::Once)
    }
}

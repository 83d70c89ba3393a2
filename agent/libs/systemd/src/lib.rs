//! The service manager, as far as a node needs it: what its units do, and the few changes a rolling restart makes.
//!
//! [`ServiceManager`] is what the callers know; [`Systemd`] speaks to the real one over its bus.

mod manager;
mod proxies;
mod state;

use async_trait::async_trait;

pub use manager::Systemd;
pub use state::{Active, UnitState};

/// Why the service manager did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It cannot be spoken to.
    #[error("systemd cannot be reached over the system bus: {0}; is dbus installed and running?")]
    Unreachable(#[source] zbus::Error),
    /// It refused.
    #[error("systemd refused to {action} {unit}: {source}")]
    Refused {
        /// What it was asked to do.
        action: &'static str,
        /// Of which unit.
        unit: String,
        /// Why.
        #[source]
        source: zbus::Error,
    },
    /// The job ended otherwise than done.
    #[error("the job to {action} {unit} ended with `{result}`")]
    Job {
        /// What it was to do.
        action: &'static str,
        /// Of which unit.
        unit: String,
        /// How it ended, as systemd calls it: `failed`, `timeout`, `dependency`, …
        result: String,
    },
}

/// A service manager. Units are named in full, `sf-api.service`.
#[async_trait]
pub trait ServiceManager: Send + Sync {
    /// What a unit does. One that does not exist is not an error: [`UnitState::installed`] is false.
    async fn state(&self, unit: &str) -> Result<UnitState, ServiceError>;
    /// Reads all unit files again.
    async fn reload(&self) -> Result<(), ServiceError>;
    /// Starts a unit, and waits until it is ready or has failed.
    async fn start(&self, unit: &str) -> Result<(), ServiceError>;
    /// Stops and starts a unit, and waits until it is ready or has failed.
    async fn restart(&self, unit: &str) -> Result<(), ServiceError>;
    /// Stops a unit, and waits until it is gone.
    async fn stop(&self, unit: &str) -> Result<(), ServiceError>;
    /// Has a unit read its configuration again.
    async fn reload_unit(&self, unit: &str) -> Result<(), ServiceError>;
    /// Forgets that a unit failed.
    async fn reset_failed(&self, unit: &str) -> Result<(), ServiceError>;
    /// Has a unit started at boot.
    async fn enable(&self, unit: &str) -> Result<(), ServiceError>;
    /// Has a unit no longer started at boot.
    async fn disable(&self, unit: &str) -> Result<(), ServiceError>;
    /// Names of the loaded units that match a pattern such as `sf-*.service`.
    async fn loaded(&self, pattern: &str) -> Result<Vec<String>, ServiceError>;
}

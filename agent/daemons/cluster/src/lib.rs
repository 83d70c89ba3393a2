//! `sf-cluster`: any number of these run, one of them is the leader and keeps the cluster in order.
//!
//! The leader is whoever holds the lock `cluster` (`database-tier.md` §12.2). Every call it makes as leader carries the
//! lock's fence, so a leader that was paused and lost its lease can no longer write anything.

mod election;
mod gauges;
mod lease;
mod maintenance;
mod readings;
mod tasks;

use std::convert::Infallible;

use sf_daemon::DaemonContext;

pub use lease::Lease;
pub use tasks::{TASKS, Task};

/// Runs the daemon until shutdown is asked for.
///
/// A database that cannot be reached is waited for, so there is no way to fail.
///
/// # Errors
/// None.
pub async fn run(context: DaemonContext) -> Result<(), Infallible> {
    election::run(context).await
}

//! Waiting: for a turn, and until a daemon is well.

use std::time::Duration;

use sf_model::DaemonName;
use sf_systemd::Active;
use tokio::time::Instant;

use super::{ConvergeError, Failed, Host, Order};
use crate::journal;
use crate::observe::unit_name;
use crate::slots::Turn;

/// Pause between two questions.
const PAUSE: Duration = Duration::from_millis(250);
const SLOT_PAUSE: Duration = Duration::from_secs(1);
/// What the service manager allows a daemon to start, and what telling the cluster may take.
const MARGIN: Duration = Duration::from_secs(150);

/// Waits until this host may restart a daemon.
pub(super) async fn turn(host: &Host<'_>, order: &Order, daemon: DaemonName) -> Result<(), ConvergeError> {
    let stop =
        sf_units::unit(daemon).map_or(0, |unit| unit.stop_timeout.seconds + unit.stop_timeout.drain_default);
    // Long enough for everything that may happen until the end is told: the gateway that would extend the lease may be
    // the very daemon that restarts.
    let lease = Duration::from_secs(u64::from(stop)) + order.wait_ready + order.settle + MARGIN;
    let deadline = Instant::now() + order.wait_ready;
    loop {
        match host.slots.take(daemon, &order.target, lease).await {
            Turn::Granted => return Ok(()),
            Turn::Failed { node, reason } => return Err(ConvergeError::RollFailed { daemon, node, reason }),
            Turn::Unreachable(why) => return Err(ConvergeError::Uncoordinated { daemon, why }),
            Turn::Busy(holders) if Instant::now() + SLOT_PAUSE >= deadline => {
                return Err(ConvergeError::Busy { daemon, holders });
            }
            Turn::Busy(holders) => {
                tracing::info!(%daemon, holders = holders.join(", "), "waiting for a turn");
                tokio::time::sleep(SLOT_PAUSE).await;
            }
        }
    }
}

/// Whether a daemon serves somebody now.
pub(super) async fn is_healthy(host: &Host<'_>, daemon: DaemonName, pid: Option<u32>) -> bool {
    match pid {
        Some(pid) => host.gates.check(daemon, pid).await.is_ok(),
        None => false,
    }
}

/// Waits until a daemon passes its gate. One that has failed for good is not waited for.
pub(super) async fn healthy(host: &Host<'_>, order: &Order, daemon: DaemonName) -> Result<(), ConvergeError> {
    let unit = unit_name(daemon);
    let deadline = Instant::now() + order.wait_ready;
    loop {
        let state = host.services.state(&unit).await?;
        let reason = match (state.active, state.pid) {
            (Active::Active, Some(pid)) => match host.gates.check(daemon, pid).await {
                Ok(()) => return Ok(()),
                Err(reason) => reason,
            },
            _ => format!(
                "its unit is {} ({}), last run {} {}",
                state.active.as_str(),
                state.sub,
                state.result,
                state.exit_status
            ),
        };
        let over = matches!(state.active, Active::Failed | Active::Inactive);
        if over || Instant::now() + PAUSE >= deadline {
            let (status, journal) = (state.status, journal::tail(&unit).await);
            return Err(ConvergeError::Unhealthy(Failed {
                daemon: daemon.to_string(),
                reason,
                status,
                journal,
            }));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

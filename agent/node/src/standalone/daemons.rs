//! The unprivileged daemons as tasks of this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sf_config::DatabaseConfig;
use sf_daemon::Host;
use sf_model::DaemonName;
use sf_runtime::Shutdown;
use tokio::task::{JoinHandle, JoinSet};

use crate::ctl;
use crate::daemons::{DAEMONS, Start};
use crate::failure::{Exit, Failure};
use crate::run;

/// Time until the database tier must serve.
const TIER_PATIENCE: Duration = Duration::from_secs(60);
/// Pause before a failed daemon is started again, as the service manager of a cluster does.
const RESTART: Duration = Duration::from_secs(5);

/// Every daemon of a standalone cloud.
pub(super) fn names() -> Vec<DaemonName> {
    DAEMONS.iter().map(|daemon| daemon.name).collect()
}

/// Daemons that run.
pub(super) struct Running {
    members: JoinSet<Result<(), Failure>>,
    tier: Option<(JoinHandle<Result<(), Failure>>, Shutdown)>,
}

impl Running {
    /// Starts the database tier, waits until it serves, and starts the others.
    pub(super) async fn start(host: &Host, database: DatabaseConfig) -> Result<Self, Failure> {
        let tier = start_tier(host, database).await?;
        let mut members = JoinSet::new();
        for daemon in DAEMONS {
            if let Start::Member(start) = daemon.start {
                members.spawn(keep(host.clone(), daemon.name, start));
            }
        }
        Ok(Self { members, tier })
    }

    /// Waits until everything has ended: because it was asked for, or because a daemon cannot go on. The tier goes
    /// last, after the events of the others are delivered.
    pub(super) async fn until_ended(mut self, host: &Host) -> Result<(), Failure> {
        let mut first = Ok(());
        loop {
            let ended = tokio::select! {
                ended = self.members.join_next() => ended,
                failure = tier_failure(&mut self.tier) => Some(Ok(Err(failure))),
            };
            let failure = match ended {
                None => break,
                Some(Ok(Ok(()))) => continue,
                Some(Ok(Err(failure))) => failure,
                Some(Err(panic)) => Failure::say(Exit::Internal, format!("a daemon panicked: {panic}")),
            };
            if first.is_ok() {
                first = Err(failure);
            }
            if !host.shutdown.is_requested() {
                host.shutdown.request();
            }
        }
        // With no member at all there is nothing to wait for but the request itself.
        host.shutdown.requested().await;
        host.finish().await;
        if let Some((task, ending)) = self.tier {
            ending.request();
            let _ = task.await;
        }
        first
    }
}

async fn start_tier(
    host: &Host,
    database: DatabaseConfig,
) -> Result<Option<(JoinHandle<Result<(), Failure>>, Shutdown)>, Failure> {
    let found = DAEMONS.iter().find_map(|daemon| match daemon.start {
        Start::Tier(start) => Some(start),
        _ => None,
    });
    let Some(start) = found else { return Ok(None) };
    let ending = Shutdown::new(database.database_drain_grace);
    let own = host.with_shutdown(ending.clone());
    let mut task = tokio::spawn(start(own, Arc::new(database)));
    for (address, port) in host.config.gateway_endpoints() {
        let deadline = Instant::now() + TIER_PATIENCE;
        let outcome = tokio::select! {
            outcome = ctl::until_serving(&address, port, deadline) => outcome,
            ended = &mut task => {
                let failure = ended.map_err(anyhow::Error::from)?.err();
                return Err(failure.unwrap_or_else(|| Failure::say(Exit::Internal, "sf-database ended at once")));
            }
        };
        outcome
            .map_err(|error| Failure::say(Exit::Unhealthy, format!("sf-database does not serve: {error}")))?;
    }
    Ok(Some((task, ending)))
}

/// Resolves when the tier ends although nobody asked it to.
async fn tier_failure(tier: &mut Option<(JoinHandle<Result<(), Failure>>, Shutdown)>) -> Failure {
    let Some((task, _)) = tier else { return std::future::pending().await };
    let failure = match task.await {
        Ok(Ok(())) => Failure::say(Exit::Internal, "sf-database ended"),
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::say(Exit::Internal, format!("sf-database panicked: {panic}")),
    };
    *tier = None;
    failure
}

/// Runs a daemon, and again when it fails, unless trying again cannot help.
async fn keep(
    host: Host,
    name: DaemonName,
    start: fn(sf_daemon::DaemonContext) -> crate::daemons::Running,
) -> Result<(), Failure> {
    loop {
        // A generation of the daemon has a shutdown of its own: its loops must end with it.
        let generation = Shutdown::new(host.shutdown.drain_left());
        let relay = relay(host.shutdown.clone(), generation.clone());
        let outcome = run::member(&host.with_shutdown(generation.clone()), name, start).await;
        relay.abort();
        generation.request();
        if host.shutdown.is_requested() {
            return outcome;
        }
        match outcome {
            Err(failure) if failure.exit == Exit::Config as u8 => return Err(failure),
            Err(failure) => {
                tracing::error!(daemon = %name.program(), error = format!("{:#}", failure.error), "started again in 5 s")
            }
            Ok(()) => {
                tracing::error!(daemon = %name.program(), "ended without being asked, started again in 5 s")
            }
        }
        if host.shutdown.unless(tokio::time::sleep(RESTART)).await.is_none() {
            return Ok(());
        }
    }
}

/// Passes both requests of a shutdown on.
fn relay(from: Shutdown, to: Shutdown) -> JoinHandle<()> {
    tokio::spawn(async move {
        from.requested().await;
        to.request();
        from.hurried().await;
        to.request();
    })
}

//! `local converge`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;
use sf_config::Sources;
use sf_daemon::NodeIdentity;
use sf_model::DaemonName;
use sf_rollout::converge::{self as rollout, ConvergeError, Host, Order, Outcome, Stopped};
use sf_rollout::observe::{Configuration, ObserveError, Observer};
use sf_rollout::release::{BASE, EXECUTABLE, Releases};
use sf_rollout::slots;
use sf_systemd::{ServiceError, Systemd};

use super::configuration;
use super::gates::HostGates;
use super::slots::ClusterSlots;
use super::view::HostView;
use crate::answer::{Answer, table};
use crate::cli::daemon_name;
use crate::ctl::gateway;
use crate::failure::{Exit, Failure};

/// The executable that a package owns.
pub(super) const PACKAGED: &str = "/usr/bin/sf-node";

#[derive(Debug, Args)]
pub(crate) struct ConvergeOptions {
    /// The daemons to converge, and no others.
    #[arg(long, required = true, value_delimiter = ',', value_parser = daemon_name)]
    daemons: Vec<DaemonName>,
    /// Directory of the release that is to run; left out where a package owns the executable.
    #[arg(long, value_name = "DIR")]
    staged: Option<PathBuf>,
    /// Seconds for each daemon to be well, and for a turn.
    #[arg(long, default_value_t = 120)]
    wait_ready: u64,
    /// Seconds to pause after a gateway was restarted.
    #[arg(long, default_value_t = 10)]
    settle: u64,
    /// Hosts that may restart the same daemon at once; 0 takes no turns.
    #[arg(long, default_value_t = 1)]
    slots: u32,
    /// Go on although another host failed at the same.
    #[arg(long)]
    ignore_failed_roll: bool,
    /// Restart nothing that runs, only list it.
    #[arg(long)]
    report: bool,
    /// Releases to keep.
    #[arg(long, default_value_t = 2)]
    keep: usize,
    /// Say what would be done and do nothing.
    #[arg(long)]
    check: bool,
}

pub(super) async fn execute(options: ConvergeOptions, sources: &Sources) -> Result<Answer, Failure> {
    let configuration = configuration(sources)?;
    let identity = prepare(&configuration, options.check)?;
    let services = Systemd::connect().await?;
    let observer = Observer::new(&services, &configuration, &executable(options.staged.as_deref()))?;
    let client = gateway::client(&configuration.node)?;
    let gates =
        HostGates::new(&configuration, client.clone(), identity.clone()).map_err(anyhow::Error::from)?;
    let order = Order {
        target: slots::target(observer.build_id(), &configuration.node),
        daemons: options.daemons,
        staged: options.staged,
        wait_ready: Duration::from_secs(options.wait_ready),
        settle: Duration::from_secs(options.settle),
        coordinated: options.slots > 0,
        report: options.report,
        keep: options.keep.max(1),
        check: options.check,
    };
    let turns = ClusterSlots {
        gateway: client,
        identity,
        slots: options.slots,
        ignore_failures: options.ignore_failed_roll,
    };
    let mut host = Host {
        view: &mut HostView(observer),
        services: &services,
        gates: &gates,
        slots: &turns,
        releases: &Releases::below(Path::new(BASE)),
    };
    rollout::converge(&mut host, &order).await.map(|outcome| answer(&outcome)).map_err(Failure::from)
}

/// What only the super-user can make, before a daemon that would miss it starts: the identity of the node and the mark of
/// the store, both at the root of the storage path.
fn prepare(configuration: &Configuration, check: bool) -> Result<Option<NodeIdentity>, Failure> {
    let node = &configuration.node;
    if check {
        return Ok(NodeIdentity::known(node)?);
    }
    sf_blobs::Store::prepare_root(&node.storage_path).map_err(anyhow::Error::from)?;
    Ok(Some(NodeIdentity::load(node)?))
}

/// The executable that is wanted.
pub(super) fn executable(staged: Option<&Path>) -> PathBuf {
    staged.map_or_else(|| PathBuf::from(PACKAGED), |release| release.join(EXECUTABLE))
}

fn answer(outcome: &Outcome) -> Answer {
    let rows = outcome.daemons.iter().map(|done| {
        let reasons: Vec<String> = done.reasons.iter().map(ToString::to_string).collect();
        vec![done.daemon.clone(), done.action.to_string(), reasons.join(" "), format!("{:.1}", done.seconds)]
    });
    let text = table(&["daemon", "action", "reasons", "seconds"], rows);
    Answer::new(json!(outcome), text).changed(outcome.changed)
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Self {
        let mut answer = answer(&stopped.outcome);
        if let ConvergeError::Unhealthy(failed) = &stopped.why {
            answer = answer.with("failed", json!(failed));
        }
        let exit = match &stopped.why {
            ConvergeError::RollFailed { .. } | ConvergeError::NotInstalled(_) => Exit::Refused,
            ConvergeError::Busy { .. } => Exit::Busy,
            ConvergeError::Uncoordinated { .. } => Exit::Unreachable,
            ConvergeError::Unhealthy(_) => Exit::Unhealthy,
            ConvergeError::Service(error) => service_exit(error),
            ConvergeError::Observe(ObserveError::Service(error)) => service_exit(error),
            ConvergeError::Observe(_) | ConvergeError::Release { .. } => Exit::Internal,
        };
        Self::new(exit, stopped.why).showing(answer)
    }
}

fn service_exit(error: &ServiceError) -> Exit {
    match error {
        ServiceError::Unreachable(_) => Exit::Unreachable,
        ServiceError::Job { .. } => Exit::Unhealthy,
        ServiceError::Refused { .. } => Exit::Internal,
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self::new(service_exit(&error), error)
    }
}

impl From<ObserveError> for Failure {
    fn from(error: ObserveError) -> Self {
        match error {
            ObserveError::Service(error) => error.into(),
            other => Self::new(Exit::Internal, other),
        }
    }
}

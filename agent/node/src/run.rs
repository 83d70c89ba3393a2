//! `sf-node run <daemon>`: one daemon in one process.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sf_config::{NodeConfig, Sources, load_database, load_node};
use sf_daemon::{DaemonContext, Host};
use sf_model::DaemonName;
use sf_runtime::{Metrics, Shutdown, log, notify};
use tokio::runtime::Runtime;

use crate::daemons::{self, Start};
use crate::failure::{Exit, Failure};
use crate::process_record::ProcessRecord;

/// Runs a daemon until it is told to end.
pub(crate) fn run(name: DaemonName, sources: &Sources) -> Result<(), Failure> {
    let loaded = load_node(sources)?;
    let config = Arc::new(loaded.config);
    let program = name.program();
    let control = log::start_json(&program, &config, &[name]).map_err(|e| Failure::say(Exit::Internal, e))?;
    for warning in loaded.warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let shutdown = Shutdown::new(drain(name, &config));
    let record = ProcessRecord::publish(name, &config, sources);
    let outcome = runtime()?.block_on(async {
        let reload = sources.clone();
        shutdown
            .listen(move || match load_node(&reload) {
                Ok(fresh) => {
                    control.apply(&fresh.config, &[name]);
                    record.read_again(&fresh.config, &reload);
                }
                Err(error) => tracing::error!(%error, "the configuration was not read again"),
            })
            .context("signals cannot be received")?;
        start(name, config, sources, shutdown).await
    });
    tracing::info!("ended");
    outcome
}

/// Asks the kernel to kill this process when the one that started it ends, however that happens: a successor would
/// find its sockets taken.
pub(crate) fn end_with_parent() -> Result<(), Failure> {
    use nix::sys::{prctl, signal::Signal};
    let parent = nix::unistd::getppid();
    prctl::set_pdeathsig(Signal::SIGKILL).context("the end of the parent cannot be watched")?;
    // It may have ended before the request; then init is the parent now.
    if nix::unistd::getppid() != parent || parent.as_raw() == 1 {
        return Err(Failure::say(Exit::Internal, "the process that started this one has ended"));
    }
    Ok(())
}

/// The runtime of every process: work that blocks is moved off it, so few threads suffice.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    Ok(runtime.context("the runtime cannot be started")?)
}

async fn start(
    name: DaemonName,
    config: Arc<NodeConfig>,
    sources: &Sources,
    shutdown: Shutdown,
) -> Result<(), Failure> {
    let daemon = daemons::find(name)
        .ok_or_else(|| Failure::say(Exit::Config, format!("this build has no {}", name.program())))?;
    match daemon.start {
        Start::Privileged(run) => {
            let liveness = sf_runtime::Liveness::new();
            notify::watch(liveness, shutdown.clone());
            run(config, shutdown).await
        }
        Start::Member(run) => {
            let host = host(name, config, shutdown)?;
            let outcome = member(&host, name, run).await;
            notify::stopping();
            host.finish().await;
            outcome
        }
        Start::Tier(run) => {
            let loaded = load_database(sources)?;
            for warning in loaded.warnings {
                tracing::warn!("{warning}");
            }
            let database = loaded.config;
            let host = host(name, config, shutdown)?;
            host.serve_metrics(name).await?;
            let outcome = run(host.clone(), Arc::new(database)).await;
            notify::stopping();
            host.finish().await;
            outcome
        }
    }
}

fn host(name: DaemonName, config: Arc<NodeConfig>, shutdown: Shutdown) -> Result<Host, Failure> {
    let metrics = Metrics::install().map_err(sf_daemon::DaemonError::from)?;
    let host = Host::new(config, &name.to_string(), shutdown, metrics, &[])?;
    // Before anything else: where the spool is taken, another process runs in this one's place.
    host.recorder(name)?;
    notify::watch(host.liveness.clone(), host.shutdown.clone());
    Ok(host)
}

/// Starts a daemon of the database tier's clients and stays until it ends.
pub(crate) async fn member(
    host: &Host,
    name: DaemonName,
    run: fn(DaemonContext) -> daemons::Running,
) -> Result<(), Failure> {
    let context = match DaemonContext::start(host, name).await {
        Err(sf_daemon::DaemonError::Interrupted) => return Ok(()),
        started => started?,
    };
    let outcome = run(context.clone()).await;
    match &outcome {
        Ok(()) => context.report("stopped").await,
        Err(failure) => {
            tracing::error!(error = format!("{:#}", failure.error), "the daemon failed");
            context.report("failed").await;
        }
    }
    outcome
}

/// Time for work in flight when a daemon ends.
fn drain(name: DaemonName, config: &NodeConfig) -> Duration {
    match name {
        DaemonName::Api => config.api_drain_grace + Duration::from_secs(30),
        DaemonName::Queues => Duration::from_secs(45),
        _ => Duration::from_secs(15),
    }
}

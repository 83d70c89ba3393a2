//! The instance worker: every change of a domain or an instance directory on this node happens here.
//!
//! ```text
//! queue/       long poll, claims, one task per operation
//! operations/  one file per operation type
//! stages/      what operations are made of; each tests the world before it acts
//! power/       libvirt's events -> observed power states
//! recovery/    the comparison of database, hypervisor and disk at start and every minute
//! ```

mod acting;
mod error;
mod facts;
mod host;
mod node_service;
mod operations;
mod power;
mod queue;
mod record;
mod recovery;
mod stages;
mod storage;
mod usage;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use sf_daemon::DaemonContext;
use sf_runtime::Tasks;

pub use error::QueuesError;
use worker::Worker;

/// Beyond the drain, before tasks are given up.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the worker until shutdown is requested, then finishes what is in flight as far as the drain allows.
///
/// # Errors
/// The hypervisor is configured in a way that can never work here, or the node service cannot listen.
pub async fn run(context: DaemonContext) -> Result<(), QueuesError> {
    let worker = Arc::new(Worker::start(context).await?);
    let context = &worker.context;
    let shutdown = context.shutdown.clone();
    let mut tasks = Tasks::new(&shutdown);
    queue::release_previous(&worker).await;
    tasks.spawn_loop("claims", queue::renew_claims(worker.clone()));
    tasks.spawn_loop("dequeue", queue::poll(worker.clone()));
    if worker.host.is_some() {
        tasks.spawn_loop("power-writer", power::write(worker.clone()));
        tasks.spawn_loop("power-observer", power::observe(worker.clone()));
        tasks.spawn_loop("reconcile", recovery::run(worker.clone()));
        tasks.spawn_loop("usage", usage::run(worker.clone()));
        tasks.spawn_loop("capabilities", host::refresh(worker.clone()));
        let liveness = context.liveness.clone();
        tasks.spawn_loop("peers", worker.peers.clone().refresh(shutdown.clone(), liveness));
        tasks.spawn("instance-node", node_service::serve(worker.clone()));
    }
    let outcome = tasks.join(shutdown.drain_left() + GRACE).await;
    worker.context.report("stopped").await;
    outcome
}

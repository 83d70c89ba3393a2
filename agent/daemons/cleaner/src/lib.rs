//! `sf-cleaner`: compares, on one node, what the database says with what libvirt and the disk have, and removes what is
//! certainly nobody's (`instances.md` §16).
//!
//! It removes on positive evidence only: a row that says `deleted`, or a tombstone. What the database does not know is
//! reported and left alone, because a lost or restored database must never end running guests. A pass that could not
//! read everything changes nothing.
//!
//! ```text
//! world.rs    what the database, the hypervisor and the disk say      plan.rs    what follows from it (pure)
//! act.rs      carries it out                                          ladder.rs  how hard a domain is pushed (pure)
//! ```
//!
//! Each task runs in a loop of its own: one that fails never keeps the others from running.

mod act;
mod cache_use;
mod consoles;
mod error;
mod instances_dir;
mod ladder;
mod libvirt_logs;
mod plan;
mod run_files;
mod spools;
mod unknown;
mod world;

use std::sync::Arc;
use std::time::Duration;

use sf_config::HypervisorDriver;
use sf_daemon::DaemonContext;
use sf_hypervisor::Hypervisor;
use sf_hypervisor::disks::StorageLayout;
use sf_hypervisor::libvirt::{Libvirt, LibvirtConfig};
use sf_privileged::PrivexecClient;
use sf_runtime::{Loop, Pass, Tasks};

pub use error::CleanerError;
use error::Incomplete;

/// Between comparisons.
const COMPARE: Duration = Duration::from_secs(60);
/// Between reports of which cache files are in use.
const CACHE_USE: Duration = Duration::from_secs(300);
/// Between looks for logs of domains whose instance is deleted for good.
const LIBVIRT_LOGS: Duration = Duration::from_secs(1800);
/// Between looks for spools of daemons that no longer run here.
const SPOOLS: Duration = Duration::from_secs(600);
/// Longest time of one pass without a sign of progress: a domain may take its time to stop.
const SILENCE: Duration = Duration::from_secs(300);
/// Beyond the drain, before tasks are given up.
const GRACE: Duration = Duration::from_secs(2);

/// What every task uses.
pub(crate) struct Cleaner {
    pub(crate) context: DaemonContext,
    pub(crate) hypervisor: Arc<dyn Hypervisor>,
    pub(crate) helper: PrivexecClient,
    pub(crate) layout: StorageLayout,
    pub(crate) ladder: ladder::Ladder,
    pub(crate) unknown: unknown::Reports,
}

/// Runs the daemon until shutdown is asked for.
///
/// # Errors
/// libvirt's library cannot be used on this node.
pub async fn run(context: DaemonContext) -> Result<(), CleanerError> {
    let shutdown = context.shutdown.clone();
    let mut tasks = Tasks::new(&shutdown);
    tasks.spawn_loop(
        "spools",
        every(("spools", SPOOLS, context.clone(), context.clone()), spools::drain_idle),
    );
    // Recorded domains live in the worker's process and cannot be compared from here.
    if context.config.node_is_hypervisor && context.config.hypervisor_driver == HypervisorDriver::Libvirt {
        let cleaner = Arc::new(Cleaner::start(context.clone())?);
        let start = |name, interval| (name, interval, context.clone(), cleaner.clone());
        tasks.spawn_loop("strays", every(start("strays", COMPARE), act::pass));
        tasks.spawn_loop("consoles", every(start("consoles", COMPARE), consoles::pass));
        tasks.spawn_loop("run-files", every(start("run-files", COMPARE), run_files::pass));
        tasks.spawn_loop("libvirt-logs", every(start("libvirt-logs", LIBVIRT_LOGS), libvirt_logs::pass));
        tasks.spawn_loop("cache-use", every(start("cache-use", CACHE_USE), cache_use::pass));
    }
    let outcome = tasks.join(shutdown.drain_left() + GRACE).await;
    context.report("stopped").await;
    outcome
}

impl Cleaner {
    fn start(context: DaemonContext) -> Result<Self, CleanerError> {
        let config = LibvirtConfig { uri: context.config.libvirt_uri.clone(), threads: 2, emulated: true };
        Ok(Self {
            hypervisor: Arc::new(Libvirt::start(config)?),
            helper: PrivexecClient::new(context.config.privexec_socket.clone()),
            layout: StorageLayout::new(context.config.storage_path.clone()),
            ladder: ladder::Ladder::default(),
            unknown: unknown::Reports::default(),
            context,
        })
    }
}

/// One task in its own loop.
async fn every<S, F>(
    (name, interval, context, state): (&'static str, Duration, DaemonContext, S),
    task: impl Fn(S) -> F,
) where
    S: Clone,
    F: Future<Output = Result<(), Incomplete>>,
{
    let pass = |_tick| {
        let work = task(state.clone());
        async move { work.await.map(|()| Pass::Done) }
    };
    Loop::every(name, interval)
        .max_silence(SILENCE)
        .jittered()
        .run(context.shutdown.clone(), context.liveness.clone(), pass)
        .await;
}

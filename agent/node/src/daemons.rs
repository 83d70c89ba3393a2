//! The table of daemons: what this binary can run, and how each is started.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;

use sf_daemon::{DaemonContext, Host};
use sf_model::DaemonName;

use crate::failure::{Exit, Failure};

/// What a started daemon ends with.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// How a daemon is started.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// Speaks to the database tier.
    Member(fn(DaemonContext) -> Running),
    /// Holds root rights and nothing else: no database, no spool, no port.
    Privileged(fn(std::sync::Arc<sf_config::NodeConfig>, sf_runtime::Shutdown) -> Running),
    /// The database tier itself.
    Tier(fn(Host, sf_config::DatabaseConfig) -> Running),
}

/// One daemon.
#[derive(Clone, Copy)]
pub(crate) struct Daemon {
    pub(crate) name: DaemonName,
    pub(crate) purpose: &'static str,
    pub(crate) start: Start,
}

/// Every daemon, in the order in which a single process starts them.
pub(crate) const DAEMONS: &[Daemon] = &[
    Daemon {
        name: DaemonName::Privexec,
        purpose: "file and process operations that need root",
        start: Start::Privileged(|config, shutdown| run(sf_daemon_privexec::run(config, shutdown))),
    },
    Daemon {
        name: DaemonName::NetPrivexec,
        purpose: "network changes that need root",
        start: Start::Privileged(|config, shutdown| run(sf_daemon_net_privexec::run(config, shutdown))),
    },
    Daemon {
        name: DaemonName::Cluster,
        purpose: "election and cluster-wide maintenance",
        start: Start::Member(|context| run(sf_daemon_cluster::run(context))),
    },
];

/// The daemon with this name, if this build has it.
pub(crate) fn find(name: DaemonName) -> Option<&'static Daemon> {
    DAEMONS.iter().find(|daemon| daemon.name == name)
}

fn run<E: Display>(work: impl Future<Output = Result<(), E>> + Send + 'static) -> Running {
    Box::pin(async { work.await.map_err(|error| Failure::say(Exit::Internal, error)) })
}

//! The table of daemons: what this binary can run, and how each is started.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sf_config::{DatabaseConfig, NodeConfig};
use sf_daemon::{DaemonContext, Host};
use sf_model::DaemonName;
use sf_runtime::Shutdown;

use crate::failure::{Exit, Failure};

/// What a started daemon ends with.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// How a daemon is started.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// Speaks to the database tier.
    Member(fn(DaemonContext) -> Running),
    /// Holds root rights and nothing else: no database, no spool, no port.
    Privileged(fn(Arc<NodeConfig>, Shutdown) -> Running),
    /// The database tier itself.
    Tier(fn(Host, Arc<DatabaseConfig>) -> Running),
}

/// One daemon.
#[derive(Clone, Copy)]
pub(crate) struct Daemon {
    pub(crate) name: DaemonName,
    pub(crate) start: Start,
}

/// Every daemon, in the order in which a single process starts them.
pub(crate) const DAEMONS: &[Daemon] = &[
    Daemon {
        name: DaemonName::Privexec,
        start: Start::Privileged(|config, shutdown| run(sf_daemon_privexec::run(config, shutdown))),
    },
    Daemon {
        name: DaemonName::NetPrivexec,
        start: Start::Privileged(|config, shutdown| run(sf_daemon_net_privexec::run(config, shutdown))),
    },
    Daemon { name: DaemonName::Database, start: Start::Tier(database) },
    Daemon {
        name: DaemonName::Transfers,
        start: Start::Member(|context| run(sf_daemon_transfers::run(context))),
    },
    Daemon { name: DaemonName::Net, start: Start::Member(|context| run(sf_daemon_net::run(context))) },
    Daemon { name: DaemonName::Queues, start: Start::Member(|context| run(sf_daemon_queues::run(context))) },
    Daemon { name: DaemonName::Api, start: Start::Member(|context| run(sf_daemon_api::run(context))) },
    Daemon { name: DaemonName::Resources, start: Start::Member(resources) },
    Daemon {
        name: DaemonName::Cleaner,
        start: Start::Member(|context| run(sf_daemon_cleaner::run(context))),
    },
    Daemon {
        name: DaemonName::Cluster,
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

/// A node that was deleted must not come back by being tried again.
fn resources(context: DaemonContext) -> Running {
    Box::pin(async {
        sf_daemon_resources::run(context).await.map_err(|error| {
            let exit = if error.is_configuration() { Exit::Config } else { Exit::Internal };
            Failure::new(exit, error)
        })
    })
}

/// A gateway that cannot fit its database is a matter of configuration, not of trying again.
fn database(host: Host, config: Arc<DatabaseConfig>) -> Running {
    Box::pin(async {
        sf_daemon_database::run(host, config).await.map_err(|error| {
            let exit = if error.is_configuration() { Exit::Config } else { Exit::Internal };
            Failure::new(exit, error)
        })
    })
}

#[cfg(test)]
mod tests {
    use sf_units::UNITS;

    use super::*;

    #[test]
    fn what_is_declared_can_be_run_and_the_reverse() {
        let runs: Vec<DaemonName> = DAEMONS.iter().map(|daemon| daemon.name).collect();
        let declared: Vec<DaemonName> = UNITS.iter().map(|unit| unit.name).collect();
        assert!(declared.iter().all(|name| runs.contains(name)) && runs.len() == declared.len());
        for daemon in DAEMONS {
            let privileged = matches!(daemon.start, Start::Privileged(_));
            assert_eq!(privileged, sf_units::unit(daemon.name).unwrap().user == "root", "{}", daemon.name);
        }
    }
}
